//! Starting this program again, with what it serves.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::process::{Child, Command};

use crate::{Copies, Link, SocketsError};

/// How long a process that let its link go may take to end, so that its status can be told.
const ENDING_MS_MAX: u64 = 200;

/// How this process was started, to start a successor the same way.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub exe: PathBuf,
    /// Its arguments, without its own name.
    pub args: Vec<OsString>,
}

impl Program {
    /// To be called at the start: later the file may have been replaced, and its name with it.
    ///
    /// # Errors
    /// The executable has no path.
    pub fn current() -> Result<Self, SocketsError> {
        let exe = std::env::current_exe()
            .map_err(|error| SocketsError::io("find the program", "/proc/self/exe", error))?;
        Ok(Self { exe, args: std::env::args_os().skip(1).collect() })
    }
}

/// A process that was started to take over.
#[derive(Debug)]
pub struct Successor<M> {
    child: Child,
    /// To it.
    pub link: Link<M>,
}

impl<M: Serialize + DeserializeOwned> Successor<M> {
    /// Starts it with copies of the listeners and of the lock, which it finds by the variable
    /// ([`crate::Inherited::from_environment`]); `more` is added to its environment.
    ///
    /// # Errors
    /// Why it could not be started, in words.
    pub fn start<'a>(
        program: &Program,
        variable: &str,
        listeners: impl Iterator<Item = BorrowedFd<'a>>,
        lock: Option<BorrowedFd<'_>>,
        more: &[(&str, &OsStr)],
        message_bytes_max: u64,
    ) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(text)?;
        let link = Link::new(ours, message_bytes_max).map_err(text)?;
        let mut command = Command::new(&program.exe);
        command.args(&program.args).envs(more.iter().copied()).stdin(Stdio::null());
        let copies = Copies::new(listeners, lock, &theirs).map_err(text)?;
        copies.announce(variable, &mut command).map_err(text)?;
        let child = command
            .spawn()
            .map_err(|error| format!("{} can't be started: {error}", program.exe.display()))?;
        Ok(Self { child, link })
    }

    /// How it ended, if it did; to be put behind a message.
    pub async fn ending(&mut self) -> String {
        match tokio::time::timeout(Duration::from_millis(ENDING_MS_MAX), self.child.wait()).await {
            Ok(Ok(status)) => format!(" ({status})"),
            Ok(Err(error)) => format!(" ({error})"),
            Err(_) => String::new(),
        }
    }

    /// Ends it: it did not take over.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill().await
    }
}
