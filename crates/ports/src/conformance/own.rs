//! Part of the host suite: what others may have put where Lockgate reads and writes.

use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use lockgate_model::FailureKind;

use crate::{Command, Host, HostFile, NAMES_MAX, PortError, Swapped, TEMPORARY_SECONDS_MAX};

/// What must be refused is refused within this: nobody waits for the other end of a FIFO.
const REFUSED_SECONDS_MAX: u64 = 10;
/// Somebody whom these tests never run as.
const STRANGER: u32 = 65534;
/// Root, whose group has nobody else in it.
const ROOT: u32 = 0;

/// [`Host::read_own`], [`Host::write_own`], and what [`Host::swap`] refuses. `dir` is not there yet, in a folder as
/// [`suite`](super::host::suite) wants it.
///
/// # Panics
/// See [`suite`](super::host::suite).
pub async fn files(host: &dyn Host, dir: &str) {
    let path = format!("{dir}/it's/lease.json");
    assert_eq!(host.read_own(&path).await.unwrap().content, None, "a missing folder");
    host.write_own(&path, b"own", 0o600).await.unwrap();
    let content = host.read_own(&path).await.unwrap().content;
    assert_eq!(content.as_deref(), Some(b"own".as_slice()), "what was written is read");
    files_are_named(host, &format!("{dir}/named")).await;
    what_is_no_file_is_refused_at_once(host, dir).await;
    what_is_not_ours_is_refused(host, dir).await;
    temporary_files_of_killed_writes_go(host, dir).await;
}

async fn files_are_named(host: &dyn Host, folder: &str) {
    assert_eq!(host.names(folder, "run.").await.unwrap(), [""; 0], "a missing folder");
    let names = ["run.1.json", "run.a b'c.json", "run.*", "run."];
    for name in names.iter().chain(&["other", ".run.1.tmp", "run.\n2"]) {
        host.write(&format!("{folder}/{name}"), b"x", 0o644).await.unwrap();
    }
    std::fs::create_dir(format!("{folder}/run.folder")).unwrap();
    symlink(format!("{folder}/other"), format!("{folder}/run.link")).unwrap();
    let mut seen = host.names(folder, "run.").await.unwrap();
    seen.sort_unstable();
    let mut wanted = names;
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
    assert_eq!(host.names(folder, "run.[a1").await.unwrap(), [""; 0], "a prefix is no pattern");
    for number in 0..NAMES_MAX {
        std::fs::write(format!("{folder}/many.{number}"), "").unwrap();
    }
    std::fs::write(format!("{folder}/many.more"), "").unwrap();
    assert_eq!(host.names(folder, "many.").await.unwrap().len(), NAMES_MAX);
}

/// Ends well only within the bound.
async fn refused<T>(what: &str, call: impl Future<Output = Result<T, PortError>>) -> PortError {
    let bound = Duration::from_secs(REFUSED_SECONDS_MAX);
    let result = tokio::time::timeout(bound, call).await;
    let result = result.unwrap_or_else(|_| panic!("{what}: nothing within {REFUSED_SECONDS_MAX} s"));
    let Err(error) = result else { panic!("{what}: it was taken") };
    assert_eq!(error.kind, FailureKind::Refused, "{what}: {error}");
    assert!(!error.hints().is_empty(), "{what}: {error}");
    error
}

async fn what_is_no_file_is_refused_at_once(host: &dyn Host, dir: &str) {
    let path = format!("{dir}/odd/file");
    let (lock, target) = (format!("{path}.lock"), format!("{dir}/target"));
    std::fs::create_dir(format!("{dir}/odd")).unwrap();
    std::fs::write(&target, "somebody's").unwrap();
    std::fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
    for odd in ["a FIFO", "a symbolic link"] {
        let put = async |at: &str| match odd {
            "a FIFO" => assert!(host.exec(&Command::new(["mkfifo", at])).await.unwrap().ok()),
            _ => symlink(&target, at).unwrap(),
        };
        put(&path).await;
        let says = |error: PortError| {
            assert!(error.message.contains(odd) && error.message.contains(&path), "{error}")
        };
        says(refused(odd, host.read_own(&path)).await);
        says(refused(odd, host.write_own(&path, b"x", 0o600)).await);
        says(refused(odd, host.swap(&path, None, b"x")).await);
        if odd == "a FIFO" {
            says(refused(odd, host.read(&path)).await);
        } else {
            let HostFile { content, .. } = host.read(&path).await.unwrap();
            assert_eq!(content.as_deref(), Some(b"somebody's".as_slice()), "anybody's file may be a link");
        }
        host.remove(&path).await.unwrap();
        put(&lock).await;
        says(refused(odd, host.swap(&path, None, b"x")).await);
        host.remove(&lock).await.unwrap();
        assert_eq!(host.read(&path).await.unwrap().content, None, "nothing was written");
    }
    let left = (std::fs::read_to_string(&target).unwrap(), mode(&target));
    assert_eq!(left, ("somebody's".to_owned(), 0o640), "what a link leads to is left alone");
}

