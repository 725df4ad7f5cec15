//! The registry client: what is asked, and what of the answer is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{
    Digest, FailureKind, Platform, Reference, RegistryHost, RegistryLogin, Repository, Secret,
    TOLD_CHARS_MAX, Tag, quoted,
};
use lockgate_ports::registry::{
    Content, MANIFEST_BYTES_MAX, MEDIA_TYPES, TAGS_MAX, first_image, made_of_config, read,
};
use lockgate_ports::{Check, Host, Made, Manifest, PortError, Registry, Resolved};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK, WWW_AUTHENTICATE};
use reqwest::{Certificate, Method};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::authorization::{Authorization, Authorizations, Scope};
use crate::logins::Logins;
use crate::refusal::About;
use crate::wire::{Ask, Reply, Wire, is_same_host};
use crate::{body, challenge, link, refusal, wire};

/// For one call with all its exchanges and waits.
const CALL_SECONDS_MAX: u64 = 60;
/// For a list of tags, which may have many pages.
const TAGS_SECONDS_MAX: u64 = 180;
/// Tags wanted of a page; a registry may give fewer, or all.
const PAGE_TAGS: usize = 1_000;
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
const PAGES_MAX: usize = 2_000;
/// Largest configuration of an image that is read.
const CONFIG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What is read of an answer that only its head matters of.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

/// What a [`RegistryClient`] needs.
pub struct RegistryOptions {
    /// Logins of the configuration (`registries:`); they come before all others.
    pub logins: BTreeMap<RegistryHost, RegistryLogin>,
    /// This machine, whose Docker configuration and credential helpers are asked.
    pub host: Arc<dyn Host>,
    /// The folder of Docker's `config.json`; `None`: `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<String>,
    /// For `ghcr.io`, where nothing else has a login for it: `GITHUB_TOKEN`.
    pub github_token: Option<Secret>,
}

/// [`Registry`] by reqwest over rustls. Cheap to make: nothing is read or asked before the first call.
pub struct RegistryClient {
    wire: Wire,
    authorizations: Authorizations,
}

/// A request to a registry.
struct Call<'a> {
    method: Method,
    /// Path and query.
    target: String,
    scope: Scope,
    headers: HeaderMap,
    body: &'a [u8],
    bytes_max: usize,
}

struct Answered {
    reply: Reply,
    /// What was shown; `None` where nothing was wanted.
    authorization: Option<Authorization>,
}

#[derive(Deserialize)]
struct Page {
    /// `null` where there are none.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: Option<String>,
}

impl RegistryClient {
    #[must_use]
    pub fn new(options: RegistryOptions) -> Self {
        let logins = Logins {
            configured: options.logins,
            host: options.host,
            docker_config: options
                .docker_config
                .map_or_else(OnceCell::new, |folder| OnceCell::new_with(Some(folder))),
            github_token: options.github_token,
        };
        Self { wire: Wire::new(Vec::new()), authorizations: Authorizations::new(logins) }
    }

    /// Trusts this certificate authority (PEM) besides those of the machine.
    ///
    /// # Errors
    /// `Other` when it is no certificate.
    pub fn trusting(self, authority: &[u8]) -> Result<Self, PortError> {
        let certificate = Certificate::from_pem(authority)
            .map_err(|_| PortError::other("what should be a certificate authority is not one in PEM"))?;
        Ok(Self { wire: Wire::new(vec![certificate]), ..self })
    }

    /// Asks, and answers one challenge.
    async fn call(&self, call: &Call<'_>) -> Result<Answered, PortError> {
        // Whatever fails before the request itself is sent has done nothing.
        let base = self.wire.base(&call.scope.registry).await.map_err(PortError::without_effect)?;
        let url = base.join(&call.target).map_err(|_| {
            PortError::other(format!("{} cannot be asked of {}", call.target, call.scope.registry))
        })?;
        let ask = Ask {
            method: call.method.clone(),
            url,
            headers: call.headers.clone(),
            body: call.body.to_vec(),
            bytes_max: call.bytes_max,
            is_safe: call.method != Method::PUT,
            follows: true,
        };
        let mut authorization = self.authorizations.kept(&call.scope);
        let mut is_answered = false;
        loop {
            let reply = self
                .wire
                .ask(&base, &ask, authorization.as_ref().map(|authorization| &authorization.header))
                .await?;
            if reply.status != 401 {
                return Ok(Answered { reply, authorization });
            }
            self.authorizations.forget(&call.scope);
            // What a redirect led to may not send our login anywhere.
            let is_own = is_same_host(&reply.url, &base);
            let challenge = challenge::choose(reply.all(WWW_AUTHENTICATE)).filter(|_| is_own && !is_answered);
            let Some(challenge) = challenge else { return Ok(Answered { reply, authorization }) };
            let answered = self.authorizations.answer(&self.wire, &base, &call.scope, &challenge).await;
            authorization = Some(answered.map_err(PortError::without_effect)?);
            is_answered = true;
        }
    }

