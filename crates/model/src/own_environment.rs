//! The environment that a release ran with, where it is gone back to.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, quoted};

/// Names that are told of those that differ.
const NAMES_TOLD_MAX: usize = 10;
/// Longest name that is told, in characters.
const NAME_CHARS_MAX: usize = 100;

/// `2026-11-20 14:03 UTC`.
#[must_use]
pub fn minute_utc(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => format!("@{}", at.0),
    }
}

/// What going back to a release comes to for its environment variables: it runs with those that it had. Names only, never a
/// value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OwnEnvironment {
    /// Since when the release has had its environment, by the host's clock. `None`: what it ran with is not known there, so it
    /// gets today's.
    pub since: Option<Timestamp>,
    /// Variables that have another value today, or are only in one of the two, in alphabetical order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
}

impl OwnEnvironment {
    /// `its own environment of 2026-11-20: 2 variables differ from today's: A, B`; `None` where nothing differs.
    #[must_use]
    pub fn text(&self, time: impl Fn(Timestamp) -> String) -> Option<String> {
        let Some(since) = self.since else {
            return Some("today's environment: what it ran with is not known".to_owned());
        };
        let names: Vec<String> =
            self.differs.iter().take(NAMES_TOLD_MAX).map(|name| quoted(name, NAME_CHARS_MAX)).collect();
        let count = match self.differs.len() {
            0 => return None,
            1 => "1 variable differs".to_owned(),
            count => format!("{count} variables differ"),
        };
        let more = match self.differs.len().saturating_sub(NAMES_TOLD_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (since, names) = (time(since), names.join(", "));
        Some(format!("its own environment of {since}: {count} from today's: {names}{more}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_name_within_bounds() {
        let text = |since, names: &[&str]| {
            let differs = names.iter().map(|name| (*name).to_owned()).collect();
            OwnEnvironment { since, differs }.text(|_| "then".to_owned())
        };
        let then = Some(Timestamp(1));
        assert_eq!(text(then, &[]), None);
        let two = "its own environment of then: 2 variables differ from today's: A, B";
        assert_eq!(text(then, &["A", "B"]).as_deref(), Some(two));
        assert_eq!(minute_utc(Timestamp(1_763_640_000_000)), "2025-11-20 12:00 UTC");
        let many = text(then, &["N"; 12]).unwrap();
        assert!(many.contains("12 variables differ") && many.ends_with("N and 2 more"), "{many}");
        assert!(text(None, &[]).unwrap().contains("what it ran with is not known"));
    }
}
