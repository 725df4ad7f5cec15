//! The schema that editors use is that of the types that read the file.

mod common;

use common::FULL;
use serde_json::Value;

/// Follows `$ref` and looks into every alternative for the key's schema.
fn key<'a>(root: &'a Value, schema: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return key(root, root.pointer(reference.trim_start_matches('#'))?, name);
    }
    if let Some(found) = schema["properties"].get(name) {
        return Some(found);
    }
    if schema["additionalProperties"].is_object() {
        return Some(&schema["additionalProperties"]);
    }
    schema["anyOf"].as_array()?.iter().find_map(|choice| key(root, choice, name))
}

fn items(schema: &Value) -> &Value {
    match schema["anyOf"]
        .as_array()
        .and_then(|choices| choices.iter().find(|choice| !choice["items"].is_null()))
    {
        Some(list) => items(list),
        None => &schema["items"],
    }
}

fn covered(root: &Value, schema: &Value, value: &Value, path: &str) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = format!("{path}.{name}");
                let found = key(root, schema, name).unwrap_or_else(|| panic!("{path} is not in the schema"));
                covered(root, found, value, &path);
            }
        }
        Value::Array(list) => {
            list.iter().for_each(|value| covered(root, items(schema), value, &format!("{path}[]")))
        }
        _ => {}
    }
}

#[test]
fn every_key_of_the_format_is_in_the_schema() {
    let file: Value = serde_saphyr::from_str(FULL).unwrap();
    let schema = lockgate_config::schema();
    covered(&schema, &schema, &file, "");
    assert!(key(&schema, &schema, "nothing").is_none());
}

#[test]
fn every_key_has_a_description_and_no_other_key_is_allowed() {
    let schema = lockgate_config::schema();
    let mut types = vec![("the file", &schema)];
    types.extend(schema["$defs"].as_object().unwrap().iter().map(|(name, schema)| (name.as_str(), schema)));
    assert!(types.len() > 15);
    for (name, schema) in types {
        assert_eq!(schema["additionalProperties"], false, "{name}");
        assert!(schema["description"].is_string(), "{name}");
        for (key, property) in schema["properties"].as_object().unwrap() {
            let named = property["description"].is_string()
                || property["$ref"].is_string()
                || property["anyOf"].is_array();
            assert!(named, "{name}.{key}");
        }
    }
}

/// `lockgate.schema.json` is what editors get; `UPDATE_SCHEMA=1` writes it anew.
#[test]
fn the_schema_file_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/lockgate.schema.json");
    let schema = format!("{}\n", serde_json::to_string_pretty(&lockgate_config::schema()).unwrap());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), schema, "run with UPDATE_SCHEMA=1");
}
