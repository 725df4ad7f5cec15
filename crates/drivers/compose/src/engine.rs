//! Docker's Engine API over the host's stream to its socket, and what its refusals mean.

use std::sync::Arc;

use lockgate_model::{FailureKind, Millis, RegistryHost, quoted};
use lockgate_ports::{Answer, Host, HostStream, PortError, Request, http};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use crate::engine_address::{EngineAddress, Locator};
use crate::engine_tls::EngineTls;
use crate::{api, image, silent_engine};

/// Bound for one look at the engine; it answers within milliseconds unless the host is in trouble.
pub(crate) const LOOK_SECONDS_MAX: u64 = 15;

/// The engine answered, and said no.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub status: u16,
    pub message: String,
}

impl Refusal {
    pub(crate) fn into_error(self, what: &str) -> PortError {
        let error =
            PortError::other(format!("Docker refused to {what}: {} (HTTP {})", self.message, self.status));
        // What the engine refuses it has not begun; what it fails with (5xx) it may have.
        if (400..500).contains(&self.status) { error.without_effect() } else { error }
    }
}

pub(crate) struct Engine {
    locator: Arc<Locator>,
    tls: OnceCell<EngineTls>,
}

impl Engine {
    pub(crate) fn new(locator: Arc<Locator>) -> Self {
        Self { locator, tls: OnceCell::new() }
    }

    fn host(&self) -> &dyn Host {
        self.locator.host.as_ref()
    }

    /// # Errors
    /// See [`Locator::address`].
    pub(crate) async fn address(&self) -> Result<&EngineAddress, PortError> {
        self.locator.address().await
    }

    /// # Errors
    /// Why the engine does not answer, in words of its own.
    pub(crate) async fn connect(&self, timeout: Millis) -> Result<Box<dyn HostStream>, PortError> {
        let address = self.address().await?;
        match self.stream(address, timeout).await {
            Ok(stream) => Ok(stream),
            Err(error) => Err(silent_engine::explain(self.host(), address, error).await),
        }
    }

    async fn stream(
        &self,
        address: &EngineAddress,
        timeout: Millis,
    ) -> Result<Box<dyn HostStream>, PortError> {
        let stream = self.host().connect(&address.at, timeout).await?;
        let Some(folder) = &address.certificates else { return Ok(stream) };
        let tls = self.tls.get_or_try_init(|| EngineTls::of(self.host(), address, folder)).await?;
        tls.with(stream, address, timeout).await
    }

    /// Paths carry no API version: every engine then speaks its newest, and the fields read here are in all of them.
    pub(crate) async fn send(&self, request: Request) -> Result<Result<Answer, Refusal>, PortError> {
        let address = self.address().await?;
        let sent = http::send_over(self.stream(address, request.timeout), &address.at, request).await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => return Err(silent_engine::explain(self.host(), address, error).await),
        };
        if answer.status < 400 {
            return Ok(Ok(answer));
        }
        Ok(Err(refusal(answer.status, &answer.body)))
    }

    /// `None` for 404.
    pub(crate) async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<Option<T>, PortError> {
        match self.send(Request::get(target, Millis::from_secs(LOOK_SECONDS_MAX))).await? {
            Ok(answer) => parse(&answer.body, target).map(Some),
            Err(refusal) if refusal.status == 404 => Ok(None),
            Err(refusal) => Err(refusal.into_error(&format!("answer GET {target}"))),
        }
    }

    /// A request without a body; the refusal is the caller's to judge.
    pub(crate) async fn act(
        &self,
        method: &'static str,
        target: impl Into<String>,
        timeout: Millis,
    ) -> Result<Result<Answer, Refusal>, PortError> {
        self.send(Request { method, ..Request::get(target, timeout) }).await
    }

    pub(crate) async fn image(&self, name: &str) -> Result<Option<api::Image>, PortError> {
        self.get(&format!("/images/{}/json", image::encode(name))).await
    }

    pub(crate) async fn container(&self, id: &str) -> Result<Option<api::Container>, PortError> {
        self.get(&format!("/containers/{}/json", image::encode(id))).await
    }

    /// All containers, running or not; with `label` only those that carry it.
    pub(crate) async fn containers(
        &self,
        label: Option<&str>,
    ) -> Result<Vec<api::ContainerSummary>, PortError> {
        let filter = label.map_or(String::new(), |label| {
            format!("&filters={}", image::encode(&serde_json::json!({ "label": [label] }).to_string()))
        });
        Ok(self.get(&format!("/containers/json?all=1{filter}")).await?.unwrap_or_default())
    }
}

