//! What a host needs.

use std::collections::BTreeMap;

use lockgate_model::{Digest, Millis, RegistryHost, RegistryLogin};

use crate::dot_env::DotEnv;
use crate::program::WantedProgram;

/// Largest file of this machine that is uploaded: a Compose file and what goes with it, not a release.
pub const UPLOAD_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// All that one host needs, in the order in which it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Absolute path of the file that says that the host is ready; `None`: it is ready when it answers.
    pub wait_for: Option<String>,
    /// Longest wait for that.
    pub patience: Millis,
    /// Docker with Compose, from the distribution's packages where it is missing.
    pub docker: bool,
    /// Lockgate's own program; `None`: the host needs none, or somebody else brings it there.
    pub program: Option<WantedProgram>,
    /// No path twice, a folder before those within it.
    pub folders: Vec<WantedFolder>,
    /// No path twice.
    pub files: Vec<WantedFile>,
    /// No path twice.
    pub variables: Vec<WantedVariables>,
    /// Of the registries that the host pulls from.
    pub logins: BTreeMap<RegistryHost, RegistryLogin>,
}

/// A folder on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFolder {
    /// Absolute.
    pub path: String,
    /// `user`, `user:group` or their numbers; `None`: whoever acts, and one that it has already stays.
    pub owner: Option<String>,
    /// Permission bits; `None`: 0755, and those that it has already stay.
    pub mode: Option<u32>,
    /// Files of ours are put into it, so nobody else may write there.
    pub is_ours: bool,
}

/// A file that is uploaded.
#[derive(Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// Absolute path on the host.
    pub path: String,
    /// Where it comes from, for people.
    pub from: String,
    /// All of it.
    pub content: Vec<u8>,
    /// Of `content`.
    pub digest: Digest,
    /// Permission bits of a new one; those of one that is there stay where its content does.
    pub mode: u32,
    /// Absolute paths of files that Compose would take in its place.
    pub rivals: Vec<String>,
}

/// The variables of the services in a folder, in its `.env`, which is Lockgate's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedVariables {
    /// Absolute path of the `.env` on the host.
    pub path: String,
    /// What is in it. Without a variable none is made, and one that Lockgate wrote before loses its values; somebody else's is
    /// left alone.
    pub content: DotEnv,
    /// Put it in the place of one that somebody else wrote.
    pub overwrite: bool,
    /// Values are missing in `content` that are not known here, so that it is not compared with what is there. Only for a look.
    pub is_partial: bool,
}

/// Without its content.
impl std::fmt::Debug for WantedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WantedFile")
            .field("path", &self.path)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl Wanted {
    /// Nothing at all.
    #[must_use]
    pub fn nothing(patience: Millis) -> Self {
        Self {
            wait_for: None,
            patience,
            docker: false,
            program: None,
            folders: Vec::new(),
            files: Vec::new(),
            variables: Vec::new(),
            logins: BTreeMap::new(),
        }
    }
}

impl WantedFile {
    /// Of these bytes, with mode 0644 and without rivals.
    #[must_use]
    pub fn new(path: impl Into<String>, from: impl Into<String>, content: Vec<u8>) -> Self {
        let digest = Digest::of(&content);
        Self { path: path.into(), from: from.into(), content, digest, mode: 0o644, rivals: Vec::new() }
    }
}
