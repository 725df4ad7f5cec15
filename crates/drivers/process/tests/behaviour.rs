//! The `process` runtime against real processes.

#[path = "behaviour/one_off.rs"]
mod one_off;
mod support;
#[path = "behaviour/unblocked.rs"]
mod unblocked;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, Millis, Secret, Slot, SlotState};
use lockgate_ports::conformance::runtime::{RuntimeFixture, suite};
use lockgate_ports::{CheckState, Runtime};
use support::{Shape, World, elsewhere, eventually, executable, here, is_alive, tag};

const GRACE: Millis = Millis::from_secs(5);

async fn state(world: &World, slot: Slot) -> Option<SlotState> {
    world.runtime.slots().await.unwrap().iter().find(|seen| seen.slot == slot).map(|seen| seen.state)
}

async fn answers(world: &World, slot: Slot) -> String {
    let mut body = None;
    eventually("the slot answers", async || {
        let slots = world.runtime.slots().await.unwrap();
        let endpoint = slots.iter().find(|seen| seen.slot == slot).and_then(|seen| seen.endpoint.clone());
        let Some(endpoint) = endpoint else { return false };
        body = world.get(&endpoint, "/").await.ok().map(|answer| answer.text());
        body.is_some()
    })
    .await;
    body.unwrap()
}

#[tokio::test]
async fn it_passes_the_suite_on_this_machine() {
    suite(&World::new(here(), Shape::default())).await;
}

#[tokio::test]
async fn it_passes_the_suite_by_scripts_alone() {
    suite(&World::new(elsewhere(), Shape::default())).await;
}

#[tokio::test]
async fn both_ways_give_a_release_the_same_digest() {
    let world = World::new(here(), Shape::default());
    let other = World::new(elsewhere(), Shape::default());
    let (one, two) = (world.runtime.resolve(&tag("v1")).await, other.runtime.resolve(&tag("v1")).await);
    assert_eq!(one.unwrap().digest, two.unwrap().digest);
}

/// P4: whatever instant the orchestrator ends at, what it started is either known or nothing.
#[tokio::test]
async fn a_start_that_is_cut_off_anywhere_leaves_no_unknown_process() {
    for host in [here(), elsewhere()] {
        let world = World::new(host, Shape::default());
        let [v1, v2] = [
            world.runtime.resolve(&tag("v1")).await.unwrap(),
            world.runtime.resolve(&tag("v2")).await.unwrap(),
        ];
        for micros in (0..12_000).step_by(400) {
            let release = if micros % 800 == 0 { &v1 } else { &v2 };
            let cut = Duration::from_micros(micros);
            let outcome = tokio::time::timeout(cut, world.runtime.start(Slot::Blue, release)).await;
            if let Ok(result) = outcome {
                result.unwrap();
            }
            if micros % 1200 == 0 {
                world.runtime.stop(Slot::Blue, GRACE).await.unwrap();
                eventually("after a stop nothing runs", async || world.processes().is_empty()).await;
                assert_ne!(state(&world, Slot::Blue).await, Some(SlotState::Running));
            } else {
                // The next start finds whatever the one before became.
                world.runtime.start(Slot::Blue, release).await.unwrap();
                eventually("after a start one process runs", async || world.processes().len() == 1).await;
                assert_eq!(answers(&world, Slot::Blue).await, release.tag.as_str());
            }
        }
    }
}

