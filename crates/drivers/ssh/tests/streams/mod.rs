//! What takes long and has a session to itself: a file of any length, and a command whose lines are told.

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Command, Effect, Host, Line, Upload};
use tokio::io::AsyncReadExt;

use crate::sshd::Sshd;
use crate::{hello, slow_and_talkative_shell, until};

/// What is sent before something happens to the connection.
const BEGUN_BYTES: usize = 1024 * 1024;
/// Longest wait for an error that is due.
const ERROR_SECONDS_MAX: u64 = 20;

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
    let mut endless = tokio::io::repeat(b'x');
    let cut = async {
        until("a part is there", || begun(&work).is_some()).await;
        assert!(sshd.cut_connections() > 0, "there was a connection");
    };
    let (result, ()) = tokio::join!(host.upload(Upload::new(&file, 0o600, &mut endless)), cut);
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.effect()), (FailureKind::Unreachable, Effect::None), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"old");
    until("the part has gone", || is_alone(&file)).await;
    host.upload(Upload::new(&file, 0o600, &mut b"new".as_slice())).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"new");
}

/// Who reads what is sent, by the file that it writes into.
fn writer_of(part: &Path) -> Option<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut pids = processes.map(|entry| entry.path()).filter(|path| {
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
    let mut endless = tokio::io::repeat(b'x');
    let upload = Upload::new(&file, 0o600, &mut endless).stall(Millis(1_500));
    let stop = async {
        until("a part is there", || begun(&work).is_some()).await;
        let pid = writer_of(&begun(&work).unwrap()).expect("somebody writes it");
        signal("-STOP", &pid);
        pid
    };
    let asked = Instant::now();
    let (result, pid) = tokio::join!(host.upload(upload), stop);
    signal("-CONT", &pid);
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.effect()), (FailureKind::TimedOut, Effect::None), "{error}");
    assert!(error.message.contains("did not go on for 1.5s") && !error.hints().is_empty(), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(ERROR_SECONDS_MAX), "{:?}", asked.elapsed());
    until("the part has gone", || std::fs::read_dir(&work).unwrap().count() == 0).await;

    // Slow is not silent: this takes longer than nothing may.
    let (mut sender, mut slow) = tokio::io::duplex(64);
    let drip = async {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            tokio::io::AsyncWriteExt::write_all(&mut sender, b"drip").await.unwrap();
        }
        drop(sender);
    };
    let upload = host.upload(Upload::new(&file, 0o600, &mut slow).stall(Millis(1_500)));
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
