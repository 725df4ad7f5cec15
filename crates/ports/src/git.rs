//! The clone that is shipped from.

use async_trait::async_trait;
use lockgate_model::{CommitSha, Commits, Timestamp};

use crate::PortError;

/// Most changed and most unclean files that are told by name.
pub const UNCLEAN_MAX: usize = 20;
/// Most git tags of one commit that are told.
pub const GIT_TAGS_MAX: usize = 20;

/// What is checked out. All its texts are whoever wrote the commit's: whoever shows them quotes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The commit.
    pub commit: CommitSha,
    /// Who wrote it.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// When it was committed, by the committer's clock.
    pub at: Timestamp,
    /// `None`: no branch is checked out (a detached head).
    pub branch: Option<String>,
    /// Git tags that lead to it, at most [`GIT_TAGS_MAX`].
    pub tags: Vec<String>,
    /// Files that are not as the commit has them, or that it does not have and that nobody ignores; relative to the
    /// repository's root, at most [`UNCLEAN_MAX`]. Empty: what is there is the commit.
    pub unclean: Vec<String>,
    /// Submodules that the commit has and that are not checked out.
    pub absent_submodules: Vec<String>,
    /// The clone does not have all earlier commits.
    pub is_shallow: bool,
    /// The project's folder as seen from the repository's root: `` or `shop/`.
    pub folder: String,
}

/// What differs between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// These files, relative to the repository's root; one that was moved is both.
    Files(Vec<String>),
    /// More files than are read.
    TooMany,
    /// The clone does not have this commit, as a shallow one has not.
    Missing(CommitSha),
}

/// The commits between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Between {
    /// Of the second and not of the first, and the other way round; both empty for one commit.
    Commits {
        /// Commits that the second has and the first has not.
        brought: Commits,
        /// Commits that the first has and the second has not.
        taken_back: Commits,
    },
    /// They have no commit in common, as far as the clone goes.
    Unrelated,
    /// The clone does not have this commit, as a shallow one has not. Where it has neither, the second.
    Missing(CommitSha),
}

/// A clone. It is only looked at, and nothing is fetched.
#[async_trait]
pub trait Git: Send + Sync {
    /// What is checked out now.
    ///
    /// # Errors
    /// `NotFound` where there is no git, no clone or no commit yet; `Unauthorized` where git does not trust who owns it;
    /// `TimedOut`.
    async fn head(&self) -> Result<Head, PortError>;

    /// What differs between two commits, whatever is between them.
    ///
    /// # Errors
    /// As [`Git::head`].
    async fn changed(&self, from: &CommitSha, to: &CommitSha) -> Result<Changed, PortError>;

    /// Which commits lie between two, each once, merges among them.
    ///
    /// # Errors
    /// As [`Git::head`].
    async fn between(&self, from: &CommitSha, to: &CommitSha) -> Result<Between, PortError>;
}
