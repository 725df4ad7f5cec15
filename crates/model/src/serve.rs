//! `lockgate serve`: where it listens, and which signed calls deploy what.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::tag_pieces::{self, NoDigits, Piece, SHA_DIGITS, pieces};
use crate::{EnvironmentName, InvalidName, Millis, Secret, ServiceName, Tag, Template};

/// Paths that are the server's own, and those that begin with one of them and `/`.
const OWN_PATHS: [&str; 5] = ["/healthz", "/readyz", "/metrics", "/runs", "/openapi.json"];
/// Shortest secret that calls are signed with, in bytes: 128 bits where every byte is random.
pub const SIGNING_SECRET_BYTES_MIN: usize = 16;
/// Longest path, without its first `/`.
const PATH_CHARS_MAX: usize = 100;
/// The one placeholder of a [`TagTemplate`].
const HOLE: &str = "image_sha";

/// `serve:` of `lockgate.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Where calls are taken, at least one place. Sockets that were passed on (by systemd or by a predecessor) go before.
    pub listen: Vec<ListenAt>,
    /// The certificate of all TCP addresses. `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Plain HTTP is wanted on addresses that others reach, too.
    pub plain_http: bool,
    /// What is deployed by whose calls, at least one.
    pub endpoints: BTreeMap<EndpointPath, Endpoint>,
}

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenAt {
    /// Address and port; port 0 is a free one.
    Tcp(SocketAddr),
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

impl ListenAt {
    /// Whether nobody on another machine can reach it.
    #[must_use]
    pub fn is_here_only(&self) -> bool {
        match self {
            ListenAt::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenAt::Unix(_) => true,
        }
    }
}

impl fmt::Display for ListenAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAt::Tcp(address) => address.fmt(f),
            ListenAt::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A certificate and its key, PEM files on this machine by their absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those between it and the authority that clients know.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What signed calls to one path deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is called.
    pub path: EndpointPath,
    /// Where to; it has hosts.
    pub environment: EnvironmentName,
    /// What may be deployed by it, at least one, each once.
    pub services: Vec<ServiceName>,
    /// A call is signed with one of them. One to four; fewer, or none, only where the file was not read to be served.
    pub secrets: Vec<Secret>,
    /// The tag that a commit's image has.
    pub tag: TagTemplate,
    /// How long a caller waits for the end of a run, which goes on after that.
    pub timeout: Millis,
    /// How long the same body without an id is the same call.
    pub repeated: Millis,
    /// The branches whose events of GitHub's deploy. Empty: the repository's default branch, as the event says.
    pub branches: Vec<String>,
    /// What a client that sends `container_name` must send, where the configuration does not tell it otherwise; with `{service}`
    /// and `{environment}`.
    pub container_name: Option<Template>,
    /// The same for `healthcheck_url`.
    pub healthcheck_url: Option<Template>,
}

/// A URL's path that deploys: `/`, then 1 to 100 letters, digits and `. _ ~ / -`, without empty parts, `.` and `..`, and none of
/// the server's own. It is compared as it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointPath(String);

impl EndpointPath {
    /// # Errors
    /// [`InvalidName`] says which rule the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        match check_path(&text) {
            Ok(()) => Ok(Self(text)),
            Err(reason) => Err(InvalidName { kind: "path", name: text, reason }),
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_path(text: &str) -> Result<(), &'static str> {
    let Some(rest) = text.strip_prefix('/') else { return Err("a path begins with `/`, such as /deploy") };
    if rest.is_empty() || rest.len() > PATH_CHARS_MAX {
        return Err("a path has 1 to 100 characters behind its `/`");
    }
    if !rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~/-".contains(&b)) {
        return Err("a path has only letters, digits and . _ ~ / -");
    }
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("a path has no empty part, no `.` and no `..` between its `/`, and none at its end");
    }
    let is_below =
        |own: &str| text.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if OWN_PATHS.iter().any(|own| is_below(own)) {
        return Err("/healthz, /readyz, /metrics, /runs and /openapi.json are the server's own");
    }
    Ok(())
}

/// How a commit's image is tagged: text with `{image_sha}`, or `{image_sha:.8}` for its first eight digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The first so many digits.
    Sha(usize),
}

/// Why a text is no [`TagTemplate`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTagTemplate(pub &'static str);

impl TagTemplate {
    /// `{image_sha}`: the tag is the commit.
    #[must_use]
    pub fn whole() -> Self {
        Self { text: format!("{{{HOLE}}}"), parts: vec![Part::Sha(SHA_DIGITS)] }
    }

