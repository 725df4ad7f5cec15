//! In what a project is written, how it is tested, and which of its files count.

use super::listing::Listing;
use super::{golang, java, node, python, rust};

/// What was found of one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    pub name: &'static str,
    /// The file that tells it.
    pub because: String,
    /// Absent: no tests were found.
    pub test: Option<Test>,
    /// Globs of the files that count, from the folder that was looked at.
    pub watch: Vec<String>,
    /// What tests and builds leave behind, which git is to ignore.
    pub leaves: &'static [&'static str],
}

/// How it is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// For `sh`.
    pub command: String,
    /// What it was guessed from, for a comment.
    pub because: String,
}

/// Extensions of what an app may be made of beside its sources.
const ASSETS: [&str; 11] =
    ["css", "ejs", "graphql", "html", "j2", "jinja", "jinja2", "proto", "scss", "sql", "tmpl"];
/// Folders, wherever they are, of which every file may count.
const FOLDERS: [&str; 8] =
    ["assets", "locale", "migrations", "public", "resources", "static", "templates", "views"];

/// All that are there, in the order in which one is taken for the app's own.
pub fn all(files: &Listing, notes: &mut Vec<String>) -> Vec<Language> {
    let looks = [python::look, node::look, golang::look, rust::look, java::look];
    let mut found: Vec<Language> = looks.iter().filter_map(|look| look(files, notes)).collect();
    if found.is_empty() {
        found.extend(python::without_marker(files));
    }
    found
}

/// Globs for those of these extensions that are there, for what else may be in an app, and the files of these names.
pub fn globs(files: &Listing, extensions: &[&str], names: &[&str]) -> Vec<String> {
    let sources = extensions.iter().chain(&ASSETS).filter(|extension| files.has_extension(extension));
    let mut globs: Vec<String> = sources.map(|extension| format!("**/*.{extension}")).collect();
    for folder in FOLDERS {
        let middle = format!("/{folder}/");
        if files.has_folder(folder) || files.files().any(|file| file.contains(&middle)) {
            globs.push(format!("**/{folder}/**"));
        }
    }
    globs.extend(files.those(names).into_iter().map(str::to_owned));
    globs
}
