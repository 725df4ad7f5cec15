//! The file as a bare tree of places: what path a place has, and which bytes may not be shown.

use std::collections::BTreeSet;
use std::fmt;

use lockgate_model::is_secret_name;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_saphyr::Spanned;

use crate::at::At;
use crate::error::{Kind, Place, Problem};

/// Keys below which every value may be a secret.
const SECRET_KEYS: [&str; 7] = ["env", "notify", "headers", "registries", "state", "secrets", "args"];

/// Keys whose value has names of the user's own as keys.
const NAMING_KEYS: [&str; 7] =
    ["services", "environments", "urls", "header", "registries", "endpoints", "folders"];

pub enum Node {
    Scalar(Scalar),
    List(Vec<At<Node>>),
    Map(Vec<Entry>),
}

/// A key and what stands there.
pub type Entry = (At<String>, At<Node>);

/// What stands where neither a list nor a mapping does.
pub enum Scalar {
    Nothing,
    Flag(Plain),
    Number(Plain),
    Text(String),
}

/// What YAML takes for more than text: `1.50` is a number, and as text it stays `1.50`.
#[derive(Default)]
pub struct Plain {
    /// As it is written.
    pub text: String,
    /// Where, which is another place than that of an alias.
    at: Place,
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
                Ok(Node::Scalar(Scalar::Flag(Plain::default())))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Scalar(Scalar::Number(Plain::default())))
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Scalar(Scalar::Number(Plain::default())))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Scalar(Scalar::Number(Plain::default())))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Scalar(Scalar::Text(text.to_owned())))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Scalar::Nothing))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(placed(item));
                }
                Ok(Node::List(items))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let key = At { value: key.value, place: place(key.referenced) };
                    entries.push((key, placed(map.next_value()?)));
                }
                Ok(Node::Map(entries))
            }
        }
        deserializer.deserialize_any(Build)
    }
}

/// A node with its place, as the YAML reader hands it over.
pub fn placed(spanned: Spanned<Node>) -> At<Node> {
    let mut node = spanned.value;
    if let Node::Scalar(Scalar::Flag(plain) | Scalar::Number(plain)) = &mut node {
        plain.at = place(spanned.defined);
    }
    At { value: node, place: place(spanned.referenced) }
}

/// Where it is referred to or written.
pub fn place(location: serde_saphyr::Location) -> Place {
    let number = |value: u64| usize::try_from(value).unwrap_or(0);
    let span = location.span();
    Place {
        line: number(location.line()),
        column: number(location.column()),
        offset: span.byte_offset().map_or(0, number),
        length: span.byte_len().map_or(0, number),
    }
}

impl Node {
    /// Looks up in the file how numbers and flags are written.
    pub fn look_up(&mut self, text: &str) {
        match self {
            Node::Scalar(Scalar::Flag(plain) | Scalar::Number(plain)) => {
                let Place { offset, length, .. } = plain.at;
                let written = text.get(offset..offset.saturating_add(length)).unwrap_or_default();
                // As in `!!int "5"`.
                written.trim_matches(['"', '\'']).clone_into(&mut plain.text);
            }
            Node::Scalar(Scalar::Nothing | Scalar::Text(_)) => {}
            Node::List(items) => items.iter_mut().for_each(|item| item.value.look_up(text)),
            Node::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.value.look_up(text)),
        }
    }

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
            Node::Scalar(_) => None,
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

    /// Sorts places into those that may be shown and those that may be secret: below a secret key, or below one that
    /// the format does not have, as when the lines below `env:` are not indented.
    fn sort(&self, place: Place, known: &BTreeSet<String>, secret: bool, named: bool, sorted: &mut Sorted) {
        match self {
            Node::Scalar(_) if secret => sorted.secret.push(place),
            Node::Scalar(_) => sorted.shown.push(place),
            Node::List(items) => {
                items.iter().for_each(|item| item.value.sort(item.place, known, secret, false, sorted));
            }
            Node::Map(entries) => {
                for (key, node) in entries {
                    if !secret {
                        sorted.shown.push(key.place);
                    }
                    let key = key.value.as_str();
                    // `token` is a key of the format, and no less a secret where it does not belong.
                    let says_so = SECRET_KEYS.contains(&key) || (!named && is_secret_name(key));
                    let secret = secret || says_so || !(named || known.contains(key));
                    node.value.sort(node.place, known, secret, NAMING_KEYS.contains(&key), sorted);
                }
            }
        }
    }
}

#[derive(Default)]
struct Sorted {
    shown: Vec<Place>,
    secret: Vec<Place>,
}

/// Every key of the format, wherever it belongs.
fn known_keys() -> BTreeSet<String> {
    let schema = crate::schema();
    let types = schema["$defs"].as_object().into_iter().flat_map(|types| types.values()).chain([&schema]);
    types
        .filter_map(|schema| schema["properties"].as_object())
        .flat_map(|keys| keys.keys().cloned())
        .collect()
}

/// Gives every problem its path, decides whether its line may be shown, and returns the text that may be.
pub fn annotate(text: &str, tree: Option<&At<Node>>, problems: &mut [Problem]) -> String {
    let Some(tree) = tree else {
        // Without a tree nobody knows where secrets are.
        return blank(text, &Sorted::default());
    };
    for problem in problems.iter_mut() {
        let Some(place) = problem.place else { continue };
        let Some(path) = tree.value.path(place.offset) else { continue };
        problem.shown = !path.iter().any(|key| SECRET_KEYS.contains(&key.as_str()));
        // Keys below a secret one may be secrets, too, where a colon is missing.
        let end =
            path.iter().position(|key| SECRET_KEYS.contains(&key.as_str())).map_or(path.len(), |at| at + 1);
        let path = &path[..end];
        // What is missing has no path, and the place is that of the mapping around it.
        problem.path = (problem.kind != Kind::MissingKey).then(|| path.join("."));
    }
    let mut sorted = Sorted::default();
    tree.value.sort(tree.place, &known_keys(), false, false, &mut sorted);
    blank(text, &sorted)
}

/// The text with all blanked out but what may be shown and YAML's own signs: comments may have secrets too. As long as
/// before in bytes and lines.
fn blank(text: &str, sorted: &Sorted) -> String {
    let range = |place: &Place| place.offset..place.offset.saturating_add(place.length).min(text.len());
    let mut shown =
        text.as_bytes().iter().map(|byte| b" \n\r\t{}[],:-#|>\"'".contains(byte)).collect::<Vec<bool>>();
    for (places, show) in [(&sorted.shown, true), (&sorted.secret, false)] {
        for place in places {
            shown.get_mut(range(place)).unwrap_or_default().fill(show);
        }
    }
    let hidden = |(byte, shown): (u8, bool)| if shown || byte == b'\n' { byte } else { b'*' };
    let bytes = text.bytes().zip(shown).map(hidden).collect();
    // A place that cuts a character in two would break UTF-8; then nothing is shown.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}
