//! Names that mean something elsewhere in the file, and words that choose.

use std::str::FromStr;

use lockgate_model::{EnvironmentName, InvalidName};

use super::reader::{Reader, quote};
use crate::at::{At, Either};
use crate::error::{Kind, Problem};
use crate::words;

/// A key is a name as it stands: nothing is filled into keys.
pub fn key_name<N>(reader: &mut Reader<'_>, key: &At<String>) -> Option<N>
where
    N: FromStr<Err = InvalidName>,
{
    match key.value.parse() {
        Ok(name) => Some(name),
        Err(InvalidName { kind, reason, .. }) => {
            reader.invalid(key.place, format!("{kind} {} is not valid", quote(key)), reason);
            None
        }
    }
}

/// The environment's name, when it is one of the file's.
pub fn environment(reader: &mut Reader<'_>, source: &At<String>, known: &[&str]) -> Option<EnvironmentName> {
    let text = reader.text(source)?;
    if !known.contains(&text.as_str()) {
        unknown_environment(reader, source, known);
        return None;
    }
    EnvironmentName::new(text).ok()
}

pub fn unknown_environment(reader: &mut Reader<'_>, source: &At<String>, environments: &[&str]) {
    let hint = match words::nearest(&source.value, environments.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("environments here: {}", environments.join(", ")),
    };
    reader.invalid(source.place, format!("there is no environment {}", quote(source)), hint);
}

/// Which of the `known` words the short form is.
pub fn short<T>(
    reader: &mut Reader<'_>,
    what: &str,
    source: &At<Either<T>>,
    known: &[&str],
) -> Option<usize> {
    let Either::Short(written) = &source.value else { return None };
    let word = reader.fill(written, source.place)?;
    let found = known.iter().position(|known| *known == word);
    if found.is_none() {
        let shown = quote(&At { value: written, place: source.place });
        match words::later(&word) {
            Some(when) => {
                let message = format!("the {what} {shown} is known but not built yet");
                reader.report(Problem::new(Kind::NotBuilt, source.place, message).hint(when));
            }
            None => {
                let hint = format!("write `{}`", known.join("` or `"));
                reader.invalid(source.place, format!("unknown {what} {shown}"), hint);
            }
        }
    }
    found
}

/// A header's name as RFC 9110 has it: a token.
pub fn header_name(reader: &mut Reader<'_>, name: &At<String>) -> Option<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !name.value.is_empty() && name.value.bytes().all(token) {
        return Some(name.value.clone());
    }
    reader.invalid(name.place, "this key is not a header's name", "write a name such as X-Release");
    None
}
