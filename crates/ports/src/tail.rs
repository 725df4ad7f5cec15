//! The end of a byte stream, for drivers that run programs.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads a stream and keeps its last bytes, so that a talkative program neither blocks on a full pipe nor fills the
/// memory. What was read so far survives a dropped [`Tail::fill`].
#[derive(Debug)]
pub struct Tail {
    kept: Vec<u8>,
    bytes_max: usize,
}

impl Tail {
    /// Keeps the last `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Tail {
        Tail::after(Vec::new(), bytes_max)
    }

    /// Goes on behind what was read before.
    #[must_use]
    pub fn after(read: Vec<u8>, bytes_max: usize) -> Tail {
        Tail { kept: read, bytes_max }
    }

    /// Reads to the end of the stream.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn fill(&mut self, mut from: impl AsyncRead + Unpin) -> std::io::Result<()> {
        while self.more(&mut from).await? > 0 {}
        Ok(())
    }

    /// Reads once and says how many bytes came, which are the last ones of [`Tail::kept`]; 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn more(&mut self, mut from: impl AsyncRead + Unpin) -> std::io::Result<usize> {
        // Cut only when twice as much has gathered: each byte is then moved at most once.
        if self.kept.len() >= 2 * self.bytes_max {
            self.cut();
        }
        self.kept.reserve(CHUNK_BYTES);
        from.read_buf(&mut self.kept).await
    }

    /// What is held at the moment, which may be more than is kept in the end.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// All that is held at the moment.
    #[must_use]
    pub fn held(self) -> Vec<u8> {
        self.kept
    }

    /// The end that is kept.
    #[must_use]
    pub fn take(mut self) -> Vec<u8> {
        self.cut();
        self.kept
    }

    fn cut(&mut self) {
        let surplus = self.kept.len().saturating_sub(self.bytes_max);
        self.kept.drain(..surplus);
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

    #[tokio::test]
    async fn what_came_at_once_is_seen_before_it_is_cut() {
        let mut tail = Tail::after(b"before ".to_vec(), 3);
        assert_eq!(tail.more(b"and after".as_slice()).await.unwrap(), 9);
        assert_eq!(tail.kept(), b"re and after", "what was known has been cut, what is new has not");
        assert_eq!(tail.take(), b"ter");
    }
}
