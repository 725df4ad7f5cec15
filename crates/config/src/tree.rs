//! The file as a bare tree of places: what path a place has, and which bytes may not be shown.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::at::At;
use crate::error::{Kind, Place, Problem};

/// Keys below which every value may be a secret.
const SECRET_KEYS: [&str; 3] = ["env", "notify", "headers"];

pub enum Node {
    Scalar,
    List(Vec<At<Node>>),
    Map(Vec<(At<String>, At<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Build;
        impl<'de> Visitor<'de> for Build {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Scalar)
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Scalar)
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Scalar)
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Scalar)
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Node, E> {
                Ok(Node::Scalar)
            }
            fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
                Ok(Node::Scalar)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key()? {
                    entries.push((key, map.next_value()?));
                }
                Ok(Node::Map(entries))
            }
        }
        deserializer.deserialize_any(Build)
    }
}

impl Node {
    /// The keys that lead to what starts at `offset`, whether it is a key or a value; absent: nothing starts there.
    fn path(&self, offset: usize) -> Option<Vec<String>> {
        let within = |step: String, place: Place, node: &Node| {
            // A block mapping starts where its first key does: the deeper one is meant.
            let mut path = match node.path(offset) {
                Some(path) => path,
                None if place.offset == offset => Vec::new(),
                None => return None,
            };
            path.insert(0, step);
            Some(path)
        };
        match self {
            Node::Scalar => None,
            Node::List(items) => {
                items.iter().enumerate().find_map(|(n, item)| within(n.to_string(), item.place, &item.value))
            }
            Node::Map(entries) => entries.iter().find_map(|(key, node)| {
                if key.place.offset == offset {
                    return Some(vec![key.value.clone()]);
                }
                within(key.value.clone(), node.place, &node.value)
            }),
        }
    }

    /// The places of all scalars that may be secret: below a secret key, or below one of the `unknown` keys, whose
    /// meaning nobody knows.
    fn secrets(&self, place: Place, unknown: &[usize], secret: bool, found: &mut Vec<Place>) {
        match self {
            Node::Scalar if secret => found.push(place),
            Node::Scalar => {}
            Node::List(items) => {
                items.iter().for_each(|item| item.value.secrets(item.place, unknown, secret, found));
            }
            Node::Map(entries) => {
                for (key, node) in entries {
                    let secret = secret
                        || SECRET_KEYS.contains(&key.value.as_str())
                        || unknown.contains(&key.place.offset);
                    node.value.secrets(node.place, unknown, secret, found);
                }
            }
        }
    }
}

/// Gives every problem its path, decides whether its line may be shown, and returns the text that may be.
pub fn annotate(text: &str, tree: Option<&At<Node>>, problems: &mut [Problem]) -> String {
    let Some(tree) = tree else {
        // Without a tree nobody knows where secrets are.
        return blank(text, &[Place { offset: 0, length: text.len(), ..Place::default() }]);
    };
    let mut unknown = Vec::new();
    for problem in problems.iter_mut() {
        let Some(place) = problem.place else { continue };
        let Some(path) = tree.value.path(place.offset) else { continue };
        problem.shown = !path.iter().any(|key| SECRET_KEYS.contains(&key.as_str()));
        // What is missing has no path, and the place is that of the mapping around it.
        problem.path = (problem.kind != Kind::MissingKey).then(|| path.join("."));
        unknown.push(place.offset);
    }
    let mut secrets = Vec::new();
    tree.value.secrets(tree.place, &unknown_keys(problems, &unknown), false, &mut secrets);
    blank(text, &secrets)
}

/// Only where a key itself is the problem is what stands below it of unknown meaning.
fn unknown_keys(problems: &[Problem], offsets: &[usize]) -> Vec<usize> {
    let keys = problems.iter().filter(|problem| matches!(problem.kind, Kind::UnknownKey | Kind::NotBuilt));
    keys.filter_map(|problem| problem.place)
        .map(|place| place.offset)
        .filter(|at| offsets.contains(at))
        .collect()
}

/// The text with these places blanked out, as long as before in bytes and lines.
fn blank(text: &str, places: &[Place]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for place in places {
        let end = place.offset.saturating_add(place.length).min(bytes.len());
        for byte in bytes.get_mut(place.offset..end).unwrap_or_default() {
            if *byte != b'\n' {
                *byte = b'*';
            }
        }
    }
    // A place that cuts a character in two would break UTF-8; then nothing is shown.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}
