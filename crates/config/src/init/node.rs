//! Node: npm, pnpm, yarn, bun.

use serde_json::Value;

use super::language::{Language, Test, globs};
use super::listing::Listing;

const PACKAGE: &str = "package.json";
/// What `npm init` writes where there are no tests.
const PLACEHOLDER: &str = "no test specified";
const EXTENSIONS: [&str; 13] =
    ["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "vue", "svelte", "astro", "mdx", "prisma"];
const NAMES: [&str; 12] = [
    PACKAGE,
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "yarn.lock",
    "bun.lock",
    "bun.lockb",
    ".npmrc",
    ".nvmrc",
    ".yarnrc.yml",
    "tsconfig.json",
];
const LEAVES: &[&str] = &["node_modules/"];

/// A package manager, by its lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Npm,
    Pnpm,
    Yarn,
    /// From 2 on.
    Berry,
    Bun,
}

/// In the order in which one is taken where there are several.
const LOCKS: [(&str, Manager); 6] = [
    ("pnpm-lock.yaml", Manager::Pnpm),
    ("yarn.lock", Manager::Yarn),
    ("bun.lock", Manager::Bun),
    ("bun.lockb", Manager::Bun),
    ("package-lock.json", Manager::Npm),
    ("npm-shrinkwrap.json", Manager::Npm),
];

pub fn look(files: &Listing, notes: &mut Vec<String>) -> Option<Language> {
    if !files.has(PACKAGE) {
        return None;
    }
    let package = files.read(PACKAGE).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    if package.as_ref().is_none_or(|package| !package.is_object()) {
        notes.push(format!("{PACKAGE} was passed over: it is no JSON object that can be read."));
    }
    let test = package.as_ref().and_then(|package| test(files, package, notes));
    let watch = globs(files, &EXTENSIONS, &NAMES);
    Some(Language { name: "Node", because: PACKAGE.to_owned(), test, watch, leaves: LEAVES })
}

fn test(files: &Listing, package: &Value, notes: &mut Vec<String>) -> Option<Test> {
    let script = package["scripts"]["test"].as_str()?;
    if script.trim().is_empty() || script.contains(PLACEHOLDER) {
        return None;
    }
    let locks: Vec<&(&str, Manager)> = LOCKS.iter().filter(|(lock, _)| files.has(lock)).collect();
    let (lock, manager) = match locks.first() {
        Some((lock, manager)) => (Some(*lock), *manager),
        None => (None, named(package).unwrap_or(Manager::Npm)),
    };
    let managers: Vec<Manager> = locks.iter().map(|(_, manager)| *manager).collect();
    if managers.iter().any(|other| *other != manager) {
        let names: Vec<&str> = locks.iter().map(|(lock, _)| *lock).collect();
        notes.push(format!(
            "There are several lock files ({}): the test goes by the first.",
            names.join(", ")
        ));
    }
    let is_berry = named(package) == Some(Manager::Berry) || files.has(".yarnrc.yml");
    let manager = if manager == Manager::Yarn && is_berry { Manager::Berry } else { manager };
    let because = match lock {
        Some(lock) => format!("{PACKAGE}'s `test`, {lock}"),
        None => format!("{PACKAGE}'s `test`"),
    };
    Some(Test { command: command(manager, lock.is_some()).to_owned(), because })
}

/// As `packageManager` says, such as `yarn@4.5.0`.
fn named(package: &Value) -> Option<Manager> {
    let (name, version) = package["packageManager"].as_str()?.split_once('@')?;
    match name {
        "npm" => Some(Manager::Npm),
        "pnpm" => Some(Manager::Pnpm),
        "yarn" if version.starts_with("1.") => Some(Manager::Yarn),
        "yarn" => Some(Manager::Berry),
        "bun" => Some(Manager::Bun),
        _ => None,
    }
}

/// Without a lock file none is made, for a tree with new files is not shipped.
fn command(manager: Manager, is_locked: bool) -> &'static str {
    match (manager, is_locked) {
        (Manager::Npm, true) => "npm ci && npm test",
        (Manager::Npm, false) => "npm install --no-package-lock && npm test",
        (Manager::Pnpm, true) => "pnpm install --frozen-lockfile && pnpm test",
        (Manager::Pnpm, false) => "pnpm install --no-lockfile && pnpm test",
        (Manager::Yarn, true) => "yarn install --frozen-lockfile && yarn test",
        (Manager::Yarn, false) => "yarn install --no-lockfile && yarn test",
        (Manager::Berry, _) => "yarn install --immutable && yarn test",
        (Manager::Bun, true) => "bun install --frozen-lockfile && bun run test",
        (Manager::Bun, false) => "bun install --no-save && bun run test",
    }
}
