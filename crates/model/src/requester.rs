//! Who asks for something, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Link, quoted};

/// Longest name and longest reason that are kept, in characters: they come with a request, and stand in journals.
pub const REQUESTER_CHARS_MAX: usize = 200;

/// Who asks for a run, or for its being undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Requester {
    /// What kind of requester.
    pub by: By,
    /// For people: `kim@desk`, `acme/shop#17`, `claude for kim`.
    pub name: String,
    /// In their own words. `None`: they did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Where it is asked from: the page of a CI system's run. `None`: there is none, or it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

/// What asks, as it says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Somebody at a keyboard.
    Person,
    /// A job of a CI system.
    Ci,
    /// It was due.
    Schedule,
    /// A program that acts for a person, such as a language model with tools.
    Agent,
}

impl Requester {
    /// The name is [quoted]: on one line, with nothing in it that steers a terminal, and bounded.
    #[must_use]
    pub fn new(by: By, name: &str) -> Self {
        Self { by, name: quoted(name, REQUESTER_CHARS_MAX), why: None, link: None }
    }

    /// A [`By::Person`] of this name; see [`Requester::new`].
    #[must_use]
    pub fn person(name: &str) -> Self {
        Self::new(By::Person, name)
    }

    /// With the reason, which is quoted as the name is.
    #[must_use]
    pub fn why(mut self, why: &str) -> Self {
        self.why = Some(quoted(why, REQUESTER_CHARS_MAX)).filter(|why| !why.is_empty());
        self
    }

    /// With the page where it is asked from, where there is one.
    #[must_use]
    pub fn linked(self, link: Option<Link>) -> Self {
        Self { link, ..self }
    }

    /// As it was handed in by somebody else, with [`Requester::new`]'s and [`Requester::why`]'s bounds.
    #[must_use]
    pub fn told(&self) -> Self {
        let told = Self::new(self.by, &self.name).linked(self.link.clone());
        match &self.why {
            Some(why) => told.why(why),
            None => told,
        }
    }

    /// The very person who types at `owner`, without a reason: nothing more is to be said of them.
    #[must_use]
    pub fn is_plainly(&self, owner: &str) -> bool {
        self.by == By::Person && self.name == owner && self.why.is_none() && self.link.is_none()
    }
}

/// `kim@desk`, `ci acme/shop#17: nightly build`.
impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            By::Person => "",
            By::Ci => "ci ",
            By::Schedule => "schedule ",
            By::Agent => "agent ",
        };
        write!(f, "{by}{}", self.name)?;
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requester_is_said_on_one_line_and_within_its_bound() {
        assert_eq!(Requester::person("kim@desk").to_string(), "kim@desk");
        let ci = Requester::new(By::Ci, "acme/shop#17").why("the nightly\nbuild");
        assert_eq!(ci.to_string(), "ci acme/shop#17: the nightly\\nbuild");
        let forged = Requester {
            by: By::Agent,
            name: "x".repeat(10_000),
            why: Some("\u{1b}[2J`rm -rf /`".into()),
            link: Link::new("https://ci.example/17").ok(),
        };
        let told = forged.told();
        assert_eq!(told.name.chars().count(), REQUESTER_CHARS_MAX + 1, "with an ellipsis");
        assert_eq!(told.why.as_deref(), Some("\\x1b[2J'rm -rf /'"));
        assert_eq!(told.link.unwrap().as_str(), "https://ci.example/17");
    }

    #[test]
    fn only_who_types_here_and_gives_no_reason_needs_no_words() {
        assert!(Requester::person("kim@desk").is_plainly("kim@desk"));
        assert!(!Requester::person("lee@desk").is_plainly("kim@desk"));
        assert!(!Requester::person("kim@desk").why("a typo").is_plainly("kim@desk"));
        assert!(!Requester::new(By::Agent, "kim@desk").is_plainly("kim@desk"));
        let linked = Requester::person("kim@desk").linked(Link::new("https://ci.example/17").ok());
        assert!(!linked.is_plainly("kim@desk"));
    }
}