pub(crate) fn refusal(status: u16, body: &[u8]) -> Refusal {
    let message = serde_json::from_slice::<api::Message>(body)
        .map(|document| document.message)
        .unwrap_or_else(|_| String::from_utf8_lossy(body).trim().to_owned());
    Refusal { status, message }
}

pub(crate) fn parse<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, PortError> {
    serde_json::from_slice(body).map_err(|error| {
        PortError::other(format!("Docker's answer to {what} is not understood: {error}")).caused_by(error)
    })
}

/// `linux/arm64/v8` in "no matching manifest for linux/arm64/v8 in the manifest list entries".
fn platform(said: &str) -> Option<&str> {
    let words = said.split([' ', '"', ',', ':', '(', ')', '[', ']']);
    words.into_iter().find(|word| {
        word.starts_with("linux/") || word.starts_with("windows/") || word.starts_with("darwin/")
    })
}

/// What a registry's no, handed on by the engine as text, means to the caller. Statuses are of little use: engine 20.10
/// answers 500 for a registry that it cannot reach. `reference` is what was asked for.
pub(crate) fn registry_error(refusal: &Refusal, reference: &str, host: &dyn Host) -> PortError {
    let (repository, _) = image::split(reference);
    let registry = image::registry(repository);
    let said = &once(&refusal.message);
    let text = said.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let host = host.id();
    let login = format!("run `docker login {registry}` on {host}");
    if has(&["no space left on device", "disk quota exceeded"]) {
        return PortError::new(FailureKind::DiskFull, format!("no space for {reference} on {host}: {said}"))
            .hint("free space, for example with `docker system df` and `docker image prune`");
    }
    if has(&["no matching manifest", "no match for platform", "does not provide the specified platform"]) {
        let platform = platform(said).map_or("this platform".to_owned(), |platform| quoted(platform, 60));
        return PortError::not_found(format!(
            "{reference} is not built for {platform}, which {host} is: {said}"
        ))
        .hint(format!(
            "build it for that too: `docker buildx build --platform {platform} -t {repository} --push .`"
        ));
    }
    if has(&["http response to https"]) {
        return PortError::other(format!("{registry} speaks plain HTTP: {said}")).hint(format!(
            "add {registry} to \"insecure-registries\" in {host}'s daemon.json, or give it a certificate"
        ));
    }
    if has(&["toomanyrequests", "rate limit"]) {
        return PortError::other(format!("{registry} refuses more requests for now: {said}"))
            .hint(format!("wait, or {login} for a higher limit"));
    }
    // The containerd store says both of a registry that wants a login.
    if has(&["pull access denied", "repository does not exist"]) && !has(&["no basic auth credentials"]) {
        return PortError::not_found(format!(
            "{reference} is not in {registry}, or not for this login: {said}"
        ))
        .hint(format!("check the image's name, or {login}"));
    }
    if matches!(refusal.status, 401 | 403)
        || has(&[
            "unauthorized",
            "authentication required",
            "no basic auth credentials",
            "access denied",
            "forbidden",
        ])
        || text.starts_with("denied")
    {
        return PortError::new(FailureKind::Unauthorized, format!("{registry} refuses {reference}: {said}"))
            .hint(login);
    }
    let unreachable = has(&[
        "dial tcp",
        "no such host",
        "connection refused",
        "connection reset",
        "i/o timeout",
        "handshake timeout",
        "client.timeout",
        "deadline exceeded",
        "network is unreachable",
        "x509",
        "eof",
        "server misbehaving",
        "service unavailable",
        "bad gateway",
    ]);
    if unreachable {
        return PortError::unreachable(format!("{registry} cannot be reached from {host}: {said}")).hint(
            format!("check the network and DNS of {host}: `curl -sSi {}/v2/`", address(registry, said)),
        );
    }
    if refusal.status == 404 || has(&["manifest unknown", "not found", "name unknown"]) {
        return PortError::not_found(format!("{reference} is not in {registry}: {said}"))
            .hint("check the tag, and that the build pushed it");
    }
    PortError::other(format!(
        "{registry} could not be asked for {reference}: {said} (HTTP {})",
        refusal.status
    ))
    .hint(format!("`docker pull {reference}` on {host} shows whether it is the registry or Docker"))
}

