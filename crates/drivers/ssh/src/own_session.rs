//! A session to oneself, for what takes long or has much to say: workers are few, and answer whole.
//!
//! Its first line is a program of ours ([`script::alone`]), which says that it lives on both outputs. Nothing else is sent
//! before that, so what failed until then was certainly not done.

use std::io::{Cursor, Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{FailureKind, HostId};
use lockgate_ports::{PortError, Tail};
use openssh::{Child, ChildStderr, ChildStdin, ChildStdout, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Chain};
use tokio::sync::SemaphorePermit;

use crate::link::Link;
use crate::script;
use crate::session::{self, Begun, Broken};
use crate::trouble;
use crate::worker::{ERROR_BYTES_MAX, Stream};

/// Of one connection at once. With those of the workers they are as many as sshd allows by default.
pub(crate) const OWN_SESSIONS_MAX: usize = 2;
/// Longest wait for the session and for its shell to say that it lives, without the wait for other such sessions to end.
const START_SECONDS_MAX: u64 = 60;

/// An output, behind what came with the line that it began with.
type Output<R> = Chain<Cursor<Vec<u8>>, R>;

/// Dropping it ends its input, and so what runs in it.
pub(crate) struct OwnSession<'a> {
    /// `None` once its end was sent.
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) out: Output<ChildStdout>,
    pub(crate) err: Output<ChildStderr>,
    child: Child<Arc<Session>>,
    _turn: SemaphorePermit<'a>,
}

/// Runs scripts in a new session, until they say that they live.
pub(crate) async fn open<'a>(
    host: &HostId,
    link: &'a Link,
    size: usize,
    scripts: &[&str],
    nonce: &str,
) -> Result<OwnSession<'a>, Broken> {
    // Never closed, so there is always one to be had.
    let turn = link.own_sessions.acquire().await;
    let turn = turn.map_err(|error| Broken::Before(trouble::broken(host, error)))?;
    let program = script::alone(nonce, size, scripts);
    let bound = Duration::from_secs(START_SECONDS_MAX);
    match tokio::time::timeout(bound, start(host, link, &program, nonce, turn)).await {
        Ok(started) => started,
        Err(_) => {
            let message = format!("ssh {host}: no shell says that it lives within {START_SECONDS_MAX} s");
            Err(Broken::Before(PortError::timed_out(message)))
        }
    }
}

async fn start<'a>(
    host: &HostId,
    link: &'a Link,
    program: &str,
    nonce: &str,
    turn: SemaphorePermit<'a>,
) -> Result<OwnSession<'a>, Broken> {
    let before = |error: Error| Broken::Before(trouble::broken(host, error));
    let mut child = loop {
        match session::begin(host, link, || link.workers.let_go()).await? {
            Begun::Session(child) => break child,
            // Its session ends with it, and leaves room for this one.
            Begun::Instead(worker) => drop(worker),
        }
    };
    let (Some(mut stdin), Some(out), Some(err)) =
        (child.stdin().take(), child.stdout().take(), child.stderr().take())
    else {
        return Err(Broken::Before(PortError::other("a session without its three streams")));
    };
    stdin.write_all(program.as_bytes()).await.map_err(before)?;
    let (mut out, mut err) = (Stream::new(out), Stream::new(err));
    let mark = format!("\n{nonce} start");
    // Both to their end, for one of them may say why the session ended.
    let (one, two) = tokio::join!(out.up_to(&mark, ERROR_BYTES_MAX), err.up_to(&mark, ERROR_BYTES_MAX));
    match one.and(two) {
        Ok(_) => {
            Ok(OwnSession { stdin: Some(stdin), out: behind(out), err: behind(err), child, _turn: turn })
        }
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let said = [&err.rest, &out.rest].map(|rest| String::from_utf8_lossy(rest).into_owned());
            Err(Broken::Before(no_shell(host, child, &said).await))
        }
        Err(error) => Err(before(error)),
    }
}

fn behind<R: AsyncRead + Unpin>(stream: Stream<R>) -> Output<R> {
    Cursor::new(stream.rest).chain(stream.from)
}

/// The session ended before its shell said anything of ours.
async fn no_shell(host: &HostId, child: Child<Arc<Session>>, said: &[String]) -> PortError {
    let said = said.iter().map(|said| trouble::last_line(said)).find(|line| !line.is_empty());
    let detail = said.map(|line| format!(": {line}")).unwrap_or_default();
    match child.wait().await {
        Ok(_) | Err(openssh::Error::Remote(_)) => PortError::new(
            FailureKind::Unauthorized,
            format!("ssh {host}: no shell runs there for us{detail}"),
        )
        .hint("allow commands for this user: a shell as login shell and no ForceCommand"),
        Err(error) => trouble::broken(host, error),
    }
}

impl OwnSession<'_> {
    /// The exit code of its shell, when both outputs have ended.
    ///
    /// # Errors
    /// `Unreachable` when the connection broke, or the shell was killed: then how it ended is not known.
    pub(crate) async fn code(self, host: &HostId) -> Result<i32, PortError> {
        // Its input ends only afterwards, which would end what runs in it.
        let OwnSession { stdin, child, .. } = self;
        // openssh tells 127 as an error of its own.
        let code = match child.wait().await {
            Ok(status) => status.code(),
            Err(openssh::Error::Remote(error)) if error.kind() == ErrorKind::NotFound => Some(127),
            Err(error) => return Err(trouble::broken(host, error)),
        };
        drop(stdin);
        code.ok_or_else(|| PortError::unreachable(format!("ssh {host}: its shell was killed")))
    }
}

/// Reads both outputs to their end, and keeps the last `bytes_max` bytes of each.
pub(crate) async fn read(
    out: impl AsyncRead + Unpin,
    err: impl AsyncRead + Unpin,
    bytes_max: usize,
) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut one, mut two) = (Tail::new(bytes_max), Tail::new(bytes_max));
    tokio::try_join!(one.fill(out), two.fill(err))?;
    Ok((one.take(), two.take()))
}
