//! The end of a byte stream.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a command's output that are kept, from the end.
pub(crate) const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads a stream to its end and keeps its last [`OUTPUT_BYTES_MAX`] bytes, so that a talkative program neither blocks
/// on a full pipe nor fills the memory. What was read so far survives a dropped [`Tail::fill`].
#[derive(Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    /// # Errors
    /// Those of reading.
    pub(crate) async fn fill(&mut self, mut from: impl AsyncRead + Unpin) -> std::io::Result<()> {
        loop {
            self.0.reserve(CHUNK_BYTES);
            if from.read_buf(&mut self.0).await? == 0 {
                return Ok(());
            }
            // Cut only when twice as much has gathered: each byte is then moved at most once.
            if self.0.len() >= 2 * OUTPUT_BYTES_MAX {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        let surplus = self.0.len().saturating_sub(OUTPUT_BYTES_MAX);
        self.0.drain(..surplus);
    }

    pub(crate) fn take(mut self) -> Vec<u8> {
        self.cut();
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_mebibyte_is_kept() {
        let mut long = vec![b'a'; 3 * OUTPUT_BYTES_MAX];
        long.extend_from_slice(b"end");
        let mut tail = Tail::default();
        tail.fill(long.as_slice()).await.unwrap();
        let kept = tail.take();
        assert_eq!(kept.len(), OUTPUT_BYTES_MAX);
        assert!(kept.ends_with(b"aend"));
    }
}
