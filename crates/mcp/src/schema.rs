//! JSON schemas of what tools take and answer.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// What a tool takes.
pub(crate) fn input<T: JsonSchema>() -> Map<String, Value> {
    object(SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>())
}

/// What a tool answers: an object in every case, which clients before the revision 2026-07-28 ask for.
pub(crate) fn output<T: JsonSchema>() -> Map<String, Value> {
    let mut schema =
        object(SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>());
    bare_inside(&mut schema);
    schema
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
    each_description(value, &mut |members| {
        if let Some(Value::String(text)) = members.get_mut(DESCRIPTION) {
            *text = text.replace("[`", "`").replace("`]", "`");
        }
    });
}

const DESCRIPTION: &str = "description";
const SHAPES: &str = "$defs";

/// A model reads the list of tools, and pays for each word: what stands deep inside an answer has names alone.
fn bare_inside(schema: &mut Map<String, Value>) {
    let Some(Value::Object(mut shapes)) = schema.remove(SHAPES) else { return };
    let mut near = BTreeSet::new();
    refers_to(&Value::Object(schema.clone()), &mut near);
    for name in near.clone() {
        shapes.get(&name).iter().for_each(|shape| refers_to(shape, &mut near));
    }
    for (name, shape) in &mut shapes {
        if !near.contains(name) {
            each_description(shape, &mut |members| drop(members.remove(DESCRIPTION)));
        }
    }
    schema.insert(SHAPES.to_owned(), Value::Object(shapes));
}

/// The shapes that are named in it.
fn refers_to(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| refers_to(one, names)),
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
            names.extend(name.map(str::to_owned));
            members.values().for_each(|member| refers_to(member, names));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every object that has one that is a text: a property of that name has an object.
fn each_description(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| each_description(one, change)),
        Value::Object(members) => {
            if members.get(DESCRIPTION).is_some_and(Value::is_string) {
                change(members);
            }
            members.values_mut().for_each(|member| each_description(member, change));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
