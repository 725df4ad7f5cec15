//! The shapes of [`raw`](crate::raw) from the tree. serde makes its code anew for each pair of a type and a reader, and YAML's
//! reader is large: it reads the tree alone, and this small one reads the types.

use std::fmt::{self, Display};

use serde::de::value::SeqDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, Expected, Unexpected, Visitor};

use crate::at::{AT, At};
use crate::env_value::TEXT_OR_MAPPING;
use crate::error::Place;
use crate::tree::{Entry, Node, Scalar};

/// What does not fit, and where. No value of the file is in it.
#[derive(Debug)]
pub struct Misfit(Box<(What, Place)>);

#[derive(Debug, Clone)]
pub enum What {
    UnknownKey {
        key: String,
        known: &'static [&'static str],
    },
    MissingKey(&'static str),
    NoMapping,
    NoList,
    /// A list or a mapping where text or a number belongs.
    NoScalar,
    NoText,
    NoFlag,
    /// `found` is one of our words for what there is.
    Other {
        expected: String,
        found: &'static str,
    },
}

impl Misfit {
    fn new(what: What) -> Self {
        Self(Box::new((what, Place::default())))
    }

    /// Where nobody further in has said it.
    fn at(mut self, place: Place) -> Self {
        if self.0.1.known().is_none() {
            self.0.1 = place;
        }
        self
    }

    pub fn into_parts(self) -> (What, Place) {
        *self.0
    }
}

impl Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.0)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: Display>(expected: T) -> Self {
        Self::new(What::Other { expected: expected.to_string(), found: "something else" })
    }
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(What::Other { expected: expected.to_string(), found: found(&unexpected) })
    }
    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }
    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey { key: key.to_owned(), known })
    }
    fn missing_field(key: &'static str) -> Self {
        Self::new(What::MissingKey(key))
    }
}

/// serde's word for what it found as ours, without the value.
fn found(unexpected: &Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Str(_) | Unexpected::Char(_) => "text",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Bool(_) => "true or false",
        Unexpected::Map => "a mapping",
        Unexpected::Seq => "a list",
        Unexpected::Unit | Unexpected::Option => "nothing",
        _ => "something else",
    }
}

impl At<Node> {
    /// The text as it is written.
    fn text(&self) -> Result<&str, Misfit> {
        match &self.value {
            Node::Scalar(Scalar::Text(text)) => Ok(text),
            Node::Scalar(Scalar::Flag(plain) | Scalar::Number(plain)) => Ok(&plain.text),
            Node::Scalar(Scalar::Nothing) => Err(Misfit::new(What::NoText)),
            Node::List(_) | Node::Map(_) => Err(Misfit::new(What::NoScalar)),
        }
    }

    /// Nothing is a list without items.
    fn items(&self) -> Result<&[At<Node>], Misfit> {
        match &self.value {
            Node::List(items) => Ok(items),
            Node::Scalar(Scalar::Nothing) => Ok(&[]),
            _ => Err(Misfit::new(What::NoList)),
        }
    }

    /// Nothing is a mapping without keys.
    fn entries(&self) -> Result<&[Entry], Misfit> {
        match &self.value {
            Node::Map(entries) => Ok(entries),
            Node::Scalar(Scalar::Nothing) => Ok(&[]),
            _ => Err(Misfit::new(What::NoMapping)),
        }
    }

    fn flag(&self) -> Result<bool, Misfit> {
        match self.text()?.trim() {
            word if word.eq_ignore_ascii_case("true") => Ok(true),
            word if word.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(Misfit::new(What::NoFlag)),
        }
    }
}

impl<'de> Deserializer<'de> for &'de At<Node> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Node::Scalar(Scalar::Nothing) => visitor.visit_unit(),
            Node::Scalar(Scalar::Text(text)) => visitor.visit_borrowed_str(text),
            Node::Scalar(Scalar::Flag(_)) => self.flag().and_then(|flag| visitor.visit_bool(flag)),
            Node::Scalar(Scalar::Number(plain)) => match (plain.text.parse(), plain.text.parse()) {
                (Ok(whole), _) => visitor.visit_u64(whole),
                (_, Ok(below_zero)) => visitor.visit_i64(below_zero),
                // No type here is read from another number; which one it is nobody asks.
                _ => visitor.visit_f64(f64::NAN),
            },
            Node::List(_) => self.deserialize_seq(visitor),
            Node::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.text().and_then(|text| visitor.visit_borrowed_str(text)).map_err(|misfit| misfit.at(self.place))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.flag().and_then(|flag| visitor.visit_bool(flag)).map_err(|misfit| misfit.at(self.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match &self.value {
            Node::Scalar(Scalar::Nothing) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let items = self.items().map_err(|misfit| misfit.at(self.place))?;
        visitor.visit_seq(Items(items.iter()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let entries = self.entries().map_err(|misfit| misfit.at(self.place))?;
        let pairs = Pairs { entries: entries.iter(), read: None };
        // What is missing belongs behind the last key.
        let end = entries.last().map_or(self.place, |(key, _)| key.place);
        visitor.visit_map(pairs).map_err(|misfit| misfit.at(end))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_map(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match name {
            AT => visitor.visit_seq(Located { place: Some(self.place), value: self }),
            _ => self.deserialize_seq(visitor),
        }
    }

    /// A scalar as it is written, a mapping as one.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match (&self.value, name) {
            (Node::Map(_), TEXT_OR_MAPPING) => self.deserialize_map(visitor),
            (_, TEXT_OR_MAPPING) => self.deserialize_str(visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple enum
        identifier ignored_any
    }
}

struct Items<'de>(std::slice::Iter<'de, At<Node>>);

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Misfit;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Misfit> {
        let read = |item: &'de At<Node>| seed.deserialize(item).map_err(|misfit| misfit.at(item.place));
        self.0.next().map(read).transpose()
    }
}

/// The keys of a mapping, each followed by its value.
struct Pairs<'de> {
    entries: std::slice::Iter<'de, Entry>,
    /// The pair whose key was read last.
    read: Option<&'de Entry>,
}

impl<'de> de::MapAccess<'de> for Pairs<'de> {
    type Error = Misfit;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Misfit> {
        self.read = self.entries.next();
        let Some((key, _)) = self.read else { return Ok(None) };
        seed.deserialize(Key(key)).map(Some).map_err(|misfit| misfit.at(key.place))
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        match self.read {
            Some((key, value)) => seed.deserialize(value).map_err(|misfit| misfit.at(key.place)),
            None => Err(de::Error::custom("a key before its value")),
        }
    }
}

#[derive(Clone, Copy)]
struct Key<'de>(&'de At<String>);

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Misfit;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_borrowed_str(&self.0.value)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_seq(Located { place: Some(self.0.place), value: self })
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple map struct enum identifier ignored_any
    }
}

/// What an [`At`] is read from: a place, then what stands there.
struct Located<D> {
    place: Option<Place>,
    value: D,
}

impl<'de, D: Deserializer<'de, Error = Misfit> + Copy> de::SeqAccess<'de> for Located<D> {
    type Error = Misfit;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Misfit> {
        match self.place.take() {
            Some(Place { line, column, offset, length }) => {
                let numbers = [line, column, offset, length].into_iter();
                seed.deserialize(SeqDeserializer::new(numbers)).map(Some)
            }
            None => seed.deserialize(self.value).map(Some),
        }
    }
}
