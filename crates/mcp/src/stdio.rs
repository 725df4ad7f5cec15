//! Lines in, lines out: one message of the protocol is one line of JSON.
//!
//! Between the pipes and the protocol's library, which passes over in silence what is no JSON: whoever sent it would wait for
//! ever. Here it is told, and what goes out has nothing in it that steers a terminal.

use lockgate_render::harmless_json;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf,
    duplex, split,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::work::Stopping;

/// A longer message is refused.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What waits between the pipes and the library.
const PIPE_BYTES: usize = 64 * 1024;
/// Errors that wait to be written; while so many do, nothing more is read.
const ERRORS_MAX: usize = 16;
/// JSON-RPC's codes.
const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;

/// The library's end, and the task that writes, which ends when the library has closed it.
pub(crate) fn wire<R, W>(input: R, output: W, stopping: &Stopping) -> (DuplexStream, JoinHandle<()>)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (ours, theirs) = duplex(PIPE_BYTES);
    let (from_them, to_them) = split(ours);
    let (errors, told) = mpsc::channel(ERRORS_MAX);
    tokio::spawn(read(input, to_them, errors, stopping.clone()));
    let writing = tokio::spawn(write(from_them, output, told, stopping.clone()));
    (theirs, writing)
}

/// Until the client closes its end, or everything is to stop: then the client is gone, and what is not settled is undone.
async fn read<R: AsyncRead + Unpin>(
    input: R,
    mut to_them: WriteHalf<DuplexStream>,
    errors: mpsc::Sender<String>,
    stopping: Stopping,
) {
    let mut lines = Lines { input: BufReader::new(input), line: Vec::new(), is_too_long: false };
    loop {
        let line = tokio::select! {
            biased;
            () = stopping.undo.cancelled() => break,
            line = lines.next() => line,
        };
        let wrong = match line {
            Ok(None) => break,
            Ok(Some(Line::TooLong)) => {
                error(INVALID_REQUEST, format!("a message is at most {MESSAGE_BYTES_MAX} bytes long"))
            }
            Ok(Some(Line::Whole(line))) if line.trim_ascii().is_empty() => continue,
            Ok(Some(Line::Whole(line))) => match is_message(&line) {
                Ok(()) => {
                    if to_them.write_all(&line).await.is_err() {
                        break;
                    }
                    continue;
                }
                Err(wrong) => wrong,
            },
            Err(failed) => {
                tracing::warn!(error = %failed, "standard input cannot be read");
                break;
            }
        };
        tracing::warn!("a message was not understood: {wrong}");
        if errors.send(wrong).await.is_err() {
            break;
        }
    }
    stopping.undo();
    // It may be closed already.
    drop(to_them.shutdown().await);
}

/// # Errors
/// What to answer.
fn is_message(line: &[u8]) -> Result<(), String> {
    if let Err(wrong) = serde_json::from_slice::<IgnoredAny>(line) {
        return Err(error(
            PARSE_ERROR,
            format!("a line is one JSON-RPC message, and this is no JSON: {wrong}"),
        ));
    }
    match line.trim_ascii_start().first() {
        Some(b'{') => Ok(()),
        _ => Err(error(INVALID_REQUEST, "a message is one JSON object".to_owned())),
    }
}

fn error(code: i32, message: String) -> String {
    json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message } }).to_string()
}

async fn write<W: AsyncWrite + Unpin>(
    from_them: ReadHalf<DuplexStream>,
    mut output: W,
    mut errors: mpsc::Receiver<String>,
    stopping: Stopping,
) {
    let mut lines = BufReader::new(from_them).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => line,
                Ok(None) | Err(_) => break,
            },
            Some(error) = errors.recv() => error,
        };
        let line = format!("{}\n", harmless_json(&line));
        let written = async {
            output.write_all(line.as_bytes()).await?;
            output.flush().await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "standard output cannot be written");
            stopping.undo();
            break;
        }
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// Bounded lines. Nothing is lost by dropping [`Lines::next`].
struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// The rest of a line that is too long is passed over.
    is_too_long: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// With its line feed. What stands behind the last one is no message.
    async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let there = self.input.fill_buf().await?;
            if there.is_empty() {
                return Ok(None);
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(there.len(), |end| end + 1);
            if !self.is_too_long {
                self.line.extend_from_slice(&there[..taken]);
            }
            self.input.consume(taken);
            if self.line.len() > MESSAGE_BYTES_MAX {
                self.is_too_long = true;
                self.line = Vec::new();
            }
            match (end, std::mem::take(&mut self.is_too_long)) {
                (Some(_), true) => return Ok(Some(Line::TooLong)),
                (Some(_), false) => return Ok(Some(Line::Whole(std::mem::take(&mut self.line)))),
                (None, is_too_long) => self.is_too_long = is_too_long,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What the library gets of `input`, and what the client is told.
    async fn through(input: &str) -> (String, String) {
        let (mut client, output) = duplex(PIPE_BYTES);
        let stopping = Stopping::default();
        let (mut library, writing) = wire(std::io::Cursor::new(input.to_owned()), output, &stopping);
        let mut got = String::new();
        library.read_to_string(&mut got).await.unwrap();
        assert!(stopping.is_asked(), "the client is gone");
        drop(library);
        writing.await.unwrap();
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        (got, told)
    }

    #[tokio::test]
    async fn messages_pass_as_they_are_and_half_a_line_is_none() {
        let (got, told) = through("{\"a\":1}\n\n  {\"b\":2}\r\n{\"c\":").await;
        assert_eq!((got.as_str(), told.as_str()), ("{\"a\":1}\n  {\"b\":2}\r\n", ""));
    }

    #[tokio::test]
    async fn what_is_no_message_is_told_and_the_next_one_is_heard() {
        let (got, told) = through("hello\n[{}]\n{\"a\":1}\n").await;
        assert_eq!(got, "{\"a\":1}\n");
        let told: Vec<serde_json::Value> =
            told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let codes: Vec<_> = told.iter().map(|one| one["error"]["code"].as_i64().unwrap()).collect();
        assert_eq!(codes, [-32700, -32600], "{told:?}");
        assert!(told.iter().all(|one| one["id"].is_null()), "{told:?}");
    }

    #[tokio::test]
    async fn a_message_without_an_end_takes_no_memory() {
        let long = "x".repeat(MESSAGE_BYTES_MAX + PIPE_BYTES);
        let (got, told) = through(&format!("{long}{long}\n{{\"a\":1}}\n")).await;
        assert_eq!(got, "{\"a\":1}\n");
        assert!(told.contains("at most 4194304 bytes") && told.lines().count() == 1, "{told}");
    }

    #[tokio::test]
    async fn nothing_that_steers_a_terminal_goes_out() {
        let (mut client, output) = duplex(PIPE_BYTES);
        let (input, _open) = duplex(PIPE_BYTES);
        let (mut library, writing) = wire(input, output, &Stopping::default());
        library.write_all("{\"a\":\"\u{202e}\u{9b}x\"}\n".as_bytes()).await.unwrap();
        drop(library);
        writing.await.unwrap();
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        assert!(told.is_ascii(), "{told}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap()["a"], "\u{202e}\u{9b}x");
    }
}
