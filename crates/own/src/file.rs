//! Opening and judging files on this machine.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::foreign::{Foreign, Kind, OwnError};
use crate::owner;

/// Permission bits of a folder that Lockgate makes; a stricter umask takes more away.
const FOLDER_MODE: u32 = 0o755;

/// Opens a file for reading, whoever owns it, after links. Never waits, as opening a FIFO would.
///
/// # Errors
/// [`OwnError::Foreign`] for what is no regular file, else those of opening.
pub fn open(path: &Path) -> Result<File, OwnError> {
    let file = OpenOptions::new().read(true).custom_flags(flags(OFlags::NONBLOCK)).open(path)?;
    regular(path, &file.metadata()?)?;
    Ok(file)
}

/// Opens a file of ours as `options` say, which may make it. Neither waits nor follows a link.
///
/// # Errors
/// [`OwnError::Foreign`] for what is no regular file, or not ours; else those of opening.
pub fn open_own(path: &Path, options: &mut OpenOptions) -> Result<File, OwnError> {
    options.custom_flags(flags(OFlags::NONBLOCK | OFlags::NOFOLLOW));
    let file = match options.open(path) {
        Ok(file) => file,
        // A link, or a FIFO that nobody reads: which of them is told by looking.
        Err(error) if is_odd(&error) => {
            regular(path, &path.symlink_metadata()?)?;
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    let seen = file.metadata()?;
    regular(path, &seen)?;
    our_file(path, &seen)?;
    Ok(file)
}

/// Looks whether a folder and every `*.json` in it are ours: then nobody else has put something there, or can.
///
/// # Errors
/// [`OwnError::Foreign`] when one is not, else those of looking: `NotFound` for a folder that is missing.
pub fn own_records(folder: &Path) -> Result<(), OwnError> {
    own_folder(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            own_file(&path)?;
        }
    }
    Ok(())
}

/// Looks whether an open file is ours; `path` is its name, for people.
///
/// # Errors
/// [`OwnError::Foreign`] when it is not.
pub fn own_open(file: &File, path: &Path) -> Result<(), OwnError> {
    our_file(path, &file.metadata()?)
}

/// Looks whether a file is ours; one that is missing is.
///
/// # Errors
/// [`OwnError::Foreign`] when it is not, else those of looking.
pub fn own_file(path: &Path) -> Result<(), OwnError> {
    let seen = match path.symlink_metadata() {
        Ok(seen) => seen,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    regular(path, &seen)?;
    our_file(path, &seen)
}

/// Looks whether a folder is ours.
///
/// # Errors
/// As for [`own_records`].
pub fn own_folder(folder: &Path) -> Result<(), OwnError> {
    let link = folder.symlink_metadata()?;
    if link.is_symlink() {
        if !owner::is_trusted(link.uid()) {
            return Err(Foreign::owner(folder, link.uid(), owner::user_name(link.uid())).into());
        }
        return ours(folder, &folder.metadata()?);
    }
    ours(folder, &link)
}

/// Makes a folder and those above it that are missing. Others may read it and never write, whatever the umask.
///
/// # Errors
/// Those of making it.
pub fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)
}

fn flags(flags: OFlags) -> i32 {
    // Bits of a flag word, whatever its sign.
    flags.bits().cast_signed()
}

fn is_odd(error: &std::io::Error) -> bool {
    let odd = [Errno::LOOP, Errno::NXIO, Errno::EXIST].map(Errno::raw_os_error);
    error.kind() == ErrorKind::AlreadyExists || error.raw_os_error().is_some_and(|code| odd.contains(&code))
}

fn regular(path: &Path, seen: &Metadata) -> Result<(), OwnError> {
    let kind = seen.file_type();
    let kind = match () {
        () if kind.is_file() => return Ok(()),
        // Who wanted a file gets what the system says of a folder.
        () if kind.is_dir() => return Err(std::io::Error::from(ErrorKind::IsADirectory).into()),
        () if kind.is_fifo() => Kind::Fifo,
        () if kind.is_symlink() => Kind::Link,
        () if kind.is_socket() => Kind::Socket,
        () => Kind::Device,
    };
    Err(Foreign::kind(path, kind).into())
}

/// As [`ours`]. What may be written only by who can enter a folder that is closed to all others is written by nobody else.
fn our_file(path: &Path, seen: &Metadata) -> Result<(), OwnError> {
    let is_open = seen.mode() & 0o022 != 0;
    match ours(path, seen) {
        Err(OwnError::Foreign(_)) if is_open && owner::is_trusted(seen.uid()) && is_closed_above(path) => {
            Ok(())
        }
        looked => looked,
    }
}

