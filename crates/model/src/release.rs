//! A release: one immutable artifact of a service.

use serde::{Deserialize, Serialize};

use crate::{Digest, Provenance, ServiceName, Tag};

/// One immutable artifact of a service. Two releases are the same when their digests are: the tag is only what
/// somebody called it (P5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Release {
    /// What it is an artifact of.
    pub service: ServiceName,
    /// What was asked for.
    pub tag: Tag,
    /// What runs: the image manifest's digest, or for the `process` runtime the SHA-256 over executable and arguments.
    pub digest: Digest,
    /// Image repository without tag (`ghcr.io/acme/web`); absent for the `process` runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Git commit the artifact was built from (`org.opencontainers.image.revision`), where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who wrote and built it. `None`: nobody said, as of an image that was only named by its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Box<Provenance>>,
}

impl Release {
    /// Whether they are the same release, whatever their tags.
    #[must_use]
    pub fn same_bytes(&self, other: &Release) -> bool {
        self.digest == other.digest
    }

    /// Without [`Self::provenance`], for steps: it is in the plan once, and on the hosts' lists.
    #[must_use]
    pub fn without_provenance(&self) -> Release {
        Release { provenance: None, ..self.clone() }
    }

    /// `repository@sha256:…`, the only form in which an image is ever handed to a runtime.
    #[must_use]
    pub fn reference(&self) -> Option<String> {
        self.image.as_ref().map(|image| format!("{image}@{}", self.digest))
    }
}

/// `v2 (1f3a5b7c9d0e)`.
impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.tag, self.digest.short())
    }
}
