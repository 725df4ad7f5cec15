//! Compose and Caddy on a host over SSH, beside two scripts that do the same by hand.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Options;
use super::compose::{Cli, Docker, Scene, Service, TAGS};
use super::http::{self, Address, Request};
use super::place::{self, Programs};
use super::report::Report;
use super::ssh::Machine;
use super::stats::{Samples, number};

const TITLE: &str = "Compose and Caddy over SSH, to the first answer";
const TARGET_RATIO: f64 = 1.1;
/// Between two requests of whoever waits for the new release.
const ASK: Duration = Duration::from_millis(2);
/// Longest wait for it.
const ANSWER_SECONDS_MAX: u64 = 60;

const SESSION: &str = include_str!("sh/session.sh");
const STEPS: &str = include_str!("sh/steps.sh");

const MEANING: &str = "The deployment of `compose` (v2) on a host that is this machine behind an sshd of our own: from the start of \
the command to the first answer of the new release through Caddy, which is asked from outside every 2 ms, and to the command's end. By \
hand twice: as one script that runs on the host in one session, which costs nothing but the connection and the work \
(`xtask/src/bench/sh/session.sh`), and with a session for each step on one connection, as such scripts mostly are (`steps.sh` beside it). \
Neither looks for a deployment that was cut off, takes a lock, keeps a journal, asks the registry what the tag means, looks whether Caddy \
took the change, or can go back. All in turn, each with its own slots; every session pays what the login shell's start-up files cost here, \
which is in `ssh HOST true` of the section before.";

/// Who deploys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Session,
    Steps,
    Ours,
}

const WHO: [Who; 3] = [Who::Session, Who::Steps, Who::Ours];

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Session => "session",
            Who::Steps => "steps",
            Who::Ours => "ours",
        }
    }

    fn command(self, service: &Service, scene: &Docker, machine: &Machine, tag: &str) -> Result<Command> {
        let dir = service.project.path().to_str().context("a folder that is no text")?;
        let caddy = format!("http://{}:2019", scene.caddy);
        let (config, host) = (machine.config(), machine.name());
        let name = service.name.as_str();
        Ok(match self {
            Who::Session => {
                let mut command = Command::new("ssh");
                command.args(["-F", &config, &host, "sh", "-s", "--", dir, name, tag, &caddy]);
                command
            }
            Who::Steps => {
                let mut command = Command::new("sh");
                command.args(["-c", STEPS, "sh", dir, name, tag, &caddy, &config, &host]);
                command
            }
            Who::Ours => service.project.command(&["deploy", name, tag, "--format", "json"]),
        })
    }

    /// What the command reads.
    fn input(self) -> &'static [u8] {
        if self == Who::Session { SESSION.as_bytes() } else { b"" }
    }
}

#[derive(Default)]
struct Figures {
    answered: Samples,
    ended: Samples,
}

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    for program in ["docker", "caddy", "docker-registry", "sshd", "ssh", "curl"] {
        if !place::installed(program) {
            return Ok(Report::skipped("remote", TITLE, format!("{program} is not installed")));
        }
    }
    if !Cli::V2.there() {
        return Ok(Report::skipped("remote", TITLE, "Docker Compose v2 is not installed"));
    }
    let machine = Machine::start(programs)?;
    let names: Vec<(String, u16)> = WHO.map(|who| who.name().to_owned()).into_iter().zip(8001..).collect();
    let scene = Scene::start(programs, &names)?;
    let make = |(name, port): &(String, u16)| {
        let over = Some((machine.name(), machine.config()));
        let service = Service::new(programs, &scene.docker, Cli::V2, name.clone(), *port, over)?;
        std::fs::write(service.project.path().join("active_color"), "green\n")?;
        anyhow::Ok(service)
    };
    let services = names.iter().map(make).collect::<Result<Vec<Service>>>()?;
    let mut figures = WHO.map(|_| Figures::default());
    for round in 0..options.repetitions(10) + 2 {
        let tag = TAGS[round as usize % 2];
        for ((who, service), figures) in WHO.into_iter().zip(&services).zip(&mut figures) {
            let (answered, ended) = deploy(who, service, &scene.docker, &machine, tag)?;
            // The first two start the slots' containers for the first time.
            if round >= 2 {
                figures.answered.push(answered);
                figures.ended.push(ended);
            }
        }
    }
    Ok(told(&figures))
}

/// To the first answer of the new release, and to the command's end.
fn deploy(
    who: Who,
    service: &Service,
    docker: &Docker,
    machine: &Machine,
    tag: &str,
) -> Result<(Duration, Duration)> {
    let mut command = who.command(service, docker, machine, tag)?;
    let address = Address::Tcp(format!("{}:{}", docker.caddy, service.port));
    let (send, answered) = mpsc::channel();
    let wanted = format!("{tag}\n");
    let start = Instant::now();
    std::thread::spawn(move || {
        let limit = start + Duration::from_secs(ANSWER_SECONDS_MAX);
        while Instant::now() < limit {
            let answer = http::send(&address, &Request::get("/version"));
            if answer.is_ok_and(|answer| answer.status == 200 && answer.body == wanted.as_bytes()) {
                // Nobody listens any more when the command failed.
                let _gone = send.send(start.elapsed());
                return;
            }
            std::thread::sleep(ASK);
        }
    });
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().context("no stdin")?, who.input())?;
    let output = child.wait_with_output()?;
    let ended = start.elapsed();
    ensure!(
        output.status.success(),
        "{}: {command:?} ended with {}: {}",
        who.name(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let answered = answered
        .recv_timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
        .with_context(|| format!("{tag} never answered"))?;
    Ok((answered, ended))
}

fn told(figures: &[Figures; 3]) -> Report {
    let [session, steps, ours] = figures;
    let mut report = Report::new("remote", TITLE);
    report.meaning = MEANING.to_owned();
    report.header =
        vec!["what", "first answer, ms, median / worst", "of one session", "of a session a step", "end, ms"];
    let ratio = |one: &Samples, other: &Samples| one.median() / other.median();
    for (what, seen) in
        [("by hand, one session", session), ("by hand, a session a step", steps), ("Lockgate", ours)]
    {
        report.row([
            what,
            &seen.answered.shown(),
            &number(ratio(&seen.answered, &session.answered)),
            &number(ratio(&seen.answered, &steps.answered)),
            &seen.ended.shown(),
        ]);
    }
    let seen = ratio(&ours.answered, &session.answered);
    let wanted = format!("≤ {TARGET_RATIO} ×");
    report.target(
        "first answer, of a script in one session",
        &wanted,
        format!("{} ×", number(seen)),
        seen <= TARGET_RATIO,
    );
    let seen = ratio(&ours.answered, &steps.answered);
    report.target(
        "first answer, of a session a step",
        wanted,
        format!("{} ×", number(seen)),
        seen <= TARGET_RATIO,
    );
    report
}