    async fn get(
        &self,
        repository: &Repository,
        target: String,
        headers: HeaderMap,
        bytes_max: usize,
    ) -> Result<Answered, PortError> {
        let scope = scope(repository, false);
        self.call(&Call { method: Method::GET, target, scope, headers, body: &[], bytes_max }).await
    }

    async fn get_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Manifest, PortError> {
        let target = format!("/v2/{}/manifests/{}", repository.path(), reference.as_str());
        let Answered { reply, authorization } =
            self.get(repository, target, accept(), MANIFEST_BYTES_MAX).await?;
        if reply.status != 200 {
            let about = About { repository, reference: Some(reference), push: false };
            return Err(refusal::of(&reply, &about, authorization.as_ref()));
        }
        let what = format!("{repository}{reference}");
        let media_type = media_type(&reply, &what)?;
        let told = told_digest(&reply);
        let manifest = Manifest::new(&media_type, reply.body).map_err(|error| error.context(&what))?;
        let asked = if let Reference::Digest(digest) = reference { Some(digest.as_str()) } else { None };
        for wanted in [asked, told.as_deref()].into_iter().flatten() {
            same_bytes(&what, wanted, manifest.digest())?;
        }
        Ok(manifest)
    }

    /// An image's configuration, byte for byte.
    async fn config(&self, repository: &Repository, config: &Digest) -> Result<Vec<u8>, PortError> {
        let target = format!("/v2/{}/blobs/{config}", repository.path());
        let Answered { reply, authorization } =
            self.get(repository, target, HeaderMap::new(), CONFIG_BYTES_MAX).await?;
        let reference = Reference::Digest(config.clone());
        if reply.status != 200 {
            let about = About { repository, reference: Some(&reference), push: false };
            return Err(refusal::of(&reply, &about, authorization.as_ref()));
        }
        let what = format!("{repository}{reference}");
        same_bytes(&what, config.as_str(), &Digest::of(&reply.body))?;
        Ok(reply.body)
    }

    async fn platform(
        &self,
        repository: &Repository,
        config: &Digest,
    ) -> Result<Option<Platform>, PortError> {
        let bytes = self.config(repository, config).await?;
        Content::platform_of_config(&bytes).map_err(|error| error.context(format!("{repository}@{config}")))
    }

    async fn made_now(&self, repository: &Repository, reference: &Reference) -> Result<Made, PortError> {
        let what = || format!("{repository}{reference}");
        let manifest = self.get_manifest(repository, reference).await?;
        let first = first_image(&manifest).map_err(|error| error.context(what()))?;
        let manifest = match first {
            Some(image) => self.get_manifest(repository, &Reference::Digest(image)).await?,
            None => manifest,
        };
        match read(&manifest).map_err(|error| error.context(what()))? {
            Content::Image { config } => {
                let bytes = self.config(repository, &config).await?;
                made_of_config(&bytes).map_err(|error| error.context(what()))
            }
            Content::Index(_) | Content::Artifact => Ok(Made::default()),
        }
    }

