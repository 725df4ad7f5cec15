//! The folder of a connection: the master's socket, the forwarded ones, ssh's log.
//!
//! Whoever made it holds a lock on its file `owner`, which the kernel gives up when that process ends, however it ends.
//! So a lock that can be had says for certain that the owner is dead: no process id that was used again, no other PID
//! namespace and no clock can make a living one look so.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lockgate_ports::PortError;
use tempfile::TempDir;

use crate::master;

const PREFIX: &str = "lockgate-ssh-";
const OWNER: &str = "owner";
/// Longest path of the control socket: `sun_path` has 104 or 108 bytes, and ssh appends 17 while it makes it.
const SOCKET_BYTES_MAX: usize = 80;
/// Folders of dead owners removed at one opening.
const LEFT_MAX: usize = 64;

/// A folder that only this user may enter, with a path short enough for sockets, and the lock on it.
///
/// # Errors
/// Those of making it.
pub(crate) fn make() -> Result<(TempDir, File), PortError> {
    let mut folder = make_in(&std::env::temp_dir())?;
    if folder.path().as_os_str().len() > SOCKET_BYTES_MAX - "/master".len() {
        folder = make_in(Path::new("/tmp"))?;
    }
    let owner = own(folder.path()).map_err(|error| {
        PortError::from(error).context(format!("cannot lock {}", folder.path().display()))
    })?;
    remove_left(folder.path());
    Ok((folder, owner))
}

fn make_in(parent: &Path) -> Result<TempDir, PortError> {
    tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(|error| {
            PortError::from(error).context(format!("cannot make a folder in {}", parent.display()))
        })
}

/// Locked before it gets its name: nobody ever sees an `owner` of a living process that is not locked.
fn own(folder: &Path) -> std::io::Result<File> {
    let new = folder.join("owner.new");
    let file = File::create_new(&new)?;
    file.try_lock()?;
    std::fs::rename(new, folder.join(OWNER))?;
    Ok(file)
}

/// Removes what killed processes of this user left beside `ours`, and ends a master that still runs there: it goes by itself
/// only when the last session has ended, which one whose shell never answers does not.
fn remove_left(ours: &Path) {
    for folder in left(ours).unwrap_or_else(|error| {
        tracing::debug!(%error, "cannot look for folders that were left");
        Vec::new()
    }) {
        match remove_if_dead(&folder) {
            Ok(true) => tracing::debug!(folder = %folder.display(), "removed the folder of a dead process"),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, folder = %folder.display(), "cannot remove what was left"),
        }
    }
}

/// Other folders that look like ours and belong to the same user.
fn left(ours: &Path) -> std::io::Result<Vec<PathBuf>> {
    let user = std::fs::symlink_metadata(ours)?.uid();
    let Some(parent) = ours.parent() else { return Ok(Vec::new()) };
    let entries = std::fs::read_dir(parent)?.filter_map(Result::ok);
    let named = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    let folders = named.filter(|entry| {
        // Not followed: a link with such a name is none of ours.
        entry.metadata().is_ok_and(|seen| seen.is_dir() && seen.uid() == user) && entry.path() != ours
    });
    Ok(folders.map(|entry| entry.path()).take(LEFT_MAX).collect())
}

/// False when the owner lives, or is not known.
fn remove_if_dead(folder: &Path) -> std::io::Result<bool> {
    let owner = match File::open(folder.join(OWNER)) {
        Ok(owner) => owner,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match owner.try_lock() {
        Ok(()) => {
            if let Err(error) = master::end(&folder.join("master")) {
                tracing::debug!(%error, "no master was left there, or it does not go");
            }
            std::fs::remove_dir_all(folder).map(|()| true)
        }
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_that_a_dead_owner_left_is_ended() {
        let parent = tempfile::tempdir().unwrap();
        let [ours, dead] = ["lockgate-ssh-ours", "lockgate-ssh-dead"].map(|name| parent.path().join(name));
        [&ours, &dead].iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        drop(own(&dead).unwrap());
        let listener = std::os::unix::net::UnixListener::bind(dead.join("master")).unwrap();
        let master = std::thread::spawn(move || {
            let mut asked = [0; 24];
            std::io::Read::read_exact(&mut listener.accept().unwrap().0, &mut asked).unwrap();
            asked
        });
        remove_left(&ours);
        assert!(!dead.exists());
        assert_eq!(master.join().unwrap()[16..20], [0x10, 0, 0, 5], "MUX_C_TERMINATE");
    }

    #[test]
    fn only_folders_of_dead_owners_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("log"), "").unwrap();
            path
        };
        let (ours, dead) = (folder("lockgate-ssh-ours"), folder("lockgate-ssh-dead"));
        let (living, unknown) = (folder("lockgate-ssh-living"), folder("lockgate-ssh-unknown"));
        let other = folder("other");
        let _owner = own(&ours).unwrap();
        let _living = own(&living).unwrap();
        drop(own(&dead).unwrap());
        drop(own(&other).unwrap());
        std::os::unix::fs::symlink(&other, parent.path().join("lockgate-ssh-link")).unwrap();
        remove_left(&ours);
        assert!(!dead.exists());
        for stays in [ours, living, unknown, other] {
            assert!(stays.join("log").exists(), "{}", stays.display());
        }
    }
}
