//! The temporary file that becomes a file when it is whole, and what killed writes left of such.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lockgate_ports::TEMPORARY_SECONDS_MAX;

use crate::files::folder;
use crate::now;

/// Nobody else may read it before it has the permissions asked for: it may hold secrets.
const MODE: u32 = 0o600;
/// How often another name is taken where something stands at the first.
const TRIES_MAX: u32 = 100;

/// Keeps temporary files of one process apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);
/// Files whose leftovers were looked for by this process: once is enough, and the look reads the folder.
static LOOKED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Removed when dropped, unless it was renamed.
pub(crate) struct Temporary {
    pub file: File,
    path: Option<PathBuf>,
}

impl Temporary {
    /// A new, empty one, `.<name>.<process>.<number>.tmp`. What stands at that name already is left alone.
    pub(crate) fn beside(path: &Path) -> std::io::Result<Temporary> {
        let prefix = prefix(path).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "it names no file"))?;
        let mut tries = 0;
        loop {
            let mut name = prefix.clone();
            name.push(format!("{}.{}.tmp", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
            let temporary = folder(path).join(name);
            match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary) {
                Ok(file) => return Ok(Temporary { file, path: Some(temporary) }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// `None` once it has been renamed.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Somebody else did it.
    pub(crate) fn has_been_renamed(&mut self) {
        self.path = None;
    }

    pub(crate) fn rename(&mut self, path: &Path) -> std::io::Result<()> {
        let Some(temporary) = &self.path else { return Ok(()) };
        std::fs::rename(temporary, path)?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The first error is the one to tell; a temporary file that stays behind is removed later.
        if let Some(path) = &self.path
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(%error, file = %path.display(), "a temporary file stays behind");
        }
    }
}

/// Removes temporary files of `path` that killed writes of this user left long ago, by whatever way they came.
pub(crate) fn remove_left(path: &Path) {
    if !LOOKED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
        return;
    }
    let Some(prefix) = prefix(path) else { return };
    let entries = match std::fs::read_dir(folder(path)) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::debug!(%error, file = %path.display(), "temporary files that were left are not looked for");
            return;
        }
    };
    for entry in entries.flatten() {
        if !is_temporary(prefix.as_encoded_bytes(), entry.file_name().as_encoded_bytes()) {
            continue;
        }
        // Not followed: a link with such a name is none of ours.
        if entry.metadata().is_ok_and(|seen| is_left(&seen)) {
            let removed = std::fs::remove_file(entry.path());
            tracing::debug!(?removed, file = %entry.path().display(), "left by a write that was killed");
        }
    }
}

fn prefix(path: &Path) -> Option<OsString> {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name()?);
    prefix.push(".");
    Some(prefix)
}

/// `<prefix><process>.<number>.tmp`, or over SSH `<prefix><nonce>.tmp`, which had the process alone once.
fn is_temporary(prefix: &[u8], name: &[u8]) -> bool {
    let middle = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(b".tmp"));
    middle.is_some_and(|middle| {
        !middle.is_empty() && middle.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.'))
    })
}

fn is_left(seen: &Metadata) -> bool {
    let age = now().0 / 1000 - seen.mtime();
    seen.is_file()
        && seen.uid() == rustix::process::geteuid().as_raw()
        && u64::try_from(age).is_ok_and(|age| age > TEMPORARY_SECONDS_MAX)
}
