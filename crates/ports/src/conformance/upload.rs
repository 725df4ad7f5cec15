//! Part of the host suite: [`Host::upload`].

use std::io::{Error, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lockgate_model::{Digest, FailureKind, Millis};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::{Effect, Host, PIECE_BYTES, PortError, Upload, Uploaded};

/// Longest wait for something that must come true.
const CONDITION_SECONDS_MAX: u64 = 15;
/// Between two looks.
const LOOK_MILLIS: u64 = 10;
/// What a large upload may add to this process's memory: a few pieces, and what else is under way.
const MEMORY_KIB_MAX: u64 = 48 * 1024;
/// A large upload.
const LARGE_BYTES: u64 = 300 * 1000 * 1000;
/// Every so many bytes the memory is looked at.
const LOOK_BYTES: u64 = 8 * 1024 * 1024;
/// As long as a content is waited for that does not go on.
const STALL: Millis = Millis(400);

/// A content made on the way: `size` bytes of a pattern, then its end.
struct Made {
    size: u64,
    given: u64,
    end: End,
    /// The most memory that this process had meanwhile.
    memory_kib_max: u64,
}

/// What comes after the last byte.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Whole,
    BreaksOff,
    Never,
}

impl Made {
    fn new(size: u64, end: End) -> Made {
        Made { size, given: 0, end, memory_kib_max: 0 }
    }
}

fn pattern(at: u64) -> u8 {
    u8::try_from((at ^ (at >> 9)) % 251).unwrap_or(0)
}

fn whole(size: u64) -> Vec<u8> {
    (0..size).map(pattern).collect()
}

impl AsyncRead for Made {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.given == self.size {
            return match self.end {
                End::Whole => Poll::Ready(Ok(())),
                End::BreaksOff => Poll::Ready(Err(Error::from(ErrorKind::ConnectionReset))),
                End::Never => Poll::Pending,
            };
        }
        let before = self.given;
        let room = u64::try_from(into.remaining().min(64 * 1024)).unwrap_or(0);
        let part = room.min(self.size - before);
        // What is large is the same 64 KiB again and again: to make each byte would take most of the time.
        match self.size > LOOK_BYTES {
            true => into.put_slice(&[0x5a; 64 * 1024][..usize::try_from(part).unwrap_or(0)]),
            false => into.put_slice(&(before..before + part).map(pattern).collect::<Vec<u8>>()),
        }
        self.given += part;
        if before / LOOK_BYTES != self.given / LOOK_BYTES {
            self.memory_kib_max = self.memory_kib_max.max(memory_kib());
        }
        Poll::Ready(Ok(()))
    }
}

/// What this process has in memory; 0 where that is not told.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// [`Host::upload`], but for [`large`]. `dir` is not there yet.
///
/// # Panics
/// See [`suite`](super::host::suite).
pub async fn files(host: &dyn Host, dir: &str) {
    let path = format!("{dir}/ma de/it's a $(file)");
    every_size_arrives(host, &path).await;
    let old = std::fs::read(&path).unwrap();
    what_does_not_come_as_it_should_leaves_the_old_file(host, &path, &old).await;
    nobody_sees_a_part(host, &path, &old).await;
    who_is_dropped_leaves_the_old_file(host, &path, &old).await;
    only_ours_is_replaced(host, dir).await;
    full_disk(host, dir).await;
}

async fn every_size_arrives(host: &dyn Host, path: &str) {
    let piece = PIECE_BYTES as u64;
    let modes = [0o600, 0o755, 0o644];
    for (index, size) in
        [0, 1, 127, 128, 129, piece - 1, piece, piece + 1, 5 * piece + 3].into_iter().enumerate()
    {
        let (mut content, mode) = (Made::new(size, End::Whole), modes[index % modes.len()]);
        let wanted = Uploaded { size, digest: Digest::of(&whole(size)) };
        let upload = Upload::new(path, mode, &mut content);
        // With what is known before and without.
        let upload = if index % 2 == 0 { upload } else { upload.size(size).digest(wanted.digest.clone()) };
        let uploaded = host.upload(upload).await.unwrap_or_else(|error| panic!("{size} bytes: {error}"));
        assert_eq!(uploaded, wanted);
        assert!(std::fs::read(path).unwrap() == whole(size), "{size} bytes are there as they were sent");
        let seen = Path::new(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(seen, mode, "mode of {size} bytes");
        alone(path).await;
    }
    let folder = Path::new(path).parent().unwrap();
    assert_eq!(
        folder.metadata().unwrap().permissions().mode() & 0o022,
        0,
        "a folder that others cannot write"
    );
}

/// Nothing but the file is in its folder, soon.
async fn alone(path: &str) {
    let folder = Path::new(path).parent().unwrap();
    let bound = Instant::now() + Duration::from_secs(CONDITION_SECONDS_MAX);
    loop {
        let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|one| one.unwrap().file_name()).collect();
        if names.iter().all(|name| Some(name.as_os_str()) == Path::new(path).file_name()) {
            return;
        }
        assert!(Instant::now() < bound, "a temporary file is left: {names:?}");
        tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
    }
}

