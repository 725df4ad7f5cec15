//! The port `Host` on this machine.

use std::path::Path;

use async_trait::async_trait;
use lockgate_model::{FailureKind, HostId, Millis};
use lockgate_ports::{
    Check, Command, Ended, Endpoint, Host, HostFile, HostStream, LineSink, Output, PortError, Swapped,
    Upload, Uploaded,
};
use tokio::net::{TcpStream, UnixStream};

use crate::ending::Ending;
use crate::{attach, command, doctor, files, now, upload};

const MEBIBYTE: u64 = 1024 * 1024;

/// This machine.
#[derive(Debug, Clone)]
pub struct Local {
    id: HostId,
    ending: Ending,
}

impl Local {
    /// With the host id `local`.
    ///
    /// # Panics
    /// Never: the id is a constant that is a valid host id.
    #[must_use]
    pub fn new() -> Local {
        Local { id: HostId::new("local").expect("'local' is a host id"), ending: Ending::default() }
    }

    /// Returns when all commands of this one (and its clones) whose futures were dropped have ended, with all that they had
    /// started: they are asked to, and killed after some seconds.
    pub async fn ended(&self) {
        self.ending.all().await;
    }
}

impl Default for Local {
    fn default() -> Local {
        Local::new()
    }
}

#[async_trait]
impl Host for Local {
    fn id(&self) -> &HostId {
        &self.id
    }

    async fn exec(&self, command: &Command) -> Result<Output, PortError> {
        command::run(command, &self.ending).await
    }

    async fn exec_lines(&self, command: &Command, sink: &mut dyn LineSink) -> Result<Ended, PortError> {
        command::tell(command, &self.ending, sink).await
    }

    async fn attach(&self, command: &Command, _is_tty: bool) -> Result<i32, PortError> {
        attach::run(command).await
    }

    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        read(path, files::read).await
    }

    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        read(path, files::read_own).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        let (path, content) = (path.to_owned(), content.to_owned());
        aside(move || files::write(Path::new(&path), &content, mode)).await
    }

    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        let (path, content) = (path.to_owned(), content.to_owned());
        aside(move || files::write_own(Path::new(&path), &content, mode)).await
    }

    async fn upload(&self, upload: Upload<'_>) -> Result<Uploaded, PortError> {
        upload::run(upload.pieces()).await
    }

    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        let (folder, prefix) = (folder.to_owned(), prefix.to_owned());
        aside(move || files::names(Path::new(&folder), &prefix)).await.map_err(PortError::without_effect)
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        let path = path.to_owned();
        aside(move || files::remove(Path::new(&path))).await
    }

    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        let (path, expected, content) = (path.to_owned(), expected.map(<[u8]>::to_vec), content.to_owned());
        aside(move || files::swap(Path::new(&path), expected.as_deref(), &content)).await
    }

    async fn connect(&self, endpoint: &Endpoint, timeout: Millis) -> Result<Box<dyn HostStream>, PortError> {
        match tokio::time::timeout(timeout.duration(), connect(endpoint)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(refused(endpoint, error).without_effect()),
            Err(_) => {
                let message = format!("connect to {endpoint}: no answer within {timeout}");
                Err(PortError::timed_out(message).without_effect())
            }
        }
    }

    async fn check(&self) -> Vec<Check> {
        doctor::check(self).await
    }

    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        let path = path.to_owned();
        // Of a network's file system it takes as long as its server does.
        aside(move || free_mib(&path)).await
    }
}

/// A small cached file takes microseconds in place, less than a way to another thread and back.
async fn read(
    path: &str,
    content: fn(&Path) -> Result<Option<Vec<u8>>, PortError>,
) -> Result<HostFile, PortError> {
    // The clock before the content: a lease then rather looks younger than it is.
    let now = now();
    let read = match files::is_small(Path::new(path)) {
        true => content(Path::new(path)),
        false => {
            let path = path.to_owned();
            aside(move || content(Path::new(&path))).await
        }
    };
    Ok(HostFile { content: read.map_err(PortError::without_effect)?, now })
}

fn free_mib(path: &str) -> Result<u64, PortError> {
    let existing = Path::new(path).ancestors().find(|one| one.exists()).unwrap_or(Path::new("."));
    let status = rustix::fs::statvfs(existing).map_err(|error| {
        let error = PortError::from(std::io::Error::from(error)).context(format!("free space of {path}"));
        error.without_effect()
    })?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize) / MEBIBYTE)
}

/// Runs what waits for the disk, a lock or a program's start on a thread of its own. It is finished even when the future is
/// dropped: file work is not interrupted halfway.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(PortError::unreachable(format!("the work was cut off: {error}"))),
    }
}

async fn connect(endpoint: &Endpoint) -> std::io::Result<Box<dyn HostStream>> {
    match endpoint {
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address.as_str()).await?;
            // Small requests and answers must not wait for each other's acknowledgement.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Endpoint::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

/// A missing socket file is a listener that is not there, as a refused port is.
fn refused(endpoint: &Endpoint, error: std::io::Error) -> PortError {
    let mut error = PortError::from(error).context(format!("connect to {endpoint}"));
    match error.kind {
        FailureKind::Unauthorized => {
            error.hint("this user may not open that socket: see its group with ls -l")
        }
        FailureKind::TimedOut => error,
        _ => {
            error.kind = FailureKind::Unreachable;
            error.hint("does it run, and does it listen there?")
        }
    }
}
