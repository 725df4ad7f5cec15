//! Whether the release build optimises what a proxied request runs through: all that the proxy depends on, but what is named
//! here. The other code is not optimised there, so that a newcomer's first build is short.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const PROXY: &str = "lockgate-proxy";
const HEADING: &str = "[profile.release.package]";

/// Dependencies of the proxy that no request runs through, or that have no code of their own that is not inlined.
const SELDOM: &[&str] = &[
    // Its configuration, its state and its control socket.
    "lockgate-own",
    "lockgate-sockets",
    "serde",
    "serde_core",
    "serde_json",
    "shell-words",
    "zmij",
    "thiserror",
    "signal-hook-registry",
    "dtoa",
    // Inlined, or nothing but types.
    "bitflags",
    "cfg-if",
    "equivalent",
    "errno",
    "futures-sink",
    "futures-task",
    "ipnet",
    "libc",
    "linux-raw-sys",
    "pin-project-lite",
    "rustix",
    "scopeguard",
    "tower-service",
    // By features that other crates turn on.
    "base64",
    "futures-io",
    "log",
    "percent-encoding",
];

pub fn check() -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let root = metadata["workspace_root"].as_str().context("cargo metadata names no folder")?;
    let manifest = std::fs::read_to_string(format!("{root}/Cargo.toml"))?;
    let optimised = optimised(&manifest);
    let missing: Vec<String> = crates_of(&metadata, PROXY)?
        .into_iter()
        .filter(|name| !optimised.contains(name.as_str()) && !SELDOM.contains(&name.as_str()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "the release build does not optimise what the proxy depends on: {}\n  hint: add them below `{HEADING}` in Cargo.toml, or \
         to SELDOM in xtask/src/hot.rs where no request runs through them",
        missing.join(", ")
    );
}

/// The names below the heading.
fn optimised(manifest: &str) -> BTreeSet<&str> {
    let table = manifest.lines().skip_while(|line| line.trim() != HEADING).skip(1);
    table
        .take_while(|line| !line.starts_with('['))
        .filter(|line| line.contains("opt-level = 3"))
        .filter_map(|line| Some(line.split_once('=')?.0.trim()))
        .collect()
}

/// A package and all that it runs with, without macros, which run in the compiler.
fn crates_of(metadata: &Value, name: &str) -> Result<BTreeSet<String>> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_macro = |package: &Value| {
        array(&package["targets"]).iter().any(|target| array(&target["kind"]).contains(&"proc-macro".into()))
    };
    let packages: BTreeMap<String, (String, bool)> = array(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), (text(&package["name"]), is_macro(package))))
        .collect();
    let nodes: BTreeMap<String, Value> =
        array(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), node)).collect();
    let first = packages.iter().find(|(_, (known, _))| known == name);
    let mut queue = vec![first.with_context(|| format!("there is no package {name}"))?.0.clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = queue.pop() {
        let runs = packages.get(&id).is_some_and(|(_, is_macro)| !is_macro);
        if !runs || !seen.insert(id.clone()) {
            continue;
        }
        for dependency in array(&nodes[&id]["deps"]) {
            // A normal dependency has no kind.
            if array(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                queue.push(text(&dependency["pkg"]));
            }
        }
    }
    Ok(seen.iter().map(|id| packages[id].0.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_heading_is_optimised() {
        let manifest = "[profile.release]\nopt-level = 0\n\n[profile.release.package]\nhyper = { opt-level = 3 }\n# a word\n\
                        h2 = { opt-level = 1 }\n\n[profile.sim]\nx = { opt-level = 3 }\n";
        assert_eq!(optimised(manifest), BTreeSet::from(["hyper"]));
    }

    #[test]
    fn macros_and_what_only_tests_use_are_no_part_of_a_program() {
        let package = |id: &str, kind: &str| serde_json::json!({ "id": id, "name": id, "targets": [{ "kind": [kind] }] });
        let to =
            |id: &str, kind: Option<&str>| serde_json::json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] });
        let metadata = serde_json::json!({
            "packages": [package("proxy", "lib"), package("hyper", "lib"), package("h2", "lib"), package("derive", "proc-macro"),
                package("syn", "lib"), package("insta", "lib")],
            "resolve": { "nodes": [
                { "id": "proxy", "deps": [to("hyper", None), to("derive", None), to("insta", Some("dev"))] },
                { "id": "hyper", "deps": [to("h2", None)] },
                { "id": "h2", "deps": [] },
                { "id": "derive", "deps": [to("syn", None)] },
            ] },
        });
        let crates = crates_of(&metadata, "proxy").unwrap();
        assert_eq!(crates.iter().map(String::as_str).collect::<Vec<_>>(), ["h2", "hyper", "proxy"]);
    }
}
