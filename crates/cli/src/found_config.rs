//! Whether a lockgate.yaml that was found, and not named, may be used: it can make this user run anything.
//!
//! As git's `safe.directory`: the file and its folder must be ours (see [`lockgate_own`]), or the folder must be allowed,
//! by `LOCKGATE_SAFE_DIRECTORY` (folders with `:` between them) or a line of `safe-directories` in the user's own
//! `lockgate` configuration folder; `*` allows all. A file that was named by `-c` is what the user wants, whoever owns it.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use lockgate_own::{Foreign, OwnError};

use crate::error::CliError;

const VARIABLE: &str = "LOCKGATE_SAFE_DIRECTORY";
/// Within the user's configuration folder.
const FILE: &str = "lockgate/safe-directories";
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const EVERY: &str = "*";

/// `path` is the file's, absolute.
///
/// # Errors
/// A usage error with how to allow it.
pub fn require(file: &File, path: &Path) -> Result<(), CliError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let Err(foreign) = ours(file, path, folder) else { return Ok(()) };
    if is_allowed(folder)? {
        return Ok(());
    }
    let mut name = String::from("-c FILE");
    let mut allow = format!("`export {VARIABLE}={}`", quoted(folder));
    if let Some(file) = listed() {
        let parent = file.parent().unwrap_or(Path::new("/"));
        allow = format!("`mkdir -p {} && echo {} >> {}`", quoted(parent), quoted(folder), quoted(&file));
        name = format!("`export {VARIABLE}={}`", quoted(folder));
    }
    Err(CliError::usage(
        format!("{} is not used: {}", path.display(), foreign.message),
        format!(
            "if you trust everybody who can write there: {allow}, or for this shell {name}; else {}",
            foreign.hint
        ),
    ))
}

fn ours(file: &File, path: &Path, folder: &Path) -> Result<(), Foreign> {
    let foreign = |error: OwnError| match error {
        OwnError::Foreign(foreign) => foreign,
        OwnError::Io(error) => Foreign { message: error.to_string(), hint: "see `ls -ld` of it".to_owned() },
    };
    lockgate_own::own_open(file, path).map_err(foreign)?;
    lockgate_own::own_folder(folder).map_err(foreign)?;
    // Where it is a link, who can write where it leads can change it too.
    let real = path.canonicalize().map_err(|error| foreign(error.into()))?;
    lockgate_own::own_folder(real.parent().unwrap_or(Path::new("/"))).map_err(foreign)
}

fn is_allowed(folder: &Path) -> Result<bool, CliError> {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let is_this = |entry: &str| {
        let entry = entry.trim();
        entry == EVERY
            || (Path::new(entry).is_absolute() && [folder, real.as_path()].contains(&Path::new(entry)))
    };
    let told = std::env::var(VARIABLE).unwrap_or_default();
    Ok(told.split(':').any(is_this) || list()?.lines().any(is_this))
}

/// The user's own list; empty where there is none.
fn list() -> Result<String, CliError> {
    let Some(path) = listed() else { return Ok(String::new()) };
    let mut text = String::new();
    let read = lockgate_own::open_own(&path, OpenOptions::new().read(true))
        .and_then(|file| Ok(file.take(FILE_BYTES_MAX).read_to_string(&mut text)?));
    match read {
        Ok(_) => Ok(text),
        Err(error) if error.is_missing() => Ok(String::new()),
        Err(OwnError::Foreign(Foreign { message, hint })) => Err(CliError::usage(message, hint)),
        Err(OwnError::Io(error)) => Err(CliError::usage(
            format!("{} cannot be read: {error}", path.display()),
            "check its permissions",
        )),
    }
}

/// `None` where the user has no home.
fn listed() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join(FILE))
}

fn quoted(path: &Path) -> String {
    shell_words::quote(&path.to_string_lossy()).into_owned()
}
