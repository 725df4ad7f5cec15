//! What is shipped from: a clone and a builder that do as they are told.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use lockgate_model::{CommitSha, Commits, Digest, Repository};

use crate::fake::FakeRegistry;
use crate::registry::MEDIA_TYPES;
use crate::{
    Between, Builder, Building, Changed, Git, Head, Line, LineSink, Manifest, Pipe, PortError, Registry,
};

/// When every image was built, as it says.
const BUILT_AT: &str = "2026-11-27T06:40:00Z";

/// A clone with one commit checked out.
#[derive(Debug)]
pub struct FakeGit {
    /// What is checked out, or why that cannot be said.
    pub head: Result<Head, PortError>,
    /// What differs between any two commits.
    pub changed: Changed,
    /// Since which commit nothing has changed, whatever `changed` says.
    pub unchanged_since: Option<CommitSha>,
    /// What lies between any two commits.
    pub between: Between,
    /// What was asked of files that differ, in order.
    pub asked: Mutex<Vec<(CommitSha, CommitSha)>>,
}

impl FakeGit {
    /// Of which nobody can say what is checked out, and why.
    #[must_use]
    pub fn without_head(why: PortError) -> Self {
        let between = Between::Commits { brought: Commits::default(), taken_back: Commits::default() };
        let changed = Changed::Files(Vec::new());
        Self { head: Err(why), changed, unchanged_since: None, between, asked: Mutex::default() }
    }

    /// A clean clone of `head`, in which nothing has changed.
    #[must_use]
    pub fn at(head: Head) -> Self {
        Self { head: Ok(head), ..Self::without_head(PortError::other("nothing is checked out")) }
    }
}

#[async_trait]
impl Git for FakeGit {
    async fn head(&self) -> Result<Head, PortError> {
        self.head.clone()
    }

    async fn changed(&self, from: &CommitSha, to: &CommitSha) -> Result<Changed, PortError> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push((from.clone(), to.clone()));
        match self.unchanged_since.as_ref() == Some(from) {
            true => Ok(Changed::Files(Vec::new())),
            false => Ok(self.changed.clone()),
        }
    }

    async fn between(&self, _: &CommitSha, _: &CommitSha) -> Result<Between, PortError> {
        Ok(self.between.clone())
    }
}

/// A builder that says a line and pushes into a registry in memory.
pub struct FakeBuilder {
    /// What the build comes to.
    pub builds: Result<(), PortError>,
    /// What the push comes to before anything is in the registry.
    pub pushes: Result<(), PortError>,
    /// Of the image: another one is another image.
    pub content: String,
    /// The digest that the program names in place of the one that it pushed.
    pub claims: Option<Digest>,
    registry: FakeRegistry,
    asked: Mutex<Vec<String>>,
}

impl FakeBuilder {
    /// All goes well.
    #[must_use]
    pub fn pushing_to(registry: FakeRegistry) -> Self {
        let content = "v1".to_owned();
        Self { builds: Ok(()), pushes: Ok(()), content, claims: None, registry, asked: Mutex::default() }
    }

    /// What was asked for so far, `build NAME` and `push NAME`, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn say(&self, what: &str, building: &Building, sink: &mut dyn LineSink) {
        let text = format!("{what} {}", building.name());
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(text.clone());
        sink.line(Line { pipe: Pipe::Stdout, text, is_cut: false }).await;
    }
}

#[async_trait]
impl Builder for FakeBuilder {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn pushes_as_it_builds(&self) -> bool {
        false
    }

    async fn build(&self, what: &Building, sink: &mut dyn LineSink) -> Result<Option<Digest>, PortError> {
        self.say("build", what, sink).await;
        self.builds.clone().map(|()| None)
    }

    async fn push(&self, what: &Building, sink: &mut dyn LineSink) -> Result<Option<Digest>, PortError> {
        self.say("push", what, sink).await;
        self.pushes.clone()?;
        let repository =
            Repository::new(what.image.clone()).map_err(|invalid| PortError::other(invalid.to_string()))?;
        let config = serde_json::json!({
            "os": "linux", "architecture": "amd64", "created": BUILT_AT, "config": { "Labels": what.labels },
        });
        let config = self.registry.push_blob(&repository, config.to_string().as_bytes())?;
        let image = serde_json::json!({
            "schemaVersion": 2, "layers": [], "annotations": { "content": self.content },
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config },
        });
        let manifest = Manifest::new(MEDIA_TYPES[2], image.to_string().into_bytes())?;
        self.registry.put_manifest(&repository, &what.tag.clone().into(), &manifest).await?;
        Ok(Some(self.claims.clone().unwrap_or_else(|| manifest.digest().clone())))
    }
}
