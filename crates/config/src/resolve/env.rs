//! The variables of a service.

use std::collections::BTreeMap;

use lockgate_model::{Secret, ValueSource};

use super::reader::{Reader, reference};
use crate::at::{At, Words};
use crate::env_value::{EnvFrom, EnvValue};
use crate::interpolate;

/// Values, and where others are to be had.
pub type Variables = (BTreeMap<String, Secret>, BTreeMap<String, ValueSource>);

pub fn resolve(reader: &mut Reader<'_>, entries: &[(At<String>, At<EnvValue>)]) -> Variables {
    let (mut values, mut sources) = Variables::default();
    for (key, value) in entries {
        let name = &key.value;
        let legal = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !legal {
            let hint = "use letters, digits and `_`, and no digit first";
            reader.invalid(key.place, "this key is not a variable's name", hint);
            continue;
        }
        match &value.value {
            EnvValue::Text(text) => {
                values.extend(reader.fill(text, value.place).map(|text| (name.clone(), Secret::new(text))));
            }
            EnvValue::From(from) => {
                sources.extend(source(reader, value, from).map(|source| (name.clone(), source)));
            }
        }
    }
    (values, sources)
}

fn source(reader: &mut Reader<'_>, at: &At<EnvValue>, from: &EnvFrom) -> Option<ValueSource> {
    match (&from.file, &from.command) {
        (Some(file), None) => reader.line("`file`", file).map(ValueSource::File),
        (None, Some(command)) => argv(reader, command).map(ValueSource::Command),
        _ => {
            let hint =
                "write exactly one: `{ file: ./secret }` or `{ command: op read op://vault/item/field }`";
            reader.invalid(at.place, "a value comes from a `file` or from a `command`", hint);
            None
        }
    }
}

fn argv(reader: &mut Reader<'_>, source: &At<Words>) -> Option<Vec<String>> {
    if let Some(place) = reference(source) {
        let message = "`command` cannot have `${…}`: everybody on this machine sees a program's arguments";
        reader.invalid(place, message, "the program has this environment: it finds what it needs there");
        return None;
    }
    let words = match &source.value {
        Words::List(list) => list.iter().map(|word| interpolate::fill(&word.value, &|_| None).ok()).collect(),
        Words::Line(line) => shell_words::split(line).ok().map(|words| {
            words.iter().filter_map(|word| interpolate::fill(word, &|_| None).ok()).collect::<Vec<String>>()
        }),
    };
    let Some(argv) = words else {
        reader.invalid(source.place, "`command` has an open quote", "close it, or write a list");
        return None;
    };
    if argv.first().is_none_or(String::is_empty) {
        reader.invalid(source.place, "`command` is empty", "write the program and its arguments");
        return None;
    }
    Some(argv)
}