#[tokio::test]
async fn a_later_process_with_the_same_number_is_neither_taken_for_it_nor_killed() {
    use std::os::unix::process::CommandExt;
    for host in [here(), elsewhere()] {
        let world = World::new(host, Shape::default());
        let v1 = world.runtime.resolve(&tag("v1")).await.unwrap();
        world.runtime.start(Slot::Blue, &v1).await.unwrap();
        let (file, pid, began, boot) = world.run(Slot::Blue);
        // As if the service had ended and its number were somebody else's now, on this boot or a later one.
        let mut bystander = std::process::Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let number = bystander.id();
        for record in
            [format!("{number} {} {boot}\n", began - 1), format!("{pid} {began} {}\n", "0".repeat(36))]
        {
            std::fs::write(&file, record).unwrap();
            assert_eq!(state(&world, Slot::Blue).await, Some(SlotState::Stopped));
            world.runtime.stop(Slot::Blue, GRACE).await.unwrap();
        }
        assert!(is_alive(pid), "the process of another boot with this number was left alone");
        world.runtime.start(Slot::Blue, &v1).await.unwrap();
        assert!(is_alive(number), "the bystander was left alone");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}

/// When init began, as everybody may read: with it a file names init as well as a file can.
fn init_began() -> u64 {
    let stat = std::fs::read_to_string("/proc/1/stat").unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_pid_file_that_names_init_or_everybody_names_nobody() {
    for host in [here(), elsewhere()] {
        let world = World::new(host, Shape::default());
        let v1 = world.runtime.resolve(&tag("v1")).await.unwrap();
        world.runtime.start(Slot::Blue, &v1).await.unwrap();
        let (file, pid, began, boot) = world.run(Slot::Blue);
        for number in ["1", "0", "-1", "-2", "01"] {
            // Only looked at: this is as convincing as it can be.
            std::fs::write(&file, format!("{number} {} {boot}\n", init_began())).unwrap();
            assert_eq!(state(&world, Slot::Blue).await, Some(SlotState::Stopped), "{number}");
            // To be ended: it is not, nor waited for. Were the number believed, the time that it began would not be.
            std::fs::write(&file, format!("{number} {} {boot}\n", began + 1)).unwrap();
            let begin = Instant::now();
            world.runtime.stop(Slot::Blue, GRACE).await.unwrap();
            assert!(begin.elapsed() < GRACE.duration(), "{number}: it was waited for");
        }
        assert!(is_alive(pid));
    }
}

#[tokio::test]
async fn a_fifo_in_the_place_of_a_pid_file_is_told_of_at_once() {
    for host in [here(), elsewhere()] {
        let world = World::new(host, Shape::default());
        let v1 = world.runtime.resolve(&tag("v1")).await.unwrap();
        world.runtime.start(Slot::Blue, &v1).await.unwrap();
        let (file, pid, ..) = world.run(Slot::Blue);
        std::fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        let begin = Instant::now();
        let looked = world.runtime.slots().await.unwrap_err();
        let stopped = world.runtime.stop(Slot::Blue, GRACE).await.unwrap_err();
        let started = world.runtime.start(Slot::Blue, &v1).await.unwrap_err();
        assert!(begin.elapsed() < GRACE.duration(), "they waited: {:?}", begin.elapsed());
        for error in [looked, stopped, started] {
            assert_eq!(error.kind, FailureKind::Refused, "{error}");
            assert!(error.message.contains("is a FIFO") && !error.hints().is_empty(), "{error}");
        }
        assert!(is_alive(pid));
    }
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed_after_the_grace() {
    for host in [here(), elsewhere()] {
        let world = World::new(host, Shape { command: vec!["./stubborn"], ..Shape::default() });
        let text = b"#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.1; done\n";
        executable(&world.root.path().join("stubborn"), text);
        let release = world.runtime.resolve(&tag("v1")).await.unwrap();
        world.runtime.start(Slot::Green, &release).await.unwrap();
        eventually("it traps", async || !world.runtime.logs(Slot::Green, 1).await.unwrap().is_empty()).await;
        let begin = Instant::now();
        world.runtime.stop(Slot::Green, Millis(400)).await.unwrap();
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(4), "{took:?}");
        assert_eq!(state(&world, Slot::Green).await, Some(SlotState::Stopped));
        assert_eq!(world.processes(), Vec::<u32>::new());
    }
}

#[tokio::test]
async fn how_a_process_ended_is_said_where_it_is_known() {
    for (line, end) in [("exit 3", " with exit code 3"), ("kill -9 $$", " with signal 9")] {
        for (host, end) in [(here(), end), (elsewhere(), "")] {
            let world = World::new(host, Shape { command: vec!["./brief"], ..Shape::default() });
            executable(&world.root.path().join("brief"), format!("#!/bin/sh\n{line}\n").as_bytes());
            let release = world.runtime.resolve(&tag("v1")).await.unwrap();
            world.runtime.start(Slot::Blue, &release).await.unwrap();
            eventually("it ends", async || state(&world, Slot::Blue).await == Some(SlotState::Stopped)).await;
            let findings = world.runtime.diagnose(Slot::Blue, None).await.findings;
            assert!(findings[0].ends_with(&format!("has ended by itself{end}")), "{findings:?}");
        }
    }
}

#[tokio::test]
async fn workers_whose_leader_is_gone_are_ended_too() {
    let world = World::new(here(), Shape { command: vec!["./leader"], ..Shape::default() });
    executable(&world.root.path().join("leader"), b"#!/bin/sh\nsleep 600 &\necho left $!\n");
    let release = world.runtime.resolve(&tag("v1")).await.unwrap();
    world.runtime.start(Slot::Blue, &release).await.unwrap();
    eventually("the leader ends", async || state(&world, Slot::Blue).await == Some(SlotState::Stopped)).await;
    assert_eq!(world.processes().len(), 1, "the worker is left");
    let findings = world.runtime.diagnose(Slot::Blue, None).await.findings;
    assert!(findings[0].contains("has ended by itself"), "{findings:?}");
    world.runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert_eq!(world.processes(), Vec::<u32>::new());
    let findings = world.runtime.diagnose(Slot::Blue, None).await.findings;
    assert_eq!(findings, ["it was stopped"], "what the app wrote is in its log only");
    assert!(world.runtime.logs(Slot::Blue, 1).await.unwrap()[0].contains("left"));
}

#[tokio::test]
async fn bytes_that_changed_since_are_refused_and_what_runs_is_left_alone() {
    for host in [here(), elsewhere()] {
        let world = World::new(host, Shape::default());
        let (v1, v2) =
            (world.runtime.resolve(&tag("v1")).await.unwrap(), world.runtime.resolve(&tag("v2")).await);
        world.runtime.start(Slot::Blue, &v1).await.unwrap();
        executable(&world.root.path().join("serve-v2"), b"#!/bin/sh\n");
        let error = world.runtime.start(Slot::Blue, &v2.unwrap()).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::NotFound, "{error}");
        assert!(error.message.contains("no longer there") && !error.hints().is_empty(), "{error}");
        assert_eq!(answers(&world, Slot::Blue).await, "v1");
    }
}

#[tokio::test]
async fn a_file_among_the_arguments_is_part_of_the_release() {
    let world = World::new(here(), Shape { command: vec!["sh", "app.sh"], ..Shape::default() });
    let script = world.root.path().join("app.sh");
    std::fs::write(&script, "sleep 600").unwrap();
    let before = world.runtime.resolve(&tag("v1")).await.unwrap();
    assert_eq!(world.runtime.resolve(&tag("v1")).await.unwrap().digest, before.digest);
    // Same length, at once: neither size nor a coarse clock would show it.
    std::fs::write(&script, "sleep 700").unwrap();
    assert_ne!(world.runtime.resolve(&tag("v1")).await.unwrap().digest, before.digest);
}

#[tokio::test]
async fn a_fixed_port_is_blues_and_the_next_is_greens_and_who_has_it_is_named() {
    for host in [here(), elsewhere()] {
        let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let world = World::new(host, Shape { port: Some(port - 1), ..Shape::default() });
        let v1 = world.runtime.resolve(&tag("v1")).await.unwrap();
        let error = world.runtime.start(Slot::Green, &v1).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Conflict);
        assert!(error.message.contains(&format!("process {}", std::process::id())), "{error}");
        assert_eq!(world.processes(), Vec::<u32>::new(), "nothing was started");
        drop(taken);
        world.runtime.start(Slot::Green, &v1).await.unwrap();
        assert_eq!(answers(&world, Slot::Green).await, "v1");
        let seen = world.runtime.slots().await.unwrap();
        assert_eq!(seen[0].endpoint.as_ref().unwrap().to_string(), format!("127.0.0.1:{port}"));
    }
}

