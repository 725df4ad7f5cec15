//! As `embedded/chaos.rs`, with real containers behind the newest Caddy, which reads its switch at each request: the
//! orchestrator, a slot's container or Caddy is killed at any moment.

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::a::here::Here;
use crate::support::chaos::{DARK_MILLIS_MAX, LOOK_MILLIS_MAX, Random, Slow, play};
use crate::support::dark::Lookout;
use crate::support::project::Running;
use crate::support::{http, processes, wait_for};

const ROUNDS: u64 = 8;
/// About as long as a round's deployment takes.
const ROUND_MILLIS: u64 = 3_000;
/// The port of the app in its containers.
const APP_PORT: u16 = 5_000;
/// For an app on this machine that answers at once.
const SERVES_MILLIS_MAX: u64 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Orchestrator,
    Standby,
    Live,
    Caddy,
}

const VICTIMS: [Victim; 4] = [Victim::Orchestrator, Victim::Standby, Victim::Live, Victim::Caddy];

/// Caddy, started again when it has been killed, as systemd does.
struct Service<'a> {
    here: &'a Here,
    pid: i32,
    child: Option<Child>,
}

impl<'a> Service<'a> {
    fn of(here: &'a Here) -> Self {
        let pid = here.told_as_json("caddy_pid").as_i64().unwrap();
        Self { here, pid: i32::try_from(pid).unwrap(), child: None }
    }

    fn kill(&mut self) {
        processes::send(self.pid, Signal::KILL);
        let words = self.here.told_as_json("caddy").as_array().unwrap().iter();
        let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
        if let Some(mut dead) = self.child.take() {
            dead.wait().unwrap();
        }
        wait_for("its ports to be free", 5, || {
            TcpStream::connect(("127.0.0.1", self.here.port)).is_err().then_some(())
        });
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let folder = self.here.told("root");
        command.env("XDG_DATA_HOME", format!("{folder}/caddy/data"));
        command.env("XDG_CONFIG_HOME", format!("{folder}/caddy/config")).process_group(0);
        let child = command.spawn().unwrap();
        self.pid = i32::try_from(child.id()).unwrap();
        self.child = Some(child);
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn live_slot(here: &Here) -> String {
    let text = std::fs::read_to_string(here.home().join("active_color"));
    text.map_or_else(|_| "blue".to_owned(), |text| text.trim().to_owned())
}

/// The container that runs in a slot.
struct Container {
    /// Its first process.
    pid: i32,
    address: String,
}

impl Container {
    fn in_slot(here: &Here, slot: &str) -> Option<Self> {
        let project = format!("label=com.docker.compose.project={}-{slot}", here.told("project"));
        let id = here.docker(&["ps", "-q", "--filter", &project]);
        let format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let told = here.docker(&["inspect", "--format", format, id.lines().next()?]);
        let (pid, address) = told.split_once(' ')?;
        let pid = pid.parse().ok().filter(|pid| *pid > 0)?;
        Some(Self { pid, address: address.trim().to_owned() })
    }

    fn kill(&self) {
        processes::send(self.pid, Signal::KILL);
    }

    /// Whether it answers by itself: one that is being stopped still runs, and serves nobody any more.
    fn serves(&self) -> bool {
        let Ok(address) = format!("{}:{APP_PORT}", self.address).parse() else { return false };
        let bound = Duration::from_millis(SERVES_MILLIS_MAX);
        let asked = TcpStream::connect_timeout(&address, bound).and_then(|stream| {
            stream.set_read_timeout(Some(bound))?;
            http::over(stream).send("GET", "/", &[("connection", "close")], b"")
        });
        asked.is_ok_and(|answer| answer.status == 200)
    }
}

fn round(here: &Here, caddy: &mut Service<'_>, seed: u64) {
    let mut random = Random(seed);
    let victim = VICTIMS[usize::try_from(seed % 4).unwrap()];
    let after = Duration::from_millis(random.below(ROUND_MILLIS));
    let tag = if http::get(here.port, "/").unwrap().release() == "v1" { "v2" } else { "v1" };
    let what = format!("seed {seed}: deploy {tag}, {victim:?} killed after {} ms", after.as_millis());
    eprintln!("{what}");

    let lookout = Lookout::start(here.port);
    let slow = Slow::start(here.port);
    let running = Running::start(here.command(&format!("deploy web {tag}")));
    std::thread::sleep(after);
    let live = live_slot(here);
    let standby = if live == "blue" { "green" } else { "blue" };
    let [live, standby] = [live.as_str(), standby].map(|slot| Container::in_slot(here, slot));
    let other_serves = || standby.as_ref().is_some_and(Container::serves);
    let served = other_serves();
    let at = Instant::now();
    match victim {
        Victim::Orchestrator => running.signal(Signal::KILL),
        Victim::Standby => standby.iter().for_each(Container::kill),
        Victim::Live => live.iter().for_each(Container::kill),
        Victim::Caddy => caddy.kill(),
    }
    // Asked on both sides of the kill: once the old slot is being stopped nobody else can serve until the killed container is
    // started again by its restart policy, which is Docker's time and not the orchestrator's.
    let other_serves = served && other_serves();
    let ran = running.end();
    let knew = at.elapsed().as_millis() > LOOK_MILLIS_MAX;
    slow.finish();

    if ran.code == Some(0) && knew {
        let answer = http::get(here.port, "/").map(|answer| answer.status);
        assert!(matches!(answer, Ok(200)), "{what}: exit 0 over a dark site: {answer:?}\n{ran}");
    }
    // Caddy and a container with a restart policy come back by themselves, and a release that is gone back to answers.
    wait_for("an answer", 10, || http::get(here.port, "/").is_ok_and(|it| it.status == 200).then_some(()));
    let dark = lookout.finish();
    let told = format!("{what}\n{ran}");
    match victim {
        Victim::Orchestrator | Victim::Standby => assert!(dark.failures.is_empty(), "{dark:#?}\n{told}"),
        Victim::Caddy => dark.at_most(DARK_MILLIS_MAX, &told),
        Victim::Live if other_serves && knew => dark.at_most(DARK_MILLIS_MAX, &told),
        Victim::Live => {}
    }
    let resumed = here.run("resume web");
    let live = http::get(here.port, "/").unwrap().release().to_owned();
    if resumed.code == Some(1) && resumed.stdout.contains("by its restart policy") {
        // For two minutes that is not called well; a container that was not killed is.
        here.run(&format!("deploy web {live} --again")).expect(0);
    } else {
        resumed.expect(0);
    }
    here.expect_settled(&live);
}

#[test]
fn whatever_is_killed_in_a_deployment_behind_caddy_it_is_as_little_dark_as_can_be_and_never_called_well() {
    let Some(here) = Here::start_by_file() else { return };
    here.run("deploy web v1").expect(0);
    let mut caddy = Service::of(&here);
    play(ROUNDS, |seed| round(&here, &mut caddy, seed));
}
