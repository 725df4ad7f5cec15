//! `cargo xtask hostile [LINE…] [--clients N]`: hostile clients against a real `lockgate proxy` with real slots behind it.
//!
//! A line is a file of this folder with the cases of one kind of harm. Every case says what it saw; one that found
//! something wrong fails the run, after all of them have run. Everything goes over loopback and is bounded in time.
//!
//! To add a line: a file with `pub fn run(scene: &Scene, findings: &mut Findings) -> Result<()>`, and a row in [`LINES`].

mod clients;
mod headers;
mod http2;
mod leaving;
mod load;
mod scene;
mod slot;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bench::place::Programs;
use scene::Scene;

type Line = fn(&Scene, &mut Findings) -> Result<()>;

/// Name and cases. Each line gets a fresh proxy and fresh slots.
const LINES: [(&str, Line); 3] =
    [("clients", clients::run), ("leaving", leaving::run), ("headers", headers::run)];

/// How many hostile clients there are at once, unless told otherwise.
const CLIENTS: usize = 5_000;

/// What the cases saw.
#[derive(Debug, Default)]
pub struct Findings {
    wrong: Vec<String>,
}

impl Findings {
    /// Tells what a case saw, and whether that is as it must be.
    pub fn tell(&mut self, case: &str, right: bool, saw: &str) {
        println!("{} {case}: {saw}", if right { "ok   " } else { "WRONG" });
        if !right {
            self.wrong.push(format!("{case}: {saw}"));
        }
    }
}

#[derive(Debug)]
pub struct Options {
    names: Vec<String>,
    pub clients: usize,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { names: Vec::new(), clients: CLIENTS };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--clients" => {
                    let count = args.next().and_then(|count| count.parse().ok());
                    options.clients = count.context("--clients takes a number")?;
                }
                name if LINES.iter().any(|(known, _)| *known == name) => options.names.push(arg),
                _ => bail!(
                    "{arg:?} is not known; there are: {}, --clients N",
                    LINES.map(|(name, _)| name).join(", ")
                ),
            }
        }
        Ok(options)
    }
}

pub fn run(args: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::parse(args)?;
    raise_descriptors()?;
    let programs = Programs::build()?;
    let mut findings = Findings::default();
    for (name, line) in LINES {
        if options.names.is_empty() || options.names.iter().any(|wanted| wanted == name) {
            println!("{name}:");
            let scene = Scene::set(&programs, options.clients)?;
            line(&scene, &mut findings).with_context(|| format!("hostile {name}"))?;
        }
    }
    if !findings.wrong.is_empty() {
        bail!("{} cases are wrong:\n  {}", findings.wrong.len(), findings.wrong.join("\n  "));
    }
    Ok(())
}

/// This process keeps thousands of connections open, and so do the ones that it starts.
fn raise_descriptors() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("raise the limit of open descriptors")
}
