//! What hosts need, as it is written. The doc comments here are the descriptions in the JSON schema.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::at::{At, Entries, Span, Words};

/// What `lockgate setup` waits for and makes on each host before its first deployment, beside the folders of the Compose
/// files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping; `{}` takes every default")]
pub struct Setup {
    /// A file on the host that says that the host is ready, as cloud-init writes one last: `/opt/setup_complete`. Until it is
    /// there, and while the host does not answer yet, `lockgate setup` waits. Default: nothing is waited for.
    pub wait_for: Option<At<String>>,
    /// Longest wait for it. Default: `15m`.
    pub patience: Option<At<Span>>,
    /// `install`: Docker with Compose is installed from the distribution's packages where it is missing, on Debian and Ubuntu,
    /// as root or by sudo without a password. Docker that works already is left alone, wherever it is from. Default: nothing
    /// is installed.
    #[schemars(with = "Option<DockerName>")]
    pub docker: Option<At<String>>,
    /// Lockgate's own program, which is the built-in proxy on hosts of `router: builtin` that are reached over SSH. Files of
    /// this machine to take it from, the first that is built for the host's machine and static; `false`: none is uploaded.
    /// Default: the program that runs, where no newer one is there.
    pub lockgate: Option<At<Program>>,
    /// Further folders on the host, by their absolute paths, such as those that containers mount.
    #[serde(default)]
    pub folders: Entries<At<Folder>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(
    dead_code,
    reason = "names the values in the schema; the value itself is read as text, for its place"
)]
enum DockerName {
    Install,
}

/// Files to take Lockgate's program from, or whether one is uploaded at all.
#[derive(Debug, Clone)]
pub enum Program {
    Flag(bool),
    Files(Words),
}

impl<'de> Deserialize<'de> for Program {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choose;
        impl<'de> Visitor<'de> for Choose {
            type Value = Program;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file, a list of files, or `false`")
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Program, E> {
                Ok(Program::Flag(flag))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Program, E> {
                Ok(Program::Files(Words::Line(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Program, A::Error> {
                let mut files = Vec::new();
                while let Some(file) = seq.next_element()? {
                    files.push(file);
                }
                Ok(Program::Files(Words::List(files)))
            }
        }
        deserializer.deserialize_any(Choose)
    }
}

impl JsonSchema for Program {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "FilesOrFlag".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "boolean" },
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 }
        ] })
    }
}

/// A folder on the host.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping; `{}` takes every default")]
pub struct Folder {
    /// `user`, `user:group`, or their numbers. Default: whoever logs in there; an owner that it has already stays.
    pub owner: Option<At<String>>,
    /// Permissions as `chmod` has them, such as `0750`. Default: `0755`; those that it has already stay.
    pub mode: Option<At<String>>,
}
