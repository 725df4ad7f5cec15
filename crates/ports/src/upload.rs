//! A stream that becomes a file on a host.

use lockgate_model::{Digest, FailureKind, Millis};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::PortError;

/// Default for [`Upload::bytes_max`]: far more than any release, and it keeps a stream without end from filling a disk.
pub const UPLOAD_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Default for [`Upload::stall`].
const STALL_SECONDS_MAX: u64 = 60;
/// Longest wait for what has to be done when all has been sent (checking, writing to the disk), for its size: this, and the
/// stall bound.
const SETTLED_BYTES_PER_SECOND_MIN: u64 = 8 * 1024 * 1024;
/// As much of it as is held in memory at once.
pub const PIECE_BYTES: usize = 256 * 1024;

/// What [`Host::upload`](crate::Host::upload) makes a file of.
pub struct Upload<'a> {
    /// Absolute path on the host. What is there stays until the new file is whole.
    pub path: String,
    /// The file's permission bits.
    pub mode: u32,
    /// Read once, to its end.
    pub content: &'a mut (dyn AsyncRead + Send + Unpin),
    /// How many bytes it has; `None` where that is not known before its end.
    pub size: Option<u64>,
    /// What its bytes are; `None` where that is not known before. What the host has is compared with what was sent in any
    /// case.
    pub digest: Option<Digest>,
    /// More is refused.
    pub bytes_max: u64,
    /// Longest time in which nothing goes on, on either side. There is no bound for the whole: it takes as long as its
    /// bytes take.
    pub stall: Millis,
}

/// What stands on the host now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// How many bytes it has.
    pub size: u64,
    /// SHA-256 of its bytes, as the host counted it.
    pub digest: Digest,
}

impl<'a> Upload<'a> {
    /// Of unknown size and bytes, with the usual bounds.
    pub fn new(
        path: impl Into<String>,
        mode: u32,
        content: &'a mut (dyn AsyncRead + Send + Unpin),
    ) -> Upload<'a> {
        Upload {
            path: path.into(),
            mode,
            content,
            size: None,
            digest: None,
            bytes_max: UPLOAD_BYTES_MAX,
            stall: Millis::from_secs(STALL_SECONDS_MAX),
        }
    }

    /// How many bytes it has: another number is an error.
    #[must_use]
    pub fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// What its bytes are: others are an error.
    #[must_use]
    pub fn digest(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }

    /// More is refused; without it [`UPLOAD_BYTES_MAX`].
    #[must_use]
    pub fn bytes_max(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Longest time in which nothing goes on, on either side.
    #[must_use]
    pub fn stall(mut self, stall: Millis) -> Self {
        self.stall = stall;
        self
    }

    /// Its pieces, for a driver.
    #[must_use]
    pub fn pieces(self) -> Pieces<'a> {
        Pieces { upload: self, hash: Sha256::new(), size: 0 }
    }
}

/// An upload that is under way: gives piece by piece, and counts and hashes what it gave.
pub struct Pieces<'a> {
    upload: Upload<'a>,
    hash: Sha256,
    size: u64,
}

impl Pieces<'_> {
    /// Where the file will be.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.upload.path
    }

    /// The file's permission bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.upload.mode
    }

    /// Longest time in which nothing goes on, on either side.
    #[must_use]
    pub fn stall(&self) -> Millis {
        self.upload.stall
    }

    /// How long the host may take for checking and settling what has been given so far.
    #[must_use]
    pub fn settled_within(&self) -> Millis {
        Millis(self.upload.stall.0.saturating_add(self.size / (SETTLED_BYTES_PER_SECOND_MIN / 1000)))
    }

    /// The next piece in `piece`, whose content goes: at most [`PIECE_BYTES`], and none at the end.
    ///
    /// # Errors
    /// All without effect, as long as the driver changes nothing before the end: those of reading, `TimedOut` when nothing
    /// came for the stall bound, `TooLarge`, and `Refused` when it is longer than it should be.
    pub async fn next(&mut self, piece: &mut Vec<u8>) -> Result<(), PortError> {
        piece.clear();
        while piece.len() < PIECE_BYTES {
            let mut rest = (&mut self.upload.content).take((PIECE_BYTES - piece.len()) as u64);
            let read = tokio::time::timeout(self.upload.stall.duration(), rest.read_buf(piece)).await;
            match read {
                Ok(Ok(0)) => break,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.failed(error.into(), "broke off")),
                Err(_) => {
                    let nothing = PortError::timed_out(format!("nothing came for {}", self.upload.stall));
                    return Err(self.failed(nothing, "did not go on"));
                }
            }
        }
        self.hash.update(&*piece);
        self.size += piece.len() as u64;
        if let Some(size) = self.upload.size
            && self.size > size
        {
            return Err(self.odd(&format!("has more than the {size} bytes that it should have")));
        }
        if self.size > self.upload.bytes_max {
            let what = format!("what should become {}", self.path());
            let bytes_max = usize::try_from(self.upload.bytes_max).unwrap_or(usize::MAX);
            return Err(PortError::too_large(what, bytes_max).without_effect());
        }
        Ok(())
    }

    /// What was given, when all was and it is what it should be.
    ///
    /// # Errors
    /// `Refused` when the size or the digest is another, without effect.
    pub fn given(&self) -> Result<Uploaded, PortError> {
        if let Some(size) = self.upload.size
            && size != self.size
        {
            return Err(self.odd(&format!("ended after {} of {size} bytes", self.size)));
        }
        let hex: String = self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = Digest::new(format!("sha256:{hex}"))
            .map_err(|invalid| PortError::other(invalid.to_string()).without_effect())?;
        match &self.upload.digest {
            Some(wanted) if *wanted != digest => {
                Err(self.odd(&format!("is {digest}, and should be {wanted}")))
            }
            _ => Ok(Uploaded { size: self.size, digest }),
        }
    }

    fn failed(&self, error: PortError, how: &str) -> PortError {
        let context = format!("what should become {} {how} after {} bytes", self.path(), self.size);
        error.context(context).without_effect()
    }

    fn odd(&self, what: &str) -> PortError {
        let message = format!("what should become {} {what}", self.path());
        PortError::new(FailureKind::Refused, message).hint(
            "nothing was changed; see that it comes whole and is what it was when its checksum was made",
        )
    }
}

