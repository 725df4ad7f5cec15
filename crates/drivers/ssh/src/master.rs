//! Ending a master connection, with whatever sessions it still has.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

/// Longest wait for a master to take the request, and to go.
const END_MILLIS_MAX: u64 = 1000;
/// Length, `MUX_MSG_HELLO` and its version, as in OpenSSH's PROTOCOL.mux.
const HELLO: [u8; 12] = [0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 4];
/// Length, `MUX_C_TERMINATE` and the request's number.
const TERMINATE: [u8; 12] = [0, 0, 0, 8, 0x10, 0, 0, 5, 0, 0, 0, 0];

/// Control sockets of the masters of this process.
static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A master that runs. Dropping it ends it at once: asked to stop listening only, it would live on as long as a session
/// does, and a login shell that never answers is one without an end.
pub(crate) struct Master(PathBuf);

impl Master {
    pub(crate) fn new(socket: PathBuf) -> Master {
        open().insert(socket.clone());
        Master(socket)
    }

    /// # Errors
    /// When it has gone already, or does not go.
    pub(crate) fn end(&self) -> std::io::Result<()> {
        open().remove(&self.0);
        end(&self.0)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if open().remove(&self.0)
            && let Err(error) = end(&self.0)
        {
            tracing::debug!(%error, "the ssh master has gone already, or does not go");
        }
    }
}

/// Ends all masters of this process, for where it ends without dropping what it has.
pub fn end_masters() {
    for socket in std::mem::take(&mut *open()) {
        if let Err(error) = end(&socket) {
            tracing::debug!(%error, "the ssh master has gone already, or does not go");
        }
    }
}

/// Asks the master behind a control socket to go, and waits until it has.
///
/// # Errors
/// Nobody listens there, or it does not go within [`END_MILLIS_MAX`].
pub(crate) fn end(socket: &Path) -> std::io::Result<()> {
    let bound = Some(Duration::from_millis(END_MILLIS_MAX));
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(bound)?;
    stream.set_read_timeout(bound)?;
    stream.write_all(&HELLO)?;
    stream.write_all(&TERMINATE)?;
    // Its hello and its answer, then the end: far less than this.
    stream.take(u64::from(u16::MAX)).read_to_end(&mut Vec::new()).map(drop).or_else(|error| {
        // It went with what it had not read yet.
        if error.kind() == std::io::ErrorKind::ConnectionReset { Ok(()) } else { Err(error) }
    })
}

/// Returns when the master behind a control socket has gone: a connection to it lives as long as it does.
pub(crate) async fn gone(socket: &Path) {
    let watch = async {
        let mut stream = tokio::net::UnixStream::connect(socket).await?;
        stream.write_all(&HELLO).await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    if let Err(error) = watch.await {
        tracing::debug!(%error, "the ssh master went in the middle of a word");
    }
}

/// Nothing in here can panic, so a poisoned lock has nothing wrong behind it.
fn open() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}
