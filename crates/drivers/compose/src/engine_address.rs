//! Where the engine is that a host's `docker` speaks to, found as its command line finds it: `DOCKER_HOST`, then
//! `DOCKER_CONTEXT`, then the current context of its `config.json`, then the usual socket. The key `docker_host` of
//! lockgate.yaml comes before all of them. What would lead elsewhere than asked for is refused, never passed over.
//! Source: docker/cli, `cli/command/cli.go` (`resolveContextName`) and `cli/context/store`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use lockgate_model::{FailureKind, Millis, quoted};
use lockgate_ports::{Command, Endpoint, Host, PortError, docker_login};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::place::join;

const SOCKET_DEFAULT: &str = "/var/run/docker.sock";
/// Ports of `tcp://HOST`. Source: docker/docker, `opts/hosts.go`.
const PORT_PLAIN: u16 = 2375;
const PORT_TLS: u16 = 2376;
/// Longest piece of an address or a context's name that is shown.
const SHOWN_CHARS_MAX: usize = 200;
/// The context that stands for the variables and the usual socket.
const CONTEXT_DEFAULT: &str = "default";
/// Says what another host's `docker` would go by.
const SURROUNDINGS: &str = include_str!("sh/surroundings.sh");
const SURROUNDINGS_SECONDS_MAX: u64 = 10;

/// Who says where the engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToldBy {
    /// Nobody: it is where it usually is.
    Default,
    Key,
    Variable,
    Context(String),
}

impl fmt::Display for ToldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToldBy::Default => f.write_str("Docker's default"),
            ToldBy::Key => f.write_str("`docker_host` in lockgate.yaml"),
            ToldBy::Variable => f.write_str("DOCKER_HOST"),
            ToldBy::Context(name) => write!(f, "Docker's context {}", quoted(name, SHOWN_CHARS_MAX)),
        }
    }
}

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineAddress {
    pub at: Endpoint,
    pub told_by: ToldBy,
    /// Folder on the host with `ca.pem`, and `cert.pem` and `key.pem` where the engine wants to know us. `None`: no TLS.
    pub certificates: Option<String>,
    /// The name or address of the machine, where that is another one than the host: its addresses, files and disks are
    /// not the host's.
    pub elsewhere: Option<String>,
}

impl EngineAddress {
    /// What makes Compose speak to the same engine, in the same way.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let at = ("DOCKER_HOST", self.to_string());
        // Empty ones count as not set, for both generations of Compose.
        let Some(folder) = &self.certificates else {
            return vec![at, ("DOCKER_TLS_VERIFY", String::new()), ("DOCKER_CERT_PATH", String::new())];
        };
        vec![
            at,
            ("DOCKER_TLS_VERIFY", "1".to_owned()),
            ("DOCKER_CERT_PATH", folder.clone()),
            // Version 1 is written in Python, where this variable of a shell would come before the folder's authority.
            ("REQUESTS_CA_BUNDLE", join(folder, "ca.pem")),
        ]
    }

    pub(crate) fn socket(&self) -> Option<&str> {
        match &self.at {
            Endpoint::Unix(path) => Some(path),
            Endpoint::Tcp(_) => None,
        }
    }
}

/// As `DOCKER_HOST` has it.
impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Endpoint::Unix(path) => write!(f, "unix://{path}"),
            Endpoint::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// What `docker` on a host goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Surroundings {
    /// Variables; empty ones count as not set.
    docker_host: String,
    context: String,
    tls: String,
    tls_verify: String,
    cert_path: String,
    /// Folder of `config.json`.
    config: String,
    /// What is in that; `None` where there is none.
    config_json: Option<Vec<u8>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigJson {
    current_context: String,
}

