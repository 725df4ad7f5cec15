//! What to do about a failure.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// Most hints of one failure; more help nobody.
pub const HINTS_MAX: usize = 8;

/// What to do about a failure, the most useful first: each is a sentence that stands for itself, and what is to be typed
/// stands in it between backticks. May be empty.
///
/// In JSON these are two members of the object that they are part of: `hint` is the first, absent where there is none, and
/// `hints` is the whole list, only where there is more than one. Whoever knows one hint alone, as Lockgate did before,
/// reads `hint` and is read.
///
/// ```text
/// { "kind": "unreachable", "message": "…", "hint": "is it up?", "hints": ["is it up?", "to go on without: `…`"] }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "Written", into = "Written")]
pub struct Hints(Vec<String>);

impl Hints {
    /// Adds one at the end. What is there already, or is more than [`HINTS_MAX`], is left out.
    pub fn add(&mut self, hint: impl Into<String>) {
        let hint = hint.into();
        if self.0.len() < HINTS_MAX && !self.0.contains(&hint) {
            self.0.push(hint);
        }
    }

    /// Each of them changed, as where secrets are hidden.
    #[must_use]
    pub fn map(self, change: impl FnMut(String) -> String) -> Self {
        self.0.into_iter().map(change).collect()
    }

    /// All in one text, for where there is room for one alone; `None` where there is no hint.
    #[must_use]
    pub fn joined(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.to_string())
    }
}

impl Deref for Hints {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

/// One behind the other, with semicolons between.
impl fmt::Display for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl FromIterator<String> for Hints {
    fn from_iter<T: IntoIterator<Item = String>>(all: T) -> Self {
        let mut hints = Self::default();
        all.into_iter().for_each(|hint| hints.add(hint));
        hints
    }
}

impl Extend<String> for Hints {
    fn extend<T: IntoIterator<Item = String>>(&mut self, more: T) {
        more.into_iter().for_each(|hint| self.add(hint));
    }
}

/// As they stand in JSON.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

impl From<Hints> for Written {
    fn from(hints: Hints) -> Self {
        let hint = hints.first().cloned();
        Self { hint, hints: if hints.len() > 1 { hints.0 } else { Vec::new() } }
    }
}

impl From<Written> for Hints {
    fn from(written: Written) -> Self {
        written.hint.into_iter().chain(written.hints).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, FailureKind};

    fn written(failure: &Failure) -> String {
        serde_json::to_string(failure).unwrap()
    }

    /// What the first 0.1 could read and wrote: one hint, and members that it did not know were passed over.
    #[derive(Debug, Serialize, Deserialize)]
    struct Older {
        kind: FailureKind,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    }

    #[test]
    fn one_hint_is_written_as_it_always_was_and_several_are_a_list_beside_the_first() {
        let none = Failure::new(FailureKind::Other, "x");
        assert_eq!(written(&none), r#"{"kind":"other","message":"x"}"#);
        let one = none.hint("a");
        assert_eq!(written(&one), r#"{"kind":"other","message":"x","hint":"a"}"#);
        let two = one.clone().hint("b");
        assert_eq!(written(&two), r#"{"kind":"other","message":"x","hint":"a","hints":["a","b"]}"#);
        for failure in [Failure::new(FailureKind::Other, "x"), one, two] {
            let back: Failure = serde_json::from_str(&written(&failure)).unwrap();
            assert_eq!(back, failure);
        }
    }

    #[test]
    fn who_knows_one_hint_alone_reads_the_first_and_is_read() {
        let two = Failure::new(FailureKind::Other, "x").hint("a").hint("b");
        let older: Older = serde_json::from_str(&written(&two)).unwrap();
        assert_eq!(older.hint.as_deref(), Some("a"));
        let back: Failure = serde_json::from_str(&serde_json::to_string(&older).unwrap()).unwrap();
        assert_eq!(*back.hints, ["a".to_owned()]);
        let null: Failure = serde_json::from_str(r#"{"kind":"other","message":"x","hint":null}"#).unwrap();
        assert!(null.hints.is_empty());
    }

    #[test]
    fn a_hint_is_said_once_and_there_are_not_too_many() {
        let many = (0..100).map(|number| (number % 10).to_string());
        let hints: Hints = many.collect();
        assert_eq!(hints.len(), HINTS_MAX);
        assert_eq!(hints.to_string(), "0; 1; 2; 3; 4; 5; 6; 7");
        assert_eq!(Hints::default().joined(), None);
    }
}
