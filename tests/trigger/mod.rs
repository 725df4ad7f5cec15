//! `lockgate trigger`: the other end of the wire, as CI runs it.

mod action;
mod calls;
mod github;
mod redacted;
mod served;
mod ship_workflow;
mod site;
mod workflow;

use std::path::Path;
use std::process::Command;

use crate::support::double::Double;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
const SECRET: &str = "hunter2hunter2hunter2";
/// Of whoever runs the tests: they say who asks and with what.
const FOREIGN: [&str; 7] = [
    "GITHUB_ACTIONS",
    "GITHUB_SHA",
    "GITHUB_STEP_SUMMARY",
    "WEBHOOK_SECRET",
    "LOCKGATE_WEBHOOK_SECRET",
    "LOCKGATE_ENV",
    "LOCKGATE_LOG",
];

/// In this folder, with these variables.
fn trigger(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.current_dir(folder).arg("trigger").args(args);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
}

/// Of a double's endpoint, signed.
fn call(double: &Double, folder: &Path, args: &[&str]) -> Command {
    let url = format!("http://{}/deploy", double.address);
    let all = [&[url.as_str(), "--sha", SHA], args].concat();
    trigger(folder, &all, &[("LOCKGATE_WEBHOOK_SECRET", SECRET)])
}