/// What Docker says of a registry's refusal, code and message, has the same words twice: `manifest unknown: manifest unknown`.
fn once(said: &str) -> String {
    let mut parts: Vec<&str> = said.split(": ").collect();
    parts.dedup_by(|one, before| one.eq_ignore_ascii_case(before));
    parts.join(": ")
}

/// As the engine has asked it, which speaks plain HTTP with registries of this machine and with those that are called insecure.
fn address(registry: &str, said: &str) -> String {
    let is_here = RegistryHost::new(registry).is_ok_and(|registry| registry.is_loopback());
    let is_plain = match (said.contains(&format!("http://{registry}/")), said.contains("https://")) {
        (is_plain, false) => is_plain || is_here,
        (_, true) => false,
    };
    match registry {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        _ if is_plain => format!("http://{registry}"),
        _ => format!("https://{registry}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, said: &str, reference: &str) -> PortError {
        let refusal = Refusal { status, message: said.to_owned() };
        registry_error(&refusal, reference, &lockgate_local::Local::new())
    }

    #[test]
    fn an_image_that_is_not_in_its_registry_is_told_once() {
        let error = told(404, "manifest unknown: manifest unknown", "localhost:5000/web:v1");
        assert_eq!(error.message, "localhost:5000/web:v1 is not in localhost:5000: manifest unknown");
        let said = "manifest for localhost:5000/web:v1 not found: manifest unknown: manifest unknown";
        let error = told(404, said, "localhost:5000/web:v1");
        assert_eq!(error.message.matches("manifest unknown").count(), 1, "{error}");
    }

    #[test]
    fn a_registry_is_looked_at_as_the_engine_asks_it() {
        for (reference, said, address) in [
            (
                "localhost:5000/web:v1",
                "dial tcp 127.0.0.1:5000: connect: connection refused",
                "http://localhost:5000",
            ),
            (
                "127.0.0.1:5000/web:v1",
                "Get \"https://127.0.0.1:5000/v2/\": x509: unknown authority",
                "https://127.0.0.1:5000",
            ),
            (
                "reg.lan:5000/web:v1",
                "Get \"http://reg.lan:5000/v2/\": dial tcp: no such host",
                "http://reg.lan:5000",
            ),
            ("ghcr.io/acme/web:v1", "Get \"https://ghcr.io/v2/\": EOF", "https://ghcr.io"),
            ("web:v1", "dial tcp: i/o timeout", "https://registry-1.docker.io"),
        ] {
            let hint = told(500, said, reference).hints().to_string();
            assert!(hint.contains(&format!("`curl -sSi {address}/v2/`")), "{hint}");
        }
    }

    #[test]
    fn an_image_that_is_not_built_for_the_host_is_told_as_that() {
        for said in [
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            "no matching manifest for linux/arm64/v8 in the manifest list entries: no match for platform in manifest: not found",
        ] {
            let refusal = Refusal { status: 404, message: said.to_owned() };
            let error = registry_error(&refusal, "ghcr.io/acme/web@sha256:00", &lockgate_local::Local::new());
            assert_eq!(error.kind, FailureKind::NotFound);
            assert!(error.message.contains("is not built for linux/arm64/v8"), "{error}");
            let hint = error.hints().to_string();
            assert!(hint.contains("--platform linux/arm64/v8 -t ghcr.io/acme/web --push ."), "{hint}");
            assert!(!hint.contains("check the tag") && !hint.contains('…'), "{hint}");
        }
    }
}
