//! Text → the [tree](Node) → [`raw::File`], and what is wrong with either in words for people.

use serde::Deserialize;
use serde_saphyr::{Error as Yaml, Spanned};

use crate::at::At;
use crate::error::{Kind, Place, Problem};
use crate::from_tree::What;
use crate::tree::{Node, Scalar, place, placed};
use crate::{raw, words};

/// Lists and mappings within each other; the deepest that the format needs is 7.
const DEPTH_MAX: usize = 32;
/// Lists, mappings and scalars in one file, aliases followed.
const NODES_MAX: usize = 100_000;

/// # Errors
/// When it is no YAML, or has a key twice.
pub fn tree(text: &str) -> Result<At<Node>, Problem> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        reject_unsupported_tags: true,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
        // `1e999` is text as good as any; as a number nobody reads it.
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX, max_nodes: NODES_MAX, max_documents: 2 },
    };
    let read = serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options);
    let mut tree = placed(read.map_err(|error| not_yaml(text, &error))?);
    tree.value.look_up(text);
    Ok(tree)
}

/// # Errors
/// The first thing that is not as in `raw`.
pub fn file(text: &str, tree: &At<Node>) -> Result<raw::File, Problem> {
    if let (Node::Scalar(Scalar::Nothing), true) = (&tree.value, nothing_in(text)) {
        return Err(Problem::new(Kind::MissingKey, tree.place, "the file is empty").hint(WRITES_ONE));
    }
    raw::File::deserialize(tree).map_err(|misfit| {
        let (what, at) = misfit.into_parts();
        misfitting(text, what, at)
    })
}

/// A file that is not ours, with places.
pub fn foreign_tree(text: &str) -> Result<At<Node>, Problem> {
    tree(text).map_err(foreign)
}

/// A file that is not ours and may have more of YAML in it than ours may, such as tags.
pub fn foreign_value(text: &str) -> Result<serde_json::Value, Problem> {
    serde_saphyr::from_str(text).map_err(|error| foreign(not_yaml(text, &error)))
}

/// Hints at our own format say nothing about another's.
fn foreign(mut problem: Problem) -> Problem {
    problem.hint = problem.hint.filter(|hint| ![SCHEMA, WRITES_ONE].contains(&hint.as_str()));
    problem
}

const SCHEMA: &str = "`lockgate schema` tells what each key takes";
const WRITES_ONE: &str = "remove it, and `lockgate init` writes one";

fn misfitting(text: &str, what: What, at: Place) -> Problem {
    let wrong = |message: String| Problem::new(Kind::WrongType, at, message);
    match what {
        What::UnknownKey { key, known } => unknown_key(&key, known, at),
        What::MissingKey(key) => Problem::new(Kind::MissingKey, at, format!("`{key}` is missing"))
            .hint(format!("add `{key}:` here")),
        What::NoMapping => {
            let problem = wrong("expected a mapping (`key: value`)".to_owned());
            problem.hint(if at.column > 1 { "write its keys below, indented further" } else { SCHEMA })
        }
        What::NoList => wrong("expected a list".to_owned())
            .hint("write each item on a line of its own, with `- ` before it"),
        What::NoScalar => {
            let problem = wrong("expected text or a number".to_owned());
            problem.hint(match text.as_bytes().get(at.offset) {
                Some(b'{') => "is it text? then put it in quotes: \"{slot}\"",
                _ => SCHEMA,
            })
        }
        What::NoText => wrong("expected text, found nothing".to_owned()).hint("write \"\" for an empty text"),
        What::NoFlag => {
            wrong("expected true or false".to_owned()).hint("write true or false, without quotes")
        }
        What::Other { expected, found } => wrong(format!("expected {expected}, found {found}")).hint(SCHEMA),
    }
}

/// Never repeats a value of the file: it may be a secret. What can be wrong with a key is here, too.
fn not_yaml(text: &str, error: &Yaml) -> Problem {
    let error = error.without_snippet();
    let at = error.location().map_or(Place::default(), place);
    let new = |kind, message: String| Problem::new(kind, at, message);
    match error {
        Yaml::DuplicateMappingKey { key, .. } => {
            let key = key.as_ref().map_or("a key".to_owned(), |key| format!("`{}`", name_part(key)));
            new(Kind::DuplicateKey, format!("{key} is here twice")).hint("keep one of them")
        }
        Yaml::Unexpected { .. } => misfitting(text, What::NoScalar, at),
        Yaml::NullIntoString { .. } => misfitting(text, What::NoText, at),
        Yaml::InvalidScalar { ty, .. } => new(Kind::WrongType, format!("expected {ty}")).hint(SCHEMA),
        Yaml::Eof { .. } if nothing_in(text) => {
            new(Kind::MissingKey, "the file is empty".to_owned()).hint(WRITES_ONE)
        }
        Yaml::MultipleDocuments { .. } => {
            new(Kind::Syntax, "there is more than one document".to_owned()).hint("remove the `---` line")
        }
        Yaml::AliasError { error, .. } => not_yaml(text, error),
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