/// It failed, nothing was changed, and it says so.
async fn unchanged(path: &str, old: &[u8], what: &str, result: Result<Uploaded, PortError>) -> PortError {
    let Err(error) = result else { panic!("{what}: it was taken") };
    assert_eq!(error.effect(), Effect::None, "{what}: {error}");
    assert!(std::fs::read(path).unwrap() == old, "{what}: the old file is there");
    alone(path).await;
    error
}

async fn what_does_not_come_as_it_should_leaves_the_old_file(host: &dyn Host, path: &str, old: &[u8]) {
    let size = 3 * PIECE_BYTES as u64 + 5;
    let other = Digest::new(format!("sha256:{}", "0".repeat(64))).unwrap();
    for at in [0, 1, size] {
        let mut content = Made::new(at, End::BreaksOff);
        let result = host.upload(Upload::new(path, 0o644, &mut content).size(size + 1)).await;
        let error = unchanged(path, old, "a content that breaks off", result).await;
        assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
        assert!(error.message.contains(path), "{error}");
    }
    let mut content = Made::new(size, End::Whole);
    let result = host.upload(Upload::new(path, 0o644, &mut content).digest(other)).await;
    let error = unchanged(path, old, "a wrong checksum", result).await;
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    assert!(error.message.contains("should be sha256:0000") && !error.hints().is_empty(), "{error}");
    for wanted in [size - 1, size + 1] {
        let mut content = Made::new(size, End::Whole);
        let result = host.upload(Upload::new(path, 0o644, &mut content).size(wanted)).await;
        let error = unchanged(path, old, "a wrong size", result).await;
        assert_eq!(error.kind, FailureKind::Refused, "{error}");
    }
    let mut content = Made::new(size, End::Whole);
    let result = host.upload(Upload::new(path, 0o644, &mut content).bytes_max(size - 1)).await;
    let error = unchanged(path, old, "more than is taken", result).await;
    assert_eq!(error.kind, FailureKind::TooLarge, "{error}");
    let mut content = Made::new(size, End::Never);
    let began = Instant::now();
    let result = host.upload(Upload::new(path, 0o644, &mut content).stall(STALL)).await;
    let error = unchanged(path, old, "a content that does not go on", result).await;
    assert_eq!(error.kind, FailureKind::TimedOut, "{error}");
    assert!(began.elapsed() < Duration::from_secs(CONDITION_SECONDS_MAX), "{:?}", began.elapsed());
}

/// The old file is there as a whole until the new one is, however long that takes.
async fn nobody_sees_a_part(host: &dyn Host, path: &str, old: &[u8]) {
    let new = whole(2 * PIECE_BYTES as u64);
    let (mut sender, mut content) = tokio::io::duplex(64 * 1024);
    let upload = host.upload(Upload::new(path, 0o644, &mut content));
    let sending = async {
        tokio::io::AsyncWriteExt::write_all(&mut sender, &new).await.unwrap();
        begun(path).await;
        assert!(std::fs::read(path).unwrap() == old, "the old file is there as long as more may come");
        drop(sender);
    };
    let (uploaded, ()) = tokio::join!(upload, sending);
    assert_eq!(uploaded.unwrap().size, new.len() as u64);
    assert!(std::fs::read(path).unwrap() == new);
    std::fs::write(path, old).unwrap();
}

/// A part of it is on the disk.
async fn begun(path: &str) {
    let folder = Path::new(path).parent().unwrap();
    let bound = Instant::now() + Duration::from_secs(CONDITION_SECONDS_MAX);
    let is_part = |one: std::io::Result<std::fs::DirEntry>| {
        one.is_ok_and(|one| {
            one.file_name().to_string_lossy().ends_with(".tmp")
                && one.metadata().is_ok_and(|seen| seen.len() > 0)
        })
    };
    while !std::fs::read_dir(folder).unwrap().any(is_part) {
        assert!(Instant::now() < bound, "nothing is written");
        tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
    }
}

