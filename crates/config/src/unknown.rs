//! Keys that the format does not have, all of them: reading stops at the first.

use serde_json::Value;

use crate::at::At;
use crate::error::Problem;
use crate::read::unknown_key;
use crate::tree::Node;

/// One problem for each, in the order of the file.
pub fn keys(tree: &At<Node>) -> Vec<Problem> {
    let schema = crate::schema();
    let mut problems = Vec::new();
    look(&schema, &schema, &tree.value, &mut problems);
    problems
}

fn look(root: &Value, schema: &Value, node: &Node, problems: &mut Vec<Problem>) {
    match node {
        Node::Scalar(_) => {}
        Node::List(list) => {
            let Some(items) = find(root, schema, "items") else { return };
            list.iter().for_each(|item| look(root, &items["items"], &item.value, problems));
        }
        Node::Map(entries) => {
            // The user's own names, each for the same shape.
            if let Some(named) = find(root, schema, "additionalProperties")
                .filter(|named| named["additionalProperties"].is_object())
            {
                let each = &named["additionalProperties"];
                return entries.iter().for_each(|(_, node)| look(root, each, &node.value, problems));
            }
            let found = find(root, schema, "properties");
            let Some(known) = found.and_then(|found| found["properties"].as_object()) else { return };
            for (key, node) in entries {
                match known.get(&key.value) {
                    Some(schema) => look(root, schema, &node.value, problems),
                    None => {
                        let names: Vec<&str> = known.keys().map(String::as_str).collect();
                        problems.push(unknown_key(&key.value, &names, key.place));
                    }
                }
            }
        }
    }
}

/// The schema's alternative that has this keyword. Our schema's alternatives are one of each shape.
fn find<'a>(root: &'a Value, schema: &'a Value, keyword: &str) -> Option<&'a Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return find(root, root.pointer(reference.trim_start_matches('#'))?, keyword);
    }
    if !schema[keyword].is_null() {
        return Some(schema);
    }
    schema["anyOf"].as_array()?.iter().find_map(|choice| find(root, choice, keyword))
}
