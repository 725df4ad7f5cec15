//! Pulling an image: the one answer of the engine that streams.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use lockgate_model::Millis;
use lockgate_ports::{PortError, http};
use tokio::task::JoinSet;

use crate::api::PullLine;
use crate::auth::RegistryAuth;
use crate::engine::{Engine, LOOK_SECONDS_MAX, Refusal, refusal};
use crate::image;

/// Longest silence within a pull: the engine reports progress several times a second, also while it unpacks.
const PULL_SILENCE_SECONDS_MAX: u64 = 120;
/// Longest line of progress; longer ones carry no error that could be shown.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Pulls `reference` (`repository@sha256:…`) for as long as it makes progress. The engine answers 200 before it knows how
/// the pull ends, so an error arrives as a line of the stream. When the future is dropped the connection is closed, which
/// ends the pull; the engine keeps what it has.
pub(crate) async fn pull(
    engine: &Engine,
    reference: &str,
    auth: Option<&RegistryAuth>,
) -> Result<Result<(), Refusal>, PortError> {
    stream(engine, reference, auth).await.map_err(|error| error.context(format!("pulling {reference}")))
}

async fn stream(
    engine: &Engine,
    reference: &str,
    auth: Option<&RegistryAuth>,
) -> Result<Result<(), Refusal>, PortError> {
    let (repository, digest) = reference.split_once('@').unwrap_or((reference, "latest"));
    let target =
        format!("/images/create?fromImage={}&tag={}", image::encode(repository), image::encode(digest));
    let stream = engine.connect(Millis::from_secs(LOOK_SECONDS_MAX)).await?;
    let (mut sender, connection) =
        progress(hyper::client::conn::http1::handshake(TokioIo::new(stream))).await?.map_err(broken)?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut builder = hyper::Request::post(target).header("host", "localhost").header("connection", "close");
    if let Some(auth) = auth {
        builder = builder.header("x-registry-auth", auth.header());
    }
    let request = builder
        .body(Empty::<Bytes>::new())
        .map_err(|error| PortError::other(format!("the request cannot be sent: {error}")))?;
    let response = progress(sender.send_request(request)).await?.map_err(broken)?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut lines = Lines::default();
    let mut refused = Vec::new();
    while let Some(frame) = progress(body.frame()).await? {
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            match status {
                400.. if refused.len() + data.len() <= LINE_BYTES_MAX => refused.extend_from_slice(&data),
                400.. => {}
                _ => lines.push(&data),
            }
        }
    }
    if status >= 400 {
        return Ok(Err(refusal(status, &refused)));
    }
    lines.end();
    // The status of the answer says nothing about the registry's, so the refusal is judged by its words.
    Ok(lines.error.map_or(Ok(()), |message| Err(Refusal { status: 0, message })))
}

fn broken(error: hyper::Error) -> PortError {
    http::broken(error).context("Docker")
}

/// Waits for the next sign that the pull goes on.
async fn progress<T>(next: impl Future<Output = T>) -> Result<T, PortError> {
    let silence = Millis::from_secs(PULL_SILENCE_SECONDS_MAX);
    tokio::time::timeout(silence.duration(), next).await.map_err(|_| {
        PortError::timed_out(format!("no progress within {silence}"))
            .hint("look after the registry and the way to it; what was pulled so far is kept: deploy again, it goes on from there")
    })
}

/// Cuts the stream into lines and keeps the first error.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    error: Option<String>,
}

impl Lines {
    fn push(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            if self.partial.len() + piece.len() <= LINE_BYTES_MAX {
                self.partial.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.partial);
        if let Ok(PullLine { error: Some(error) }) = serde_json::from_slice(&line) {
            self.error.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lockgate_model::FailureKind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::time::Instant;

    use super::*;
    use crate::engine_address::Locator;

    fn socket() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        (dir, socket)
    }

    fn engine(socket: &std::path::Path) -> Engine {
        let key = Some(socket.to_str().unwrap().to_owned());
        Engine::new(Arc::new(Locator::new(Arc::new(lockgate_local::Local::new()), key, None)))
    }

    /// An engine whose pull reports `lines` of progress, one each `pause`.
    async fn drip(lines: u32, pause: Duration, listener: UnixListener) -> UnixStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        for _ in 0..lines {
            tokio::time::sleep(pause).await;
            stream.write_all(b"15\r\n{\"status\":\"Pulling\"}\n\r\n").await.unwrap();
        }
        stream
    }

