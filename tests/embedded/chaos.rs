//! Something is killed at any moment of a deployment: the orchestrator, the standby, the live app, the proxy, the host.
//!
//! - Where only the orchestrator or what has no traffic dies, no request fails.
//! - Where what has the traffic dies and something else can serve, it is dark for a second at most.
//! - No command ends with 0 over a dark site, and `resume` brings everything in order.
//!
//! `support/chaos.rs` says how it is played for longer, and one seed again.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::chaos::{DARK_MILLIS_MAX, LOOK_MILLIS_MAX, Random, Slow, play};
use crate::support::dark::Lookout;
use crate::support::processes::{self, Process};
use crate::support::project::{Project, Setup};
use crate::support::{http, wait_for};

/// Rounds in the test command: each victim a few times.
const ROUNDS: u64 = 20;
/// About as long as a round's deployment takes, the request that the old slot still answers included.
const ROUND_MILLIS: u64 = 1_100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Orchestrator,
    /// What runs in the slot that has no traffic.
    Standby,
    /// What runs in the slot that has the traffic.
    Live,
    Proxy,
    /// All of it, as when the power fails.
    Host,
}

const VICTIMS: [Victim; 5] =
    [Victim::Orchestrator, Victim::Standby, Victim::Live, Victim::Proxy, Victim::Host];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Deploy,
    Rollback,
}

fn live_slot(project: &Project) -> Option<String> {
    let mut client = http::unix(&project.path("host/proxy/admin.sock")).ok()?;
    let answer = client.send("GET", "/v1/routes/shop-prod-web", &[("connection", "close")], b"").ok()?;
    Some(answer.json()["target"]["slot"].as_str()?.to_owned())
}

fn slot_of(app: &Process) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{}/environ", app.pid)).ok()?;
    let text = String::from_utf8_lossy(&environment);
    text.split('\0').find_map(|variable| variable.strip_prefix("SLOT=")).map(str::to_owned)
}

/// What was done, and whether somebody else can serve now.
struct Kill {
    at: Instant,
    killed: usize,
    other_serves: bool,
}

fn kill(project: &Project, victim: Victim, orchestrator: i32) -> Kill {
    let live = live_slot(project);
    let (standby, lives): (Vec<Process>, Vec<Process>) =
        project.apps().into_iter().partition(|app| slot_of(app) != live);
    let pids =
        |processes: Vec<Process>| -> Vec<i32> { processes.into_iter().map(|process| process.pid).collect() };
    let proxies = pids(project.proxies());
    let (victims, other_serves): (Vec<i32>, bool) = match victim {
        Victim::Orchestrator => (vec![orchestrator], true),
        Victim::Standby => (pids(standby), true),
        Victim::Live => {
            let other_serves = !standby.is_empty();
            (pids(lives), other_serves)
        }
        Victim::Proxy => (proxies, true),
        Victim::Host => {
            let supervisors = pids(project.supervisors());
            ([vec![orchestrator], supervisors, proxies, pids(standby), pids(lives)].concat(), false)
        }
    };
    let at = Instant::now();
    victims.iter().for_each(|pid| processes::send(*pid, Signal::KILL));
    Kill { at, killed: victims.len(), other_serves }
}

fn round(seed: u64) {
    let mut random = Random(seed);
    let victim = VICTIMS[usize::try_from(seed % 5).unwrap()];
    let command = if random.below(4) == 0 { Command::Rollback } else { Command::Deploy };
    let after = Duration::from_millis(random.below(ROUND_MILLIS));
    let what = format!("seed {seed}: {command:?}, {victim:?} killed after {} ms", after.as_millis());
    eprintln!("{what}");

    let project = Project::with(&Setup {
        after: "[{ name: smoke, http: { samples: 3, interval: 50ms } }]".into(),
        ..Setup::default()
    });
    project.deploy("v1");
    if command == Command::Rollback {
        project.deploy("v2");
    }
    let lookout = Lookout::start(project.port);
    let slow = Slow::start(project.port);

    let running = project.start(match command {
        Command::Deploy => "deploy web v2",
        Command::Rollback => "rollback web",
    });
    std::thread::sleep(after);
    let orchestrator = i32::try_from(running.child.id()).unwrap();
    let kill = kill(&project, victim, orchestrator);
    let ran = running.end();
    let ended = Instant::now();
    slow.finish();

    let knew = ended.duration_since(kill.at).as_millis() > LOOK_MILLIS_MAX;
    if ran.code == Some(0) && knew {
        let answer = http::get(project.port, "/").map(|answer| answer.status);
        assert!(matches!(answer, Ok(200)), "{what}: exit 0 over a dark site: {answer:?}\n{ran}");
    }
    if matches!(victim, Victim::Orchestrator | Victim::Standby | Victim::Proxy) || kill.other_serves && knew {
        // A proxy that is started again, and a release that is gone back to, answer without anybody's help.
        wait_for("an answer", 5, || {
            http::get(project.port, "/").is_ok_and(|it| it.status == 200).then_some(())
        });
    } else if http::get(project.port, "/").is_ok_and(|answer| answer.status != 200) {
        let status = project.run("status web");
        assert_ne!(status.code, Some(0), "{what}: a dark site is not well\n{status}");
    }
    let dark = lookout.finish();
    match victim {
        Victim::Orchestrator | Victim::Standby => {
            assert!(dark.failures.is_empty(), "{what}: {dark:#?}\n{ran}")
        }
        Victim::Proxy => dark.at_most(DARK_MILLIS_MAX, &format!("{what}\n{ran}")),
        Victim::Live if kill.other_serves && kill.killed > 0 && knew => {
            dark.at_most(DARK_MILLIS_MAX, &format!("{what}\n{ran}"));
        }
        Victim::Live | Victim::Host => {}
    }
    project.run("resume").expect(0);
    let answer = project.ask("/");
    project.expect_settled(answer.release());
}

#[test]
fn whatever_is_killed_in_a_deployment_it_is_as_little_dark_as_can_be_and_never_called_well() {
    play(ROUNDS, round);
}
