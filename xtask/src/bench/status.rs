//! `lockgate status`, cold.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::overhead::embedded;
use super::place::Programs;
use super::report::Report;
use super::stats::{Samples, number};
use super::{Options, project::Project};

const TARGET_MS: f64 = 15.0;

const MEANING: &str = "Whole commands, from before the process is started to after it ended, in an embedded project with \
one live service. `true` is what starting any program costs on this machine at that moment; `--version` is starting \
this program. Cold means that nothing of Lockgate runs before; its file is in the page cache.";

pub fn bench(programs: &Programs, options: &Options) -> Result<Report> {
    let project = embedded(programs, 1)?;
    project.lockgate(&["deploy", "hello", "v1"])?;
    let (mut floor, mut version, mut status) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..options.repetitions(50) {
        floor.push(time(&mut Command::new("true"))?);
        version.push(time(&mut project.command(&["--version"]))?);
        status.push(time(&mut project.command(&["status"]))?);
    }
    ensure!(says_live(&project)?, "`lockgate status` does not show what is live");
    let mut report = Report::new("status", "`lockgate status`, cold");
    report.meaning = MEANING.to_owned();
    report.header = vec!["what", "ms, median / worst", "times `true`"];
    let times = |samples: &Samples| number(samples.median() / floor.median());
    report.row(["`true`", &floor.shown(), "1"]);
    report.row(["`lockgate --version`", &version.shown(), &times(&version)]);
    report.row(["`lockgate status`", &status.shown(), &times(&status)]);
    let median = status.median();
    report.target("status", "≤ 15 ms", format!("{} ms", number(median)), median <= TARGET_MS);
    Ok(report)
}

fn says_live(project: &Project) -> Result<bool> {
    let output = project.command(&["status"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("v1"))
}

fn time(command: &mut Command) -> Result<std::time::Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let took = start.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(took)
}
