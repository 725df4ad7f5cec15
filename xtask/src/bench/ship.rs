//! System C's way: a commit tested, built, pushed, its host set up and it deployed there, beside the same by hand.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Options;
use super::compose::Cli;
use super::place::{self, Programs};
use super::relay::Relay;
use super::report::Report;
use super::ship_yard::{Repository, Yard};
use super::stats::{Samples, number};

const TITLE: &str = "System C's way, from a commit to its release";
const WAY_RATIO_MAX: f64 = 1.2;
const NOTHING_CHANGED_MILLIS_MAX: f64 = 50.0;
const SETUP_TRIPS_MAX: f64 = 8.0;
/// Of the line on which round trips are counted.
const ONE_WAY: Duration = Duration::from_millis(50);

const MEANING: &str = "A repository with a small app, a registry with a login, and a host that is this machine behind an sshd of our own. \
C's way: a test that does nothing, `docker build` of a new layer, two tags pushed, the Compose file and `.env` on the host, pull, the old \
container stopped and the new one started, until it is healthy. By hand as a script with one session on the host \
(`xtask/src/bench/sh/ship.sh`), which is logged in here and there already, writes no `.env`, and looks at nothing but the first good health \
answer; `lockgate ship` makes its login anew, reads both tags' digest back, looks whether the host is set up, takes a lease, keeps a \
journal and can go back. All in turn, each with its own repository, image and container. Nothing changed: `lockgate ship` again, on this \
machine beside the five questions that it asks git (asked at once, as it does), and over SSH beside `ssh HOST true`. Prepared: `lockgate \
setup` with a folder, a Compose file, a `.env` and a login that are there. Round trips are what a line that takes 50 ms each way makes it \
slower, in parts of 100 ms; those that `ssh HOST true` needs for itself are its connection.";

#[derive(Default)]
struct Figures {
    by_hand: Samples,
    way: Samples,
    /// Of it: the build, the pushes, and all else.
    parts: [Samples; 3],
    git: Samples,
    git_at_once: Samples,
    nothing_here: Samples,
    ssh: Samples,
    nothing_over_ssh: Samples,
    setup: Samples,
    /// Of `ssh HOST true`, and of `setup`.
    trips: [f64; 2],
}

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    for program in ["docker", "docker-registry", "htpasswd", "git", "sshd", "ssh", "curl"] {
        if !place::installed(program) {
            return Ok(Report::skipped("ship", TITLE, format!("{program} is not installed")));
        }
    }
    if !Cli::V2.there() {
        return Ok(Report::skipped("ship", TITLE, "Docker Compose v2 is not installed"));
    }
    let yard = Yard::start(programs)?;
    let mut figures = Figures::default();
    let ours = whole_way(&yard, options, &mut figures)?;
    nothing_changed(&yard, &ours, options, &mut figures)?;
    prepared(&yard, &ours, options, &mut figures)?;
    Ok(told(&figures))
}

/// The repository that was shipped to the host by Lockgate.
fn whole_way(yard: &Yard, options: &Options, figures: &mut Figures) -> Result<Repository> {
    let (hand, ours) = (yard.repository("hand", true)?, yard.repository("ours", true)?);
    // The login that this makes on the host is both's.
    ours.lockgate(&["setup"], "is set up")?;
    hand.prepared_by_hand()?;
    for round in 0..options.repetitions(10) + 1 {
        for repository in [&hand, &ours] {
            repository.commit(round + 1)?;
        }
        let by_hand = hand.by_hand(&yard.machine)?;
        hand.expect_live()?;
        let (way, jobs) = ours.ship()?;
        ours.expect_live()?;
        let [build, push] = ["build", "push"].map(|job| jobs.get(job).copied());
        let (build, push) = (build.context("no build")?, push.context("no push")?);
        // The first one fills what is kept between two builds.
        if round > 0 {
            figures.by_hand.push(by_hand);
            figures.way.push(way);
            let parts = [build, push, way.saturating_sub(build + push)];
            figures.parts.iter_mut().zip(parts).for_each(|(samples, part)| samples.push(part));
        }
    }
    Ok(ours)
}

