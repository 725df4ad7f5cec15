//! Images on the host: resolved, fetched, claimed and pruned.

use std::collections::BTreeSet;

use lockgate_model::{Digest, FailureKind, Millis, Release, Tag};
use lockgate_ports::{PortError, Request};

use crate::compose::Compose;
use crate::engine::{LOOK_SECONDS_MAX, parse, registry_error};
use crate::{api, auth, image, pull};

/// Bound for a registry's answer about one tag.
const RESOLVE_SECONDS_MAX: u64 = 30;
/// Bound for removing one image: deleting large layers takes seconds.
const REMOVE_SECONDS_MAX: u64 = 60;

impl Compose {
    /// The registry's word counts. A copy on the host never stands in for it, with one exception: an image that was
    /// built here under this name and never pushed or pulled has no digest in its repository, and is taken by its local
    /// id when the registry does not have the tag, or, for names that name no registry, cannot say. For a name of one
    /// part (`web`) nobody is asked: only Docker itself can publish under such names, so a build of that name is local.
    pub(crate) async fn resolve_tag(&self, tag: &Tag) -> Result<Release, PortError> {
        let repository = self.repository()?;
        if let Some(digest) = image::digest_as_tag(tag)
            && let Some(release) = self.resolve_digest(repository, digest).await?
        {
            return Ok(release);
        }
        let reference = format!("{repository}:{tag}");
        if !repository.contains('/')
            && let Some(local) = self.engine.image(&reference).await?
            && image::digest_in(&local.repo_digests, repository).is_none()
        {
            return self.local_release(tag, repository, &local);
        }
        let error = match self.ask_registry(repository, &reference).await {
            Ok(digest) => return self.release(tag, repository, digest).await,
            Err(error) => error,
        };
        let cannot_say = matches!(
            error.kind,
            FailureKind::Unauthorized | FailureKind::Unreachable | FailureKind::TimedOut
        );
        if error.kind != FailureKind::NotFound && !cannot_say {
            return Err(error);
        }
        // The registry's error stays the answer when Docker itself cannot be asked any more.
        let Ok(Some(local)) = self.engine.image(&reference).await else { return Err(error) };
        let built_here = image::may_be_built_here(&local, repository);
        if built_here && (error.kind == FailureKind::NotFound || !image::names_registry(repository)) {
            return self.local_release(tag, repository, &local);
        }
        let kept = format!(
            "an image {reference} is on {}, but whether it is what the tag means now only the registry can say",
            self.host.id()
        );
        Err(error.hint(kept))
    }

    /// What is asked for by its digest is what it says, wherever it is found. `None` where the registry has a tag of that
    /// name, if anything.
    async fn resolve_digest(&self, repository: &str, digest: Digest) -> Result<Option<Release>, PortError> {
        let reference = format!("{repository}@{digest}");
        let is_here = self.engine.image(&reference).await?.is_some();
        if !is_here && let Err(error) = self.ask_registry(repository, &reference).await {
            return if error.kind == FailureKind::NotFound { Ok(None) } else { Err(error) };
        }
        let tag = Tag::new(digest.short())
            .map_err(|invalid| PortError::other(format!("{digest} gives no tag: {invalid}")))?;
        self.release(&tag, repository, digest).await.map(Some)
    }

    fn local_release(&self, tag: &Tag, repository: &str, local: &api::Image) -> Result<Release, PortError> {
        let digest = Digest::new(local.id.clone())
            .map_err(|invalid| PortError::other(format!("Docker's id of {repository}:{tag}: {invalid}")))?;
        let commit = local.config.labels.get(image::REVISION_LABEL).cloned();
        Ok(self.release_of(tag, repository, digest, commit))
    }

    pub(crate) async fn ask_registry(&self, repository: &str, reference: &str) -> Result<Digest, PortError> {
        let limit = Millis::from_secs(RESOLVE_SECONDS_MAX);
        let mut request = Request::get(format!("/distribution/{}/json", image::encode(reference)), limit);
        if let Some(auth) = self.registry_auth(repository).await? {
            request = request.header("x-registry-auth", auth.header());
        }
        let reply = self.engine.send(request).await.map_err(|error| match error.kind {
            FailureKind::TimedOut => {
                let registry = image::registry(repository);
                PortError::timed_out(format!("{registry} did not answer about {reference} within {limit}"))
                    .hint(format!("check the way from {} to {registry}", self.host.id()))
            }
            _ => error,
        })?;
        let answer = reply.map_err(|refusal| registry_error(&refusal, reference, self.host.as_ref()))?;
        let found: api::Distribution = parse(&answer.body, reference)?;
        Digest::new(found.descriptor.digest)
            .map_err(|invalid| PortError::other(format!("the registry's digest of {reference}: {invalid}")))
    }