    async fn resolve_now(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Resolved, PortError> {
        let manifest = self.get_manifest(repository, reference).await?;
        let content = read(&manifest).map_err(|error| error.context(format!("{repository}{reference}")))?;
        let platforms = match content {
            Content::Index(platforms) => platforms,
            Content::Image { config } => self.platform(repository, &config).await?.into_iter().collect(),
            Content::Artifact => Vec::new(),
        };
        Ok(Resolved { digest: manifest.digest().clone(), media_type: manifest.media_type(), platforms })
    }

    async fn list_tags(&self, repository: &Repository) -> Result<Vec<Tag>, PortError> {
        let base = self.wire.base(repository.registry()).await?;
        let (mut tags, mut known, mut pages) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut next = Some(format!("/v2/{}/tags/list?n={PAGE_TAGS}", repository.path()));
        while let Some(target) = next {
            if !pages.insert(target.clone()) {
                let message =
                    format!("the list of {repository}'s tags leads back to a page that was read already");
                return Err(PortError::new(FailureKind::Refused, message)
                    .hint("the registry must link each page to a further one, the last to none"));
            }
            if pages.len() > PAGES_MAX {
                let message = format!("the list of {repository}'s tags has more than {PAGES_MAX} pages");
                return Err(
                    PortError::new(FailureKind::TooLarge, message).hint("remove tags that nobody needs")
                );
            }
            let Answered { reply, authorization } =
                self.get(repository, target, HeaderMap::new(), PAGE_BYTES_MAX).await?;
            if reply.status != 200 {
                let about = About { repository, reference: None, push: false };
                return Err(refusal::of(&reply, &about, authorization.as_ref()));
            }
            let page: Page = body::json(&reply, &format!("the list of {repository}'s tags"))?;
            for text in page.tags.unwrap_or_default() {
                let tag = checked_tag(repository, text)?;
                if known.insert(tag.clone()) {
                    tags.push(tag);
                }
            }
            if tags.len() > TAGS_MAX {
                let message = format!("{repository} has more than {TAGS_MAX} tags");
                return Err(
                    PortError::new(FailureKind::TooLarge, message).hint("remove tags that nobody needs")
                );
            }
            next = link::next(reply.all(LINK), &reply.url, &base)
                .map_err(|error| error.context(format!("the tags of {repository}")))?;
        }
        Ok(tags)
    }

    async fn put(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), PortError> {
        let what = format!("{repository}{reference}");
        if let Reference::Digest(digest) = reference {
            same_bytes(&what, digest.as_str(), manifest.digest())?;
        }
        let kind = HeaderValue::from_static(manifest.media_type());
        let call = Call {
            method: Method::PUT,
            target: format!("/v2/{}/manifests/{}", repository.path(), reference.as_str()),
            scope: scope(repository, true),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, kind)]),
            body: manifest.bytes(),
            bytes_max: HEAD_BYTES_MAX,
        };
        let Answered { reply, authorization } = self.call(&call).await?;
        if reply.status != 201 {
            let about = About { repository, reference: Some(reference), push: true };
            return Err(refusal::of(&reply, &about, authorization.as_ref()));
        }
        // It has taken something.
        let took = match told_digest(&reply) {
            Some(told) => same_bytes(&what, &told, manifest.digest()),
            // It does not say what it took, so it is asked.
            None => match self.get_manifest(repository, reference).await {
                Ok(there) => same_bytes(&what, there.digest().as_str(), manifest.digest()),
                Err(error) => Err(error),
            },
        };
        took.map_err(PortError::with_unknown_effect)
    }

    async fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, PortError> {
        let call = Call {
            method: Method::HEAD,
            target: format!("/v2/{}/blobs/{digest}", repository.path()),
            scope: scope(repository, false),
            headers: HeaderMap::new(),
            body: &[],
            bytes_max: HEAD_BYTES_MAX,
        };
        let Answered { reply, authorization } = self.call(&call).await?;
        match reply.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => {
                let reference = Reference::Digest(digest.clone());
                let about = About { repository, reference: Some(&reference), push: false };
                Err(refusal::of(&reply, &about, authorization.as_ref()))
            }
        }
    }

    /// Who the registry takes us for; `None`: it wants no login.
    async fn greet(&self, registry: &RegistryHost) -> Result<Option<String>, PortError> {
        let call = Call {
            method: Method::GET,
            target: "/v2/".to_owned(),
            scope: Scope { registry: registry.clone(), path: None, push: false },
            headers: HeaderMap::new(),
            body: &[],
            bytes_max: HEAD_BYTES_MAX,
        };
        let Answered { reply, authorization } = self.call(&call).await?;
        match reply.status {
            200 if body::is_page(&reply) => Err(body::page(&format!("the answer of {registry}"))),
            200 => Ok(authorization.map(|authorization| authorization.login.who())),
            401 | 403 => Err(refusal::greeting(&reply, registry, authorization.as_ref())),
            404 => Err(PortError::other(format!("{registry} is no registry: it knows no /v2/"))
                .hint(body::look_at(&reply.url))),
            _ => Err(refusal::greeting(&reply, registry, authorization.as_ref())),
        }
    }
}

#[async_trait]
impl Registry for RegistryClient {
    async fn resolve(&self, repository: &Repository, reference: &Reference) -> Result<Resolved, PortError> {
        let what = format!("asking for {repository}{reference}");
        let asked = bounded(CALL_SECONDS_MAX, &what, self.resolve_now(repository, reference)).await;
        asked.map_err(PortError::without_effect)
    }