impl Uploaded {
    /// Refuses what arrived otherwise than it was sent.
    ///
    /// # Errors
    /// `Refused`, without effect as long as the driver has changed nothing.
    pub fn require(&self, path: &str, sent: &Uploaded) -> Result<(), PortError> {
        if self == sent {
            return Ok(());
        }
        let message = format!(
            "what arrived for {path} has {} bytes and is {}; sent were {} bytes, {}",
            self.size, self.digest, sent.size, sent.digest
        );
        Err(PortError::new(FailureKind::Refused, message).hint(
            "nothing was changed: the host's disk or memory, or something on the way, has changed them",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect()
    }

    async fn all(mut pieces: Pieces<'_>) -> Result<(Vec<u8>, Uploaded), PortError> {
        let (mut whole, mut piece) = (Vec::new(), Vec::new());
        loop {
            pieces.next(&mut piece).await?;
            assert!(piece.len() <= PIECE_BYTES);
            if piece.is_empty() {
                return Ok((whole, pieces.given()?));
            }
            whole.extend_from_slice(&piece);
        }
    }

    #[tokio::test]
    async fn what_is_given_in_pieces_is_counted_and_hashed() {
        for count in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let content = bytes(count);
            let (whole, uploaded) =
                all(Upload::new("/f", 0o644, &mut Cursor::new(&content)).pieces()).await.unwrap();
            assert!(whole == content, "{count}");
            assert_eq!(uploaded.size, count as u64);
            assert_eq!(uploaded.digest, Digest::of(&content));
        }
    }

    #[tokio::test]
    async fn it_must_be_as_long_and_as_large_as_it_should_and_have_its_digest() {
        let content = bytes(1000);
        let digest = Digest::of(&content[1..]);
        let refused = async |change: &dyn Fn(Upload<'_>) -> Upload<'_>| {
            let error =
                all(change(Upload::new("/f", 0o644, &mut Cursor::new(&content))).pieces()).await.unwrap_err();
            assert!(!error.outcome_unknown(), "{error}");
            (error.kind, error.message)
        };
        let (kind, message) = refused(&|upload| upload.size(999)).await;
        assert!(kind == FailureKind::Refused && message.contains("more than the 999 bytes"), "{message}");
        let (kind, message) = refused(&|upload| upload.size(1001)).await;
        assert!(kind == FailureKind::Refused && message.contains("ended after 1000 of 1001 bytes"));
        let (kind, message) = refused(&|upload| upload.digest(digest.clone())).await;
        assert!(kind == FailureKind::Refused && message.contains(digest.as_str()), "{message}");
        let (kind, message) = refused(&|upload| upload.bytes_max(999)).await;
        assert!(kind == FailureKind::TooLarge && message.contains("larger than 999 bytes"), "{message}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_content_that_does_not_go_on_is_given_up_and_a_slow_one_is_not() {
        let (mut writer, mut reader) = tokio::io::duplex(16);
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Millis::from_secs(50).duration()).await;
                tokio::io::AsyncWriteExt::write_all(&mut writer, b"x").await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let upload = all(Upload::new("/f", 0o644, &mut reader).pieces());
        let error = tokio::select! {
            () = slow => unreachable!("it is not ended"),
            ended = upload => ended.unwrap_err(),
        };
        assert_eq!(error.kind, FailureKind::TimedOut, "{error}");
        assert!(error.message.contains("nothing came for 1m"), "{error}");
        assert!(!error.outcome_unknown());
    }
}