#[tokio::test]
async fn the_service_sees_its_secrets_and_nothing_else_does() {
    let env = BTreeMap::from([("DB_PASSWORD".to_owned(), Secret::new("hunter2 'quoted' \"twice\" $HOME"))]);
    let world = World::new(here(), Shape { env, ..Shape::default() });
    let v1 = world.runtime.resolve(&tag("v1")).await.unwrap();
    world.runtime.start(Slot::Blue, &v1).await.unwrap();
    answers(&world, Slot::Blue).await;
    let (_, pid, ..) = world.run(Slot::Blue);
    let environ = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let names: Vec<&str> = environ.split('\0').collect();
    assert!(names.contains(&"DB_PASSWORD=hunter2 'quoted' \"twice\" $HOME"), "the value arrives as it is");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!environ.contains("CARGO_MANIFEST_DIR"), "the orchestrator's environment stays its own");
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!command.contains("hunter2"));
    for entry in std::fs::read_dir(world.dir()).unwrap() {
        let path = entry.unwrap().path();
        assert!(!std::fs::read_to_string(&path).unwrap().contains("hunter2"), "{}", path.display());
    }
}

#[tokio::test]
async fn the_service_has_a_session_of_its_own() {
    let world = World::new(here(), Shape::default());
    let v1 = world.runtime.resolve(&tag("v1")).await.unwrap();
    world.runtime.start(Slot::Blue, &v1).await.unwrap();
    let (_, pid, ..) = world.run(Slot::Blue);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!([fields[2], fields[3]], [pid.to_string().as_str(); 2], "its process group and session");
    let ignored = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = ignored.lines().find(|line| line.starts_with("SigIgn:")).unwrap();
    let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_eq!(mask & 0b110, 0, "SIGINT and SIGQUIT are not ignored: {line}");
}

