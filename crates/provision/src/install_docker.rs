//! Docker with Compose is installed on a host by its own apt, and its engine is started.

use std::collections::VecDeque;

use lockgate_model::{FailureKind, HostId, Millis, SetupHeadway, SetupKind, quoted};
use lockgate_ports::{Command, Ended, Host, Line, PortError};

use crate::docker::Errand;
use crate::said::{FORBIDDEN, NO_SPACE};
use crate::wait::Told;

/// Bound for all of it: some 100 MB are fetched and unpacked.
const INSTALL_SECONDS_MAX: u64 = 20 * 60;
/// Longest wait for somebody else's apt, as at a machine's first boot.
const LOCK_SECONDS_MAX: u64 = 5 * 60;
/// Longest wait for the engine's first answer.
const ENGINE_SECONDS_MAX: u64 = 60;
/// Lines that are told. apt says some three hundred.
const LINES_TOLD_MAX: usize = 2_000;
const LINE_CHARS_MAX: usize = 200;
/// What was told just now is not told again: who waits for a lock says so again and again.
const LINES_REMEMBERED: usize = 4;
/// Of what was said last, for whoever has to find out what is wrong.
const LOG_LINES_MAX: usize = 12;
const INSTALL: &str = include_str!("sh/install_docker.sh");
/// The script's own exit codes.
const LOCKED: i32 = 90;
const SILENT: i32 = 91;

const LOCKS: [&str; 2] = ["Could not get lock", "lock was locked by another process"];
const ERRORS: [&str; 2] = ["E: ", "error:"];
const OFF_LINE: [&str; 6] = [
    "Temporary failure resolving",
    "Could not resolve",
    "Could not connect",
    "Unable to connect",
    "Network is unreachable",
    "Connection timed out",
];
const UNKNOWN: [&str; 2] = ["Unable to locate package", "has no installation candidate"];
const IN_THE_WAY: [&str; 2] = ["Packages need to be removed", "unmet dependencies"];

/// # Errors
/// `TimedOut` when somebody else's apt did not end, or all took too long; `DiskFull`, `Unauthorized` by sudo, `NotFound` for a
/// package that the host's sources do not have, `Conflict` where something that is there would have to go; `Other` with what was
/// said last. What was done stays, and the next time goes on from there.
pub(crate) async fn make(host: &dyn Host, errand: &Errand, told: &dyn Told) -> Result<(), PortError> {
    let join = if errand.joins { "join" } else { "-" };
    let (lock, engine) = (LOCK_SECONDS_MAX.to_string(), ENGINE_SECONDS_MAX.to_string());
    let argv =
        ["sh", "-c", INSTALL, "sh", &lock, &engine, join].into_iter().chain(errand.packages.iter().copied());
    let command = Command::new(argv).timeout(Millis::from_secs(INSTALL_SECONDS_MAX));
    let mut lines = ToldLines { host: host.id(), told, count: 0, recent: VecDeque::new() };
    let mut sink = |line: Line| lines.tell(&line.text);
    let ended = host
        .exec_lines(&command, &mut sink)
        .await
        .map_err(|error| error.context("installing Docker").hint("`lockgate setup` goes on where it was"))?;
    if !ended.ok() {
        return Err(failed(host.id(), &ended));
    }
    if errand.joins {
        // Whoever is logged in has the groups of the login.
        host.reconnect().await;
    }
    Ok(())
}

/// Passes on what is said, within bounds.
struct ToldLines<'a> {
    host: &'a HostId,
    told: &'a dyn Told,
    count: usize,
    recent: VecDeque<String>,
}

impl ToldLines<'_> {
    fn tell(&mut self, text: &str) {
        let line: String = text.trim_end().chars().take(LINE_CHARS_MAX).collect();
        if line.trim().is_empty() || self.count == LINES_TOLD_MAX || self.recent.contains(&line) {
            return;
        }
        self.count += 1;
        if self.recent.len() == LINES_REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(line.clone());
        self.told.headway(&SetupHeadway::Said { host: self.host.clone(), kind: SetupKind::Docker, line });
    }
}

