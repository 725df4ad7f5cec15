//! The end of a byte stream.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads a stream to its end and keeps its last bytes, so that a talkative program neither blocks on a full pipe nor
/// fills the memory. What was read so far survives a dropped [`Tail::fill`].
pub(crate) struct Tail {
    kept: Vec<u8>,
    bytes_max: usize,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Tail {
        Tail { kept: Vec::new(), bytes_max }
    }

    /// # Errors
    /// Those of reading.
    pub(crate) async fn fill(&mut self, mut from: impl AsyncRead + Unpin) -> std::io::Result<()> {
        loop {
            self.kept.reserve(CHUNK_BYTES);
            if from.read_buf(&mut self.kept).await? == 0 {
                return Ok(());
            }
            // Cut only when twice as much has gathered: each byte is then moved at most once.
            if self.kept.len() >= 2 * self.bytes_max {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        let surplus = self.kept.len().saturating_sub(self.bytes_max);
        self.kept.drain(..surplus);
    }

    pub(crate) fn take(mut self) -> Vec<u8> {
        self.cut();
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_bytes_are_kept() {
        let mut long = vec![b'a'; 200_000];
        long.extend_from_slice(b"end");
        let mut tail = Tail::new(1000);
        tail.fill(long.as_slice()).await.unwrap();
        let kept = tail.take();
        assert_eq!(kept.len(), 1000);
        assert!(kept.ends_with(b"aend"));
    }
}
