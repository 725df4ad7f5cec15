//! Go.

use super::language::{Language, Test, globs};
use super::listing::Listing;

pub fn look(files: &Listing, _notes: &mut Vec<String>) -> Option<Language> {
    let because = *files.those(&["go.mod", "go.work"]).first()?;
    // Of a workspace, `./...` is none of its modules.
    let first = files.files().find(|file| file.ends_with("_test.go")).filter(|_| because == "go.mod");
    let test = first.map(|first| Test { command: "go test ./...".to_owned(), because: first.to_owned() });
    let watch = globs(files, &["go", "templ", "gohtml"], &["go.mod", "go.sum", "go.work", "go.work.sum"]);
    Some(Language { name: "Go", because: because.to_owned(), test, watch, leaves: &[] })
}
