//! Part of the host suite: [`Host::exec_lines`].

use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{FailureKind, Millis};
use tokio::time::Instant;

use crate::{Command, Ended, Host, LINE_BYTES_MAX, LINES_KEPT_MAX, Line, LineSink, Pipe, PortError};

/// Longest wait for something that must come true.
const CONDITION_SECONDS_MAX: u64 = 15;
/// More lines than are kept.
const MANY_LINES: usize = 20_000;
/// A listener that is slower than this would be one that nobody reads the outputs of an ended program for.
const SLOW_MILLIS: u64 = 1_500;

/// [`Host::exec_lines`], but for bounds.
///
/// # Panics
/// See [`suite`](super::host::suite).
pub async fn commands(host: &dyn Host, dir: &str) {
    lines_come_while_the_program_runs(host, dir).await;
    both_outputs_and_the_end_are_told(host, dir).await;
    many_and_long_lines_are_bounded(host).await;
    a_slow_listener_loses_nothing(host).await;
}

async fn told(host: &dyn Host, command: &Command) -> (Vec<Line>, Result<Ended, PortError>) {
    let mut lines = Vec::new();
    let mut sink = |line: Line| lines.push(line);
    let ended = host.exec_lines(command, &mut sink).await;
    (lines, ended)
}

fn texts(lines: &[Line], pipe: Pipe) -> Vec<&str> {
    lines.iter().filter(|line| line.pipe == pipe).map(|line| line.text.as_str()).collect()
}

/// The program says its second line only when the first has been told.
async fn lines_come_while_the_program_runs(host: &dyn Host, dir: &str) {
    let script = "echo one; until [ -e go ]; do sleep 0.02; done; echo two >&2; printf last";
    let (go, began) = (format!("{dir}/go"), Instant::now());
    let mut seen = Vec::new();
    let mut sink = |line: Line| {
        if line.text == "one" {
            std::fs::write(&go, "").unwrap();
        }
        seen.push((line.pipe, line.text));
    };
    let command =
        Command::new(["sh", "-c", script]).cwd(dir).timeout(Millis::from_secs(CONDITION_SECONDS_MAX));
    let ended = host.exec_lines(&command, &mut sink).await.unwrap();
    assert_eq!((ended.code, ended.lines), (0, 3), "after {:?}", began.elapsed());
    assert!(
        seen.contains(&(Pipe::Stdout, "one".to_owned())) && seen.contains(&(Pipe::Stderr, "two".to_owned()))
    );
    assert!(seen.contains(&(Pipe::Stdout, "last".to_owned())), "a line need not have an end: {seen:?}");
    std::fs::remove_file(&go).unwrap();
}

async fn both_outputs_and_the_end_are_told(host: &dyn Host, dir: &str) {
    for code in [0, 1, 75, 99, 126, 127, 255] {
        let (lines, ended) = told(host, &Command::new(["sh", "-c", &format!("echo out; exit {code}")])).await;
        assert_eq!((ended.unwrap().code, texts(&lines, Pipe::Stdout)), (code, vec!["out"]), "exit code");
    }
    let (_, ended) = told(host, &Command::new(["sh", "-c", "kill -9 $$"])).await;
    assert_eq!(ended.unwrap().code, 128 + 9, "a command killed by a signal");
    let (lines, ended) = told(host, &Command::new(["lockgate-no-such-program"]).stdin("x")).await;
    assert_eq!(ended.unwrap_err().kind, FailureKind::NotFound, "a missing program");
    assert_eq!(texts(&lines, Pipe::Stdout), [""; 0]);
    let (_, ended) = told(host, &Command::new(["true"]).cwd(format!("{dir}/nowhere"))).await;
    assert_eq!(ended.unwrap_err().kind, FailureKind::NotFound, "a missing working folder");
    // What looks like a word of ours is the program's all the same.
    let said = "lockgate-not-started:program";
    let (lines, ended) = told(host, &Command::new(["sh", "-c", &format!("echo {said} >&2; exit 3")])).await;
    assert_eq!((ended.unwrap().code, texts(&lines, Pipe::Stderr)), (3, vec![said]));

    let input: Vec<String> = (0..5_000).map(|number| format!("it's line {number} \"of\" $(many)")).collect();
    let command = Command::new(["sh", "-c", r#"printf "%s\n" "$VALUE"; cat; pwd >&2"#])
        .env("VALUE", "a\n$(touch pwned)")
        .cwd(dir)
        .stdin(input.join("\n"));
    let (lines, ended) = told(host, &command).await;
    let wanted: Vec<&str> =
        ["a", "$(touch pwned)"].into_iter().chain(input.iter().map(String::as_str)).collect();
    assert!(texts(&lines, Pipe::Stdout) == wanted, "environment and input come back as they are");
    assert_eq!(texts(&lines, Pipe::Stderr), [dir]);
    assert!(ended.unwrap().ok());
    let (_, ended) = told(host, &Command::new(["true"]).stdin(vec![b'x'; 1_000_000])).await;
    assert!(ended.unwrap().ok(), "a program need not read its input");
}

async fn many_and_long_lines_are_bounded(host: &dyn Host) {
    let script = format!("i=0; while [ $i -lt {MANY_LINES} ]; do echo $i; i=$((i+1)); done");
    let (lines, ended) = told(host, &Command::new(["sh", "-c", &script])).await;
    let ended = ended.unwrap();
    let wanted: Vec<String> = (0..MANY_LINES).map(|number| number.to_string()).collect();
    assert!(texts(&lines, Pipe::Stdout) == wanted, "{} lines of {MANY_LINES} were told", lines.len());
    assert_eq!((ended.lines, ended.last.len()), (MANY_LINES as u64, LINES_KEPT_MAX));
    assert_eq!(ended.last, lines[MANY_LINES - LINES_KEPT_MAX..], "the last ones are kept");
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo next";
    let (lines, _) = told(host, &Command::new(["sh", "-c", script])).await;
    assert_eq!(lines.len(), 2, "two lines");
    assert_eq!(
        (lines[0].text.len(), lines[0].is_cut),
        (LINE_BYTES_MAX, true),
        "a long line is cut and says so"
    );
    assert_eq!((lines[1].text.as_str(), lines[1].is_cut), ("next", false));
}

/// Takes its time for the first line, when the program has long ended.
struct Slow(Vec<String>);

#[async_trait]
impl LineSink for Slow {
    async fn line(&mut self, line: Line) {
        if self.0.is_empty() {
            tokio::time::sleep(Duration::from_millis(SLOW_MILLIS)).await;
        }
        self.0.push(line.text);
    }
}

async fn a_slow_listener_loses_nothing(host: &dyn Host) {
    let mut slow = Slow(Vec::new());
    let script = "i=0; while [ $i -lt 9000 ]; do echo $i; i=$((i+1)); done";
    let ended = host.exec_lines(&Command::new(["sh", "-c", script]), &mut slow).await.unwrap();
    assert_eq!((ended.lines, slow.0.len()), (9_000, 9_000));
}