fn is_closed_above(path: &Path) -> bool {
    let closed = |seen: Metadata| seen.is_dir() && seen.mode() & 0o077 == 0 && owner::is_trusted(seen.uid());
    path.parent().is_some_and(|folder| folder.symlink_metadata().is_ok_and(closed))
}

fn ours(path: &Path, seen: &Metadata) -> Result<(), OwnError> {
    let (uid, mode) = (seen.uid(), seen.mode());
    if !owner::is_trusted(uid) {
        return Err(Foreign::owner(path, uid, owner::user_name(uid)).into());
    }
    let is_mine = uid == owner::me();
    if mode & 0o002 != 0 {
        return Err(Foreign::writable(path, "every user of its machine", is_mine).into());
    }
    if mode & 0o020 != 0 && !owner::is_private(uid, seen.gid()) {
        return Err(Foreign::writable(path, "its group", is_mine).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// Somebody whom these tests never run as.
    const STRANGER: u32 = 65534;

    fn reading(path: &Path) -> Result<File, OwnError> {
        open_own(path, OpenOptions::new().read(true))
    }

    fn said(result: Result<impl Sized, OwnError>) -> String {
        match result {
            Ok(_) => panic!("it was taken"),
            Err(OwnError::Foreign(foreign)) => format!("{}; {}", foreign.message, foreign.hint),
            Err(OwnError::Io(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, link) = (dir.path().join("fifo"), dir.path().join("link"));
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        symlink("/etc/passwd", &link).unwrap();
        assert!(said(open(&fifo)).contains("is a FIFO"));
        assert!(said(reading(&fifo)).contains("is a FIFO"));
        assert!(said(open_own(&fifo, OpenOptions::new().append(true).create(true))).contains("is a FIFO"));
        assert!(said(open_own(&fifo, OpenOptions::new().write(true).create_new(true))).contains("is a FIFO"));
        assert!(open(&link).is_ok(), "somebody's file may be a link");
        assert!(said(reading(&link)).contains("is a symbolic link"));
        assert!(said(open(Path::new("/dev/null"))).contains("is a device"));
        assert!(
            matches!(open(dir.path()), Err(OwnError::Io(error)) if error.kind() == ErrorKind::IsADirectory)
        );
        assert!(
            matches!(open(&dir.path().join("x")), Err(OwnError::Io(error)) if error.kind() == ErrorKind::NotFound)
        );
    }

    #[test]
    fn what_lies_in_a_folder_of_mode_0700_is_written_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("closed"), dir.path().join("closed/file"));
        let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        make_folder(&folder).unwrap();
        std::fs::write(&file, "x").unwrap();
        mode(&file, 0o666);
        mode(&folder, 0o700);
        reading(&file).unwrap();
        own_file(&file).unwrap();
        mode(&folder, 0o711);
        assert!(said(reading(&file)).contains("every user"));
        mode(&folder, 0o700);
        symlink("/etc/passwd", folder.join("link")).unwrap();
        assert!(said(own_file(&folder.join("link"))).contains("is a symbolic link"));
    }

    #[test]
    fn what_others_may_write_or_own_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("it's"), dir.path().join("it's/file"));
        make_folder(&folder).unwrap();
        std::fs::write(&file, "x").unwrap();
        own_folder(&folder).unwrap();
        reading(&file).unwrap();
        for path in [&folder, &file] {
            let mode = path.metadata().unwrap().permissions().mode();
            std::fs::set_permissions(path, Permissions::from_mode(mode | 0o002)).unwrap();
            let told = said(if path == &file { reading(path).map(drop) } else { own_folder(path) });
            assert!(told.contains("every user") && told.contains("`chmod go-w '"), "{told}");
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        if owner::me() != 0 {
            eprintln!("skipped: only root can give files away");
            return;
        }
        for path in [&folder, &file] {
            let look = || if path == &file { reading(path).map(drop) } else { own_folder(path) };
            let mode = path.metadata().unwrap().permissions().mode();
            std::fs::set_permissions(path, Permissions::from_mode(mode | 0o020)).unwrap();
            look().expect("nobody else is in root's group");
            chown(path, None, Some(STRANGER)).unwrap();
            assert!(said(look()).contains("its group"));
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            look().unwrap();
            chown(path, Some(STRANGER), None).unwrap();
            let told = said(look());
            assert!(told.contains("65534") && told.contains("chown"), "{told}");
            chown(path, Some(0), Some(0)).unwrap();
        }
        let link = dir.path().join("link");
        symlink(&folder, &link).unwrap();
        own_folder(&link).unwrap();
        std::os::unix::fs::lchown(&link, Some(STRANGER), None).unwrap();
        assert!(said(own_folder(&link)).contains("65534"), "somebody else chose where it leads");
    }
}
