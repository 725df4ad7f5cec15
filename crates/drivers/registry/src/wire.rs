//! One exchange: bounded, with its redirects, and again where that is safe.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lockgate_model::{FailureKind, RegistryHost, causes};
use lockgate_ports::PortError;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, Method, Url};

use crate::retry;

const CONNECT_SECONDS_MAX: u64 = 10;
/// For one exchange, from connecting to the last byte.
const EXCHANGE_SECONDS_MAX: u64 = 30;
/// Longest an unused connection is kept: below the idle timeouts of common servers.
const POOL_IDLE_SECONDS_MAX: u64 = 4;
const REDIRECTS_MAX: usize = 5;
/// What is read of an answer that refuses: error codes are short.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
pub(crate) const LOOK_AFTER: &str = "look after the registry and the way to it, and try again";
/// Where Docker Hub's API is.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// What is asked.
#[derive(Clone)]
pub(crate) struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Largest body of an answer that is read.
    pub bytes_max: usize,
    /// Whether it may be asked again although it may have been done.
    pub is_safe: bool,
    /// Whether redirects are followed, without `authorization` where they lead to another host.
    pub follows: bool,
}

pub(crate) struct Reply {
    /// The URL that answered at last.
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    /// Of a refusal the first 64 KiB.
    pub body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        self.headers.get(name.as_ref()).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn all(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }
}

/// How an exchange failed.
enum Lost {
    /// Nothing was sent.
    Unsent(PortError),
    /// It may have arrived.
    Broken(PortError),
    /// Asking again is of no use.
    Final(PortError),
}

pub(crate) struct Wire {
    roots: Vec<Certificate>,
    /// To this machine, past any proxy of the environment.
    here: OnceLock<Result<Client, PortError>>,
    elsewhere: OnceLock<Result<Client, PortError>>,
    /// Where registries on this machine are, with TLS or without.
    found: Mutex<BTreeMap<RegistryHost, Url>>,
}

impl Wire {
    pub(crate) fn new(roots: Vec<Certificate>) -> Self {
        Self { roots, here: OnceLock::new(), elsewhere: OnceLock::new(), found: Mutex::default() }
    }

