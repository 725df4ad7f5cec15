//! What builds images.

use std::collections::BTreeMap;

use async_trait::async_trait;
use lockgate_model::{Digest, Millis, Secret, Tag};

use crate::{LineSink, PortError};

/// An image to be built.
#[derive(Debug, Clone)]
pub struct Building {
    /// The repository, as `lockgate.yaml` has it: `ghcr.io/acme/web`.
    pub image: String,
    /// What it is called there.
    pub tag: Tag,
    /// The build's folder, absolute.
    pub context: String,
    /// The Dockerfile, absolute. `None`: `Dockerfile` in that folder.
    pub file: Option<String>,
    /// Build arguments by name. Their values are in no command line.
    pub args: BTreeMap<String, Secret>,
    /// Empty: the builder's own.
    pub platforms: Vec<String>,
    /// What is written into the image.
    pub labels: BTreeMap<String, String>,
    /// False for an image that stays on this machine.
    pub pushes: bool,
    /// After which the build, or the push, is ended.
    pub timeout: Millis,
}

impl Building {
    /// `ghcr.io/acme/web:TAG`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.image, self.tag)
    }
}

/// A program that builds images. Dropped in the midst of it, it ends the program and all that this has started; an image
/// that is not whole has no name then, here and in its registry.
///
/// Errors of both calls: `NotFound` (the program is not installed, or no such folder or Dockerfile), `Unauthorized`,
/// `Unreachable` (no engine, no registry, or the connection broke), `DiskFull`, `TimedOut`, `Other` (the build failed). What
/// the program said last is in [`PortError::logs`].
#[async_trait]
pub trait Builder: Send + Sync {
    /// For people: `docker`.
    fn name(&self) -> &'static str;

    /// Whether [`Builder::build`] pushes too, and [`Builder::push`] has nothing left to do.
    fn pushes_as_it_builds(&self) -> bool;

    /// Builds the image under its tag. What the program says of the digest that it pushed; `None` where it pushes nothing
    /// or does not say.
    ///
    /// # Errors
    /// As above.
    async fn build(&self, what: &Building, sink: &mut dyn LineSink) -> Result<Option<Digest>, PortError>;

    /// Has the image that was built in its registry, under its tag. What the program says of its digest there.
    ///
    /// # Errors
    /// As above.
    async fn push(&self, what: &Building, sink: &mut dyn LineSink) -> Result<Option<Digest>, PortError>;
}
