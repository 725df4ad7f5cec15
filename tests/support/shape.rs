//! Whether a value is what a JSON schema describes. Of JSON Schema (draft 2020-12) it knows the words that our own schemas use;
//! any other word is a failure, so that nothing is passed over. (`mcp_client.py` has the same values checked by Python's
//! jsonschema.)

use serde_json::{Map, Value};

/// Words that say nothing of a value here.
const SAYS_NOTHING: [&str; 6] = ["$schema", "$defs", "title", "description", "default", "format"];

/// What is wrong with it and where; `None` where nothing is.
pub fn wrong(value: &Value, schema: &Value) -> Option<String> {
    Checker { root: schema }.wrong(value, schema, "$")
}

struct Checker<'s> {
    root: &'s Value,
}

impl Checker<'_> {
    fn wrong(&self, value: &Value, schema: &Value, at: &str) -> Option<String> {
        let words = match schema {
            Value::Bool(true) => return None,
            Value::Object(words) => words,
            other => return Some(format!("{at}: nothing is {other}")),
        };
        words.iter().find_map(|(word, said)| self.word(value, word, said, words, at))
    }

    fn word(
        &self,
        value: &Value,
        word: &str,
        said: &Value,
        words: &Map<String, Value>,
        at: &str,
    ) -> Option<String> {
        let unless = |ok: bool| (!ok).then(|| format!("{at}: {value} is not {word} {said}"));
        match word {
            word if SAYS_NOTHING.contains(&word) => None,
            "$ref" => {
                let named = said.as_str().and_then(|name| self.root.pointer(name.strip_prefix('#')?));
                match named {
                    Some(schema) => self.wrong(value, schema, at),
                    None => Some(format!("{at}: there is no {said}")),
                }
            }
            "type" => match said {
                Value::Array(any) => unless(any.iter().any(|one| is_a(value, one))),
                one => unless(is_a(value, one)),
            },
            "const" => unless(value == said),
            "enum" => unless(said.as_array().is_some_and(|all| all.contains(value))),
            "minimum" => unless(value.as_f64().zip(said.as_f64()).is_none_or(|(is, least)| is >= least)),
            "maximum" => unless(value.as_f64().zip(said.as_f64()).is_none_or(|(is, most)| is <= most)),
            "minItems" => unless(length(value).zip(said.as_u64()).is_none_or(|(is, least)| is >= least)),
            "maxItems" => unless(length(value).zip(said.as_u64()).is_none_or(|(is, most)| is <= most)),
            "uniqueItems" => None,
            "anyOf" | "oneOf" => {
                let of = said.as_array().into_iter().flatten();
                let wrong: Vec<Option<String>> = of.map(|schema| self.wrong(value, schema, at)).collect();
                let fit = wrong.iter().filter(|wrong| wrong.is_none()).count();
                let ok = if word == "oneOf" { fit == 1 } else { fit > 0 };
                (!ok).then(|| {
                    format!(
                        "{at}: {fit} of {word} fit: {}",
                        wrong.into_iter().flatten().collect::<Vec<_>>().join(" | ")
                    )
                })
            }
            "allOf" => said.as_array()?.iter().find_map(|schema| self.wrong(value, schema, at)),
            "required" => said.as_array()?.iter().find_map(|name| {
                let missing = value.as_object()?.get(name.as_str()?).is_none();
                missing.then(|| format!("{at}: {name} is missing"))
            }),
            "properties" => said
                .as_object()?
                .iter()
                .find_map(|(name, schema)| self.wrong(value.get(name)?, schema, &format!("{at}.{name}"))),
            "additionalProperties" => value.as_object()?.iter().find_map(|(name, member)| {
                let known = words.get("properties").and_then(|known| known.get(name)).is_some();
                if known { None } else { self.wrong(member, said, &format!("{at}.{name}")) }
            }),
            "items" => value
                .as_array()?
                .iter()
                .skip(length(words.get("prefixItems").unwrap_or(&Value::Null)).unwrap_or(0) as usize)
                .enumerate()
                .find_map(|(index, item)| self.wrong(item, said, &format!("{at}[{index}]"))),
            "prefixItems" => {
                let pairs = value.as_array()?.iter().zip(said.as_array()?);
                pairs
                    .enumerate()
                    .find_map(|(index, (item, schema))| self.wrong(item, schema, &format!("{at}[{index}]")))
            }
            other => Some(format!("{at}: nobody here knows the word {other:?}")),
        }
    }
}

fn is_a(value: &Value, kind: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

fn length(value: &Value) -> Option<u64> {
    value.as_array().map(|items| items.len() as u64)
}

#[test]
fn what_does_not_fit_is_found() {
    use serde_json::json;
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }] } },
        "$defs": { "A": { "type": "array", "items": { "enum": ["x", "y"] } } },
    });
    for good in [json!({ "a": null }), json!({ "a": ["x", "y"] })] {
        assert_eq!(wrong(&good, &schema), None);
    }
    for bad in
        [json!([]), json!({}), json!({ "a": "x" }), json!({ "a": ["z"] }), json!({ "a": null, "b": 1 })]
    {
        assert!(wrong(&bad, &schema).is_some(), "{bad}");
    }
    assert!(wrong(&json!(1), &json!({ "multipleOf": 2 })).is_some(), "a word that nobody knows");
}
