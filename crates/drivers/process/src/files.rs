//! Which files a command names, and their identity and SHA-256: directly on this machine, by `stat` and `sha256sum`
//! elsewhere.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lockgate_model::{Millis, Timestamp};
use lockgate_ports::{Command, Host, PortError};
use sha2::{Digest as _, Sha256};

use crate::command::Filled;
use crate::script;

/// Bound for hashing a command's files on another machine.
const HASH_SECONDS_MAX: u64 = 300;
/// How much of a file is read at a time.
const READ_BYTES: usize = 256 * 1024;

/// A file that a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Which argument names it; 0 is the program.
    pub index: usize,
    /// Absolute.
    pub path: String,
    /// Size, device, inode, times of content and of inode: whoever changes the content changes this.
    pub identity: String,
    /// When the inode last changed, by the host's clock.
    pub changed: Timestamp,
}

/// The files that `filled` names, in the order of the arguments. `path` is the service's own `PATH`, if it has one.
///
/// # Errors
/// As the host. A program that is not there is only absent from the answer.
pub(crate) async fn named(
    host: &dyn Host,
    filled: &Filled,
    path: Option<&str>,
) -> Result<Vec<Named>, PortError> {
    if host.id().is_local() {
        return Ok(here(filled, path));
    }
    let arguments = std::iter::once(&filled.folder).chain(&filled.argv).map(String::as_str);
    let mut command = script::command(script::FILES, arguments);
    if let Some(path) = path {
        command = command.env("PATH", path);
    }
    let output = script::run(host, "look for the command's files", &command).await?;
    Ok(there(&output.stdout_text()))
}

fn here(filled: &Filled, path: Option<&str>) -> Vec<Named> {
    let folder = Path::new(&filled.folder);
    let mut found = Vec::new();
    for (index, argument) in filled.argv.iter().enumerate() {
        let named = match index {
            0 if !argument.contains('/') => in_path(argument, path).and_then(|file| describe(0, file)),
            0 => describe(0, folder.join(argument)).filter(|file| is_executable(Path::new(&file.path))),
            _ if argument.is_empty() => None,
            _ => describe(index, folder.join(argument)),
        };
        found.extend(named);
    }
    found
}

fn in_path(program: &str, path: Option<&str>) -> Option<PathBuf> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let path = path.map_or(own, Into::into);
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn describe(index: usize, file: PathBuf) -> Option<Named> {
    let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let identity = format!(
        "{}:{}:{}:{}.{:09}:{}.{:09}",
        meta.size(),
        meta.dev(),
        meta.ino(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    );
    let changed = Timestamp(meta.ctime() * 1000 + meta.ctime_nsec() / 1_000_000);
    Some(Named { index, path: file.to_string_lossy().into_owned(), identity, changed })
}

/// Three lines a file. What does not fit (a path with a line end in it) is left out.
fn there(text: &str) -> Vec<Named> {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(3)
        .filter_map(|three| {
            let (index, changed) = three[0].strip_prefix("file ")?.split_once(' ')?;
            // The script knows the time to the second only, so the file may have changed until that second's end.
            let changed = Timestamp((changed.parse::<i64>().ok()? + 1) * 1000);
            let path = three[1].starts_with('/').then(|| three[1].to_owned())?;
            Some(Named { index: index.parse().ok()?, path, identity: three[2].to_owned(), changed })
        })
        .collect()
}

/// SHA-256 of each file, 64 lower-case hex digits.
///
/// # Errors
/// `NotFound`, `Unauthorized` when one cannot be read, else as the host.
pub(crate) async fn hash(host: &dyn Host, paths: &[String]) -> Result<Vec<String>, PortError> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    if host.id().is_local() {
        let paths = paths.to_vec();
        let hashing = tokio::task::spawn_blocking(move || paths.iter().map(|path| hash_here(path)).collect());
        return hashing.await.map_err(|error| PortError::other(format!("hashing stopped: {error}")))?;
    }
    let head = ["sha256sum", "--"].into_iter();
    let command = Command::new(head.chain(paths.iter().map(String::as_str)));
    let output =
        script::run(host, "hash the release", &command.timeout(Millis::from_secs(HASH_SECONDS_MAX))).await?;
    // A name with a backslash in it makes sha256sum put one before the line.
    let hashes: Vec<String> = output
        .stdout_text()
        .lines()
        .filter_map(|line| line.trim_start_matches('\\').split_once(' ').map(|(hash, _)| hash.to_owned()))
        .collect();
    if hashes.len() == paths.len() && hashes.iter().all(|hash| hash.len() == 64) {
        Ok(hashes)
    } else {
        Err(PortError::other(format!("sha256sum answered something else: {}", output.stdout_text().trim())))
    }
}

fn hash_here(path: &str) -> Result<String, PortError> {
    let failed = |error: std::io::Error| PortError::from(error).context(path);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
