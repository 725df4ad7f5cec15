//! `lockgate-sim --seed N` plays one story and shows what happened; `--runs N --from S` plays many and shows what
//! broke. `--kind KIND` plays stories of a kind of their own.

use std::process::ExitCode;

use lockgate_sim::{Story, Tally, tell, tell_of_calls};

const USAGE: &str = "lockgate-sim [--kind power|sessions|fleet|lock|calls] --seed N | --runs N [--from S]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    let kind = args.iter().position(|arg| arg == "--kind").and_then(|at| args.get(at + 1));
    if let (Some("calls"), Some(seed)) = (kind.map(String::as_str), number("--seed")) {
        return calls(seed);
    }
    let story: Option<fn(u64) -> Story> = match kind.map(String::as_str) {
        None => Some(Story::random),
        Some("lock") => Some(Story::stopped_in_a_swap),
        Some("power") => Some(Story::with_power_loss),
        Some("fleet") => Some(Story::of_a_fleet),
        Some("sessions") => Some(Story::with_two_sessions),
        Some(_) => None,
    };
    match (story, number("--seed"), number("--runs")) {
        (Some(story), Some(seed), None) => one(&story(seed)),
        (Some(story), None, Some(runs)) => many(story, number("--from").unwrap_or(0), runs, kind),
        _ => {
            eprintln!("usage: {USAGE}");
            ExitCode::from(2)
        }
    }
}

fn calls(seed: u64) -> ExitCode {
    let told = tell_of_calls(seed, true);
    told.trace.iter().for_each(|line| println!("{line}"));
    println!("{:?}", told.calls);
    verdict(told.violations.is_empty(), &told.tally)
}

fn one(story: &Story) -> ExitCode {
    println!("scene: {:#?}", story.scene);
    for turn in &story.turns {
        println!("turn: {turn:?}");
    }
    let told = tell(story, true);
    for line in &told.trace {
        println!("{line}");
    }
    println!("ends: {:#?}", told.ends);
    verdict(told.violations.is_empty(), &told.tally)
}

fn many(story: fn(u64) -> Story, from: u64, runs: u64, kind: Option<&String>) -> ExitCode {
    let kind = kind.map(|kind| format!("--kind {kind} ")).unwrap_or_default();
    let mut tally = Tally::default();
    let mut broken = 0;
    for seed in from..from.saturating_add(runs) {
        let told = tell(&story(seed), false);
        tally.add(&told.tally);
        if !told.violations.is_empty() {
            broken += 1;
            println!("seed {seed}: {}", told.violations[0]);
            println!("  cargo run -q -p lockgate-sim -- {kind}--seed {seed}");
        }
    }
    println!("{broken} of {runs} stories broke a promise");
    verdict(broken == 0, &tally)
}

fn verdict(good: bool, tally: &Tally) -> ExitCode {
    println!("{tally:?}");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
