//! What is not ours, and what to type.

use std::fmt;
use std::path::Path;

use crate::shell::REPORT;

/// A file or folder that Lockgate does not rely on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Names it and says why.
    pub message: String,
    /// What to type, on the machine that it is on.
    pub hint: String,
}

/// What is there instead of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fifo,
    Link,
    Socket,
    Device,
    Folder,
}

impl Kind {
    /// By the first letter of what `ls -l` says.
    fn of(letter: char) -> Kind {
        match letter {
            'p' => Kind::Fifo,
            'l' => Kind::Link,
            's' => Kind::Socket,
            'd' => Kind::Folder,
            _ => Kind::Device,
        }
    }
}

impl Foreign {
    pub(crate) fn kind(path: &Path, kind: Kind) -> Foreign {
        let what = match kind {
            Kind::Fifo => "a FIFO",
            Kind::Link => "a symbolic link",
            Kind::Socket => "a socket",
            Kind::Device => "a device",
            Kind::Folder => "a folder",
        };
        Foreign {
            message: format!("{} is {what}, not a file", path.display()),
            hint: format!("see who put it there: `ls -ld {0}`; then remove it: `rm {0}`", quoted(path)),
        }
    }

    pub(crate) fn owner(path: &Path, uid: u32, name: Option<String>) -> Foreign {
        let who = name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"));
        Foreign {
            message: format!(
                "{} belongs to {who}, who could make Lockgate do anything by it",
                path.display()
            ),
            hint: format!(
                "look at what is in it, then make it this user's: `sudo chown -R \"$USER\" {}`",
                quoted(path)
            ),
        }
    }

    pub(crate) fn writable(path: &Path, by: &str, is_mine: bool) -> Foreign {
        let sudo = if is_mine { "" } else { "sudo " };
        Foreign {
            message: format!(
                "{} can be written by {by}, who could make Lockgate do anything by it",
                path.display()
            ),
            hint: format!("look at what is in it, then keep others out: `{sudo}chmod go-w {}`", quoted(path)),
        }
    }

    /// What `lg_ours` of [`crate::SHELL`] reported among a script's error lines; `None` when it reported nothing.
    #[must_use]
    pub fn reported(said: &str) -> Option<Foreign> {
        let report = said.lines().rev().find_map(|line| line.trim().strip_prefix(REPORT))?;
        let mut words = report.trim_start().splitn(5, ' ');
        let (why, mode) = (words.next()?, words.next()?);
        let (uid, me) = (words.next()?.parse().ok()?, words.next()?);
        let path = words.next()?;
        let path = Path::new(path.strip_suffix("/.").unwrap_or(path));
        let is_mine = me.parse() == Ok(uid);
        Some(match why {
            "owner" => Foreign::owner(path, uid, None),
            "group" => Foreign::writable(path, "its group", is_mine),
            "all" => Foreign::writable(path, "every user of its machine", is_mine),
            _ => Foreign::kind(path, Kind::of(mode.chars().next()?)),
        })
    }
}

fn quoted(path: &Path) -> String {
    shell_words::quote(&path.to_string_lossy()).into_owned()
}

/// Why a file was not opened.
#[derive(Debug)]
pub enum OwnError {
    Foreign(Foreign),
    Io(std::io::Error),
}

impl OwnError {
    /// There is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, OwnError::Io(error) if error.kind() == std::io::ErrorKind::NotFound)
    }
}

impl From<Foreign> for OwnError {
    fn from(foreign: Foreign) -> OwnError {
        OwnError::Foreign(foreign)
    }
}

impl From<std::io::Error> for OwnError {
    fn from(error: std::io::Error) -> OwnError {
        OwnError::Io(error)
    }
}

impl fmt::Display for OwnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OwnError::Foreign(foreign) => f.write_str(&foreign.message),
            OwnError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OwnError {}

/// For those who tell files' errors by [`std::io::Error`]: the hint then stands behind the message.
impl From<OwnError> for std::io::Error {
    fn from(error: OwnError) -> std::io::Error {
        match error {
            OwnError::Io(error) => error,
            OwnError::Foreign(Foreign { message, hint }) => {
                std::io::Error::new(std::io::ErrorKind::PermissionDenied, format!("{message} ({hint})"))
            }
        }
    }
}
