//! JSON schemas of what tools take and answer.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// What a tool takes.
pub(crate) fn input<T: JsonSchema>() -> Map<String, Value> {
    object(SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>())
}

/// What a tool answers: an object in every case, which clients before the revision 2026-07-28 ask for.
pub(crate) fn output<T: JsonSchema>() -> Map<String, Value> {
    object(SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>())
}

fn object(schema: schemars::Schema) -> Map<String, Value> {
    let mut value = Value::from(schema);
    plain(&mut value);
    let mut object = match value {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    // Names of Rust types, which say nothing to whoever reads the list of tools.
    object.remove("title");
    object.remove("description");
    object.insert("type".to_owned(), "object".into());
    object
}

/// Descriptions come from the code's own, in which links stand between brackets.
fn plain(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(plain),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "description" => {
                        *text = text.replace("[`", "`").replace("`]", "`");
                    }
                    other => plain(other),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
