//! Where a release comes from: who wrote its last commit, and who built it.

use serde::{Deserialize, Serialize};

use crate::{Digest, Failure, Timestamp, quoted};

/// Longest author, subject and builder that are kept, in characters: they stand on hosts and in the journal.
pub const PROVENANCE_CHARS_MAX: usize = 100;

/// Where a release comes from, as whoever built it says; the commit itself is [`crate::Release::commit`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Provenance {
    /// Who wrote the commit. `None`: that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The first line of the commit's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// With what and by whom the image was built: `docker, kim@desk`. `None`: it was built before, by somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    /// When it was built, by the builder's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_at: Option<Timestamp>,
}

impl Provenance {
    /// As it was handed in by somebody else (a host, a caller): each text [quoted] and at most [`PROVENANCE_CHARS_MAX`]
    /// characters long (one more where it was cut).
    #[must_use]
    pub fn told(self) -> Self {
        let short = |text: Option<String>| text.map(|text| one_line(&text));
        Self {
            author: short(self.author),
            subject: short(self.subject),
            builder: short(self.builder),
            built_at: self.built_at,
        }
    }

    /// Whether it is as [`Provenance::told`] would have it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        let is_short = |text: &Option<String>| text.as_ref().is_none_or(|text| *text == one_line(text));
        is_short(&self.author) && is_short(&self.subject) && is_short(&self.builder)
    }

    /// `Say hello (Kim)`; `None` where neither subject nor author is known.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        change(self.subject.as_ref(), self.author.as_ref())
    }
}

/// See [`Provenance::change`].
pub(crate) fn change(subject: Option<&String>, author: Option<&String>) -> Option<String> {
    match (subject, author) {
        (Some(subject), Some(author)) => Some(format!("{subject} ({author})")),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}

/// What is cut once is not cut again.
fn one_line(text: &str) -> String {
    let text = text.trim();
    match text.strip_suffix('…') {
        Some(cut) if cut.chars().count() == PROVENANCE_CHARS_MAX => {
            format!("{}…", quoted(cut, PROVENANCE_CHARS_MAX))
        }
        _ => quoted(text, PROVENANCE_CHARS_MAX),
    }
}

/// What whoever has just built a release knows of it better than its tag does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The bytes that were made, and that alone may be deployed under the tag. `None`: the tag is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The git commit, for a release that does not say it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The rest that is known.
    #[serde(default)]
    pub provenance: Provenance,
    /// What failed before it was ready and was allowed to: its test. Told with the run's end; without secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_on_one_line_and_bounded() {
        let forged = Provenance {
            author: Some("\u{1b}[2J`rm -rf /`".into()),
            subject: Some("é".repeat(9_000)),
            builder: Some("docker\nkim".into()),
            built_at: Some(Timestamp(7)),
        };
        assert!(!forged.is_told());
        let told = forged.told();
        assert_eq!(told.author.as_deref(), Some("\\x1b[2J'rm -rf /'"));
        assert_eq!(told.subject.as_ref().map(|text| text.chars().count()), Some(PROVENANCE_CHARS_MAX + 1));
        assert_eq!(told.builder.as_deref(), Some("docker\\nkim"));
        assert!(told.is_told() && told.clone().told() == told, "{told:?}");
    }

    #[test]
    fn a_change_is_named_by_its_subject_and_its_author() {
        let of = |subject: Option<&str>, author: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            Provenance { subject: text(subject), author: text(author), ..Provenance::default() }.change()
        };
        assert_eq!(of(Some("Say hello"), Some("Kim")).as_deref(), Some("Say hello (Kim)"));
        assert_eq!(of(Some("Say hello"), None).as_deref(), Some("Say hello"));
        assert_eq!(of(None, None), None);
    }
}
