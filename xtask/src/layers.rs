//! The arrows of the house: which crate may know which, in which crates modules may use each other in a circle, and who
//! may print, read the clock or start a process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::circles;
use crate::files::rust_files;

/// A crate and the workspace crates it may depend on. A crate that is not listed must not exist.
const ARROWS: &[(&str, &[&str])] = &[
    ("lockgate-model", &[]),
    ("lockgate-own", &[]),
    ("lockgate-signature", &[]),
    ("lockgate-sockets", &["lockgate-own"]),
    ("lockgate-config", &["lockgate-model", "lockgate-own"]),
    ("lockgate-plan", &["lockgate-model"]),
    ("lockgate-engine", &["lockgate-model"]),
    ("lockgate-ports", &["lockgate-model", "lockgate-own"]),
    ("lockgate-perform", &["lockgate-model", "lockgate-engine", "lockgate-ports"]),
    ("lockgate-provision", &["lockgate-model", "lockgate-ports"]),
    (
        "lockgate-orchestrator",
        &[
            "lockgate-model",
            "lockgate-plan",
            "lockgate-engine",
            "lockgate-ports",
            "lockgate-perform",
            "lockgate-own",
        ],
    ),
    ("lockgate-proxy", &["lockgate-own", "lockgate-sockets"]),
    ("lockgate-render", &["lockgate-model"]),
    ("lockgate-mcp", &["lockgate-model", "lockgate-orchestrator", "lockgate-render"]),
    ("lockgate-client", &["lockgate-model", "lockgate-signature"]),
    (
        "lockgate-server",
        &[
            "lockgate-model",
            "lockgate-orchestrator",
            "lockgate-own",
            "lockgate-signature",
            "lockgate-sockets",
        ],
    ),
    ("lockgate-ship", &["lockgate-model", "lockgate-ports"]),
    ("lockgate-hello", &[]),
    ("lockgate-build", &["lockgate-model", "lockgate-ports"]),
    ("lockgate-git", &["lockgate-model", "lockgate-ports"]),
    ("lockgate-builtin", &["lockgate-model", "lockgate-ports", "lockgate-own", "lockgate-proxy"]),
    ("lockgate-asking", &["lockgate-model", "lockgate-ports"]),
    ("lockgate-caddy", &["lockgate-model", "lockgate-ports", "lockgate-asking"]),
    ("lockgate-nginx", &["lockgate-model", "lockgate-ports", "lockgate-asking"]),
    ("lockgate-compose", &["lockgate-model", "lockgate-ports"]),
    ("lockgate-gates", &["lockgate-model", "lockgate-ports"]),
    ("lockgate-prometheus", &["lockgate-model", "lockgate-ports"]),
    ("lockgate-http", &["lockgate-model", "lockgate-ports"]),
    ("lockgate-local", &["lockgate-model", "lockgate-ports", "lockgate-own"]),
    ("lockgate-process", &["lockgate-model", "lockgate-ports", "lockgate-own"]),
    ("lockgate-notify", &["lockgate-model", "lockgate-ports", "lockgate-signature"]),
    ("lockgate-registry", &["lockgate-model", "lockgate-ports"]),
    ("lockgate-store", &["lockgate-model", "lockgate-engine", "lockgate-ports", "lockgate-own"]),
    ("lockgate-ssh", &["lockgate-model", "lockgate-ports", "lockgate-own"]),
];

/// May depend on everything: the composition root, and what never ships.
const FREE: &[&str] = &["lockgate", "lockgate-sim", "xtask"];
/// Never shipped, so nothing that ships may depend on them.
const DEV_ONLY: &[&str] = &["lockgate-sim", "xtask"];

/// External crates that a room must not know.
const NO_CRATES: &[(&str, &[&str])] = &[
    ("lockgate-model", &["tokio", "hyper", "reqwest", "sqlx", "async-trait"]),
    ("lockgate-plan", &["tokio", "hyper", "reqwest", "sqlx", "async-trait"]),
    ("lockgate-engine", &["hyper", "reqwest", "sqlx", "openssh", "bollard"]),
    ("lockgate-ports", &["reqwest", "sqlx", "openssh", "bollard"]),
    ("lockgate-render", &["tokio", "sqlx"]),
    ("lockgate-signature", &["tokio", "hyper", "reqwest", "sqlx", "async-trait"]),
];

/// Words that only some rooms may use in shipped code: (what, words, rooms that may).
const WORDS: &[(&str, &[&str], &[&str])] = &[
    (
        "prints",
        &["println!", "eprintln!", "print!(", "eprint!("],
        &["lockgate", "lockgate-render", "lockgate-hello"],
    ),
    (
        "reads the wall clock",
        &["SystemTime::now", "Utc::now", "Zoned::now", "Timestamp::now("],
        &[
            "lockgate",
            "lockgate-hello",
            "lockgate-local",
            "lockgate-notify",
            "lockgate-ssh",
            "lockgate-proxy",
        ],
    ),
    (
        "starts a process",
        &["process::Command", "Command::spawn"],
        // `process` starts services: on this machine without a shell around them, which would cost half the start.
        &[
            "lockgate",
            "lockgate-local",
            "lockgate-ssh",
            "lockgate-proxy",
            "lockgate-sockets",
            "lockgate-process",
        ],
    ),
];

