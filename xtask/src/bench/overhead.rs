//! What Lockgate adds to a deployment on this machine, embedded: `process` and `builtin`, without gates.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Options;
use super::place::{self, Programs, Proxy, Running};
use super::project::{Project, Timeline};
use super::report::Report;
use super::stats::{Samples, number};

const TARGET_MS: f64 = 10.0;
/// Between two probes of the floor, and two looks at what is in flight.
const POLL: Duration = Duration::from_micros(200);

const MEANING: &str = "A deployment of a 2 MB program that boots at once, beside the same done by hand by the benchmark: \
start the new process, poll until its first healthy answer, switch the same proxy through its admin socket, look that \
nothing is in flight on the old slot, stop the old process and wait for its end. Both in turn, each on its own proxy. \
\"work\" is from the first event to the end of the run; \"whole command\" has starting the program, reading the \
configuration, taking the lease, looking and planning in it. By default a slot must pass its health check twice, 5 ms \
apart, so that a flapping app is not taken for a healthy one: the row with `passes: 1` is the one that compares like with like. \
The journal and the lease are on disk before what they announce is done, so the disk's fsync is most of the rest: it was \
measured beside.";

/// What the benchmark does itself.
struct ByHand<'a> {
    programs: &'a Programs,
    proxy: Proxy,
    live: Option<(Running, &'static str)>,
    count: u32,
}

impl ByHand<'_> {
    fn deploy(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.count += 1;
        let release = format!("v{}", self.count);
        let (process, port) = place::start_hello(self.programs, &release)?;
        let address = place::local(port);
        place::wait_until("hello", POLL, || place::healthy(&address))?;
        let slot = if self.live.as_ref().is_some_and(|(_, slot)| *slot == "blue") { "green" } else { "blue" };
        self.proxy.switch(slot, &release, port)?;
        if let Some((old, old_slot)) = self.live.replace((process, slot)) {
            while self.proxy.in_flight(old_slot)? > 0 {
                std::thread::sleep(POLL);
            }
            old.stop()?;
        }
        Ok(start.elapsed())
    }
}

pub fn config(listen: &str, passes: u32) -> String {
    format!(
        r#"project: bench
services:
  hello:
    command: ["./hello", "--version", "{{tag}}"]
    health: {{ path: /health, timeout: 10s, passes: {passes} }}
environments:
  local:
    runtime: process
    router: {{ builtin: {{ listen: "{listen}" }} }}
"#
    )
}

pub fn embedded(programs: &Programs, passes: u32) -> Result<Project> {
    Project::new(programs, &config(&format!("127.0.0.1:{}", place::free_port()?), passes))
}

#[derive(Default)]
struct Seen {
    total: Samples,
    work: Samples,
    before: Samples,
    after: Samples,
    steps: Vec<(String, Samples)>,
    journal: Samples,
}

impl Seen {
    fn take(&mut self, timeline: &Timeline) -> Result<()> {
        let (first, last) = (timeline.at("run_started")?, timeline.at("run_ended")?);
        self.total.push(timeline.total);
        self.work.push(last - first);
        self.before.push(first);
        self.after.push(timeline.total - last);
        let mut in_steps = Duration::ZERO;
        for (action, took) in timeline.steps()? {
            in_steps += took;
            let known = match self.steps.iter().position(|(name, _)| *name == action) {
                Some(known) => known,
                None => {
                    self.steps.push((action, Samples::default()));
                    self.steps.len() - 1
                }
            };
            self.steps[known].1.push(took);
        }
        self.journal.push((last - first).saturating_sub(in_steps));
        Ok(())
    }
}

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    let fair = embedded(programs, 1)?;
    let default = embedded(programs, 2)?;
    let by_hand_dir = place::folder()?;
    let proxy = Proxy::start(programs, &by_hand_dir.path().join("proxy"))?;
    let mut by_hand = ByHand { programs, proxy, live: None, count: 0 };
    let (mut floor, mut seen, mut twice) = (Samples::default(), Seen::default(), Seen::default());
    let (mut append, mut replace) = (Samples::default(), Samples::default());
    // The first deployment starts the proxy and hashes the program.
    for project in [&fair, &default] {
        project.lockgate(&["deploy", "hello", "v0"])?;
    }
    by_hand.deploy()?;
    for round in 1..=options.repetitions(30) {
        let tag = format!("v{round}");
        floor.push(by_hand.deploy()?);
        seen.take(&fair.lockgate(&["deploy", "hello", &tag])?)?;
        twice.take(&default.lockgate(&["deploy", "hello", &tag])?)?;
        append.push(append_and_sync(by_hand_dir.path())?);
        replace.push(replace_and_sync(by_hand_dir.path())?);
    }
    let syncs = fair.count_syncs(&["deploy", "hello", "counted"])?;
    drop(by_hand);

    let mut report = Report::new("overhead", "Lockgate's own time in a deployment, embedded");
    report.meaning = MEANING.to_owned();
    report.header = vec!["what", "ms, median / worst", "over by hand, ms"];
    let over = |samples: &Samples| samples.minus(&floor).shown();
    report.row(["by hand", &floor.shown(), "–"]);
    report.row(["`passes: 1`, work", &seen.work.shown(), &over(&seen.work)]);
    report.row(["`passes: 1`, whole command", &seen.total.shown(), &over(&seen.total)]);
    report.row(["default (`passes: 2`), work", &twice.work.shown(), &over(&twice.work)]);
    report.row(["default (`passes: 2`), whole command", &twice.total.shown(), &over(&twice.total)]);
    report.row(["before the first event (start, lease, look, plan)", &seen.before.shown(), ""]);
    for (action, took) in &seen.steps {
        report.row([&format!("step `{action}`"), &took.shown(), ""]);
    }
    report.row(["between the steps (intents and outcomes into the journal)", &seen.journal.shown(), ""]);
    report.row(["after the last event", &seen.after.shown(), ""]);
    report.row(["disk: append 256 B, fsync", &append.shown(), ""]);
    report.row(["disk: new file, fsync, rename, fsync of the folder", &replace.shown(), ""]);
    let work = seen.work.minus(&floor).median();
    report.target("work over by hand", "≤ 10 ms", format!("{} ms", number(work)), work <= TARGET_MS);
    let total = seen.total.minus(&floor).median();
    report.target(
        "whole command over by hand",
        "≤ 10 ms",
        format!("{} ms", number(total)),
        total <= TARGET_MS,
    );
    if let Some(syncs) = syncs {
        report.note(format!(
            "One deployment calls fsync or fdatasync {syncs} times: at this disk's {} ms each, {} ms.",
            number(append.median()),
            number(append.median() * syncs as f64)
        ));
    }
    Ok(report)
}

fn append_and_sync(dir: &Path) -> Result<Duration> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("append"))?;
    let start = Instant::now();
    file.write_all(&[b'x'; 256])?;
    file.sync_data()?;
    Ok(start.elapsed())
}

fn replace_and_sync(dir: &Path) -> Result<Duration> {
    let start = Instant::now();
    let mut file = std::fs::File::create(dir.join("new"))?;
    file.write_all(&[b'x'; 256])?;
    file.sync_all()?;
    std::fs::rename(dir.join("new"), dir.join("old"))?;
    std::fs::File::open(dir)?.sync_all()?;
    Ok(start.elapsed())
}
