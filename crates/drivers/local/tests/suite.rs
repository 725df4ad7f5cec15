//! This machine keeps the promises of the port.

use std::time::{Duration, Instant};

use lockgate_local::{Local, LocalRunner};
use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Command, CommandRunner, Endpoint, Host, Request, Swapped, conformance, http};

/// Rounds of a measurement; the median counts, so that a busy machine does not fail it.
const ROUNDS: usize = 51;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn path(folder: &tempfile::TempDir) -> String {
    folder.path().canonicalize().unwrap().to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn local_keeps_the_promises_of_a_host() {
    let folder = folder();
    conformance::host::suite(&Local::new(), &path(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_written_in_pieces() {
    let folder = folder();
    conformance::upload::large(&Local::new(), &path(&folder)).await;
}

#[tokio::test]
async fn what_is_made_can_be_written_by_nobody_else_whatever_the_umask() {
    let folder = folder();
    // Each test is a process of its own.
    rustix::process::umask(rustix::fs::Mode::empty());
    conformance::own::modes(&Local::new(), &format!("{}/new", path(&folder))).await;
}

#[tokio::test]
async fn a_gate_command_runs_in_the_projects_folder() {
    let folder = folder();
    let root = path(&folder);
    std::fs::create_dir(folder.path().join("inner")).unwrap();
    let runner = LocalRunner { cwd: folder.path().to_owned() };
    let shown = async |command: Command| runner.run(&command).await.unwrap().stdout_text();
    assert_eq!(shown(Command::new(["pwd"])).await, format!("{root}\n"));
    assert_eq!(shown(Command::new(["pwd"]).cwd("inner")).await, format!("{root}/inner\n"));
}

#[tokio::test]
async fn something_left_behind_with_the_output_open_does_not_hold_the_command() {
    let start = Instant::now();
    let output =
        Local::new().exec(&Command::new(["sh", "-c", "echo done; sleep 30 & echo $! >&2"])).await.unwrap();
    assert_eq!(output.stdout_text(), "done\n");
    assert!(start.elapsed() < Duration::from_secs(10), "waited {:?}", start.elapsed());
    let pid = output.stderr_text();
    let killed = Local::new().exec(&Command::new(["kill", pid.trim()])).await.unwrap();
    assert!(killed.ok(), "what a command leaves behind lives on");
}

/// The state of a process, a letter; `None` where there is none of that id.
fn state(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().next()?.to_owned())
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_gets_its_time_and_then_ends_with_all_that_it_has_started() {
    let folder = folder();
    let root = path(&folder);
    let host = Local::new();
    // One child tidies up when it is asked to end, the other heeds nothing.
    let script = format!(
        "(trap 'sleep 0.2; echo tidied >{root}/tidied; exit' TERM; : >{root}/ready; while :; do sleep 0.05; done) & \
         (trap '' TERM; exec sleep 60) & echo $! >{root}/pid; wait"
    );
    let command = Command::new(["sh", "-c", &script]);
    let begun = async {
        loop {
            match std::fs::read_to_string(format!("{root}/pid")) {
                Ok(pid) if pid.ends_with('\n') && folder.path().join("ready").exists() => {
                    return pid.trim().to_owned();
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let pid = tokio::select! {
        ended = host.exec(&command) => panic!("{ended:?}"),
        pid = begun => pid,
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("it does not begin"),
    };
    assert!(state(&pid).is_some());
    let start = Instant::now();
    host.clone().ended().await;
    assert!(start.elapsed() < Duration::from_secs(10), "waited {:?}", start.elapsed());
    assert!(folder.path().join("tidied").exists(), "it was given no time");
    // It was killed; whoever takes up orphans may not have collected it yet.
    let is_over = |state: Option<String>| state.is_none_or(|state| state == "Z" || state == "X");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_over(state(&pid)) {
        assert!(Instant::now() < deadline, "{:?}", state(&pid));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Nothing is waited for where nothing was dropped.
    host.ended().await;
}

#[tokio::test]
async fn a_full_disk_is_said_so_and_the_old_file_stays() {
    let Some(small) = Small::mount() else { return };
    let (host, path) = (Local::new(), format!("{}/file", small.0.path().display()));
    host.write(&path, b"old", 0o600).await.unwrap();
    let large = vec![b'x'; 200_000];
    let error = host.write(&path, &large, 0o600).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::DiskFull, "{error}");
    let error = host.swap(&path, Some(b"old"), &large).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::DiskFull, "{error}");
    assert_eq!(host.read(&path).await.unwrap().content.as_deref(), Some(b"old".as_slice()));
    assert!(!error.outcome_unknown(), "{error}");
    host.write(&path, b"new", 0o600).await.unwrap();
}

/// A file system of 64 KiB, or `None` where this user may not mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Small> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k,mode=755", "none"]).arg(folder.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Small(folder));
        }
        assert!(
            std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_none_or(|value| value != "1"),
            "mounting is not allowed"
        );
        eprintln!("skipped: mounting is not allowed");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg(self.0.path()).status().unwrap();
    }
}

#[tokio::test]
async fn doctor_finds_this_machine_well() {
    let checks = Local::new().check().await;
    assert!(checks.iter().all(|check| check.mend.is_none()), "{checks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_and_swapping_fit_the_budget_of_a_deployment() {
    // In memory where there is such a folder: how long a disk takes for its two fsyncs is not ours to judge.
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { folder() };
    let (host, file) = (Local::new(), format!("{}/lease", path(&folder)));
    let mut content = vec![b'0'; 2_000];
    assert_eq!(host.swap(&file, None, &content).await.unwrap(), Swapped::Yes);
    let (mut reads, mut swaps) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let start = Instant::now();
        let seen = host.read(&file).await.unwrap().content.unwrap();
        reads.push(start.elapsed());
        content[0] = u8::try_from(round % 256).unwrap();
        let start = Instant::now();
        assert_eq!(host.swap(&file, Some(&seen), &content).await.unwrap(), Swapped::Yes);
        swaps.push(start.elapsed());
    }
    reads.sort();
    swaps.sort();
    let (read, swap) = (reads[ROUNDS / 2], swaps[ROUNDS / 2]);
    eprintln!("median of a read {read:?}, of a swap {swap:?}");
    assert!(read < Duration::from_millis(2), "a read takes {read:?}");
    assert!(swap < Duration::from_millis(100), "a swap takes {swap:?}");
}

/// What arrived in full measure has happened: to look whether it has would be in vain.
#[tokio::test]
async fn an_answer_or_a_file_that_is_too_large_is_said_so_and_is_not_unreachable() {
    const MEBIBYTE: usize = 1024 * 1024;
    let bodies = [
        ("body", format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(8 * MEBIBYTE + 1))),
        ("head", format!("HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n", "x".repeat(MEBIBYTE))),
    ];
    for (what, answer) in bodies {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            // Who has read enough hangs up.
            drop(stream.write_all(answer.as_bytes()).await);
        });
        let request = Request::get("/", Millis::from_secs(20));
        let error = http::send(&Local::new(), &Endpoint::Tcp(address), request).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::TooLarge, "{what}: {error}");
        assert!(!error.outcome_unknown(), "{what}: {error}");
        assert!(error.message.contains("GET") && error.message.contains("large"), "{what}: {error}");
        server.await.unwrap();
    }
    let folder = folder();
    let path = format!("{}/file", path(&folder));
    std::fs::write(&path, vec![b'x'; 4 * MEBIBYTE + 1]).unwrap();
    let error = Local::new().read(&path).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::TooLarge, "{error}");
    assert!(error.message.contains("larger than 4 MiB"), "{error}");
}
