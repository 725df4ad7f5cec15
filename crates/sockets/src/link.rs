//! The connection between the old process and the new one.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;

/// How long writing a message may take before the other side counts as gone.
const SEND_SECONDS_MAX: u64 = 5;

/// One end of a socket pair; a message of type `M` is a line of JSON.
#[derive(Debug)]
pub struct Link<M> {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// A line that has partly arrived; kept here so that `receive` may be cancelled.
    line: Vec<u8>,
    message_bytes_max: u64,
    messages: PhantomData<fn(M) -> M>,
}

impl<M: Serialize + DeserializeOwned> Link<M> {
    /// No message that is received is longer than `message_bytes_max`.
    ///
    /// # Errors
    /// The stream cannot be watched.
    pub fn new(stream: std::os::unix::net::UnixStream, message_bytes_max: u64) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        let reader = BufReader::new(reader);
        Ok(Self { reader, writer, line: Vec::new(), message_bytes_max, messages: PhantomData })
    }

    /// # Errors
    /// The other side is gone, or takes nothing.
    pub async fn send(&mut self, message: &M) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let limit = Duration::from_secs(SEND_SECONDS_MAX);
        tokio::time::timeout(limit, self.writer.write_all(&line)).await?
    }

    /// The next message; `None` when the other side is gone. May be cancelled.
    ///
    /// # Errors
    /// What arrived is no message.
    pub async fn receive(&mut self) -> std::io::Result<Option<M>> {
        let room = self.message_bytes_max.saturating_sub(self.line.len() as u64);
        (&mut self.reader).take(room).read_until(b'\n', &mut self.line).await?;
        if self.line.is_empty() {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.line)?;
        self.line.clear();
        Ok(Some(message))
    }

    /// The next message, which must be there before the deadline.
    ///
    /// # Errors
    /// Why it was not, in words.
    pub async fn expect(&mut self, deadline: Instant) -> Result<M, String> {
        match tokio::time::timeout_at(deadline, self.receive()).await {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err("the other process ended".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the other process took too long".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_arrives_whole_and_one_that_is_too_long_does_not() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut ours: Link<String> = Link::new(ours, 16).unwrap();
        let mut theirs: Link<String> = Link::new(theirs, 16).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        ours.send(&"a\nb".to_owned()).await.unwrap();
        assert_eq!(theirs.expect(deadline).await.unwrap(), "a\nb");
        ours.send(&"x".repeat(20)).await.unwrap();
        assert!(theirs.expect(deadline).await.is_err());
        drop(theirs);
        assert_eq!(ours.expect(deadline).await.unwrap_err(), "the other process ended");
        // A process that says nothing is waited for until the deadline.
        let (ours, _silent) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut ours: Link<String> = Link::new(ours, 16).unwrap();
        let soon = Instant::now() + Duration::from_millis(10);
        assert_eq!(ours.expect(soon).await.unwrap_err(), "the other process took too long");
    }
}
