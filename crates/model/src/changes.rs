//! What a release changes, in commits, as people are told of it.

use serde::Serialize;

use crate::deploy_call::COMMIT_DIGITS_SHOWN;
use crate::provenance::change;
use crate::{Artifact, CommitSha, PROVENANCE_CHARS_MAX, quoted};

/// Commits of one direction that are named; of more there is the number.
pub const COMMITS_TOLD_MAX: usize = 10;
/// What stands behind the digits of a tree with changes.
const DIRTY: &str = "-dirty";

/// A commit. Its texts are whoever wrote it's, on one line and bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Its whole id. That of a tree with changes ends with `-dirty`.
    pub id: String,
    /// Who wrote it. `None`: it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The first line of its message. `None`: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

impl Commit {
    /// Author and subject are quoted, and cut to [`PROVENANCE_CHARS_MAX`] characters.
    #[must_use]
    pub fn new(id: &CommitSha, author: &str, subject: &str) -> Self {
        Self { id: id.to_string(), author: said(author), subject: said(subject) }
    }

    /// What was built, as far as its builder says which commit that is.
    #[must_use]
    pub fn of(artifact: &Artifact) -> Option<Self> {
        let provenance = artifact.provenance.clone().told();
        let id = quoted(artifact.commit.as_deref()?, PROVENANCE_CHARS_MAX);
        Some(Self { id, author: provenance.author, subject: provenance.subject })
    }

    /// Its id for people: `0123456`, `0123456-dirty`.
    #[must_use]
    pub fn short(&self) -> String {
        let digits: String = self.id.chars().take(COMMIT_DIGITS_SHOWN).collect();
        if self.id.ends_with(DIRTY) { format!("{digits}{DIRTY}") } else { digits }
    }

    /// `Say hello (Kim)`; `None` where neither subject nor author is known.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        change(self.subject.as_ref(), self.author.as_ref())
    }

    /// Both texts changed, as where secrets are hidden.
    #[must_use]
    pub fn map(self, change: impl Fn(String) -> String) -> Self {
        Self { id: self.id, author: self.author.map(&change), subject: self.subject.map(&change) }
    }
}

fn said(text: &str) -> Option<String> {
    Some(quoted(text.trim(), PROVENANCE_CHARS_MAX)).filter(|text| !text.is_empty())
}

/// Commits of one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Commits {
    /// How many there are.
    pub count: u64,
    /// The newest of them first, at most [`COMMITS_TOLD_MAX`].
    pub newest: Vec<Commit>,
}

impl Commits {
    /// How many there are beside the first `named` ones.
    #[must_use]
    pub fn beside(&self, named: usize) -> u64 {
        self.count.saturating_sub(u64::try_from(named).unwrap_or(u64::MAX))
    }
}

/// What lies between the commit that was live and a release's own. In JSON the two are told apart by their members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Changes {
    /// All of it is known; with neither of the two it is the same commit.
    Known {
        /// The commit that was live.
        since: CommitSha,
        /// Commits that the release has and what was live has not.
        brought: Commits,
        /// Commits that what was live has and the release has not, as when it goes back.
        taken_back: Commits,
    },
    /// It cannot be said.
    Unknown {
        /// Why, in few words without a full stop.
        unknown: String,
    },
}

impl Changes {
    /// For what cannot be said.
    #[must_use]
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { unknown: why.into() }
    }

    /// Whether a commit of this id is named among those that the release brings.
    #[must_use]
    pub fn names(&self, id: &str) -> bool {
        match self {
            Self::Known { brought, .. } => brought.newest.iter().any(|commit| commit.id == id),
            Self::Unknown { .. } => false,
        }
    }

    /// Every text of a commit changed, as where secrets are hidden.
    #[must_use]
    pub fn map(self, change: impl Fn(String) -> String) -> Self {
        let each = |commits: Commits| Commits {
            count: commits.count,
            newest: commits.newest.into_iter().map(|commit| commit.map(&change)).collect(),
        };
        match self {
            Self::Known { since, brought, taken_back } => {
                Self::Known { since, brought: each(brought), taken_back: each(taken_back) }
            }
            unknown @ Self::Unknown { .. } => unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Provenance;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_commits_texts_are_on_one_line_and_bounded() {
        let sha = CommitSha::new(ID).unwrap();
        let commit = Commit::new(&sha, "  ", &format!("\u{1b}[2J`rm` {}", "é".repeat(9_000)));
        let subject = commit.subject.clone().unwrap();
        assert!(subject.starts_with("\\x1b[2J'rm' é") && subject.chars().count() == 101, "{subject}");
        assert_eq!((commit.short().as_str(), commit.author), ("0123456", None));
    }

    #[test]
    fn what_was_built_of_a_tree_with_changes_says_so() {
        let provenance = Provenance { author: Some("Kim".into()), ..Provenance::default() };
        let artifact = Artifact { commit: Some(format!("{ID}-dirty")), provenance, ..Artifact::default() };
        let commit = Commit::of(&artifact).unwrap();
        assert_eq!((commit.short().as_str(), commit.author.as_deref()), ("0123456-dirty", Some("Kim")));
        assert_eq!(Commit::of(&Artifact::default()), None);
    }

    #[test]
    fn in_json_what_is_known_and_what_is_not_are_told_apart_by_their_members() {
        let sha = CommitSha::new(ID).unwrap();
        let one = Commits { count: 12, newest: vec![Commit::new(&sha, "Kim", "Say hello")] };
        assert_eq!((one.beside(1), one.beside(20)), (11, 0));
        let known = Changes::Known { since: sha, brought: one, taken_back: Commits::default() };
        assert!(known.names(ID) && !known.names("1"));
        let masked = known.map(|text| text.replace("hello", "***"));
        assert_eq!(
            serde_json::to_value(masked).unwrap(),
            serde_json::json!({
                "since": ID,
                "brought": { "count": 12, "newest": [{ "id": ID, "author": "Kim", "subject": "Say ***" }] },
                "taken_back": { "count": 0, "newest": [] },
            })
        );
        assert_eq!(
            serde_json::to_value(Changes::unknown("nothing was live before")).unwrap(),
            serde_json::json!({ "unknown": "nothing was live before" })
        );
    }
}
