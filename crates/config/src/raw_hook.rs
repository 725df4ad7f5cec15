//! `before_switch` and `after_switch` as they are written.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::at::{At, Span, Words};

/// A program that runs once in a deployment, in the new release: its command alone, or more about it.
#[derive(Debug, Clone)]
pub enum Hook {
    Command(Words),
    Full(HookMapping),
}

/// A program that runs once in a deployment, and for how long.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Hook", expecting = "a command, or a mapping with `run`")]
pub struct HookMapping {
    /// The program: a list, or text that is split at blanks and quotes. No shell is involved, and no `${NAME}` is filled in:
    /// the program has the service's environment. For a shell write `["sh", "-c", "…"]`.
    pub run: Option<At<Words>>,
    /// Longest time; then it is ended. Default: 10m.
    pub timeout: Option<At<Span>>,
    /// After a crash, where nothing says what became of it: true runs it again, false undoes the run. Default: false.
    pub repeat: Option<At<bool>>,
    /// Of `after_switch`: `undo` undoes the deployment, `warn` only says so. Default: `undo`.
    #[schemars(with = "Option<OnFailureName>")]
    pub on_failure: Option<At<String>>,
}

/// What follows when `after_switch` fails.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(
    dead_code,
    reason = "names the values in the schema; the value itself is read as text, for its place"
)]
enum OnFailureName {
    Undo,
    Warn,
}

impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choose;
        impl<'de> Visitor<'de> for Choose {
            type Value = Hook;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a command (text or a list of texts), or a mapping with `run`, `timeout` and `repeat`",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hook, E> {
                Ok(Hook::Command(Words::Line(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Hook, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                Ok(Hook::Command(Words::List(words)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Hook, A::Error> {
                HookMapping::deserialize(MapAccessDeserializer::new(map)).map(Hook::Full)
            }
        }
        deserializer.deserialize_any(Choose)
    }
}

impl JsonSchema for Hook {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "CommandOrHook".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (words, full) = (Words::json_schema(generator), generator.subschema_for::<HookMapping>());
        json_schema!({ "anyOf": [words, full] })
    }
}
