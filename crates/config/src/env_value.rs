//! A variable of a service: its value, or where that is to be had.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::at::{At, Words};

/// What a value is called where it is read that is text, as it is written, or a mapping.
pub const TEXT_OR_MAPPING: &str = "TextOrMapping";

/// The value, or where it is to be had.
#[derive(Debug, Clone)]
pub enum EnvValue {
    Text(String),
    From(EnvFrom),
}

/// Where a value is to be had when it is needed: one of `file` and `command`. A line break at its end is left out.
#[derive(Debug, Clone, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `file` or `command`")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct EnvFrom {
    /// A file on this machine that holds it and nothing else; a relative one starts at this file's folder.
    pub file: Option<At<String>>,
    /// A program on this machine that prints it, such as `op read op://vault/item/field` or `sops -d --extract …`: a list, or
    /// text that is split at blanks and quotes. No shell is involved, and no `${NAME}` is filled in: everybody on this machine
    /// sees a program's arguments.
    pub command: Option<At<Words>>,
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choose;
        impl<'de> Visitor<'de> for Choose {
            type Value = EnvValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or a mapping with `file` or `command`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<EnvValue, E> {
                Ok(EnvValue::Text(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnvValue, A::Error> {
                EnvFrom::deserialize(MapAccessDeserializer::new(map)).map(EnvValue::From)
            }
        }
        deserializer.deserialize_newtype_struct(TEXT_OR_MAPPING, Choose)
    }
}

impl JsonSchema for EnvValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "EnvValue".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let from = generator.subschema_for::<EnvFrom>();
        json_schema!({ "anyOf": [{ "type": "string" }, from] })
    }
}