#[tokio::test]
async fn a_service_on_the_wrong_port_is_told_from_one_on_the_right_one() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let wrong: &'static str = Box::leak(free.to_string().into_boxed_str());
    let world =
        World::new(here(), Shape { command: vec!["./serve-{tag}", "{tag}", wrong], ..Shape::default() });
    let v1 = world.runtime.resolve(&tag("v1")).await.unwrap();
    world.runtime.start(Slot::Blue, &v1).await.unwrap();
    eventually("it listens", async || !world.runtime.logs(Slot::Blue, 1).await.unwrap().is_empty()).await;
    let findings = world.runtime.diagnose(Slot::Blue, None).await.findings;
    assert!(findings[0].contains(&format!("listens on {wrong}")), "{findings:?}");
    assert_eq!(world.runtime.diagnose(Slot::Blue, Some(free)).await.findings, Vec::<String>::new());
    assert_eq!(world.runtime.diagnose(Slot::Green, None).await.findings, ["green holds nothing"]);
}

#[tokio::test]
async fn what_a_deployment_needs_is_looked_at() {
    let world = World::new(elsewhere(), Shape { command: vec!["./nowhere"], ..Shape::default() });
    let checks = world.runtime.check().await;
    let bad: Vec<&str> =
        checks.iter().filter(|one| one.state == CheckState::Bad).map(|one| one.what.as_str()).collect();
    assert_eq!(bad, ["program"], "{checks:?}");
    assert!(checks.iter().any(|one| one.state == CheckState::Warn && one.what == "command"), "{checks:?}");
}

#[tokio::test]
async fn a_record_that_is_not_understood_is_an_error_and_not_an_empty_slot() {
    for host in [here(), elsewhere()] {
        let world = World::new(host, Shape::default());
        std::fs::create_dir_all(world.dir()).unwrap();
        std::fs::write(world.dir().join("blue.json"), "{\"token\":\"x\"}\n").unwrap();
        let error = world.runtime.slots().await.unwrap_err();
        assert!(!error.hints().is_empty() && error.message.contains("blue"), "{error}");
    }
}

/// Prints what it measures; the bound only catches a mistake, for the machine may be busy with something else.
#[tokio::test]
async fn a_start_is_a_matter_of_milliseconds() {
    let world = World::new(here(), Shape::default());
    let releases =
        [world.runtime.resolve(&tag("v1")).await.unwrap(), world.runtime.resolve(&tag("v2")).await.unwrap()];
    let (mut started, mut stopped) = (Vec::new(), Vec::new());
    for n in 0..10 {
        let begin = Instant::now();
        world.runtime.start(Slot::Blue, &releases[n % 2]).await.unwrap();
        started.push(begin.elapsed());
        answers(&world, Slot::Blue).await;
        let begin = Instant::now();
        world.runtime.stop(Slot::Blue, GRACE).await.unwrap();
        stopped.push(begin.elapsed());
    }
    started.sort();
    stopped.sort();
    eprintln!("start {:?} / {:?}, stop {:?} / {:?}", started[5], started[9], stopped[5], stopped[9]);
    assert!(started[5] < Duration::from_secs(1), "{started:?}");
    assert!(stopped[5] < Duration::from_secs(1), "{stopped:?}");
}