    /// # Errors
    /// [`InvalidTagTemplate`]: it has no `{image_sha}`, another placeholder, or would make no tag.
    pub fn new(text: &str) -> Result<Self, InvalidTagTemplate> {
        let part = |piece| match piece {
            Piece::Text(text) => Ok(Part::Text(text.to_owned())),
            Piece::Hole(hole) => digits(hole).map(Part::Sha),
        };
        let pieces = pieces(text).map_err(InvalidTagTemplate)?.into_iter();
        let parts = pieces.map(part).collect::<Result<Vec<_>, _>>()?;
        if !parts.iter().any(|part| matches!(part, Part::Sha(_))) {
            return Err(InvalidTagTemplate("without `{image_sha}` every commit would have the same tag"));
        }
        let template = Self { text: text.to_owned(), parts };
        match template.fill(&"0".repeat(SHA_DIGITS)) {
            Ok(_) => Ok(template),
            Err(InvalidName { reason, .. }) => Err(InvalidTagTemplate(reason)),
        }
    }

    /// The tag of the image of a commit, given by its 40 digits.
    ///
    /// # Errors
    /// [`InvalidName`] where they are none that a tag may have.
    pub fn fill(&self, sha: &str) -> Result<Tag, InvalidName> {
        let mut tag = String::new();
        for part in &self.parts {
            tag.push_str(match part {
                Part::Text(text) => text,
                Part::Sha(digits) => tag_pieces::first(sha, *digits),
            });
        }
        Tag::new(tag)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// How many of the commit's digits a placeholder wants.
fn digits(hole: &str) -> Result<usize, InvalidTagTemplate> {
    let unknown = InvalidTagTemplate(
        "the one placeholder is `{image_sha}`, or `{image_sha:.8}` for its first 8 digits",
    );
    match hole.strip_prefix(HOLE).map_or(Err(NoDigits::Unknown), tag_pieces::digits) {
        Ok(digits) => Ok(digits),
        Err(NoDigits::Unknown) => Err(unknown),
        Err(NoDigits::Count) => {
            Err(InvalidTagTemplate("a commit is shortened to 7 to 40 digits, as in `{image_sha:.8}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_tag_is_made_from_a_commit() {
        let tag = |text: &str| TagTemplate::new(text).unwrap().fill(SHA).unwrap().to_string();
        assert_eq!(tag("{image_sha}"), SHA);
        assert_eq!(tag("sha-{image_sha:.8}"), "sha-01234567");
        assert_eq!(tag("{image_sha:.7}-amd64"), "0123456-amd64");
        assert_eq!(TagTemplate::whole(), TagTemplate::new("{image_sha}").unwrap());
    }

    #[test]
    fn a_template_that_would_make_no_tag_or_always_the_same_is_none() {
        for (text, why) in [
            ("", "every commit"),
            ("latest", "every commit"),
            ("{sha}", "the one placeholder"),
            ("{image_sha:8}", "the one placeholder"),
            ("{image_sha", "without `}`"),
            ("{image_sha:.6}", "7 to 40"),
            ("{image_sha:.41}", "7 to 40"),
            ("{image_sha:.+8}", "7 to 40"),
            ("{image_sha:.}", "7 to 40"),
            ("-{image_sha}", "starts with"),
            ("a/{image_sha}", "only letters"),
            ("{image_sha}}", "only letters"),
            ("{image_sha}{image_sha}{image_sha}{image_sha}", "1 to 128"),
        ] {
            let error = TagTemplate::new(text).unwrap_err();
            assert!(error.0.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_is_plain_and_not_the_servers_own() {
        for good in ["/deploy", "/a/b-c_d.e~f", "/runsheet", "/healthz2"] {
            assert!(EndpointPath::new(good).is_ok(), "{good}");
        }
        let long = format!("/{}", "a".repeat(101));
        for bad in [
            "",
            "/",
            "deploy",
            "//deploy",
            "/a//b",
            "/a/../b",
            "/a/./b",
            "/..",
            "/a/",
            "/a b",
            "/a%2e",
            "/a?b",
            "/é",
            "/healthz",
            "/readyz/x",
            "/metrics",
            "/runs",
            "/runs/1",
            "/openapi.json",
            &long,
        ] {
            assert!(EndpointPath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_here_only_however_it_is_written() {
        for (text, here) in [
            ("127.0.0.1:1", true),
            ("127.3.2.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(ListenAt::Tcp(text.parse().unwrap()).is_here_only(), here, "{text}");
        }
    }
}