    /// Where the registry is: with TLS, or on this machine as it speaks, which is asked once.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`: only for one on this machine.
    pub(crate) async fn base(&self, registry: &RegistryHost) -> Result<Url, PortError> {
        let secure = https(registry)?;
        if !registry.is_loopback() {
            return Ok(secure);
        }
        if let Some(url) = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(registry) {
            return Ok(url.clone());
        }
        let url = match self.speaks_plain(registry, &secure).await? {
            true => plain(registry)?,
            false => secure,
        };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.clone(), url.clone());
        Ok(url)
    }

    /// Whether what is there takes no TLS. No login is sent. Without a port in its name it may also be at another one.
    async fn speaks_plain(&self, registry: &RegistryHost, secure: &Url) -> Result<bool, PortError> {
        let url = secure.join("/v2/").map_err(|_| no_place(secure))?;
        let sent = self.client(&url)?.get(url.clone()).send();
        match tokio::time::timeout(Duration::from_secs(EXCHANGE_SECONDS_MAX), sent).await {
            Ok(Ok(_)) => Ok(false),
            Ok(Err(problem)) if problem.is_connect() && is_no_tls(&problem) => Ok(true),
            Ok(Err(problem)) if is_refused(&problem) && !registry.has_port() => Ok(true),
            Ok(Err(problem)) => Err(lost(&url, problem).into()),
            Err(_) => Err(too_late(&url)),
        }
    }

    /// One answer, whatever its status; asked again, some time later, where that is safe. `authorization` is sent to the
    /// host of `base` alone.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`, `TooLarge`, and `Refused` for a redirect that is not followed.
    pub(crate) async fn ask(
        &self,
        base: &Url,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, PortError> {
        let mut tries = 1;
        loop {
            let (wait, ended) = match self.follow(base, ask.clone(), authorization).await {
                Ok(reply) => match again(&reply, ask.is_safe, tries) {
                    Some(wait) => (wait, Ok(reply)),
                    None => return Ok(reply),
                },
                Err(Lost::Unsent(error)) => (retry::pause(tries), Err(error.without_effect())),
                Err(Lost::Broken(error)) if ask.is_safe => (retry::pause(tries), Err(error)),
                Err(lost) => return Err(lost.into()),
            };
            if tries == retry::TRIES_MAX {
                return ended;
            }
            tries += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn follow(
        &self,
        base: &Url,
        mut ask: Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, Lost> {
        for _ in 0..=REDIRECTS_MAX {
            let authorization = authorization.filter(|_| is_same_host(&ask.url, base));
            let reply = self.exchange(&ask, authorization).await?;
            match redirect(&ask, &reply, base)? {
                Some(next) => ask.url = next,
                None => return Ok(reply),
            }
        }
        let message = format!("{} redirects more than {REDIRECTS_MAX} times", shown(base));
        Err(Lost::Final(PortError::new(FailureKind::Refused, message).hint("look after its configuration")))
    }

    async fn exchange(&self, ask: &Ask, authorization: Option<&HeaderValue>) -> Result<Reply, Lost> {
        let client = self.client(&ask.url).map_err(Lost::Final)?;
        let mut request = client.request(ask.method.clone(), ask.url.clone()).headers(ask.headers.clone());
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        let exchange = async {
            let response =
                request.body(ask.body.clone()).send().await.map_err(|problem| lost(&ask.url, problem))?;
            read(ask, response).await
        };
        let bound = Duration::from_secs(EXCHANGE_SECONDS_MAX);
        tokio::time::timeout(bound, exchange).await.unwrap_or_else(|_| Err(Lost::Final(too_late(&ask.url))))
    }

    fn client(&self, url: &Url) -> Result<&Client, PortError> {
        let is_here = is_loopback(url);
        let made = if is_here { &self.here } else { &self.elsewhere };
        let client = made.get_or_init(|| {
            let builder = Client::builder()
                .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
                .pool_idle_timeout(Duration::from_secs(POOL_IDLE_SECONDS_MAX))
                .tls_certs_merge(self.roots.clone());
            let builder = if is_here { builder.no_proxy() } else { builder };
            builder.build().map_err(|problem| {
                PortError::other(format!("no HTTP client can be made: {}", root_cause(&problem)))
                    .without_effect()
            })
        });
        client.as_ref().map_err(Clone::clone)
    }
}

fn https(registry: &RegistryHost) -> Result<Url, PortError> {
    let host = if registry.is_docker_hub() { DOCKER_HUB_API } else { registry.as_str() };
    Url::parse(&format!("https://{host}/"))
        .map_err(|problem| PortError::other(format!("{registry} is no host that can be asked: {problem}")))
}

fn plain(registry: &RegistryHost) -> Result<Url, PortError> {
    Url::parse(&format!("http://{registry}/"))
        .map_err(|problem| PortError::other(format!("{registry} is no host that can be asked: {problem}")))
}

fn no_place(url: &Url) -> PortError {
    PortError::other(format!("{} is no place that can be asked", shown(url)))
}

/// Scheme, host and port: no path and no query, which may be signed.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

pub(crate) fn is_same_host(one: &Url, other: &Url) -> bool {
    let of =
        |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    of(one) == of(other)
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Where the answer leads to, if it is a redirect that is followed.
fn redirect(ask: &Ask, reply: &Reply, base: &Url) -> Result<Option<Url>, Lost> {
    let is_read = [Method::GET, Method::HEAD].contains(&ask.method);
    if !ask.follows || !is_read || !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = reply.header(LOCATION) else { return Ok(None) };
    let next = ask.url.join(location).ok();
    let is_fine = |url: &Url| {
        let here = url.scheme() == "http" && base.scheme() == "http" && is_loopback(url);
        (url.scheme() == "https" || here) && url.username().is_empty() && url.password().is_none()
    };
    match next {
        Some(next) if is_fine(&next) => Ok(Some(next)),
        other => {
            let to = other.map_or_else(|| "no place".to_owned(), |url| shown(&url));
            let message = format!("{} redirects to {to}, which is not asked", shown(&ask.url));
            let error = PortError::new(FailureKind::Refused, message);
            Err(Lost::Final(
                error.hint("a redirect must lead to an https:// place without user and password"),
            ))
        }
    }
}

async fn read(ask: &Ask, mut response: reqwest::Response) -> Result<Reply, Lost> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let is_refusal = status >= 400;
    let bytes_max = if is_refusal { REFUSAL_BYTES_MAX } else { ask.bytes_max };
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|problem| {
            let problem = problem.without_url();
            let message = format!("the answer of {} broke off: {}", shown(&ask.url), root_cause(&problem));
            Lost::Broken(PortError::unreachable(message).hint(LOOK_AFTER).caused_by(problem))
        })?;
        let Some(chunk) = chunk else { break };
        if body.len() + chunk.len() <= bytes_max {
            body.extend_from_slice(&chunk);
        } else if is_refusal {
            body.extend_from_slice(&chunk[..bytes_max - body.len()]);
            break;
        } else {
            let what = format!("the answer of {}", shown(&ask.url));
            let error = PortError::too_large(what, bytes_max);
            return Err(Lost::Final(error.hint("no registry has to give that much: see what answers there")));
        }
    }
    Ok(Reply { url: ask.url.clone(), status, headers, body })
}

/// How long to wait before it is asked again; `None` where it is not.
fn again(reply: &Reply, is_safe: bool, tries: u32) -> Option<Duration> {
    // A 429 says that nothing was done.
    let is_later = reply.status == 429 || (is_safe && matches!(reply.status, 502..=504));
    let wait = retry::after(&reply.headers).unwrap_or_else(|| retry::pause(tries));
    (is_later && wait.as_secs() <= retry::RETRY_AFTER_SECONDS_MAX).then_some(wait)
}

fn too_late(url: &Url) -> PortError {
    PortError::timed_out(format!("{} gave no whole answer within {EXCHANGE_SECONDS_MAX} s", shown(url)))
        .hint(LOOK_AFTER)
}

fn lost(url: &Url, problem: reqwest::Error) -> Lost {
    let place = shown(url);
    let problem = problem.without_url();
    let cause = root_cause(&problem);
    if problem.is_timeout() {
        let message = format!("no connection to {place} within {CONNECT_SECONDS_MAX} s");
        return Lost::Unsent(PortError::timed_out(message).hint(LOOK_AFTER).caused_by(problem));
    }
    if !problem.is_connect() {
        let error = PortError::unreachable(format!("the connection to {place} broke: {cause}"));
        return Lost::Broken(error.hint(LOOK_AFTER).caused_by(problem));
    }
    let is_untrusted = matches!(tls_error(&problem), Some(rustls::Error::InvalidCertificate(_)));
    let is_plain = url.scheme() == "https" && is_no_tls(&problem);
    let error = PortError::unreachable(format!("cannot connect to {place}: {cause}"))
        .without_effect()
        .caused_by(problem);
    if is_untrusted {
        return Lost::Final(
            error.hint(
                "this machine does not trust the certificate: check its name, its dates and its issuer",
            ),
        );
    }
    if is_plain {
        return Lost::Final(error.hint(
            "it speaks no TLS, and plain HTTP is spoken only with registries on this machine (127.0.0.1, localhost)",
        ));
    }
    Lost::Unsent(error.hint("check the registry's name, that it runs, and the way to it"))
}

impl From<Lost> for PortError {
    fn from(lost: Lost) -> PortError {
        match lost {
            Lost::Unsent(error) => error.without_effect(),
            Lost::Broken(error) | Lost::Final(error) => error,
        }
    }
}

fn tls_error(problem: &reqwest::Error) -> Option<&rustls::Error> {
    causes(problem).into_iter().find_map(|cause| cause.downcast_ref())
}

/// Whether the other side answered a TLS greeting with something else, or with its end.
fn is_no_tls(problem: &reqwest::Error) -> bool {
    use std::io::ErrorKind as Io;
    if let Some(error) = tls_error(problem) {
        return matches!(error, rustls::Error::InvalidMessage(_));
    }
    let kinds = causes(problem).into_iter().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    kinds.map(std::io::Error::kind).any(|kind| matches!(kind, Io::UnexpectedEof | Io::ConnectionReset))
}

/// Whether nobody listens there.
fn is_refused(problem: &reqwest::Error) -> bool {
    let kinds = causes(problem).into_iter().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    kinds.map(std::io::Error::kind).any(|kind| kind == std::io::ErrorKind::ConnectionRefused)
}

/// The innermost error, which is the one that says something.
fn root_cause(problem: &reqwest::Error) -> String {
    causes(problem).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(registry: &str) -> (String, String) {
        let registry = RegistryHost::new(registry).unwrap();
        (https(&registry).unwrap().to_string(), plain(&registry).unwrap().to_string())
    }

    #[test]
    fn a_registry_s_address_has_its_port_with_tls_and_without() {
        for (registry, secure, plain) in [
            ("docker.io", "https://registry-1.docker.io/", "http://docker.io/"),
            ("localhost", "https://localhost/", "http://localhost/"),
            ("127.0.0.1:443", "https://127.0.0.1/", "http://127.0.0.1:443/"),
            ("127.0.0.1:80", "https://127.0.0.1:80/", "http://127.0.0.1/"),
            ("[::1]:5000", "https://[::1]:5000/", "http://[::1]:5000/"),
        ] {
            assert_eq!(base(registry), (secure.to_owned(), plain.to_owned()));
        }
    }

    #[test]
    fn the_same_host_is_the_same_scheme_name_and_port() {
        let is_same =
            |one: &str, other: &str| is_same_host(&Url::parse(one).unwrap(), &Url::parse(other).unwrap());
        assert!(is_same("https://a.test/x", "https://A.test:443/y"));
        for other in ["http://a.test", "https://a.test:444", "https://b.test", "https://a.test.evil.test"] {
            assert!(!is_same("https://a.test", other), "{other}");
        }
    }
}
