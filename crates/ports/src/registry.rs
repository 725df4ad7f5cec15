//! Where images are kept, asked from this machine.

mod document;

use std::collections::BTreeMap;

use async_trait::async_trait;
use lockgate_model::{Digest, Platform, Reference, RegistryHost, Repository, Tag, Timestamp};

pub use document::{Content, first_image, made_of_config, read};

use crate::{Check, PortError};

/// Largest manifest that is read or put: what the OCI distribution specification asks of registries to take.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most tags of a repository that are listed.
pub const TAGS_MAX: usize = 100_000;

/// What helps against a manifest that cannot be used.
const AGAIN: &str = "build the image with a current Docker or buildx, and push it again";

/// The media types that a manifest may have: those of OCI and of Docker, indexes first.
pub const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A manifest or index, byte for byte. Invariant: the digest is that of the bytes, and the media type is one of
/// [`MEDIA_TYPES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    media_type: &'static str,
    bytes: Vec<u8>,
    digest: Digest,
}

impl Manifest {
    /// # Errors
    /// `TooLarge` above [`MANIFEST_BYTES_MAX`], `Other` for another media type.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Result<Self, PortError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(PortError::too_large("the manifest", MANIFEST_BYTES_MAX).hint(AGAIN));
        }
        let known = MEDIA_TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(media_type));
        let Some(media_type) = known else {
            let shown = lockgate_model::quoted(media_type, lockgate_model::TOLD_CHARS_MAX);
            return Err(PortError::other(format!(
                "\"{shown}\" is no media type of a manifest that is known here"
            ))
            .hint(AGAIN));
        };
        let digest = Digest::of(&bytes);
        Ok(Self { media_type, bytes, digest })
    }

    /// One of [`MEDIA_TYPES`].
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// Byte for byte as the registry keeps them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// What a tag or digest leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Of the manifest, or of the index where there is one for several platforms.
    pub digest: Digest,
    /// One of [`MEDIA_TYPES`].
    pub media_type: &'static str,
    /// What the image runs on, in the index's order. Empty for what is no image.
    pub platforms: Vec<Platform>,
}

/// How an image was made, as it says itself: whoever built it wrote this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// When, by the builder's clock. `None`: it does not say.
    pub at: Option<Timestamp>,
    /// Its labels, by name.
    pub labels: BTreeMap<String, String>,
}

/// Image registries that speak the OCI distribution specification; which one is asked is in the repository's name.
///
/// What a registry answers is input: tags, digests and media types are checked, bytes are compared with their digest.
/// Each call ends within a bound of the driver's, repetitions included.
///
/// Errors of every call: `Unauthorized` (no login, a refused one, or one that may not), `Unreachable` (no connection, or
/// the registry fails: for a put the outcome is unknown), `TimedOut`, `TooLarge`, `Refused` (the answer is not what its
/// digest says, or leads elsewhere), `Other` (too many requests, with when to ask again; not a registry's answer).
#[async_trait]
pub trait Registry: Send + Sync {
    /// Turns a tag into a digest, once (P5); for a digest it says that it is there.
    ///
    /// # Errors
    /// `NotFound`: no such tag or digest, or no such repository; and those of every call.
    async fn resolve(&self, repository: &Repository, reference: &Reference) -> Result<Resolved, PortError>;

    /// How the image was made; of one for several platforms, as the first of them says. [`Made::default`] for what is no image.
    ///
    /// # Errors
    /// `NotFound`: no such tag or digest, or no such repository; and those of every call.
    async fn made(&self, repository: &Repository, reference: &Reference) -> Result<Made, PortError>;

    /// All tags of the repository, each once, in the registry's order, which means nothing.
    ///
    /// # Errors
    /// `NotFound`: no such repository; `TooLarge`: more than [`TAGS_MAX`]; and those of every call.
    async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, PortError>;

    /// The manifest's or index's own bytes.
    ///
    /// # Errors
    /// `NotFound`: no such tag or digest, or no such repository; and those of every call.
    async fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<Manifest, PortError>;

    /// Has exactly these bytes in the repository, and the tag, if it is one, lead to them: with what
    /// [`Registry::manifest`] gave, a tag is made or moved and no layer is sent. What a tag led to before stays there by
    /// its digest. Does nothing when it is so already.
    ///
    /// # Errors
    /// `Refused` when `reference` is another digest than the manifest's, or when the registry took the bytes for others;
    /// `NotFound` when the repository has not all that the manifest names; and those of every call.
    async fn put_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), PortError>;

    /// Whether the repository has this blob (a layer or an image's configuration). False also where there is no such
    /// repository.
    ///
    /// # Errors
    /// Those of every call.
    async fn blob_exists(&self, repository: &Repository, digest: &Digest) -> Result<bool, PortError>;

    /// For `doctor`: whether the registry answers and takes the login that would be used. Looks only.
    async fn check(&self, registry: &RegistryHost) -> Check;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_the_digest_of_its_bytes_and_a_media_type_that_is_known() {
        let manifest = Manifest::new("Application/vnd.oci.image.index.v1+json", b"{}".to_vec()).unwrap();
        // `printf '{}' | sha256sum`
        let wanted = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!((manifest.digest().as_str(), manifest.media_type()), (wanted, MEDIA_TYPES[0]));
        for unknown in ["text/html", "", "application/vnd.docker.distribution.manifest.v1+prettyjws"] {
            let error = Manifest::new(unknown, b"{}".to_vec()).unwrap_err();
            assert!(error.message.contains(unknown) && !error.hints().is_empty(), "{error}");
        }
        let huge = Manifest::new(MEDIA_TYPES[0], vec![b' '; MANIFEST_BYTES_MAX + 1]).unwrap_err();
        assert_eq!(huge.kind, lockgate_model::FailureKind::TooLarge);
    }
}
