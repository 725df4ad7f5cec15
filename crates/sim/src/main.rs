//! `lockgate-sim --seed N` plays one story and shows what happened; `--runs N --from S` plays many and shows what
//! broke.

use std::process::ExitCode;

use lockgate_sim::{Story, Tally, play};

const USAGE: &str = "lockgate-sim --seed N | lockgate-sim --runs N [--from S]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    match (number("--seed"), number("--runs")) {
        (Some(seed), None) => one(seed),
        (None, Some(runs)) => many(number("--from").unwrap_or(0), runs),
        _ => {
            eprintln!("usage: {USAGE}");
            ExitCode::from(2)
        }
    }
}

fn one(seed: u64) -> ExitCode {
    let story = Story::random(seed);
    println!("scene: {:#?}", story.scene);
    for turn in &story.turns {
        println!("turn: {turn:?}");
    }
    let told = play(seed, true);
    for line in &told.trace {
        println!("{line}");
    }
    println!("ends: {:#?}", told.ends);
    verdict(told.violations.is_empty(), &told.tally)
}

fn many(from: u64, runs: u64) -> ExitCode {
    let mut tally = Tally::default();
    let mut broken = 0;
    for seed in from..from.saturating_add(runs) {
        let told = play(seed, false);
        tally.add(&told.tally);
        if !told.violations.is_empty() {
            broken += 1;
            println!("seed {seed}: {}", told.violations[0]);
            println!("  cargo run -q -p lockgate-sim -- --seed {seed}");
        }
    }
    println!("{broken} of {runs} stories broke a promise");
    verdict(broken == 0, &tally)
}

fn verdict(good: bool, tally: &Tally) -> ExitCode {
    println!("{tally:?}");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