fn nothing_changed(yard: &Yard, ours: &Repository, options: &Options, figures: &mut Figures) -> Result<()> {
    let here = yard.repository("here", false)?;
    here.lockgate(&["ship"], "")?;
    here.expect_live()?;
    for _ in 0..options.repetitions(20) {
        figures.git.push(here.ask_git(false)?);
        figures.git_at_once.push(here.ask_git(true)?);
        figures.nothing_here.push(here.lockgate(&["ship"], "nothing to ship")?);
        figures.ssh.push(yard.machine.time_ssh(&[])?);
        figures.nothing_over_ssh.push(ours.lockgate(&["ship"], "nothing to ship")?);
    }
    Ok(())
}

fn prepared(yard: &Yard, ours: &Repository, options: &Options, figures: &mut Figures) -> Result<()> {
    let relay = Relay::to(yard.machine.port())?;
    let slow = yard.through(ours, relay.port)?;
    let ssh = yard.machine.through(relay.port)?;
    let setup = ["-c", slow, "setup"];
    let mut times = [(); 4].map(|()| Samples::default());
    for _ in 0..options.repetitions(10) {
        figures.setup.push(ours.lockgate(&["setup"], "nothing to do")?);
        for (delay, [of_ssh, of_setup]) in [Duration::ZERO, ONE_WAY].into_iter().zip([[0, 1], [2, 3]]) {
            relay.delay(delay);
            times[of_ssh].push(yard.machine.time_ssh_by(&ssh, &[])?);
            times[of_setup].push(ours.lockgate(&setup, "nothing to do")?);
        }
    }
    let trips = |near: &Samples, far: &Samples| {
        (far.median() - near.median()) / (2.0 * ONE_WAY.as_secs_f64() * 1000.0)
    };
    figures.trips = [trips(&times[0], &times[2]), trips(&times[1], &times[3])];
    Ok(())
}

fn told(figures: &Figures) -> Report {
    let Figures { by_hand, way, parts, git, git_at_once, nothing_here, ssh, nothing_over_ssh, setup, trips } =
        figures;
    let [build, push, rest] = parts;
    let mut report = Report::new("ship", TITLE);
    report.meaning = MEANING.to_owned();
    report.header = vec!["what", "ms, median / worst", "over its floor, ms", "of its floor"];
    let ratio = |one: &Samples, floor: &Samples| one.median() / floor.median();
    for (what, seen, floor) in [
        ("C's way by hand", by_hand, None),
        ("C's way, `lockgate ship`", way, Some(by_hand)),
        ("of it, the build", build, None),
        ("of it, both tags pushed", push, None),
        ("of it, all else", rest, None),
        ("git's five questions, one after the other", git, None),
        ("git's five questions, at once", git_at_once, None),
        ("nothing changed, `lockgate ship` on this machine", nothing_here, Some(git_at_once)),
        ("`ssh HOST true`", ssh, None),
        ("nothing changed, `lockgate ship` over SSH", nothing_over_ssh, Some(ssh)),
        ("prepared, `lockgate setup` over SSH", setup, Some(ssh)),
    ] {
        let (over, of) = match floor {
            None => ("–".to_owned(), "–".to_owned()),
            Some(floor) => (seen.minus(floor).shown(), number(ratio(seen, floor))),
        };
        report.row([what, &seen.shown(), &over, &of]);
    }
    let seen = ratio(way, by_hand);
    report.target(
        "C's way, of by hand",
        format!("≤ {WAY_RATIO_MAX} ×"),
        format!("{} ×", number(seen)),
        seen <= WAY_RATIO_MAX,
    );
    let seen = nothing_here.minus(git_at_once).median();
    report.target(
        "nothing changed, over git",
        format!("≤ {NOTHING_CHANGED_MILLIS_MAX} ms"),
        format!("{} ms", number(seen)),
        seen <= NOTHING_CHANGED_MILLIS_MAX,
    );
    let [of_ssh, of_setup] = trips;
    let seen = (of_setup - of_ssh).round();
    report.target(
        "prepared, round trips beyond the connection's own",
        format!("≤ {SETUP_TRIPS_MAX}"),
        format!("{seen}"),
        seen <= SETUP_TRIPS_MAX,
    );
    report.note(format!(
        "Round trips of `ssh HOST true`: {}; of `lockgate setup`: {}.",
        number(*of_ssh),
        number(*of_setup)
    ));
    report
}