async fn who_is_dropped_leaves_the_old_file(host: &dyn Host, path: &str, old: &[u8]) {
    let mut content = Made::new(2 * PIECE_BYTES as u64, End::Never);
    {
        let mut upload = Box::pin(host.upload(Upload::new(path, 0o644, &mut content)));
        tokio::select! {
            result = &mut upload => panic!("a content without an end ended: {result:?}"),
            () = begun(path) => {}
        }
    }
    alone(path).await;
    assert!(std::fs::read(path).unwrap() == old, "the old file is there");
}

/// As for [`Host::write_own`].
async fn only_ours_is_replaced(host: &dyn Host, dir: &str) {
    let folder = format!("{dir}/shared");
    let path = format!("{folder}/file");
    std::fs::create_dir(&folder).unwrap();
    let refused = async |what: &str| {
        let mut content = Made::new(10, End::Whole);
        let error = host.upload(Upload::new(&path, 0o644, &mut content)).await.unwrap_err();
        assert_eq!((error.kind, error.effect()), (FailureKind::Refused, Effect::None), "{what}: {error}");
        assert!(!error.hints().is_empty(), "{what}: {error}");
    };
    let mode = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    refused("a folder that others may write").await;
    mode(0o755);
    let target = format!("{dir}/target");
    std::fs::write(&target, "somebody's").unwrap();
    symlink(&target, &path).unwrap();
    refused("a link").await;
    assert_eq!(std::fs::read(&target).unwrap(), b"somebody's", "what a link leads to is left alone");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let mut content = Made::new(10, End::Whole);
    let error = host.upload(Upload::new(&path, 0o644, &mut content)).await.unwrap_err();
    assert_eq!(error.effect(), Effect::None, "a folder is not replaced: {error}");
    assert!(Path::new(&path).is_dir());
}

/// A file of 300 MB, which is never in memory.
///
/// # Panics
/// See [`suite`](super::host::suite).
pub async fn large(host: &dyn Host, dir: &str) {
    let path = format!("{dir}/large");
    let mut small = Made::new(1, End::Whole);
    host.upload(Upload::new(&path, 0o600, &mut small)).await.unwrap();
    let (before, began) = (memory_kib(), Instant::now());
    let mut content = Made::new(LARGE_BYTES, End::Whole);
    let uploaded = host.upload(Upload::new(&path, 0o600, &mut content)).await.unwrap();
    eprintln!(
        "{LARGE_BYTES} bytes in {:?}; memory {before} KiB, {} KiB meanwhile",
        began.elapsed(),
        content.memory_kib_max
    );
    assert_eq!(uploaded.size, LARGE_BYTES);
    assert_eq!(Path::new(&path).metadata().unwrap().len(), LARGE_BYTES);
    let added = content.memory_kib_max.saturating_sub(before);
    assert!(added < MEMORY_KIB_MAX, "{added} KiB more are in memory");
    std::fs::remove_file(&path).unwrap();
}

/// On a file system of its own, where the host's user may mount one.
async fn full_disk(host: &dyn Host, dir: &str) {
    let Some(small) = Small::mount(&format!("{dir}/small")) else { return };
    fill(host, &small.0).await;
}

/// A file system of half a MiB, unmounted when it is dropped.
struct Small(String);

impl Small {
    /// `None` where this user may not mount one.
    fn mount(folder: &str) -> Option<Small> {
        std::fs::create_dir(folder).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k,mode=755", "none", folder]);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Small(folder.to_owned()));
        }
        let must = std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!must, "mounting is not allowed");
        eprintln!("skipped: mounting is not allowed");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg(&self.0).status().unwrap();
    }
}

async fn fill(host: &dyn Host, folder: &str) {
    let path = format!("{folder}/uploads/file");
    let mut old = Made::new(1000, End::Whole);
    host.upload(Upload::new(&path, 0o600, &mut old)).await.unwrap();
    let mut content = Made::new(8 * PIECE_BYTES as u64, End::Whole);
    let result = host.upload(Upload::new(&path, 0o600, &mut content)).await;
    let error = unchanged(&path, &whole(1000), "a full disk", result).await;
    assert_eq!(error.kind, FailureKind::DiskFull, "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("df -h")), "{error}");
    let mut new = Made::new(2000, End::Whole);
    host.upload(Upload::new(&path, 0o600, &mut new)).await.unwrap();
}
