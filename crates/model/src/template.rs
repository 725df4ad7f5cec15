//! `{slot}`, `{tag}`, `{service}`, `{environment}`, `{port}`: text with holes that the plan fills in.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, ServiceName, Slot, Tag};

/// Text with placeholders, checked when made: only known names in single braces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline)]
pub struct Template(String);

/// Why a text is no template, or cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that there is not: its name.
    #[error(
        "unknown placeholder {{{0}}}; known are {{service}}, {{environment}}, {{slot}}, {{port}}, {{tag}} and {{digest}}"
    )]
    Unknown(String),
    /// A placeholder that has no value where it is filled in: its name.
    #[error("the placeholder {{{0}}} has no value here")]
    Unset(String),
}

/// What the placeholders stand for; `None` where nothing is known yet.
#[derive(Debug, Clone, Default)]
pub struct Vars<'a> {
    /// For `{service}`.
    pub service: Option<&'a ServiceName>,
    /// For `{environment}`.
    pub environment: Option<&'a EnvironmentName>,
    /// For `{slot}`.
    pub slot: Option<Slot>,
    /// The service's own `port`.
    pub port: Option<u16>,
    /// For `{tag}`.
    pub tag: Option<&'a Tag>,
    /// For `{digest}`.
    pub digest: Option<&'a crate::Digest>,
}

const KNOWN: [&str; 6] = ["service", "environment", "slot", "port", "tag", "digest"];

impl Template {
    /// Braces whose content is not a bare lower-case word (JSON, shell) are left as they are.
    ///
    /// # Errors
    /// [`TemplateError::Unknown`] for `{word}` that is no placeholder.
    pub fn new(text: impl Into<String>) -> Result<Self, TemplateError> {
        let text = text.into();
        if let Some(word) = words(&text).find(|word| !KNOWN.contains(word)) {
            return Err(TemplateError::Unknown(word.to_owned()));
        }
        Ok(Self(text))
    }

    /// As it was written, with its placeholders.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the text differs between slots.
    #[must_use]
    pub fn names(&self, placeholder: &str) -> bool {
        words(&self.0).any(|word| word == placeholder)
    }

    /// # Errors
    /// [`TemplateError::Unset`] when a placeholder has no value in `vars`.
    pub fn fill(&self, vars: &Vars<'_>) -> Result<String, TemplateError> {
        let mut filled = self.0.clone();
        for word in words(&self.0) {
            let value = match word {
                "service" => vars.service.map(ToString::to_string),
                "environment" => vars.environment.map(ToString::to_string),
                "slot" => vars.slot.map(|slot| slot.to_string()),
                "port" => vars.port.map(|port| port.to_string()),
                "tag" => vars.tag.map(ToString::to_string),
                "digest" => vars.digest.map(ToString::to_string),
                other => return Err(TemplateError::Unknown(other.to_owned())),
            };
            let value = value.ok_or_else(|| TemplateError::Unset(word.to_owned()))?;
            filled = filled.replace(&format!("{{{word}}}"), &value);
        }
        Ok(filled)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;
    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::new(text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.0
    }
}

/// Every `{word}` in the text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('{').filter_map(|(at, _)| {
        let rest = &text[at + 1..];
        let word = &rest[..rest.find('}')?];
        (!word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_other_braces_left_alone() {
        let template = Template::new("{service}-{slot}:5000 {\"a\": 1}").unwrap();
        let service = ServiceName::new("web").unwrap();
        let vars = Vars { service: Some(&service), slot: Some(Slot::Green), ..Vars::default() };
        assert_eq!(template.fill(&vars).unwrap(), "web-green:5000 {\"a\": 1}");
    }

    #[test]
    fn unknown_and_unset_placeholders_are_errors() {
        assert_eq!(Template::new("{colour}"), Err(TemplateError::Unknown("colour".into())));
        let unset = Template::new("{tag}").unwrap().fill(&Vars::default());
        assert_eq!(unset, Err(TemplateError::Unset("tag".into())));
    }
}