/// Crates whose modules still use each other in circles. The list only gets shorter.
const CIRCLES: &[&str] = &[
    "lockgate-config",
    "lockgate-engine",
    "lockgate-http",
    "lockgate-local",
    "lockgate-model",
    "lockgate-orchestrator",
    "lockgate-perform",
    "lockgate-plan",
    "lockgate-proxy",
    "lockgate-registry",
    "lockgate-render",
    "lockgate-sim",
    "lockgate-ssh",
    "lockgate-store",
    "xtask",
];

pub fn check() -> Result<()> {
    let packages = packages()?;
    let mut wrong = Vec::new();
    for package in &packages {
        wrong.extend(arrows(package, &packages));
        if !DEV_ONLY.contains(&package.name.as_str()) {
            wrong.extend(words(package)?);
        }
        wrong.extend(within(package)?);
        wrong.extend(first_page(package));
    }
    if wrong.is_empty() {
        println!("layers: {} crates, every arrow as it should be", packages.len());
        return Ok(());
    }
    bail!("layers:\n  {}", wrong.join("\n  "));
}

struct Package {
    name: String,
    dir: PathBuf,
    /// Normal and build dependencies; what tests use is free.
    dependencies: BTreeSet<String>,
}

fn packages() -> Result<Vec<Package>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    packages.iter().map(package).collect()
}

fn package(value: &serde_json::Value) -> Result<Package> {
    let name = value["name"].as_str().context("a package without a name")?.to_owned();
    let manifest = value["manifest_path"].as_str().context("a package without a manifest")?;
    let dependencies = value["dependencies"].as_array().context("a package without dependencies")?;
    let shipped = dependencies.iter().filter(|one| one["kind"].as_str() != Some("dev"));
    Ok(Package {
        name,
        dir: Path::new(manifest).parent().context("a manifest without a folder")?.to_owned(),
        dependencies: shipped.filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect(),
    })
}

fn arrows(package: &Package, all: &[Package]) -> Vec<String> {
    let ours: BTreeSet<&str> = all.iter().map(|package| package.name.as_str()).collect();
    let name = package.name.as_str();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for dependency in package.dependencies.iter().map(String::as_str) {
        if DEV_ONLY.contains(&dependency) && !DEV_ONLY.contains(&name) {
            wrong.push(format!("{name} → {dependency}: nothing that ships depends on it"));
        }
        let may =
            FREE.contains(&name) || allowed.get(name).is_some_and(|allowed| allowed.contains(&dependency));
        if ours.contains(dependency) && !may {
            wrong.push(format!("{name} → {dependency} must not be"));
        }
        if NO_CRATES.iter().any(|(room, crates)| *room == name && crates.contains(&dependency)) {
            wrong.push(format!("{name} → {dependency} (external) must not be"));
        }
    }
    if !FREE.contains(&name) && !allowed.contains_key(name) {
        wrong.push(format!("{name} has no place in xtask/src/layers.rs; say there what it may know"));
    }
    wrong
}

fn within(package: &Package) -> Result<Vec<String>> {
    let name = package.name.as_str();
    let found = circles::check(&package.dir.join("src"))?;
    if !CIRCLES.contains(&name) {
        return Ok(found.iter().map(|circle| format!("{name}: modules in a circle: {circle}")).collect());
    }
    let is_over = found.is_empty();
    Ok(is_over
        .then(|| format!("{name} has no circles any more: take it out of CIRCLES"))
        .into_iter()
        .collect())
}

/// A crate's README is its documentation, and the files that its table names are there.
fn first_page(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let src = package.dir.join("src");
    let Ok(page) = std::fs::read_to_string(package.dir.join("README.md")) else {
        return vec![format!("{name} has no README.md: what it is for, what it may use, its files")];
    };
    let is_in = |file: &str| {
        let text = std::fs::read_to_string(src.join(file)).unwrap_or_default();
        text.contains("#![doc = include_str!(\"../README.md\")]")
    };
    let mut wrong = Vec::new();
    if !["lib.rs", "main.rs"].into_iter().any(is_in) {
        wrong.push(format!("{name}: its lib.rs or main.rs does not include README.md as its documentation"));
    }
    // `| `a.rs`, `b/` | what is in them |`
    let named = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    for file in named.flat_map(|files| files.split(['`', ',', ' '])).filter(|file| !file.is_empty()) {
        if !src.join(file).exists() {
            wrong.push(format!("{name}: README.md names src/{file}, which is not there"));
        }
    }
    wrong
}

fn words(package: &Package) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in rust_files(&package.dir.join("src"))? {
        let text = std::fs::read_to_string(&file)?;
        // Tests stand at a file's end, or in files of their own that say so in their name.
        let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let path = file.to_string_lossy();
        if path.contains("tests") || path.contains("/conformance/") {
            continue;
        }
        for (number, line) in shipped.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (what, words, rooms) in WORDS {
                if !rooms.contains(&package.name.as_str()) && words.iter().any(|word| code.contains(word)) {
                    wrong.push(format!("{}:{} {what}: {}", file.display(), number + 1, line.trim()));
                }
            }
        }
    }
    Ok(wrong)
}