fn failed(host: &HostId, ended: &Ended) -> PortError {
    let said: Vec<&str> =
        ended.last.iter().map(|line| line.text.trim()).filter(|line| !line.is_empty()).collect();
    let that_says =
        |words: &[&str]| said.iter().rev().find(|line| words.iter().any(|word| line.contains(word))).copied();
    let says = |words: &[&str]| that_says(words).is_some();
    // Words that say why come before those that say what followed from it.
    let why = [&LOCKS[..], &NO_SPACE, &OFF_LINE, &UNKNOWN, &IN_THE_WAY, &FORBIDDEN, &ERRORS];
    let last = why.iter().find_map(|words| that_says(words)).or(said.last().copied());
    let last = quoted(last.unwrap_or("no word of why"), LINE_CHARS_MAX);
    let error = |kind, message: String| {
        let from = said.len().saturating_sub(LOG_LINES_MAX);
        let logs = said[from..].iter().map(|line| quoted(line, LINE_CHARS_MAX)).collect();
        // What was unpacked is there.
        PortError::new(kind, message).with_unknown_effect().logs(logs)
    };
    let message = format!("Docker cannot be installed on {host}: {last}");
    if ended.code == LOCKED {
        let message =
            format!("somebody else's apt on {host} did not end within {LOCK_SECONDS_MAX} s: {last}");
        return error(FailureKind::TimedOut, message)
            .hint("see what it is, on the host: `ps -ef | grep -E 'apt|dpkg|unattended'`; then `lockgate setup` goes on");
    }
    if ended.code == SILENT {
        let message = format!("Docker is installed on {host}, and its engine does not answer: {last}");
        return error(FailureKind::Unhealthy, message)
            .hint("on the host: `systemctl status docker`, `journalctl -u docker -n 50`");
    }
    if says(&NO_SPACE) {
        return error(FailureKind::DiskFull, message).hint("make room on the host: `df -h`, `apt-get clean`");
    }
    if says(&OFF_LINE) {
        return error(FailureKind::Other, message).hint(
            "the host does not reach the servers of its packages: `apt-get update` on the host says which",
        );
    }
    if says(&UNKNOWN) {
        return error(FailureKind::NotFound, message).hint(
            "the host's sources do not have it: Ubuntu needs `universe` (`add-apt-repository universe`), Debian `main`, see /etc/apt",
        );
    }
    if says(&IN_THE_WAY) {
        return error(FailureKind::Conflict, message)
            .hint("something that is installed is in the way, and nothing is removed for it: `apt-get check` on the host");
    }
    if says(&FORBIDDEN) {
        return error(FailureKind::Unauthorized, message)
            .hint("let this user use sudo for all commands without a password, or log in as root");
    }
    error(FailureKind::Other, message)
        .hint("`lockgate setup` goes on where it was; `apt-get check` on the host says what apt finds wrong")
}

#[cfg(test)]
mod tests {
    use lockgate_ports::Pipe;

    use super::*;

    fn ended(code: i32, lines: &[&str]) -> Ended {
        let line = |text: &&str| Line { pipe: Pipe::Stdout, text: (*text).to_owned(), is_cut: false };
        Ended { code, lines: lines.len() as u64, last: lines.iter().map(line).collect() }
    }

    #[test]
    fn each_way_to_fail_has_a_kind_and_something_to_do() {
        let host = HostId::new("web1").unwrap();
        let cases = [
            (
                90,
                vec![
                    "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 12 (apt-get)",
                    "E: Unable to lock directory /var/lib/apt/lists/",
                ],
            ),
            (91, vec!["failed to start daemon: no iptables", "Cannot connect to the Docker daemon"]),
            (100, vec!["E: You don't have enough free space in /var/cache/apt/archives/."]),
            (
                100,
                vec![
                    "dpkg: error processing archive x.deb (--unpack):",
                    " cannot copy: failed to write (No space left on device)",
                ],
            ),
            (
                100,
                vec![
                    "W: Failed to fetch http://deb.debian.org/x  Temporary failure resolving 'deb.debian.org'",
                    "E: Unable to locate package docker.io",
                ],
            ),
            (100, vec!["E: Unable to locate package docker-compose-v2"]),
            (100, vec!["E: Package 'docker.io' has no installation candidate"]),
            (100, vec!["E: Packages need to be removed but remove is disabled."]),
            (1, vec!["sudo: a password is required"]),
            (100, vec!["Setting up x", "E: Sub-process /usr/bin/dpkg returned an error code (1)\u{1b}[2J"]),
            (137, vec![]),
        ];
        let told = cases.map(|(code, lines)| {
            let error = failed(&host, &ended(code, &lines));
            assert_eq!(error.logs.len(), lines.len());
            format!("{error}\n    {}", error.hints().joined().unwrap())
        });
        insta::assert_snapshot!(told.join("\n"));
    }

    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<String>>);

    impl Told for Heard {
        fn headway(&self, headway: &SetupHeadway) {
            let SetupHeadway::Said { line, .. } = headway else { panic!("{headway:?}") };
            self.0.lock().unwrap().push(line.clone());
        }
    }

    #[test]
    fn what_is_said_again_and_again_is_told_once_and_a_flood_ends() {
        let (host, heard) = (HostId::new("web1").unwrap(), Heard::default());
        let mut lines = ToldLines { host: &host, told: &heard, count: 0, recent: VecDeque::new() };
        for _ in 0..3 {
            for text in ["E: Could not get lock a", "", "E: Unable to lock b"] {
                lines.tell(text);
            }
        }
        lines.tell(&"x".repeat(10_000));
        let told = std::mem::take(&mut *heard.0.lock().unwrap());
        assert_eq!(told, ["E: Could not get lock a", "E: Unable to lock b", &"x".repeat(LINE_CHARS_MAX)]);
        (0..3 * LINES_TOLD_MAX).for_each(|number| lines.tell(&number.to_string()));
        assert_eq!(heard.0.lock().unwrap().len(), LINES_TOLD_MAX - told.len());
    }
}
