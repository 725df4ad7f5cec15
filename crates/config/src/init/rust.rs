//! Rust.

use super::language::{Language, Test, globs};
use super::listing::Listing;

const CARGO: &str = "Cargo.toml";
/// Sources that are searched for a test.
const SOURCES_MAX: usize = 200;

pub fn look(files: &Listing, _notes: &mut Vec<String>) -> Option<Language> {
    if !files.has(CARGO) {
        return None;
    }
    let sources = files.files().filter(|file| file.ends_with(".rs")).take(SOURCES_MAX);
    let first = sources.into_iter().find(|file| files.read(file).is_some_and(|text| has_test(&text)));
    let test = first.map(|first| {
        let workspace = if files.word_in("[workspace]", &[CARGO]) { " --workspace" } else { "" };
        let locked = if files.has("Cargo.lock") { " --locked" } else { "" };
        Test { command: format!("cargo test{workspace}{locked}"), because: first.to_owned() }
    });
    let mut watch = globs(files, &["rs"], &["Cargo.lock", "rust-toolchain", "rust-toolchain.toml"]);
    watch.push("**/Cargo.toml".to_owned());
    Some(Language { name: "Rust", because: CARGO.to_owned(), test, watch, leaves: &["target/"] })
}

/// `#[test]`, `#[tokio::test]`, `#[test_case(…)]`.
fn has_test(source: &str) -> bool {
    source.lines().any(|line| {
        let line = line.trim_start();
        line.starts_with("#[")
            && (line.contains("test]") || line.contains("test_case") || line.contains("rstest"))
    })
}
