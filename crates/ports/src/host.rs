//! A machine: this one, or one reached over SSH.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use lockgate_model::{FailureKind, HostId, Millis, Timestamp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::{Check, Ended, LineSink, PortError, Upload, Uploaded};

/// Largest file that is read from or written to a host.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most names of files that are asked for at once.
pub const NAMES_MAX: usize = 1_000;
/// Free space below which a disk counts as full: leases, lists and a start write some KiB.
pub const STATE_FREE_MIB_MIN: u64 = 1;
/// Age from which a temporary file is one that a killed write left: no write takes that long.
pub const TEMPORARY_SECONDS_MAX: u64 = 3600;
/// Default bound for one command on a host.
const COMMAND_SECONDS_DEFAULT: u64 = 60;

/// A command as an argument array: it is rendered once, by the driver, and no part of it is ever read by a shell
/// that it was not written for.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments. Not empty.
    pub argv: Vec<String>,
    /// Added to the environment. Values may be secrets: a driver keeps them out of argv and errors.
    pub env: BTreeMap<String, String>,
    /// The folder it starts in; `None`: where commands on that host start.
    pub cwd: Option<String>,
    /// Written to standard input, which is then closed.
    pub stdin: Vec<u8>,
    /// After which the command is killed and the error is `TimedOut`.
    pub timeout: Millis,
}

/// Shows argv only: environment and input may hold secrets.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("argv", &self.argv).field("cwd", &self.cwd).finish_non_exhaustive()
    }
}

impl Command {
    /// Without input and additions to the environment, for at most 60 s.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            cwd: None,
            stdin: Vec::new(),
            timeout: Millis::from_secs(COMMAND_SECONDS_DEFAULT),
        }
    }

    /// Adds an argument at the end.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.argv.push(arg.into());
        self
    }

    /// Adds a variable, or replaces it.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// The folder it starts in.
    #[must_use]
    pub fn cwd(mut self, cwd: impl Into<String>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    /// What it gets on standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// After which it is killed.
    #[must_use]
    pub fn timeout(mut self, timeout: Millis) -> Self {
        self.timeout = timeout;
        self
    }
}

/// What a command left. A non-zero code is not an error at this port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; 128 + signal when it was killed by one.
    pub code: i32,
    /// At most the last MiB each.
    pub stdout: Vec<u8>,
    /// At most the last MiB, as of `stdout`.
    pub stderr: Vec<u8>,
}

impl Output {
    /// It ended with code 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// What is no UTF-8 is `U+FFFD` in it.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What is no UTF-8 is `U+FFFD` in it.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Where something listens, as seen from the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `host:port`.
    Tcp(String),
    /// Absolute path of a Unix socket.
    Unix(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => f.write_str(address),
            Endpoint::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// `unix:/path`, else `host:port`.
impl From<&str> for Endpoint {
    fn from(text: &str) -> Endpoint {
        match text.strip_prefix("unix:") {
            Some(path) => Endpoint::Unix(path.to_owned()),
            None => Endpoint::Tcp(text.to_owned()),
        }
    }
}

/// A byte stream to something on a host.
pub trait HostStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> HostStream for T {}

/// Whether somebody listens there. Through SSH a stream to where nobody does opens as well, and ends at once: one that is
/// still open after `bound` leads to somebody.
///
/// # Errors
/// The host's, where it cannot be asked.
pub async fn listens(host: &dyn Host, endpoint: &Endpoint, bound: Millis) -> Result<bool, PortError> {
    let mut stream = match host.connect(endpoint, bound).await {
        Ok(stream) => stream,
        Err(error) if error.kind == FailureKind::Unreachable => return Ok(false),
        Err(error) => return Err(error),
    };
    if host.id().is_local() {
        return Ok(true);
    }
    let ended = tokio::time::timeout(bound.duration(), stream.read(&mut [0])).await;
    Ok(!matches!(ended, Ok(Ok(0) | Err(_))))
}

/// A file's content and the host's clock, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFile {
    /// `None` when there is no such file.
    pub content: Option<Vec<u8>>,
    /// The host's clock when it was read.
    pub now: Timestamp,
}

/// Refuses content that could not be read back: a state file that nobody can read locks everybody out.
///
/// # Errors
/// `Refused` above [`FILE_BYTES_MAX`].
pub fn readable(path: &str, content: &[u8]) -> Result<(), PortError> {
    match content.len() {
        0..=FILE_BYTES_MAX => Ok(()),
        length => Err(PortError::new(
            lockgate_model::FailureKind::Refused,
            format!("{path} is not written: {length} bytes are more than are read back ({FILE_BYTES_MAX})"),
        )),
    }
}

/// How a compare-and-swap ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// The file held what was expected, and holds the new content now.
    Yes,
    /// The file held something else.
    No,
}

