//! Where images are kept: registries, the repositories in them, and what a tag leads to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Digest, InvalidName, Secret, Tag};

/// Longest registry host with its port.
const HOST_LENGTH_MAX: usize = 255;
/// Longest repository with its registry: many clients and registries take no more (OCI distribution specification,
/// "Pulling manifests").
const REPOSITORY_LENGTH_MAX: usize = 255;
/// The registry of names that have none.
const DOCKER_HUB: &str = "docker.io";
/// Other names of Docker Hub: the key of its login in `config.json`, and where its API is.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// Docker Hub's own images, which have names of one part.
const DOCKER_HUB_OWN: &str = "library/";

/// A registry's host in lower case, with its port if it has one of its own: `ghcr.io`, `127.0.0.1:5000`, `[::1]:5000`.
/// Docker Hub is `docker.io` under whatever name it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryHost(String);

impl RegistryHost {
    /// # Errors
    /// [`InvalidName`] says which rule the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        if let Err(reason) = check_host(&text) {
            return Err(InvalidName { kind: "registry", name: text, reason });
        }
        let host = text.to_ascii_lowercase();
        Ok(Self(if DOCKER_HUB_ALIASES.contains(&host.as_str()) { DOCKER_HUB.to_owned() } else { host }))
    }

    /// The registry that names without a registry mean: `docker.io`.
    #[must_use]
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.to_owned())
    }

    /// Whether it is Docker Hub, by whatever name it was written.
    #[must_use]
    pub fn is_docker_hub(&self) -> bool {
        self.0 == DOCKER_HUB
    }

    /// In lower case, with its port where it has one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the port, and without the brackets of an IPv6 address.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.0.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self.0.split(':').next().unwrap_or(&self.0),
        }
    }

    /// True when its port is written.
    #[must_use]
    pub fn has_port(&self) -> bool {
        split_port(&self.0).1.is_some()
    }

    /// True when it is on this machine, where a registry may speak plain HTTP: `localhost` and loopback addresses.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.name())
    }
}

/// True for `localhost` and for loopback addresses, which are without brackets.
fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check_host(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > HOST_LENGTH_MAX {
        return Err("a registry has 1 to 255 characters");
    }
    if text.contains("://") || text.contains('/') {
        return Err("a registry is a host without https:// and without a path, such as ghcr.io");
    }
    let (name, port) = split_port(text);
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0) || port.starts_with('+')) {
        return Err("a registry's port is a number from 1 to 65535");
    }
    if let Some(address) = name.strip_prefix('[') {
        let address = address.strip_suffix(']').and_then(|text| text.parse::<std::net::Ipv6Addr>().ok());
        return if address.is_some() { Ok(()) } else { Err("what stands in [ ] is no IPv6 address") };
    }
    let part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    if !name.split('.').all(part) {
        return Err("a registry is a host such as ghcr.io or 127.0.0.1:5000");
    }
    // Otherwise it would be the first part of a name on Docker Hub.
    if !name.contains('.') && port.is_none() && !name.eq_ignore_ascii_case("localhost") {
        return Err("a registry has a dot or a port, as in ghcr.io or registry:5000");
    }
    Ok(())
}

/// Name and port; the brackets of an IPv6 address stay.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    }
}

/// A repository in a registry: `ghcr.io/acme/web`. `web` is `docker.io/library/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository {
    registry: RegistryHost,
    path: String,
}

impl Repository {
    /// The path is as the OCI distribution specification has it: parts of lower-case letters and digits, joined within by
    /// one `.`, one or two `_` or any number of `-`, with `/` between them.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule the text breaks; a tag or digest behind the name is one of them.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        match split_repository(&text) {
            Ok((registry, path)) => Ok(Self { registry, path }),
            Err(reason) => Err(InvalidName { kind: "image repository", name: text, reason }),
        }
    }

    /// The registry that keeps it; Docker Hub where the name has none.
    #[must_use]
    pub fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    /// The name within its registry: `acme/web`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn split_repository(text: &str) -> Result<(RegistryHost, String), &'static str> {
    if text.is_empty() || text.len() > REPOSITORY_LENGTH_MAX {
        return Err("a repository has 1 to 255 characters");
    }
    let (registry, path) = match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            let invalid = |InvalidName { reason, .. }: InvalidName| reason;
            (RegistryHost::new(first).map_err(invalid)?, rest)
        }
        _ => (RegistryHost::docker_hub(), text),
    };
    if path.contains(['@', ':']) {
        return Err("a repository has no tag and no digest");
    }
    if !path.split('/').all(is_path_part) {
        return Err(
            "a repository's name has only lower-case letters and digits, with . _ __ - and / between them",
        );
    }
    let is_own = registry.is_docker_hub() && !path.contains('/');
    Ok((registry, if is_own { format!("{DOCKER_HUB_OWN}{path}") } else { path.to_owned() }))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let edges = [bytes.first(), bytes.last()];
    if !edges.into_iter().all(|edge| edge.is_some_and(|byte| is_word(*byte))) {
        return false;
    }
    let mut joints = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    joints.all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-'))
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// What somebody called it; it may lead elsewhere tomorrow.
    Tag(Tag),
    /// The very bytes.
    Digest(Digest),
}

