//! The login for a registry, as the host's own `docker login` left it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE};
use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Command, Host, PortError};
use serde::Deserialize;
use std::collections::BTreeMap;

const HELPER_SECONDS_MAX: u64 = 15;
/// Docker Hub's key in `config.json`, from the times of the first registry.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name by which a credential helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, AuthEntry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The value of the header `X-Registry-Auth`: base64url of a JSON document. A secret.
pub(crate) struct RegistryAuth(String);

impl RegistryAuth {
    pub(crate) fn header(&self) -> &str {
        &self.0
    }

    fn password(registry: &str, username: &str, password: &str) -> Self {
        let document = serde_json::json!({
            "username": username, "password": password, "serveraddress": server_address(registry),
        });
        Self(URL_SAFE.encode(document.to_string()))
    }

    fn token(registry: &str, token: &str) -> Self {
        let document =
            serde_json::json!({ "identitytoken": token, "serveraddress": server_address(registry) });
        Self(URL_SAFE.encode(document.to_string()))
    }
}

fn server_address(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER_HUB_KEY } else { registry }
}

/// The folder of `config.json` on the host: `$DOCKER_CONFIG`, else `~/.docker`.
pub(crate) async fn config_folder(host: &dyn Host) -> Result<String, PortError> {
    // A command on this machine would see our own environment, so it need not be started.
    let [config, home] = if host.id().is_local() {
        ["DOCKER_CONFIG", "HOME"].map(|name| std::env::var(name).unwrap_or_default())
    } else {
        let output =
            host.exec(&Command::new(["sh", "-c", "echo \"$DOCKER_CONFIG\"; echo \"$HOME\""])).await?;
        let text = output.stdout_text();
        let mut lines = text.lines().map(str::to_owned);
        [lines.next().unwrap_or_default(), lines.next().unwrap_or_default()]
    };
    Ok(folder_of(&config, &home))
}

fn folder_of(config: &str, home: &str) -> String {
    match (config, home) {
        ("", "") => "/root/.docker".to_owned(),
        ("", home) => format!("{}/.docker", home.trim_end_matches('/')),
        (config, _) => config.to_owned(),
    }
}

/// The login for `registry`, or `None` when the host has none.
///
/// # Errors
/// `Other` when the configuration does not parse, `Unauthorized` when its credential helper is missing.
pub(crate) async fn find(
    host: &dyn Host,
    folder: &str,
    registry: &str,
) -> Result<Option<RegistryAuth>, PortError> {
    let path = format!("{folder}/config.json");
    let Some(content) = host.read(&path).await?.content else { return Ok(None) };
    // The parser's message could quote a part of a secret, so only the place is told.
    let config: DockerConfig = serde_json::from_slice(&content).map_err(|error| {
        PortError::other(format!("{path} on {} is not valid, line {}", host.id(), error.line()))
            .hint(format!("mend the file, or run `docker login {registry}` again"))
    })?;
    let helper = config.cred_helpers.get(registry).or(config.creds_store.as_ref());
    if let Some(helper) = helper
        && let Some(auth) = ask_helper(host, helper, registry).await?
    {
        return Ok(Some(auth));
    }
    let wanted = bare(server_address(registry));
    let entry = config.auths.iter().find(|(key, _)| bare(key) == wanted).map(|(_, entry)| entry);
    Ok(entry.and_then(|entry| from_entry(registry, entry)))
}

/// A key of `auths` without scheme and path: `https://ghcr.io/v2/` is the same place as `ghcr.io`.
fn bare(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

fn from_entry(registry: &str, entry: &AuthEntry) -> Option<RegistryAuth> {
    if let Some(token) = entry.identitytoken.as_deref().filter(|token| !token.is_empty()) {
        return Some(RegistryAuth::token(registry, token));
    }
    if let (Some(username), Some(password)) = (&entry.username, &entry.password) {
        return Some(RegistryAuth::password(registry, username, password));
    }
    let decoded = LENIENT.decode(entry.auth.as_deref()?.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(RegistryAuth::password(registry, username, password))
}

async fn ask_helper(
    host: &dyn Host,
    helper: &str,
    registry: &str,
) -> Result<Option<RegistryAuth>, PortError> {
    let program = format!("docker-credential-{helper}");
    let command = Command::new([program.as_str(), "get"])
        .stdin(server_address(registry))
        .timeout(Millis::from_secs(HELPER_SECONDS_MAX));
    let output = match host.exec(&command).await {
        Ok(output) => output,
        Err(error) if error.kind == FailureKind::NotFound => return Err(no_helper(host, &program)),
        Err(error) => return Err(error.context(format!("{program} get"))),
    };
    // 127 is how a shell, which an SSH host may put in between, says that there is no such program.
    if output.code == 127 {
        return Err(no_helper(host, &program));
    }
    if !output.ok() {
        // "credentials not found in native keychain": a registry without a login.
        return Ok(None);
    }
    let answer: HelperAnswer = serde_json::from_slice(&output.stdout)
        .map_err(|_| PortError::other(format!("{program} on {} gave no valid answer", host.id())))?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => RegistryAuth::token(registry, &answer.secret),
        username => RegistryAuth::password(registry, username, &answer.secret),
    }))
}

fn no_helper(host: &dyn Host, program: &str) -> PortError {
    let message =
        format!("the credential helper {program}, which Docker's config.json names, is not on {}", host.id());
    PortError::new(FailureKind::Unauthorized, message)
        .hint("install it, or take it out of ~/.docker/config.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(auth: &RegistryAuth) -> serde_json::Value {
        serde_json::from_slice(&URL_SAFE.decode(auth.header()).unwrap()).unwrap()
    }

    #[test]
    fn a_login_is_found_whatever_form_docker_wrote_it_in() {
        let entry = AuthEntry { auth: Some(LENIENT.encode("ann:p:w")), ..AuthEntry::default() };
        let document = read(&from_entry("ghcr.io", &entry).unwrap());
        assert_eq!(
            (document["username"].as_str(), document["password"].as_str()),
            (Some("ann"), Some("p:w"))
        );
        let entry = AuthEntry { identitytoken: Some("t".into()), ..AuthEntry::default() };
        assert_eq!(read(&from_entry("ghcr.io", &entry).unwrap())["identitytoken"], "t");
        assert!(from_entry("ghcr.io", &AuthEntry::default()).is_none());
    }

    #[test]
    fn the_folder_is_docker_config_else_below_the_home_even_where_that_is_the_root() {
        assert_eq!(folder_of("/etc/docker-login", "/home/ann"), "/etc/docker-login");
        assert_eq!(folder_of("", "/home/ann/"), "/home/ann/.docker");
        assert_eq!(folder_of("", "/"), "/.docker");
        assert_eq!(folder_of("", ""), "/root/.docker");
    }

    #[test]
    fn keys_with_scheme_and_path_name_the_same_registry() {
        assert_eq!(bare("https://ghcr.io/v2/"), "ghcr.io");
        assert_eq!(bare(server_address("docker.io")), "index.docker.io");
        assert_eq!(bare("127.0.0.1:5000"), "127.0.0.1:5000");
    }
}
