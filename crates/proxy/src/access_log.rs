//! `access.log`: one JSON line per request, written by a thread of its own.
//!
//! A request only puts a record into a bounded queue; when the queue is full the record is dropped and counted. The
//! query is never logged, because tokens travel there.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::{Method, Request, Uri};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::config::ProxyError;
use crate::forward::logged_host;
use crate::router::Claim;
use crate::seldom::Seldom;
use crate::shared::unix_ms;
use crate::table::LiveTarget;

/// How many records wait for the writer.
const QUEUE_RECORDS_MAX: usize = 16_384;
/// How long the writer lets records gather. It sleeps meanwhile, so that a request doesn't have to wake it.
const GATHER_MS: u64 = 50;
/// How long the end of the process waits for the writer.
const FINISH_SECONDS_MAX: u64 = 2;

/// One request, as long as it lasts.
pub(crate) struct Record {
    log: AccessLog,
    begun: Instant,
    at_ms: u64,
    client: IpAddr,
    method: Method,
    host: Option<HeaderValue>,
    uri: Uri,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    finished: bool,
}

impl Record {
    pub(crate) fn begin<B>(log: AccessLog, client: IpAddr, request: &Request<B>) -> Self {
        Self {
            log,
            begun: Instant::now(),
            at_ms: unix_ms(),
            client,
            method: request.method().clone(),
            host: logged_host(request),
            uri: request.uri().clone(),
            status: 0,
            bytes: 0,
            finished: false,
        }
    }

    /// Counts and logs the request, once.
    pub(crate) fn finish(&mut self, claim: Option<&Claim>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let took = self.begun.elapsed();
        if let Some(claim) = claim {
            claim.live.stats.finished(self.status, took);
        }
        let Some(shared) = &self.log.shared else { return };
        let line = Line {
            at_ms: self.at_ms,
            took,
            client: self.client,
            method: std::mem::take(&mut self.method),
            host: self.host.take(),
            uri: std::mem::take(&mut self.uri),
            status: self.status,
            bytes: self.bytes,
            target: claim.map(|claim| claim.live.clone()),
        };
        if shared.queue.try_send(line).is_err() {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A finished request in the queue.
struct Line {
    at_ms: u64,
    took: Duration,
    client: IpAddr,
    method: Method,
    host: Option<HeaderValue>,
    uri: Uri,
    status: u16,
    bytes: u64,
    target: Option<Arc<LiveTarget>>,
}

#[derive(Serialize)]
struct Written<'a> {
    at_ms: u64,
    client: IpAddr,
    method: &'a str,
    host: Option<&'a str>,
    path: &'a str,
    status: u16,
    bytes: u64,
    micros: u128,
    route: Option<&'a str>,
    slot: Option<&'a str>,
    release: Option<&'a str>,
}

impl Line {
    fn written(&self) -> Written<'_> {
        let target = self.target.as_deref();
        Written {
            at_ms: self.at_ms,
            client: self.client,
            method: self.method.as_str(),
            host: self.host.as_ref().and_then(|host| host.to_str().ok()).or_else(|| self.uri.host()),
            path: self.uri.path(),
            status: self.status,
            bytes: self.bytes,
            micros: self.took.as_micros(),
            route: target.map(|live| live.route.as_str()),
            slot: target.map(|live| live.target.slot.as_str()),
            release: target.map(|live| live.target.release.as_str()),
        }
    }
}

struct LogShared {
    queue: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

/// Where records go. Cloned for every request in flight; the writer ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct AccessLog {
    shared: Option<Arc<LogShared>>,
}

/// Tells when the writer has written everything.
pub(crate) struct Writer(Option<oneshot::Receiver<()>>);

impl Writer {
    /// Waits until what is queued is written, which ends only when every [`AccessLog`] is gone, so it is bounded.
    pub(crate) async fn finished(self) {
        let Some(done) = self.0 else { return };
        if tokio::time::timeout(Duration::from_secs(FINISH_SECONDS_MAX), done).await.is_err() {
            tracing::warn!("the last lines of the access log may be missing");
        }
    }
}

impl AccessLog {
    /// `bytes_max` of 0 means no log at all.
    pub(crate) fn open(path: PathBuf, bytes_max: u64) -> Result<(Self, Writer), ProxyError> {
        if bytes_max == 0 {
            return Ok((Self { shared: None }, Writer(None)));
        }
        let (queue, lines) = sync_channel(QUEUE_RECORDS_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let file =
            LogFile::open(path.clone(), bytes_max).map_err(|error| ProxyError::io("open", &path, error))?;
        let lost = dropped.clone();
        let named = std::thread::Builder::new().name("access-log".to_owned());
        let (finished, done) = oneshot::channel::<()>();
        let thread = named.spawn(move || {
            write_lines(file, &lines, &lost);
            drop(finished);
        });
        thread.map_err(|error| ProxyError::io("start the writer of", &path, error))?;
        Ok((Self { shared: Some(Arc::new(LogShared { queue, dropped })) }, Writer(Some(done))))
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.dropped.load(Ordering::Relaxed))
    }
}

fn write_lines(mut file: LogFile, lines: &Receiver<Line>, dropped: &AtomicU64) {
    let failures = Seldom::new();
    while let Ok(first) = lines.recv() {
        std::thread::sleep(Duration::from_millis(GATHER_MS));
        let mut lost = 0;
        let mut failure = None;
        for line in std::iter::once(first).chain(lines.try_iter().take(QUEUE_RECORDS_MAX)) {
            if let Err(error) = file.write(&line) {
                lost += 1;
                failure = Some(error);
            }
        }
        failure = file.out.flush().err().or(failure);
        if let Some(error) = failure {
            dropped.fetch_add(lost, Ordering::Relaxed);
            if let Some(left_out) = failures.due() {
                let path = file.path.display();
                tracing::warn!(%error, %path, left_out, "the access log can't be written");
            }
        }
    }
}

struct LogFile {
    path: PathBuf,
    out: BufWriter<File>,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    fn open(path: PathBuf, bytes_max: u64) -> std::io::Result<Self> {
        let file = append_to(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, out: BufWriter::with_capacity(64 * 1024, file), bytes, bytes_max })
    }

    fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(&line.written())?;
        text.push(b'\n');
        if self.bytes > 0 && self.bytes + text.len() as u64 > self.bytes_max {
            self.rotate()?;
        }
        self.bytes += text.len() as u64;
        self.out.write_all(&text)
    }

    /// The file becomes `access.log.1`, replacing the one before it.
    fn rotate(&mut self) -> std::io::Result<()> {
        self.out.flush()?;
        fs::rename(&self.path, self.path.with_extension("log.1"))?;
        self.out = BufWriter::with_capacity(64 * 1024, append_to(&self.path)?);
        self.bytes = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_request(log: &AccessLog, path: &str) {
        let request = Request::builder().uri(path).header("host", "app.example").body(()).unwrap();
        let mut record = Record::begin(log.clone(), IpAddr::from([192, 0, 2, 1]), &request);
        record.status = 404;
        record.finish(None);
    }

    #[tokio::test]
    async fn lines_are_json_without_the_query() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let (log, writer) = AccessLog::open(path.clone(), 1 << 20).unwrap();
        one_request(&log, "/a?token=secret");
        drop(log);
        writer.finished().await;
        let text = fs::read_to_string(path).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((line["path"].as_str(), line["status"].as_u64()), (Some("/a"), Some(404)));
        assert_eq!(
            (line["host"].as_str(), line["client"].as_str()),
            (Some("app.example"), Some("192.0.2.1"))
        );
        assert!(!text.contains("secret"));
    }

    #[tokio::test]
    async fn the_file_is_rotated_by_size_and_one_old_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let (log, writer) = AccessLog::open(path.clone(), 1000).unwrap();
        (0..50).for_each(|n| one_request(&log, &format!("/{n}")));
        drop(log);
        writer.finished().await;
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&path) <= 1000 && size(&path.with_extension("log.1")) <= 1000);
        assert!(fs::read_to_string(&path).unwrap().contains("\"/49\""));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