/// A machine. What only looks here (`read`, `read_own`, `names`, `connect`, `disk_free_mib`) fails without
/// [effect](crate::PortError::effect).
#[async_trait]
pub trait Host: Send + Sync {
    /// Its name in the configuration.
    fn id(&self) -> &HostId;

    /// Runs a command to its end. When the future is dropped or the bound passes the command is killed, remotely too,
    /// as well as can be; its outcome is then unknown.
    ///
    /// # Errors
    /// `NotFound` when the program does not exist, `Unreachable`, `TimedOut`, `Unauthorized` (host refuses us).
    async fn exec(&self, command: &Command) -> Result<Output, PortError>;

    /// As [`Host::exec`], for what takes long: each line goes to `sink` as it comes. A line has a
    /// [longest length](crate::LINE_BYTES_MAX), and what is kept of them for the end a [bound](crate::LINES_KEPT_MAX). Over
    /// SSH it costs a session of its own.
    ///
    /// # Errors
    /// As for [`Host::exec`]. The lines that had come by then have been told.
    async fn exec_lines(&self, command: &Command, sink: &mut dyn LineSink) -> Result<Ended, PortError>;

    /// Runs a command with this process's own standard input, output and error, to its end, however long that takes; its exit
    /// code, 128 + signal when it was killed by one. `is_tty`: they are a terminal, and the command gets one. When the future
    /// is dropped it is killed, as well as can be. Its `stdin` and `timeout` do not count.
    ///
    /// # Errors
    /// As for [`Host::exec`]; `Refused` by a host that has no such way.
    async fn attach(&self, command: &Command, is_tty: bool) -> Result<i32, PortError> {
        let (_, _) = (command, is_tty);
        let message = format!("{} has no way to pass a terminal on", self.id());
        Err(PortError::new(FailureKind::Refused, message))
    }

    /// Reads anybody's file, after links.
    ///
    /// # Errors
    /// `Unreachable`, `Unauthorized`, `TooLarge` for files over [`FILE_BYTES_MAX`], and `Refused` at once for what is no
    /// file, such as a FIFO. A missing file is `content: None`.
    async fn read(&self, path: &str) -> Result<HostFile, PortError>;