    async fn made(&self, repository: &Repository, reference: &Reference) -> Result<Made, PortError> {
        let what = format!("asking how {repository}{reference} was made");
        let asked = bounded(CALL_SECONDS_MAX, &what, self.made_now(repository, reference)).await;
        asked.map_err(PortError::without_effect)
    }

    async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, PortError> {
        let what = format!("listing the tags of {repository}");
        let asked = bounded(TAGS_SECONDS_MAX, &what, self.list_tags(repository)).await;
        asked.map_err(PortError::without_effect)
    }

    async fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<Manifest, PortError> {
        let what = format!("reading the manifest of {repository}{reference}");
        let asked = bounded(CALL_SECONDS_MAX, &what, self.get_manifest(repository, reference)).await;
        asked.map_err(PortError::without_effect)
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), PortError> {
        let what = format!("putting {repository}{reference}");
        bounded(CALL_SECONDS_MAX, &what, self.put(repository, reference, manifest)).await
    }

    async fn blob_exists(&self, repository: &Repository, digest: &Digest) -> Result<bool, PortError> {
        let what = format!("looking for {repository}@{digest}");
        let asked = bounded(CALL_SECONDS_MAX, &what, self.has_blob(repository, digest)).await;
        asked.map_err(PortError::without_effect)
    }

    async fn check(&self, registry: &RegistryHost) -> Check {
        let what = format!("registry {registry}");
        match bounded(CALL_SECONDS_MAX, &format!("asking {registry}"), self.greet(registry)).await {
            Ok(Some(who)) => Check::ok(what, format!("lets {who} in")),
            Ok(None) => Check::ok(what, "answers, and asks for no login"),
            Err(error) => {
                let mend = error.hints().joined().unwrap_or_else(|| body::look(registry));
                Check::bad(what, error.message, mend)
            }
        }
    }
}

async fn bounded<T>(
    seconds: u64,
    what: &str,
    call: impl Future<Output = Result<T, PortError>>,
) -> Result<T, PortError> {
    match tokio::time::timeout(Duration::from_secs(seconds), call).await {
        Ok(result) => result,
        Err(_) => {
            Err(PortError::timed_out(format!("{what} took longer than {seconds} s")).hint(wire::LOOK_AFTER))
        }
    }
}

fn scope(repository: &Repository, push: bool) -> Scope {
    Scope { registry: repository.registry().clone(), path: Some(repository.path().to_owned()), push }
}

/// Every kind of manifest in its own bytes: without it registries make another kind of it, with another digest.
fn accept() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for media_type in MEDIA_TYPES {
        headers.append(ACCEPT, HeaderValue::from_static(media_type));
    }
    headers
}

/// The manifest's kind, by the header and by itself: where they differ, two readers would see two things
/// (CVE-2021-41190).
fn media_type(reply: &Reply, what: &str) -> Result<String, PortError> {
    let header = reply.header(CONTENT_TYPE).unwrap_or_default();
    let header = header.split(';').next().unwrap_or_default().trim();
    let typed: Typed = body::json(reply, &format!("the manifest of {what}"))?;
    let is_known = MEDIA_TYPES.iter().any(|known| known.eq_ignore_ascii_case(header));
    match typed.media_type {
        Some(own) if is_known && !own.eq_ignore_ascii_case(header) => {
            let own = quoted(&own, TOLD_CHARS_MAX);
            let message = format!("{what} came as {header} and says of itself that it is \"{own}\"");
            Err(PortError::new(FailureKind::Refused, message).hint("build and push the image again"))
        }
        // Some stores know no kinds; then it is what it says.
        Some(own) if !is_known => Ok(own),
        _ => Ok(header.to_owned()),
    }
}

/// The digest that the registry says it is.
fn told_digest(reply: &Reply) -> Option<String> {
    reply.header(DIGEST_HEADER).map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned)
}

fn same_bytes(what: &str, wanted: &str, seen: &Digest) -> Result<(), PortError> {
    if wanted == seen.as_str() {
        return Ok(());
    }
    let message = format!("the bytes of {what} are {seen}, and should be {}", quoted(wanted, TOLD_CHARS_MAX));
    Err(PortError::new(FailureKind::Refused, message)
        .hint("they were not used: the registry's storage, or something on the way, has changed them"))
}

fn checked_tag(repository: &Repository, text: String) -> Result<Tag, PortError> {
    Tag::new(text).map_err(|invalid| {
        let shown = quoted(&invalid.name, TOLD_CHARS_MAX);
        let message =
            format!("the list of {repository}'s tags has \"{shown}\", which is no tag: {}", invalid.reason);
        PortError::new(FailureKind::Refused, message).hint("remove it from the registry")
    })
}
