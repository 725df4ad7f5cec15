//! `access.log`: one JSON line per request, written by a thread of its own.
//!
//! Every request that was read has one, those whose client left early too (status 499 when the response had not begun).
//! A request only puts a record into a bounded queue; when the queue is full the record is dropped and counted. The
//! query is never logged, because tokens travel there.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::{Method, Request, Uri};
use rustix::fs::OFlags;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::config::ProxyError;
use crate::log_limit::LogLimit;
use crate::shared::unix_ms;
use crate::slots::CutOff;
use crate::table::LiveTarget;

/// How many records wait for the writer.
const QUEUE_RECORDS_MAX: usize = 16_384;
/// How long the writer lets records gather. It sleeps meanwhile, so that a request doesn't have to wake it.
const GATHER_MS: u64 = 50;
/// How long the end of the process waits for the writer.
const FINISH_SECONDS_MAX: u64 = 2;

/// The group may read it, for log collectors, whatever the umask gives to others.
const MODE: u32 = 0o640;
/// How much of a path is logged. A head may have 64 KiB, with which a few thousand requests could rotate everything away.
const PATH_BYTES_MAX: usize = 1024;
/// How much of a method is logged.
const METHOD_BYTES_MAX: usize = 32;
/// What is logged as the status of a request whose client left before the response began, as nginx does.
const CLIENT_LEFT: u16 = 499;

/// One request, as long as it lasts. Counted and logged when it is dropped, if not before.
pub(crate) struct Record {
    log: AccessLog,
    begun: Instant,
    at_ms: u64,
    client: IpAddr,
    method: Method,
    /// The host that the request was routed by; `None` also when it named none that can be meant.
    host: Option<HeaderValue>,
    uri: Uri,
    /// The slot that it was sent to.
    target: Option<Arc<LiveTarget>>,
    /// How long it waited for a held route. This is not the slot's doing.
    pub(crate) held: Option<Duration>,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) cut_off: Option<CutOff>,
    finished: bool,
}

impl Record {
    pub(crate) fn begin<B>(
        log: AccessLog,
        client: IpAddr,
        request: &Request<B>,
        host: Option<HeaderValue>,
    ) -> Self {
        Self {
            log,
            begun: Instant::now(),
            at_ms: unix_ms(),
            client,
            method: request.method().clone(),
            host,
            uri: request.uri().clone(),
            target: None,
            held: None,
            status: 0,
            bytes: 0,
            cut_off: None,
            finished: false,
        }
    }

    /// From now on it counts as this slot's.
    pub(crate) fn sent_to(&mut self, target: &Arc<LiveTarget>) {
        self.target = Some(target.clone());
    }

    /// Counts and logs the request, once.
    pub(crate) fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let took = self.begun.elapsed();
        if let Some(target) = &self.target {
            let here = took.saturating_sub(self.held.unwrap_or_default());
            target.stats.finished(self.status, here, self.cut_off);
        }
        let Some(shared) = &self.log.shared else { return };
        let line = Line {
            at_ms: self.at_ms,
            took,
            held: self.held,
            client: self.client,
            method: std::mem::take(&mut self.method),
            host: self.host.take(),
            uri: std::mem::take(&mut self.uri),
            status: self.status,
            bytes: self.bytes,
            target: self.target.take(),
            cut_off: self.cut_off,
        };
        if shared.queue.try_send(line).is_err() {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if self.status == 0 {
            self.status = CLIENT_LEFT;
        }
        self.cut_off = self.cut_off.or(Some(CutOff::Client));
        self.finish();
    }
}

/// A finished request in the queue.
struct Line {
    at_ms: u64,
    took: Duration,
    held: Option<Duration>,
    client: IpAddr,
    method: Method,
    host: Option<HeaderValue>,
    uri: Uri,
    status: u16,
    bytes: u64,
    target: Option<Arc<LiveTarget>>,
    cut_off: Option<CutOff>,
}

#[derive(Serialize)]
struct Written<'a> {
    at_ms: u64,
    client: IpAddr,
    method: &'a str,
    host: Option<&'a str>,
    path: &'a str,
    /// How long the path really is, where that is only its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<usize>,
    status: u16,
    bytes: u64,
    micros: u128,
    /// How much of that it waited because its route was held.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_micros: Option<u128>,
    route: Option<&'a str>,
    slot: Option<&'a str>,
    release: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_off: Option<CutOff>,
}

impl Line {
    fn written(&self) -> Written<'_> {
        let target = self.target.as_deref();
        let whole = self.uri.path();
        let path = &whole[..whole.floor_char_boundary(PATH_BYTES_MAX)];
        let method = self.method.as_str();
        Written {
            at_ms: self.at_ms,
            client: self.client,
            method: &method[..method.floor_char_boundary(METHOD_BYTES_MAX)],
            host: self.host.as_ref().and_then(|host| host.to_str().ok()),
            path,
            path_bytes: (path.len() < whole.len()).then_some(whole.len()),
            status: self.status,
            bytes: self.bytes,
            micros: self.took.as_micros(),
            held_micros: self.held.map(|held| held.as_micros()),
            route: target.map(|live| live.route.as_str()),
            slot: target.map(|live| live.target.slot.as_str()),
            release: target.map(|live| live.target.release.as_str()),
            cut_off: self.cut_off,
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
    let failures = LogLimit::new();
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

/// May be led elsewhere by a link, which only who owns the folder can have made. Never waits for a FIFO's reader.
fn append_to(path: &Path) -> std::io::Result<File> {
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().create(true).append(true).mode(MODE).custom_flags(no_wait).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_request(log: &AccessLog, path: &str) {
        let request = Request::builder().uri(path).body(()).unwrap();
        let host = Some(HeaderValue::from_static("app.example"));
        let mut record = Record::begin(log.clone(), IpAddr::from([192, 0, 2, 1]), &request, host);
        record.status = 404;
        record.finish();
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