async fn what_is_not_ours_is_refused(host: &dyn Host, dir: &str) {
    let folder = format!("{dir}/shared");
    let (path, beside) = (format!("{folder}/lease.json"), format!("{folder}/releases.json"));
    assert_eq!(host.swap(&path, None, b"1").await.unwrap(), Swapped::Yes);
    host.write_own(&beside, b"1", 0o644).await.unwrap();
    let everything = [&folder, &path, &beside];
    for one in everything {
        let before = mode(one);
        std::fs::set_permissions(one, Permissions::from_mode(before | 0o002)).unwrap();
        untouched(host, &path, one).await;
        std::fs::set_permissions(one, Permissions::from_mode(before)).unwrap();
    }
    if Path::new(&folder).metadata().unwrap().uid() != ROOT {
        eprintln!("skipped: only root can give files away");
        return;
    }
    for one in everything {
        let before = mode(one);
        std::fs::set_permissions(one, Permissions::from_mode(before | 0o020)).unwrap();
        host.write_own(&path, b"1", 0o644).await.expect("nobody else is in root's group");
        std::fs::set_permissions(one, Permissions::from_mode(before | 0o020)).unwrap();
        chown(one, None, Some(STRANGER)).unwrap();
        untouched(host, &path, one).await;
        std::fs::set_permissions(one, Permissions::from_mode(before)).unwrap();
        chown(one, Some(STRANGER), None).unwrap();
        untouched(host, &path, one).await;
        if one != &beside {
            let error = refused("somebody else's", host.read_own(&path)).await;
            assert!(error.message.contains("65534"), "{error}");
        }
        assert!(host.read(&path).await.is_ok(), "anybody's file may be read");
        chown(one, Some(ROOT), Some(ROOT)).unwrap();
    }
    host.write_own(&path, b"2", 0o644).await.unwrap();
}

/// Neither is written, and `named` is in the message.
async fn untouched(host: &dyn Host, path: &str, named: &str) {
    let swapped = refused(named, host.swap(path, Some(b"1"), b"2")).await;
    let written = refused(named, host.write_own(path, b"2", 0o644)).await;
    for error in [swapped, written] {
        assert!(error.message.contains(named), "{named}: {error}");
    }
    assert_eq!(std::fs::read(path).unwrap(), b"1", "{named}");
}

async fn temporary_files_of_killed_writes_go(host: &dyn Host, dir: &str) {
    let folder = format!("{dir}/left");
    std::fs::create_dir(&folder).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(TEMPORARY_SECONDS_MAX + 120);
    let put = |name: &str| {
        let file = File::create(format!("{folder}/{name}")).unwrap();
        file.set_times(FileTimes::new().set_modified(long_ago)).unwrap();
    };
    let gone = [".lease.json.123.0.tmp", ".lease.json.4567.tmp", ".lease.json.0123456789abcdef.tmp"];
    let stays = [
        ".lease.json.note.tmp",
        ".lease.json.tmp",
        ".lease.json.1.bak",
        ".other.1.0.tmp",
        "lease.json.1.tmp",
    ];
    gone.iter().chain(&stays).for_each(|name| put(name));
    File::create(format!("{folder}/.lease.json.9.9.tmp")).unwrap();
    std::fs::create_dir(format!("{folder}/.lease.json.8.8.tmp")).unwrap();
    symlink("target", format!("{folder}/.lease.json.7.7.tmp")).unwrap();
    assert_eq!(host.swap(&format!("{folder}/lease.json"), None, b"1").await.unwrap(), Swapped::Yes);
    let mut seen: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|one| one.unwrap().file_name().into_string().unwrap())
        .collect();
    seen.sort();
    let mut wanted: Vec<&str> = stays.to_vec();
    wanted.extend([
        ".lease.json.9.9.tmp",
        ".lease.json.8.8.tmp",
        ".lease.json.7.7.tmp",
        "lease.json",
        "lease.json.lock",
    ]);
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
}

/// What is made has the modes that it should have, though the umask takes nothing away. `dir` is not there yet.
///
/// # Panics
/// See [`suite`](super::host::suite).
pub async fn modes(host: &dyn Host, dir: &str) {
    let path = format!("{dir}/a/b/lease.json");
    assert_eq!(host.swap(&path, None, b"1").await.unwrap(), Swapped::Yes);
    host.write(&format!("{dir}/c/color"), b"1", 0o644).await.unwrap();
    for folder in [dir, &format!("{dir}/a"), &format!("{dir}/a/b"), &format!("{dir}/c")] {
        assert_eq!(mode(folder), 0o755, "{folder}");
    }
    assert_eq!((mode(&path), mode(&format!("{path}.lock"))), (0o644, 0o600));
}

fn mode(path: &str) -> u32 {
    Path::new(path).metadata().unwrap().permissions().mode() & 0o777
}
