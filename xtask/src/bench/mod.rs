//! `cargo xtask bench [NAME…] [--write] [--check] [--quick]`: figures beside the raw floor, measured in the same run. With names
//! `--write` puts those sections alone anew.
//!
//! Every floor is measured in turn with what it is compared to, so that a busy machine slows both. No test asserts on
//! time; `--check` is for people.

mod compose;
mod crowd;
mod document;
mod endpoint;
pub mod http;
mod load;
mod overhead;
pub mod place;
mod project;
mod relay;
mod remote;
mod report;
mod ship;
mod ship_yard;
mod signed;
mod ssh;
mod stats;
mod status;
mod swaps;
mod switch;
mod switch_load;
mod throughput;

use std::process::Command;

use anyhow::{Context, Result, bail};

use place::Programs;
use report::Report;

const DOCUMENT: &str = "docs/benchmarks.md";
/// Enough to see that it works, too few to believe.
const QUICK_REPETITIONS_MAX: u32 = 5;

type Bench = fn(&Programs, &Options) -> Result<Report>;

const BENCHES: [(&str, Bench); 11] = [
    ("overhead", overhead::bench),
    ("compose", compose::bench),
    ("signed", signed::bench),
    ("ssh", ssh::bench),
    ("remote", remote::bench),
    ("status", status::bench),
    ("swaps", swaps::bench),
    ("switch", switch::bench),
    ("proxy", throughput::bench),
    ("endpoint", endpoint::bench),
    ("ship", ship::bench),
];

#[derive(Debug, Default)]
pub struct Options {
    names: Vec<String>,
    write: bool,
    check: bool,
    quick: bool,
}

impl Options {
    /// How often something is measured whose usual number of repetitions is this.
    pub fn repetitions(&self, usual: u32) -> u32 {
        if self.quick { usual.min(QUICK_REPETITIONS_MAX) } else { usual }
    }

    fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--write" => options.write = true,
                "--check" => options.check = true,
                "--quick" => options.quick = true,
                name if BENCHES.iter().any(|(known, _)| *known == name) => options.names.push(arg),
                _ => bail!(
                    "{arg:?} is not known; there are: {}, --write, --check, --quick",
                    BENCHES.map(|(name, _)| name).join(", ")
                ),
            }
        }
        if options.write && options.quick {
            bail!("--write wants figures in full, so not --quick");
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

pub fn run(args: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::parse(args)?;
    let programs = Programs::build()?;
    let machine = Machine::look();
    let mut reports = Vec::new();
    for (name, bench) in BENCHES.into_iter().filter(|(name, _)| options.wants(name)) {
        let report = bench(&programs, &options).with_context(|| format!("benchmark {name}"))?;
        println!("{}", report.text().trim_end());
        reports.push(report);
    }
    println!("\nload averages: {} before, {} after", machine.load, load_average());
    if options.write {
        let path = programs.root.join(DOCUMENT);
        let text = match options.names.is_empty() {
            true => document::whole(&machine, &reports),
            false => {
                let before =
                    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                document::with(&before, &machine, &reports)
            }
        };
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        println!("wrote {DOCUMENT}");
    }
    let missed: Vec<&str> =
        reports.iter().filter(|report| report.missed()).map(|report| report.name).collect();
    if options.check && !missed.is_empty() {
        bail!("targets were missed: {}", missed.join(", "));
    }
    Ok(())
}

struct Machine {
    date: String,
    commit: String,
    /// Name, processors, memory, kernel.
    hardware: String,
    software: Vec<String>,
    load: String,
}

impl Machine {
    fn look() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
                .unwrap_or("unknown".to_owned())
        };
        let processor = field(&text("/proc/cpuinfo"), "model name");
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let memory = field(&text("/proc/meminfo"), "MemTotal");
        let versions = [
            ("docker", "version --format {{.Server.Version}}", "Docker Engine"),
            ("docker", "compose version --short", "Compose v2"),
            ("docker-compose", "version --short", "Compose v1"),
            ("caddy", "version", "Caddy"),
            ("nginx", "-v", "nginx"),
            ("ssh", "-V", "OpenSSH"),
            ("git", "version", "git"),
        ];
        let software = versions.iter().filter_map(|(program, args, name)| {
            let args: Vec<&str> = args.split(' ').collect();
            Some(format!("{name} {}", said(program, &args)?))
        });
        Self {
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default(),
            commit: said("git", &["describe", "--always", "--dirty"]).unwrap_or("unknown".to_owned()),
            hardware: format!(
                "{processor}, {processors} processors, {memory}, Linux {}",
                text("/proc/sys/kernel/osrelease").trim()
            ),
            software: software.collect(),
            load: load_average(),
        }
    }
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The first line that a program says, on either output.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    let text = [output.stdout, output.stderr].concat();
    Some(
        String::from_utf8_lossy(&text)
            .lines()
            .next()?
            .trim()
            .trim_start_matches("nginx version: nginx/")
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn without_names_all_are_wanted() {
        let options = parse(&["--quick"]).unwrap();
        assert!(options.wants("overhead") && options.wants("proxy"));
        assert_eq!((options.repetitions(30), options.repetitions(3)), (5, 3));
        let options = parse(&["ssh"]).unwrap();
        assert!(options.wants("ssh") && !options.wants("status"));
    }

    #[test]
    fn the_document_has_full_figures() {
        assert!(parse(&["--write"]).is_ok());
        assert!(parse(&["--write", "ssh"]).is_ok());
        assert!(parse(&["--write", "--quick"]).is_err());
        assert!(parse(&["nonsense"]).is_err());
    }
}
