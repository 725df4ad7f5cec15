//! Text → [`raw::File`], and what `serde-saphyr` says about it in words for people.

use serde::de::DeserializeOwned;
use serde_saphyr::Error as Yaml;

use crate::at::{At, place};
use crate::error::{Kind, Place, Problem};
use crate::tree::Node;
use crate::{raw, words};

/// Lists and mappings within each other; the deepest that the format needs is 7.
const DEPTH_MAX: usize = 32;
/// Lists, mappings and scalars in one file, aliases followed.
const NODES_MAX: usize = 100_000;

fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Yaml> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        reject_unsupported_tags: true,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX, max_nodes: NODES_MAX, max_documents: 2 },
    };
    serde_saphyr::from_str_with_options(text, options)
}

pub fn file(text: &str) -> Result<raw::File, Problem> {
    from_str::<raw::File>(text).map_err(|error| problem(text, &error))
}

/// Absent when it is no YAML, or has a key twice.
pub fn tree(text: &str) -> Option<At<Node>> {
    from_str(text).ok()
}

/// A file that is not ours, with places.
pub fn foreign_tree(text: &str) -> Result<At<Node>, Problem> {
    from_str(text).map_err(|error| foreign(problem(text, &error)))
}

/// A file that is not ours and may have more of YAML in it than ours may, such as tags.
pub fn foreign_value(text: &str) -> Result<serde_json::Value, Problem> {
    serde_saphyr::from_str(text).map_err(|error| foreign(problem(text, &error)))
}

/// Hints at our own format say nothing about another's.
fn foreign(mut problem: Problem) -> Problem {
    problem.hint = problem.hint.filter(|hint| ![SCHEMA, WRITES_ONE].contains(&hint.as_str()));
    problem
}

const SCHEMA: &str = "`lockgate schema` tells what each key takes";
const WRITES_ONE: &str = "remove it, and `lockgate init` writes one";

/// Never repeats a value of the file: it may be a secret.
fn problem(text: &str, error: &Yaml) -> Problem {
    let error = error.without_snippet();
    let at = error.location().map_or(Place::default(), place);
    let new = |kind, message: String| Problem::new(kind, at, message);
    match error {
        Yaml::SerdeUnknownField { field, expected, .. }
        | Yaml::SerdeUnknownVariant { variant: field, expected, .. } => unknown_key(field, expected, at),
        Yaml::DuplicateMappingKey { key, .. } => {
            let key = key.as_ref().map_or("a key".to_owned(), |key| format!("`{}`", name_part(key)));
            new(Kind::DuplicateKey, format!("{key} is here twice")).hint("keep one of them")
        }
        Yaml::SerdeMissingField { field, .. } => {
            new(Kind::MissingKey, format!("`{field}` is missing")).hint(format!("add `{field}:` here"))
        }
        Yaml::SerdeInvalidType { unexpected, expected, .. }
        | Yaml::SerdeInvalidValue { unexpected, expected, .. } => {
            new(Kind::WrongType, format!("expected {expected}, found {}", shape(unexpected))).hint(SCHEMA)
        }
        Yaml::Unexpected { expected, .. } => {
            let problem = new(Kind::WrongType, format!("expected {}", event(expected)));
            match text.as_bytes().get(at.offset) {
                Some(b'{') if expected.contains("scalar") => {
                    problem.hint("is it text? then put it in quotes: \"{slot}\"")
                }
                _ if expected.starts_with("mapping") && at.column > 1 => {
                    problem.hint("write its keys below, indented further")
                }
                _ if expected.starts_with("sequence") => {
                    problem.hint("write each item on a line of its own, with `- ` before it")
                }
                _ => problem.hint(SCHEMA),
            }
        }
        Yaml::NullIntoString { .. } => new(Kind::WrongType, "expected text, found nothing".to_owned())
            .hint("write \"\" for an empty text"),
        Yaml::InvalidBooleanStrict { .. } => new(Kind::WrongType, "expected true or false".to_owned())
            .hint("write true or false, without quotes"),
        Yaml::InvalidScalar { ty, .. } => new(Kind::WrongType, format!("expected {ty}")).hint(SCHEMA),
        Yaml::Eof { .. } if nothing_in(text) => {
            new(Kind::MissingKey, "the file is empty".to_owned()).hint(WRITES_ONE)
        }
        Yaml::MultipleDocuments { .. } => {
            new(Kind::Syntax, "there is more than one document".to_owned()).hint("remove the `---` line")
        }
        Yaml::AliasError { error, .. } => problem(text, error),
        Yaml::Budget { .. } => new(Kind::Syntax, "the file is too deep or too large".to_owned()),
        Yaml::UnknownAnchor { .. } => new(Kind::Syntax, "the anchor of this alias does not exist".to_owned()),
        // What is left is about YAML itself; the scanner's words name characters, never values.
        Yaml::ExternalMessage { msg, .. } => {
            let problem = new(Kind::Syntax, format!("this is not YAML: {msg}"));
            match text.lines().nth(at.line.saturating_sub(1)) {
                Some(line) if line.contains("${") => {
                    problem.hint("within { } and [ ], put text with ${NAME} in quotes")
                }
                Some(line) if line.contains('\t') => problem.hint("indent with spaces"),
                Some(line) if line.contains(['[', '{']) => {
                    problem.hint("within { } and [ ], put text that has { } [ ] , or : in it in quotes")
                }
                _ => problem.hint("check the indentation and the quotes on this line and the one above"),
            }
        }
        Yaml::UnsupportedTag { .. } => {
            new(Kind::Syntax, "tags (`!…`) have no meaning here".to_owned()).hint("remove it")
        }
        _ => new(Kind::Syntax, "this is not YAML that can be used here".to_owned()),
    }
}

/// Whether there are only blank lines and comments.
fn nothing_in(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

pub fn unknown_key(key: &str, known: &[&str], at: Place) -> Problem {
    let shown = name_part(key);
    if let Some(when) = words::later(key) {
        return Problem::new(Kind::NotBuilt, at, format!("`{shown}` is known but not built yet")).hint(when);
    }
    Problem::new(Kind::UnknownKey, at, format!("unknown key `{shown}`")).hint(words::unknown(key, known))
}

/// Longest part of a key that a message quotes.
const KEY_CHARACTERS_MAX: usize = 40;

/// The part of a key that looks like a name: where a colon is missing, the rest is the value.
fn name_part(key: &str) -> String {
    let name = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut shown: String = key.chars().take(KEY_CHARACTERS_MAX).take_while(name).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    shown
}

/// `string "hunter2"` → `text`: serde's words for what it found, without the value.
fn shape(unexpected: &str) -> &'static str {
    let word = unexpected.split([' ', '(']).next().unwrap_or_default();
    match word {
        "string" | "character" => "text",
        "integer" | "floating" => "a number",
        "boolean" => "true or false",
        "map" | "struct" => "a mapping",
        "sequence" | "tuple" => "a list",
        "unit" | "Option" | "null" => "nothing",
        _ => "something else",
    }
}

/// serde-saphyr's words for parser events.
fn event(expected: &str) -> String {
    match expected {
        "mapping start" | "mapping" => "a mapping (`key: value`)".to_owned(),
        "sequence start" | "sequence" => "a list".to_owned(),
        "string scalar" | "scalar" => "text or a number".to_owned(),
        other => other.to_owned(),
    }
}
