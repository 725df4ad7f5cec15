//! What takes long and has a session to itself: a file of any length, and a command whose lines are told.

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Command, Effect, Host, Line, Upload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::sshd::Sshd;
use crate::{hello, slow_and_talkative_shell, until};

/// What is sent before something happens to the connection.
const BEGUN_BYTES: usize = 1024 * 1024;
/// More than fits into all that is between the two ends.
const MUCH_BYTES: usize = 32 * 1024 * 1024;
/// As long as nothing may go on: enough for a busy machine to find out who writes.
const STALL: Millis = Millis::from_secs(8);
/// Longest wait for an error that is due.
const ERROR_SECONDS_MAX: u64 = 60;

/// The temporary file of an upload into the folder, once there is something in it.
fn begun(folder: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let mut parts =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "tmp"));
    parts.find(|path| path.metadata().is_ok_and(|seen| seen.len() > 0))
}

fn is_alone(file: &str) -> bool {
    let folder = Path::new(file).parent().unwrap();
    std::fs::read_dir(folder).unwrap().all(|entry| entry.unwrap().path() == Path::new(file))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_connection_is_cut_leaves_the_old_file_and_the_next_one_connects_again() {
    let Some(sshd) = Sshd::start() else { return };
    let (host, work) = (sshd.host(), sshd.work());
    let file = format!("{work}/file");
    host.write(&file, b"old", 0o600).await.unwrap();
    let (mut sender, mut content) = tokio::io::duplex(BEGUN_BYTES);
    let cut = async {
        sender.write_all(&vec![b'x'; BEGUN_BYTES]).await.unwrap();
        until("a part is there", || begun(&work).is_some()).await;
        assert!(sshd.cut_connections() > 0, "there was a connection");
        // What is sent now goes nowhere, and its receiver may have gone.
        drop(sender.write_all(&vec![b'x'; BEGUN_BYTES]).await);
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = host.upload(Upload::new(&file, 0o600, &mut content)) => result,
        () = cut => unreachable!("it does not end"),
    };
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.effect()), (FailureKind::Unreachable, Effect::None), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"old");
    until("the part has gone", || is_alone(&file)).await;
    host.upload(Upload::new(&file, 0o600, &mut b"new".as_slice())).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"new");
}

/// The `cat` that reads what is sent, by the file that it writes into: its shell has that open too.
fn writer_of(part: &Path) -> Option<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut pids = processes.map(|entry| entry.path()).filter(|path| {
        if std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name != "cat\n") {
            return false;
        }
        let open = std::fs::read_dir(path.join("fd")).into_iter().flatten().filter_map(Result::ok);
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|target| target == part)
    });
    pids.find_map(|path| path.file_name()?.to_str().map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_host_does_not_take_is_given_up_by_its_progress_and_not_by_its_length() {
    let Some(sshd) = Sshd::start() else { return };
    let (host, work) = (sshd.host(), sshd.work());
    let file = format!("{work}/file");
    let signal = |signal: &str, pid: &str| {
        assert!(Program::new("kill").args([signal, pid]).status().unwrap().success())
    };
    let (mut sender, content) = tokio::io::duplex(BEGUN_BYTES);
    let stop = async {
        sender.write_all(&vec![b'x'; BEGUN_BYTES]).await.unwrap();
        until("a part is there", || begun(&work).is_some()).await;
        let pid = writer_of(&begun(&work).unwrap()).expect("somebody writes it");
        signal("-STOP", &pid);
        // Not all of it is taken before it is given up.
        assert!(sender.write_all(&vec![b'x'; MUCH_BYTES]).await.is_err());
        pid
    };
    let asked = Instant::now();
    let (to, path) = (&host, &file);
    let give_up = async move {
        // Its sender is told when it is dropped.
        let mut content = content;
        to.upload(Upload::new(path, 0o600, &mut content).stall(STALL)).await
    };
    let (result, pid) = tokio::join!(give_up, stop);
    signal("-CONT", &pid);
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.effect()), (FailureKind::TimedOut, Effect::None), "{error}");
    assert!(error.message.contains("did not go on for 8s") && !error.hints().is_empty(), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(ERROR_SECONDS_MAX), "{:?}", asked.elapsed());
    until("the part has gone", || std::fs::read_dir(&work).unwrap().count() == 0).await;

    // Slow is not silent: this takes longer than nothing may.
    let (mut sender, mut slow) = tokio::io::duplex(64);
    let drip = async {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            sender.write_all(b"drip").await.unwrap();
        }
        drop(sender);
    };
    let upload = host.upload(Upload::new(&file, 0o600, &mut slow).stall(STALL));
    let (uploaded, ()) = tokio::join!(upload, drip);
    assert_eq!(uploaded.unwrap().size, 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_start_up_files_say_is_nobodys_and_an_ended_session_leaves_nothing() {
    let (_folder, shell) = slow_and_talkative_shell();
    let Some(sshd) = Sshd::start_with(&shell, "") else { return };
    let (host, work) = (sshd.host(), sshd.work());
    let mut said = Vec::new();
    let mut sink = |line: Line| said.push(line.text);
    let command = Command::new(["sh", "-c", "echo one; cat; echo two >&2"]).stdin("in\n");
    let ended = host.exec_lines(&command, &mut sink).await.unwrap();
    said.sort();
    assert_eq!((said.as_slice(), ended.lines), (["in", "one", "two"].map(str::to_owned).as_slice(), 3));
    let mut content = tokio::io::repeat(b'x').take(BEGUN_BYTES as u64);
    let uploaded = host.upload(Upload::new(format!("{work}/file"), 0o600, &mut content)).await.unwrap();
    assert_eq!(uploaded.size, BEGUN_BYTES as u64);
}

/// A session to oneself takes the place of a worker that nobody uses.
#[tokio::test(flavor = "multi_thread")]
async fn where_sshd_allows_one_session_a_free_worker_makes_room() {
    let Some(sshd) = Sshd::start_with("MaxSessions 1", "") else { return };
    let host = sshd.host();
    for _ in 0..2 {
        assert_eq!(hello(&host).await.unwrap(), "hello\n");
        let ended = host.exec_lines(&Command::new(["true"]), &mut |_| {}).await.unwrap();
        assert!(ended.ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_connection_is_cut_may_have_done_something() {
    let Some(sshd) = Sshd::start() else { return };
    let host = sshd.host();
    let command = Command::new(["sh", "-c", "echo begun; exec sleep 300"]);
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let mut sink = move |_: Line| {
        if let Some(begun) = begun.take() {
            begun.send(()).unwrap();
        }
    };
    let cut = async {
        has_begun.await.unwrap();
        assert!(sshd.cut_connections() > 0, "there was a connection");
    };
    let (result, ()) = tokio::join!(host.exec_lines(&command, &mut sink), cut);
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.effect()), (FailureKind::Unreachable, Effect::Unknown), "{error}");
    assert_eq!(hello(&host).await.unwrap(), "hello\n");
}