impl Reference {
    /// The tag or the digest alone, without `:` or `@`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Reference::Tag(tag) => tag.as_str(),
            Reference::Digest(digest) => digest.as_str(),
        }
    }
}

/// As it stands behind a repository: `:v2`, `@sha256:…`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => write!(f, ":{tag}"),
            Reference::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Reference::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Reference::Digest(digest)
    }
}

/// What an image runs on: `linux/amd64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// As Go names it: `linux`.
    pub os: String,
    /// As Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// `v7` of an ARM processor; `None` where the image names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// The login for one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// Not empty, and without `:`.
    pub user: String,
    /// A password or an access token; not empty.
    pub password: Secret,
}

macro_rules! text_form {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    };
}

text_form!(RegistryHost);
text_form!(Repository);

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_that_no_name_on_docker_hub_could_be() {
        for (text, wanted, name, loopback) in [
            ("ghcr.io", "ghcr.io", "ghcr.io", false),
            ("GHCR.io", "ghcr.io", "ghcr.io", false),
            ("index.docker.io", "docker.io", "docker.io", false),
            ("registry-1.docker.io", "docker.io", "docker.io", false),
            ("registry:5000", "registry:5000", "registry", false),
            ("localhost", "localhost", "localhost", true),
            ("127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1", true),
            ("[::1]:5000", "[::1]:5000", "::1", true),
            ("[::1]", "[::1]", "::1", true),
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", false),
            ("127.0.0.1.evil.example", "127.0.0.1.evil.example", "127.0.0.1.evil.example", false),
        ] {
            let host = RegistryHost::new(text).unwrap();
            assert_eq!((host.as_str(), host.name(), host.is_loopback()), (wanted, name, loopback), "{text}");
            let has_port = text.ends_with(":5000");
            assert_eq!(host.has_port(), has_port, "{text}");
        }
        for bad in [
            "",
            "acme",
            "https://ghcr.io",
            "ghcr.io/acme",
            "user@ghcr.io",
            "ghcr.io:",
            "ghcr.io:0",
            "ghcr.io:+80",
            "ghcr.io:70000",
            "gh cr.io",
            "-ghcr.io",
            "ghcr..io",
            "ghcr.io.",
            "[::1",
            "[x]:80",
            "::1",
            "ghcr.io#x",
            "ghcr.io?x",
            "ghcr.io\n",
        ] {
            assert!(RegistryHost::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_repository_is_its_registry_and_a_name_of_the_specification_s_grammar() {
        for (text, wanted) in [
            ("web", "docker.io/library/web"),
            ("acme/web", "docker.io/acme/web"),
            ("docker.io/web", "docker.io/library/web"),
            ("index.docker.io/acme/web", "docker.io/acme/web"),
            ("ghcr.io/acme/web", "ghcr.io/acme/web"),
            ("localhost/web", "localhost/web"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c"),
            ("ghcr.io/a.b/c_d/e__f/g---h", "ghcr.io/a.b/c_d/e__f/g---h"),
        ] {
            assert_eq!(Repository::new(text).unwrap().to_string(), wanted);
        }
        for bad in [
            "",
            "/",
            "ghcr.io/",
            "ghcr.io//web",
            "ghcr.io/web/",
            "ghcr.io/Web",
            "ghcr.io/a..b",
            "ghcr.io/a___b",
            "ghcr.io/a._b",
            "ghcr.io/-a",
            "ghcr.io/a-",
            "ghcr.io/../x",
            "ghcr.io/a b",
            "ghcr.io/a?b",
            "ghcr.io/a%2fb",
            "ghcr.io/web:v1",
            "ghcr.io/web@sha256:00",
            "https://ghcr.io/web",
            "ghcr.io:0/web",
            "ghcr.io/wéb",
        ] {
            assert!(Repository::new(bad).is_err(), "{bad:?}");
        }
        assert!(Repository::new(format!("ghcr.io/{}", "a".repeat(300))).is_err());
    }

    #[test]
    fn a_login_does_not_show_its_password() {
        let login = RegistryLogin { user: "ann".into(), password: Secret::new("hunter2") };
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
