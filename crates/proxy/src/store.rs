//! `routes.json`: the routes, durable before they are served.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::ProxyError;
use crate::hold::Hold;
use crate::wire::{Replica, RouteSpec};

/// The format this version writes and the only one it reads.
const FORMAT: u32 = 1;
/// A routes file above this size is refused at the start instead of read.
const ROUTES_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Only who runs the proxy, or root, may read it, whatever the umask.
const MODE: u32 = 0o600;

/// A route and its version, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRoute {
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) spec: RouteSpec,
    /// `None` unless it is held, or was until lately. A proxy that is older than this reads over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
    /// Of the spec, whose own list is empty here. A proxy that is older than this reads over it, and asks nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replicas: Vec<Replica>,
}

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoutesFile {
    format: u32,
    /// The version the next change gets. It is kept apart from the routes so that a deleted and re-created route
    /// never gets a version it had before.
    pub(crate) next_version: u64,
    pub(crate) routes: Vec<StoredRoute>,
}

impl RoutesFile {
    pub(crate) fn new(next_version: u64, routes: Vec<StoredRoute>) -> Self {
        Self { format: FORMAT, next_version, routes }
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, this version reads {FORMAT}", self.format));
        }
        for (n, route) in self.routes.iter().enumerate() {
            crate::table::validate(&route.id, &route.spec).map_err(|error| error.message)?;
            crate::table::validate_replicas(&route.replicas, &route.spec.target)?;
            if route.version >= self.next_version {
                return Err(format!("route {:?} has a version from the future", route.id));
            }
            if self.routes[..n].iter().any(|other| other.id == route.id) {
                return Err(format!("route {:?} is there twice", route.id));
            }
        }
        Ok(())
    }
}

/// Reads the file; none yet is an empty one. Never writes.
pub(crate) fn load(path: &Path) -> Result<RoutesFile, ProxyError> {
    let corrupt = |reason: String| ProxyError::RoutesCorrupt { path: path.to_owned(), reason };
    let file = match lockgate_own::open_own(path, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Ok(RoutesFile::new(1, Vec::new())),
        Err(error) => return Err(ProxyError::own("read", path, error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(ROUTES_FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| ProxyError::io("read", path, error))?;
    if bytes.len() as u64 > ROUTES_FILE_BYTES_MAX {
        return Err(corrupt(format!("it has more than {ROUTES_FILE_BYTES_MAX} bytes")));
    }
    let file: RoutesFile = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    file.check().map_err(corrupt)?;
    Ok(file)
}

/// Replaces the file durably: temporary file, sync, rename, sync of the folder. When this fails before the rename
/// the old file is untouched; when only the folder can't be synced, `before` is put back.
pub(crate) fn save(path: &Path, file: &RoutesFile, before: &RoutesFile) -> io::Result<()> {
    replace(path, file)?;
    let Err(error) = sync_folder(path) else { return Ok(()) };
    replace(path, before).map_err(|second| {
        io::Error::other(format!("{error}; and the previous content can't be put back: {second}"))
    })?;
    Err(error)
}

fn replace(path: &Path, file: &RoutesFile) -> io::Result<()> {
    let temporary = temporary(path);
    // Left by a save that was killed.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
    out.write_all(&serde_json::to_vec_pretty(file)?)?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    fs::rename(&temporary, path)
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("json.tmp")
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