    /// As [`Host::read`], of several files, in their order; over a network in one request. Each has its own error.
    async fn read_each(&self, paths: &[String]) -> Vec<Result<HostFile, PortError>> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            files.push(self.read(path).await);
        }
        files
    }

    /// Reads a file that only Lockgate writes and that something is done by before anything is written beside it: it must
    /// be [ours](lockgate_own). That others may write there may be refused only by [`Host::write_own`] and [`Host::swap`].
    ///
    /// # Errors
    /// As for [`Host::read`], and `Refused` for a link and for what is not ours.
    async fn read_own(&self, path: &str) -> Result<HostFile, PortError>;

    /// Replaces the file as a whole (temporary file beside it, fsync, rename, fsync of the folder), making its folder
    /// where missing, which others may then read and not write, whatever the umask. A reader sees the old or the new
    /// content, never a part. `mode` is the file's permission bits. Temporary files of this file that a write which was
    /// killed left [long ago](TEMPORARY_SECONDS_MAX) are removed.
    ///
    /// # Errors
    /// `DiskFull`, `Unauthorized`, `Unreachable`, `Refused` for what is [not readable](readable) afterwards; the old
    /// file is then untouched, unless the [effect](crate::PortError::effect) is unknown.
    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError>;

    /// As [`Host::write`], for a file that only Lockgate writes.
    ///
    /// # Errors
    /// As for [`Host::write`], and `Refused` when its folder, what is there, or a `*.json` beside it is not
    /// [ours](lockgate_own): nothing was written then. So after it succeeded what stands in the folder can be relied on.
    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError>;

    /// Makes a stream of any length the content of a file, in pieces: it is never in memory as a whole. Everything else is as
    /// for [`Host::write_own`]: who looks sees the old file or the whole new one. The size and the SHA-256 of what lies on
    /// the host are compared with those of what was sent before it takes the old one's place. Dropped before its end it
    /// leaves the old file.
    ///
    /// There is no bound for the whole, but for each time in which nothing goes on ([`Upload::stall`]), and for the check at
    /// the end, by its size.
    ///
    /// # Errors
    /// As for [`Host::write_own`], those of reading the content, `Refused` when it is not what it should be, `TooLarge`
    /// above [`Upload::bytes_max`], `TimedOut`. The old file is then untouched, but where the
    /// [effect](crate::PortError::effect) is unknown, which it is only after the last byte was sent.
    async fn upload(&self, upload: Upload<'_>) -> Result<Uploaded, PortError>;

    /// Names of the files in `folder` that begin with `prefix`, in any order, at most [`NAMES_MAX`] of them. Links, folders
    /// and names with control characters are left out; a missing folder has none.
    ///
    /// # Errors
    /// `Unauthorized`, `Unreachable`.
    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError>;

    /// Removes the file; a missing one is fine.
    ///
    /// # Errors
    /// `Unauthorized`, `Unreachable`.
    async fn remove(&self, path: &str) -> Result<(), PortError>;

    /// Compare-and-swap of a whole file, atomic among all callers of this method on this host by whatever way they
    /// came: under an exclusive `flock(2)` on `<path>.lock`, compare the content with `expected` (`None`: no file),
    /// then replace it as [`Host::write_own`] does (mode 0644, so that every user of the host may read it: no secrets).
    ///
    /// The lock is held for the comparison and the renaming alone, by a process that is not stopped with its caller (a
    /// signal to this process or to its group). Somebody else's is waited for, and then it is said
    /// [who holds it](crate::LockHolder).
    ///
    /// # Errors
    /// As for [`Host::write_own`]; the lock must be ours too. `TimedOut` while somebody else holds the lock: nothing was done.
    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError>;

    /// Connects to an address as seen from the host.
    ///
    /// # Errors
    /// `Unreachable` when nothing listens, `TimedOut`.
    async fn connect(&self, endpoint: &Endpoint, timeout: Millis) -> Result<Box<dyn HostStream>, PortError>;

    /// What is asked from now on comes by a new login, with the groups that this user has been given meanwhile. What is under
    /// way ends by the old one. Nothing where there is no login, as on this machine.
    async fn reconnect(&self) {}

    /// Returns when the host, which answered until then, does so no more, within seconds and whatever is under way there:
    /// long before each thing that is waited for has timed out. Never where that is not noticed by itself, as on this
    /// machine.
    async fn gone(&self) -> PortError {
        std::future::pending().await
    }

    /// Free space in MiB on the file system that holds `path` or its nearest existing parent.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError>;

    /// What a deployment will need of this host: the way there, the programs wanted there, its clock. For `doctor`; changes
    /// nothing that stays. Where one is bad nothing else need be looked at there.
    async fn check(&self) -> Vec<Check> {
        Vec::new()
    }
}