    /// As [`drip`], and then nothing more.
    async fn pull_from(lines: u32, pause: Duration) -> (PortError, Duration) {
        let (dir, socket) = socket();
        let listener = UnixListener::bind(&socket).unwrap();
        let registry = tokio::spawn(async move {
            let stream = drip(lines, pause, listener).await;
            std::future::pending::<()>().await;
            drop(stream);
        });
        let start = Instant::now();
        let error = pull(&engine(&socket), "registry.test/web@sha256:00", None).await.unwrap_err();
        registry.abort();
        drop(dir);
        (error, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_stalls_in_the_middle_is_given_up_after_its_silence() {
        let (error, after) = pull_from(3, Duration::from_secs(100)).await;
        assert_eq!(error.kind, FailureKind::TimedOut, "{error}");
        assert!(error.message.contains("no progress within 2m"), "{error}");
        assert!(!error.hints().is_empty(), "{error}");
        assert_eq!(after.as_secs(), 420);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_says_nothing_at_all_is_given_up_after_its_silence() {
        let (dir, socket) = socket();
        let listener = UnixListener::bind(&socket).unwrap();
        let silent = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            std::future::pending::<()>().await;
            drop(stream);
        });
        let start = Instant::now();
        let error = pull(&engine(&socket), "registry.test/web@sha256:00", None).await.unwrap_err();
        assert!(error.message.contains("no progress within 2m"), "{error}");
        assert_eq!(start.elapsed().as_secs(), PULL_SILENCE_SECONDS_MAX);
        silent.abort();
        drop(dir);
    }

    /// A large image on a thin line: an hour of it, a little every 100 seconds.
    #[tokio::test(start_paused = true)]
    async fn a_pull_that_creeps_on_is_not_given_up() {
        let (dir, socket) = socket();
        let listener = UnixListener::bind(&socket).unwrap();
        let creeping = tokio::spawn(async move {
            let mut stream = drip(36, Duration::from_secs(100), listener).await;
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        });
        let start = Instant::now();
        let pulled = pull(&engine(&socket), "registry.test/web@sha256:00", None).await.unwrap();
        assert!(pulled.is_ok(), "{pulled:?}");
        assert_eq!(start.elapsed().as_secs(), 3600);
        creeping.await.unwrap();
        drop(dir);
    }

    #[tokio::test]
    async fn a_pull_that_is_dropped_ends_at_the_engine() {
        let (dir, socket) = socket();
        let listener = UnixListener::bind(&socket).unwrap();
        let (told, begun) = tokio::sync::oneshot::channel();
        let seen = tokio::spawn(async move {
            let mut stream = drip(1, Duration::ZERO, listener).await;
            told.send(()).unwrap();
            stream.read(&mut [0; 16]).await
        });
        let engine = engine(&socket);
        let pulling = pull(&engine, "registry.test/web@sha256:00", None);
        tokio::select! {
            ended = pulling => panic!("it goes on: {ended:?}"),
            begun = begun => begun.unwrap(),
        }
        let seen =
            tokio::time::timeout(Duration::from_secs(5), seen).await.expect("the connection is closed");
        assert!(matches!(seen.unwrap(), Ok(0) | Err(_)));
        drop(dir);
    }

    #[test]
    fn an_error_is_found_in_a_stream_cut_anywhere() {
        let text = b"{\"status\":\"Pulling\"}\r\n{\"errorDetail\":{},\"error\":\"manifest unknown\"}\r\n{\"status\":\"x\"}";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            text.chunks(size).for_each(|chunk| lines.push(chunk));
            lines.end();
            assert_eq!(lines.error.as_deref(), Some("manifest unknown"), "chunks of {size}");
        }
    }
}