    pub(crate) async fn registry_auth(
        &self,
        repository: &str,
    ) -> Result<Option<auth::RegistryAuth>, PortError> {
        let folder = self.docker_config_folder().await?;
        auth::find(self.host.as_ref(), folder, image::registry(repository)).await
    }

    /// The commit is known only when the image is here already; asking the registry for it would cost two requests more.
    async fn release(&self, tag: &Tag, repository: &str, digest: Digest) -> Result<Release, PortError> {
        let local = self.engine.image(&format!("{repository}@{digest}")).await?;
        let commit = local.and_then(|image| image.config.labels.get(image::REVISION_LABEL).cloned());
        Ok(self.release_of(tag, repository, digest, commit))
    }

    fn release_of(&self, tag: &Tag, repository: &str, digest: Digest, commit: Option<String>) -> Release {
        let service = self.service.name.clone();
        let image = Some(repository.to_owned());
        Release { service, tag: tag.clone(), digest, image, commit, provenance: None }
    }

    pub(crate) fn reference(&self, release: &Release) -> Result<String, PortError> {
        release.reference().map_or_else(|| Ok(format!("{}@{}", self.repository()?, release.digest)), Ok)
    }

    /// How the release's bytes are called on the host: by repository and digest, or by local id when it was built here.
    pub(crate) async fn on_host(&self, release: &Release) -> Result<Option<String>, PortError> {
        let reference = self.reference(release)?;
        if self.engine.image(&reference).await?.is_some() {
            return Ok(Some(reference));
        }
        let id = release.digest.as_str();
        Ok(self.engine.image(id).await?.filter(|image| image.id == id).map(|_| id.to_owned()))
    }

    pub(crate) async fn fetch_image(&self, release: &Release) -> Result<(), PortError> {
        if self.claim(release).await? {
            return Ok(());
        }
        self.demand_disk().await?;
        let reference = self.reference(release)?;
        let (repository, _) = image::split(&reference);
        let auth = self.registry_auth(repository).await?;
        pull::pull(&self.engine, &reference, auth.as_ref())
            .await?
            .map_err(|refusal| registry_error(&refusal, &reference, self.host.as_ref()))?;
        if self.claim(release).await? {
            return Ok(());
        }
        Err(PortError::not_found(format!(
            "{reference} was pulled, but is not on {} any more",
            self.host.id()
        ))
        .hint("does another job remove images? Deploy again"))
    }

    /// Tags the image as wanted by this project and environment: the look whether it is there and the claim are one
    /// call, so that nobody can prune it in between. `false` when it is not there.
    async fn claim(&self, release: &Release) -> Result<bool, PortError> {
        let reference = self.reference(release)?;
        let repository = image::encode(&self.claim_repository());
        for name in [reference.as_str(), release.digest.as_str()] {
            let target = format!(
                "/images/{}/tag?repo={repository}&tag={}",
                image::encode(name),
                image::claim_tag(release)
            );
            match self.engine.act("POST", target, Millis::from_secs(LOOK_SECONDS_MAX)).await? {
                Ok(_) => return Ok(true),
                Err(refusal) if refusal.status == 404 => {}
                Err(refusal) => return Err(refusal.into_error(&format!("tag {reference}"))),
            }
        }
        Ok(false)
    }

    fn claim_repository(&self) -> String {
        image::claim_repository(&self.project, &self.environment, &self.service.name)
    }

    async fn demand_disk(&self) -> Result<(), PortError> {
        let Some((folder, free)) = self.disk().await? else { return Ok(()) };
        if free >= self.disk_free_mib {
            return Ok(());
        }
        let message = format!(
            "{free} MiB are free in {folder} on {}, and {} MiB are wanted before a pull",
            self.host.id(),
            self.disk_free_mib
        );
        Err(PortError::new(FailureKind::DiskFull, message).hint(
            "free space (`docker system df` shows what takes it), or lower `disk_free` in lockgate.yaml",
        ))
    }

    /// Docker's data folder and its free space in MiB; `None` where it is on another machine, whose disks nobody tells of.
    pub(crate) async fn disk(&self) -> Result<Option<(String, u64)>, PortError> {
        if self.engine.address().await?.elsewhere.is_some() {
            return Ok(None);
        }
        let info: api::Info = self.engine.get("/info").await?.unwrap_or_default();
        let free = self.host.disk_free_mib(&info.docker_root_dir).await?;
        Ok(Some((info.docker_root_dir, free)))
    }

