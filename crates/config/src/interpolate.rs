//! `${NAME}`, `${NAME:-default}` and `$$` in values, after the YAML was read: what a variable holds is never YAML.

use std::cell::Cell;

/// Reads the environment, handed in so that nothing here depends on the process it runs in.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Debug, PartialEq, Eq)]
pub enum Unfilled {
    /// No value and no default.
    Missing(String),
    /// `${` without `}`.
    Open,
    /// `${…}` around something that is no name.
    BadName(String),
}

/// # Errors
/// [`Unfilled`], which never holds a variable's value.
pub fn fill(text: &str, env: Env<'_>) -> Result<String, Unfilled> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or(Unfilled::Open)?;
            filled.push_str(&value(&after[..end], env)?);
            rest = &after[end + 1..];
        } else {
            // A lone dollar sign means nothing here and stays.
            filled.push('$');
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Whether a variable would be filled in, or was meant to be.
pub fn refers(text: &str) -> bool {
    let asked = Cell::new(false);
    let ask = |_: &str| {
        asked.set(true);
        None
    };
    fill(text, &ask).is_err() || asked.get()
}

fn value(reference: &str, env: Env<'_>) -> Result<String, Unfilled> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) {
        return Err(Unfilled::BadName(name.to_owned()));
    }
    match (env(name), default) {
        // As in a shell, `:-` stands in for an empty value too.
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Unfilled::Missing(name.to_owned())),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The variables that would be filled in, and whether each has a default. What is no name is left out.
pub fn references(text: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some((reference, after)) = after.split_once('}') else { break };
            let (name, has_default) =
                reference.split_once(":-").map_or((reference, false), |(name, _)| (name, true));
            found.extend(is_name(name).then_some((name, has_default)));
            rest = after;
        }
    }
    found
}

/// A part of a text that is one reference to a variable, or has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    Plain(&'a str),
    Reference {
        text: &'a str,
        name: &'a str,
        /// `:-` stands in it.
        default: bool,
    },
}

/// Text that is not from our file: what would be a reference here is one, everything else is plain.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut from) = (0, 0);
    while let Some(at) = text[from..].find("${").map(|at| from + at) {
        from = at + 2;
        let Some(end) = text[from..].find('}').map(|length| from + length) else { break };
        let reference = &text[from..end];
        let (name, default) = reference.split_once(":-").map_or((reference, false), |(name, _)| (name, true));
        if is_name(name) {
            pieces.push(Piece::Plain(&text[start..at]));
            pieces.push(Piece::Reference { text: &text[at..=end], name, default });
            (start, from) = (end + 1, end + 1);
        }
    }
    pieces.push(Piece::Plain(&text[start..]));
    pieces.retain(|piece| *piece != Piece::Plain(""));
    pieces
}

/// Splits a command line as a shell does and only then lets variables be filled in, so that what a variable holds stays
/// within its argument. `None` for an unclosed quote.
pub fn split(line: &str) -> Option<Vec<String>> {
    let (masked, references) = mask(line);
    let words = shell_words::split(&masked).ok()?;
    Some(words.into_iter().map(|word| unmask(&word, &references)).collect())
}

/// Private-use characters around a reference's number keep `shell_words` from splitting `${NAME:-a b}`.
const MASK: [char; 2] = ['\u{f0000}', '\u{f0001}'];

fn mask(line: &str) -> (String, Vec<&str>) {
    let mut masked = String::new();
    let mut references = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("${") {
        let Some(length) = rest[at..].find('}') else { break };
        masked.push_str(&rest[..at]);
        masked.push_str(&format!("{}{}{}", MASK[0], references.len(), MASK[1]));
        references.push(&rest[at..=at + length]);
        rest = &rest[at + length + 1..];
    }
    masked.push_str(rest);
    (masked, references)
}

fn unmask(word: &str, references: &[&str]) -> String {
    references.iter().enumerate().fold(word.to_owned(), |word, (number, reference)| {
        word.replace(&format!("{}{number}{}", MASK[0], MASK[1]), reference)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db; rm -rf /".to_owned()),
            "EMPTY" => Some(String::new()),
            "BRACES" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_dollars() {
        for (text, filled) in [
            ("plain", "plain"),
            ("a ${HOST} b", "a db; rm -rf / b"),
            ("${NONE:-x y}", "x y"),
            ("${NONE:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("$${HOST} costs 5$ $x", "${HOST} costs 5$ $x"),
            ("$$$${HOST}", "$${HOST}"),
            // What a variable holds is not filled in again.
            ("${BRACES}", "${HOST}"),
        ] {
            assert_eq!(fill(text, &env).as_deref(), Ok(filled), "{text}");
        }
    }

    #[test]
    fn a_reference_that_cannot_be_filled_is_an_error() {
        assert_eq!(fill("${NONE}", &env), Err(Unfilled::Missing("NONE".into())));
        assert_eq!(fill("${NONE", &env), Err(Unfilled::Open));
        for bad in ["${}", "${a b}", "${1A}", "${A-b}", "${A?}"] {
            assert!(matches!(fill(bad, &env), Err(Unfilled::BadName(_))), "{bad}");
        }
    }

    #[test]
    fn texts_from_elsewhere_are_cut_at_their_references() {
        let reference = |text, name, default| Piece::Reference { text, name, default };
        for (text, expected) in [
            ("", vec![]),
            ("5$ ${", vec![Piece::Plain("5$ ${")]),
            ("${A}", vec![reference("${A}", "A", false)]),
            ("$${A:-x}/", vec![Piece::Plain("$"), reference("${A:-x}", "A", true), Piece::Plain("/")]),
            ("${a b}${B}", vec![Piece::Plain("${a b}"), reference("${B}", "B", false)]),
        ] {
            assert_eq!(pieces(text), expected, "{text}");
        }
    }

    #[test]
    fn a_reference_is_told_from_dollars() {
        for text in ["${A}", "a $${B} ${C}", "$$${A}", "${"] {
            assert!(refers(text), "{text}");
        }
        for text in ["", "$", "$A", "$${A}", "$$$${A}", "{a} $ {b}"] {
            assert!(!refers(text), "{text}");
        }
    }

    #[test]
    fn references_are_told_with_their_defaults() {
        let text = "${A}$${B} $C ${D:-x}${1} ${E:-} ${";
        assert_eq!(references(text), [("A", false), ("D", true), ("E", true)]);
    }

    #[test]
    fn a_variable_never_adds_an_argument() {
        let words = split("run --host=${HOST} '${NONE:-a b}' \"x y\" ${HOST}").unwrap();
        assert_eq!(words, ["run", "--host=${HOST}", "${NONE:-a b}", "x y", "${HOST}"]);
        assert_eq!(split("run 'open"), None);
    }
}