/// `contexts/meta/<sha256 of the name>/meta.json`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Context {
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Endpoints {
    docker: DockerEndpoint,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DockerEndpoint {
    host: String,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// Finds the engine's address once, when it is first wanted.
pub(crate) struct Locator {
    pub host: Arc<dyn Host>,
    /// The key in lockgate.yaml.
    pub key: Option<String>,
    /// The folder of `config.json`, where that is not what the host says.
    pub config: Option<String>,
    found: OnceCell<EngineAddress>,
    surroundings: OnceCell<Surroundings>,
}

impl Locator {
    pub(crate) fn new(host: Arc<dyn Host>, key: Option<String>, config: Option<String>) -> Self {
        Self { host, key, config, found: OnceCell::new(), surroundings: OnceCell::new() }
    }

    /// # Errors
    /// `Refused` for an address that cannot be honoured, `NotFound` for a context that is not there, and the host's.
    pub(crate) async fn address(&self) -> Result<&EngineAddress, PortError> {
        self.found.get_or_try_init(|| async { self.find().await.map_err(PortError::without_effect) }).await
    }

    /// The folder of Docker's `config.json` on the host.
    pub(crate) async fn config_folder(&self) -> Result<&str, PortError> {
        match &self.config {
            Some(folder) => Ok(folder),
            None => Ok(&self.surroundings().await?.config),
        }
    }

    async fn surroundings(&self) -> Result<&Surroundings, PortError> {
        let look = || async {
            match self.host.id().is_local() {
                true => here(self.host.as_ref(), self.config.as_deref()).await,
                false => there(self.host.as_ref()).await,
            }
        };
        self.surroundings.get_or_try_init(look).await
    }

    async fn find(&self) -> Result<EngineAddress, PortError> {
        if let Some(path) = self.key.as_deref().and_then(socket) {
            return Ok(unix(path, ToldBy::Key));
        }
        let seen = self.surroundings().await?;
        let by_variables = |text: &str, told_by| {
            if !seen.tls.is_empty() && seen.tls_verify.is_empty() && socket(text).is_none() {
                return Err(unverified(self.host.as_ref(), "DOCKER_TLS without DOCKER_TLS_VERIFY")
                    .hint("export DOCKER_TLS_VERIFY=1, with the engine's ca.pem in $DOCKER_CERT_PATH"));
            }
            let folder = if seen.cert_path.is_empty() { &seen.config } else { &seen.cert_path };
            let certificates = (!seen.tls_verify.is_empty()).then(|| folder.clone());
            read(self.host.as_ref(), text, told_by, certificates)
        };
        if let Some(text) = &self.key {
            return by_variables(text, ToldBy::Key);
        }
        if !seen.docker_host.is_empty() {
            return by_variables(&seen.docker_host, ToldBy::Variable);
        }
        let current = match seen.context.is_empty() {
            true => current_context(self.host.as_ref(), seen)?,
            false => seen.context.clone(),
        };
        match current.as_str() {
            "" | CONTEXT_DEFAULT => Ok(unix(SOCKET_DEFAULT, ToldBy::Default)),
            name => self.of_context(name, &seen.config).await,
        }
    }

    async fn of_context(&self, name: &str, config: &str) -> Result<EngineAddress, PortError> {
        let host = self.host.as_ref();
        let told_by = ToldBy::Context(name.to_owned());
        let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = join(config, &format!("contexts/meta/{digest}/meta.json"));
        let Some(content) = host.read(&path).await?.content else {
            return Err(PortError::not_found(format!(
                "{told_by} is not on {}: there is no {path}",
                host.id()
            ))
            .hint("see `docker context ls`; `docker context use default` goes back to the usual socket"));
        };
        let context: Context = serde_json::from_slice(&content).map_err(|error| {
            PortError::other(format!("{path} on {} is not understood: {error}", host.id()))
                .hint("see `docker context inspect`")
        })?;
        let DockerEndpoint { host: text, skip_tls_verify } = context.endpoints.docker;
        if skip_tls_verify && socket(&text).is_none() {
            return Err(unverified(host, &format!("{told_by}, which skips TLS verification,"))
                .hint("`docker context update` with `skip-tls-verify=false` and the engine's ca"));
        }
        let folder = join(config, &format!("contexts/tls/{digest}/docker"));
        let has_certificates = match socket(&text) {
            Some(_) => false,
            None => host.read(&join(&folder, "ca.pem")).await?.content.is_some(),
        };
        read(host, &text, told_by, has_certificates.then_some(folder))
    }
}

/// An engine that could be anybody's is not told what to run.
fn unverified(host: &dyn Host, what: &str) -> PortError {
    PortError::new(
        FailureKind::Refused,
        format!("{what} on {} would trust whoever answers in the engine's place", host.id()),
    )
}

fn current_context(host: &dyn Host, seen: &Surroundings) -> Result<String, PortError> {
    let Some(content) = &seen.config_json else { return Ok(String::new()) };
    // The parser's message could quote a login.
    let config: ConfigJson = serde_json::from_slice(content).map_err(|error| {
        let path = join(&seen.config, "config.json");
        PortError::other(format!("{path} on {} is not valid, line {}", host.id(), error.line()))
            .hint("mend the file: Docker's current context stands in it")
    })?;
    Ok(config.current_context)
}

async fn here(host: &dyn Host, config: Option<&str>) -> Result<Surroundings, PortError> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let config = match config {
        Some(config) => config.to_owned(),
        None => docker_login::config_folder(host).await?,
    };
    Ok(Surroundings {
        docker_host: variable("DOCKER_HOST"),
        context: variable("DOCKER_CONTEXT"),
        tls: variable("DOCKER_TLS"),
        tls_verify: variable("DOCKER_TLS_VERIFY"),
        cert_path: variable("DOCKER_CERT_PATH"),
        config_json: host.read(&join(&config, "config.json")).await?.content,
        config,
    })
}

/// In one request, for it comes before every other.
async fn there(host: &dyn Host) -> Result<Surroundings, PortError> {
    let command = Command::new(["sh", "-c", SURROUNDINGS, "surroundings.sh"])
        .timeout(Millis::from_secs(SURROUNDINGS_SECONDS_MAX));
    let output = host.exec(&command).await?;
    let parts: Vec<&[u8]> = output.stdout.splitn(7, |byte| *byte == 0).collect();
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    let read = match parts.as_slice() {
        [docker_host, context, tls, tls_verify, cert_path, config, content] => Some(Surroundings {
            docker_host: text(docker_host),
            context: text(context),
            tls: text(tls),
            tls_verify: text(tls_verify),
            cert_path: text(cert_path),
            config: text(config),
            config_json: (!content.is_empty()).then(|| content.to_vec()),
        }),
        _ => None,
    };
    read.filter(|_| output.ok()).ok_or_else(|| {
        let said = output.stderr_text();
        let said = quoted(said.trim(), SHOWN_CHARS_MAX);
        PortError::other(format!("{} does not say what its docker goes by: {said}", host.id()))
            .hint("does `sh -c 'echo $HOME'` work there?")
    })
}

/// The path of a Unix socket, bare or as `unix://`.
fn socket(text: &str) -> Option<&str> {
    text.strip_prefix("unix://").or(Some(text)).filter(|path| path.starts_with('/'))
}

fn unix(path: &str, told_by: ToldBy) -> EngineAddress {
    EngineAddress { at: Endpoint::Unix(path.to_owned()), told_by, certificates: None, elsewhere: None }
}

fn read(
    host: &dyn Host,
    text: &str,
    told_by: ToldBy,
    certificates: Option<String>,
) -> Result<EngineAddress, PortError> {
    if let Some(path) = socket(text) {
        return Ok(unix(path, told_by));
    }
    let shown = quoted(text, SHOWN_CHARS_MAX);
    let refused = |why: &str| {
        PortError::new(FailureKind::Refused, format!("{told_by} on {} is \"{shown}\": {why}", host.id()))
    };
    if let Some(destination) = text.strip_prefix("ssh://") {
        let destination = destination.trim_end_matches('/');
        let name = destination.rsplit_once(':').map_or(destination, |(name, _)| name);
        let typed = if name == destination { destination.to_owned() } else { format!("ssh://{destination}") };
        let typed = quoted(&typed, SHOWN_CHARS_MAX);
        let without = match &told_by {
            ToldBy::Key => "leave `docker_host` out",
            ToldBy::Context(_) => "`docker context use default`",
            ToldBy::Default | ToldBy::Variable => "`unset DOCKER_HOST`",
        };
        return Err(refused("Lockgate goes to other machines by itself, with leases and files there").hint(
            format!("name the machine in lockgate.yaml, as in `hosts: [\"{typed}\"]`, and {without}"),
        ));
    }
    let rest = match text.split_once("://") {
        Some(("tcp", rest)) => rest.trim_end_matches('/'),
        None => text,
        Some(_) => {
            return Err(refused("that is no address of an engine that Lockgate can speak to")
                .hint("write unix:///path/to/docker.sock or tcp://HOST:PORT"));
        }
    };
    let port = if certificates.is_some() { PORT_TLS } else { PORT_PLAIN };
    let Some((name, port)) = name_and_port(rest, port) else {
        return Err(refused("that is no host and port").hint("write tcp://HOST:PORT"));
    };
    let is_here = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let written = if name.contains(':') { format!("[{name}]") } else { name.clone() };
    let at = Endpoint::Tcp(format!("{written}:{port}"));
    Ok(EngineAddress { at, told_by, certificates, elsewhere: (!is_here).then_some(name) })
}

/// `HOST`, `HOST:PORT` or `[IPV6]:PORT`; the host without its brackets.
fn name_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            (name, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port != 0))?;
    (!name.is_empty() && name.chars().all(is_name)).then(|| (name.to_owned(), port))
}

#[cfg(test)]
#[path = "engine_address_tests.rs"]
mod tests;