    pub(crate) async fn prune_images(&self, keep: &[Release]) -> Result<Vec<String>, PortError> {
        let claims = self.claim_repository();
        let filters = serde_json::json!({ "reference": [claims] }).to_string();
        let target = format!("/images/json?filters={}", image::encode(&filters));
        let mut claimed: Vec<api::ImageSummary> = self.engine.get(&target).await?.unwrap_or_default();
        claimed.sort_by_key(|image| image.created);
        let used: BTreeSet<String> =
            self.engine.containers(None).await?.into_iter().map(|container| container.image_id).collect();
        let mut removed = Vec::new();
        for summary in claimed.into_iter().filter(|summary| !used.contains(&summary.id)) {
            let Some(found) = self.engine.image(&summary.id).await? else { continue };
            if keep.iter().any(|release| is(&found, release)) {
                continue;
            }
            if let Some(name) = self.drop_image(&found, &claims).await? {
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// Gives up our claims on the image, and removes it when nothing else names it. Its name, if it is gone.
    async fn drop_image(&self, found: &api::Image, claims: &str) -> Result<Option<String>, PortError> {
        let Names { ours, others, digests } = Names::of(found, claims, self.repository()?);
        let name = digests.first().map_or_else(|| found.id.clone(), |name| (*name).clone());
        for claim in ours {
            self.remove_name(claim).await?;
        }
        if !others.is_empty() {
            return Ok(None);
        }
        for digest in digests {
            self.remove_name(digest).await?;
        }
        Ok(self.engine.image(&found.id).await?.is_none().then_some(name))
    }

    /// 409 means that a container came to use it meanwhile, 404 that somebody else was faster: both are fine.
    async fn remove_name(&self, name: &str) -> Result<(), PortError> {
        let target = format!("/images/{}", image::encode(name));
        match self.engine.act("DELETE", target, Millis::from_secs(REMOVE_SECONDS_MAX)).await? {
            Ok(_) => Ok(()),
            Err(refusal) if matches!(refusal.status, 404 | 409) => Ok(()),
            Err(refusal) => Err(refusal.into_error(&format!("remove image {name}"))),
        }
    }
}

/// What an image is called.
#[derive(Debug, PartialEq, Eq)]
struct Names<'a> {
    /// Our claims on it.
    ours: Vec<&'a String>,
    /// By which somebody else may want it.
    others: Vec<&'a String>,
    /// In its own repository.
    digests: Vec<&'a String>,
}

impl<'a> Names<'a> {
    fn of(found: &'a api::Image, claims: &str, repository: &str) -> Self {
        let (ours, others) = image::by_tag(&found.repo_tags).partition(|name| image::split(name).0 == claims);
        let is_its_own = |name: &&String| {
            name.split_once('@').is_some_and(|(repo, _)| image::familiar(repo) == image::familiar(repository))
        };
        Self { ours, others, digests: found.repo_digests.iter().filter(is_its_own).collect() }
    }
}

fn is(found: &api::Image, release: &Release) -> bool {
    let wanted = release.digest.as_str();
    found.id == wanted
        || found.repo_digests.iter().any(|name| name.split_once('@').is_some_and(|(_, d)| d == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `GET /images/{id}/json` of engine 28 with the containerd store, after a pull by digest and our claim.
    #[test]
    fn an_image_that_was_pulled_by_its_digest_is_claimed_by_nobody_else_for_that() {
        let hex = "a".repeat(64);
        let claims = "lockgate.internal/keep/shop/prod/web";
        let (own, claim) = (format!("127.0.0.1:5000/web@sha256:{hex}"), format!("{claims}:{hex}"));
        let found = |more: Option<&str>| -> api::Image {
            let tags: Vec<&str> = [own.as_str(), &claim].into_iter().chain(more).collect();
            let digests = [own.clone(), format!("{claims}@sha256:{hex}")];
            let id = format!("sha256:{hex}");
            serde_json::from_value(serde_json::json!({ "Id": id, "RepoTags": tags, "RepoDigests": digests }))
                .unwrap()
        };
        let alone = found(None);
        let names = Names::of(&alone, claims, "127.0.0.1:5000/web");
        assert_eq!(names, Names { ours: vec![&claim], others: vec![], digests: vec![&own] });
        let (elsewhere, stays) = ("lockgate.internal/keep/shop/test/web:x", "127.0.0.1:5000/web:latest");
        for more in [elsewhere, stays] {
            let wanted = found(Some(more));
            assert_eq!(Names::of(&wanted, claims, "127.0.0.1:5000/web").others, [more]);
        }
    }
}
