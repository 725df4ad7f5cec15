//! Where user and password for a registry come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::{RegistryHost, RegistryLogin, Secret};
use lockgate_ports::docker_login::{self, DockerLogin};
use lockgate_ports::{Host, PortError};
use tokio::sync::OnceCell;

/// The registry that takes a token of GitHub.
const GITHUB_REGISTRY: &str = "ghcr.io";
/// GitHub's registry wants a user name and does not look at it.
const GITHUB_USER: &str = "x-access-token";

/// What is shown to a registry or its token server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub proof: Proof,
    /// Where it comes from, for people: `registries: in the configuration`, `/root/.docker/config.json`. Empty without one.
    pub source: String,
    /// A credential helper that failed before.
    pub trouble: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// There is no login: as anybody may.
    None,
    Password {
        user: String,
        password: Secret,
    },
    /// To be exchanged at a token server.
    IdentityToken(Secret),
}

impl Login {
    /// Who asks, for people: `nobody`, `ann (registries: in lockgate.yaml)`.
    pub(crate) fn who(&self) -> String {
        match &self.proof {
            Proof::None => "nobody".to_owned(),
            Proof::Password { user, .. } => format!("{user} ({})", self.source),
            Proof::IdentityToken(_) => format!("an identity token ({})", self.source),
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.proof == Proof::None
    }

    pub(crate) fn secret(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::None => None,
            Proof::Password { password, .. } => Some(password),
            Proof::IdentityToken(token) => Some(token),
        }
    }
}

pub(crate) struct Logins {
    pub configured: BTreeMap<RegistryHost, RegistryLogin>,
    pub host: Arc<dyn Host>,
    /// The folder of Docker's `config.json`.
    pub docker_config: OnceCell<String>,
    pub github_token: Option<Secret>,
}

impl Logins {
    /// The login for a registry: of the configuration, else Docker's, else GitHub's token.
    ///
    /// # Errors
    /// See [`docker_login::find`]; only where nothing else has a login.
    pub(crate) async fn find(&self, registry: &RegistryHost) -> Result<Login, PortError> {
        if let Some(RegistryLogin { user, password }) = self.configured.get(registry) {
            let proof = Proof::Password { user: user.clone(), password: password.clone() };
            return Ok(Login { proof, source: "registries: in lockgate.yaml".to_owned(), trouble: None });
        }
        let github = self.github_token.as_ref().filter(|_| registry.as_str() == GITHUB_REGISTRY);
        let found = match (self.docker(registry).await, github) {
            (Ok(login), None) => return Ok(login),
            (Ok(login), Some(_)) if !login.is_none() => return Ok(login),
            (Err(error), None) => return Err(error),
            (found, Some(token)) => (found, token),
        };
        let (trouble, token) = match found {
            (Ok(login), token) => (login.trouble, token),
            (Err(error), token) => (Some(error.message), token),
        };
        let proof = Proof::Password { user: GITHUB_USER.to_owned(), password: token.clone() };
        Ok(Login { proof, source: "GITHUB_TOKEN".to_owned(), trouble })
    }

    async fn docker(&self, registry: &RegistryHost) -> Result<Login, PortError> {
        let host = self.host.as_ref();
        let folder = self.docker_config.get_or_try_init(|| docker_login::config_folder(host)).await?;
        let found = docker_login::find(host, folder, registry.as_str()).await?;
        let proof = match found.login {
            None => Proof::None,
            Some(DockerLogin::Token(token)) => Proof::IdentityToken(token),
            Some(DockerLogin::Password { user, password }) => Proof::Password { user, password },
        };
        let source = if proof == Proof::None { String::new() } else { format!("{folder}/config.json") };
        Ok(Login { proof, source, trouble: found.trouble })
    }
}

#[cfg(test)]
mod tests {
    use lockgate_local::Local;

    use super::*;

    async fn who(logins: &Logins, registry: &str) -> String {
        logins.find(&RegistryHost::new(registry).unwrap()).await.unwrap().who()
    }

    #[tokio::test]
    async fn the_configuration_comes_before_docker_and_docker_before_github_s_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let mut logins = Logins {
            configured: BTreeMap::new(),
            host: Arc::new(Local::new()),
            docker_config: OnceCell::new_with(Some(path.clone())),
            github_token: Some(Secret::new("hunter2")),
        };
        assert_eq!(who(&logins, "ghcr.io").await, "x-access-token (GITHUB_TOKEN)");
        assert_eq!(who(&logins, "docker.io").await, "nobody", "GitHub's token is for GitHub alone");
        let config = serde_json::json!({
            "auths": { "ghcr.io": { "auth": "YW5uOnB3" }, "https://index.docker.io/v1/": { "auth": "Ym9iOnB3" } },
        });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        assert_eq!(who(&logins, "ghcr.io").await, format!("ann ({path}/config.json)"));
        assert_eq!(who(&logins, "registry-1.docker.io").await, format!("bob ({path}/config.json)"));
        let own = RegistryLogin { user: "eve".into(), password: Secret::new("pw") };
        logins.configured.insert(RegistryHost::new("ghcr.io").unwrap(), own);
        assert_eq!(who(&logins, "ghcr.io").await, "eve (registries: in lockgate.yaml)");
    }

    #[tokio::test]
    async fn a_damaged_docker_configuration_is_an_error_unless_there_is_another_login() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{ hunter2").unwrap();
        let logins = Logins {
            configured: BTreeMap::new(),
            host: Arc::new(Local::new()),
            docker_config: OnceCell::new_with(Some(folder.path().to_str().unwrap().to_owned())),
            github_token: Some(Secret::new("token")),
        };
        let error = logins.find(&RegistryHost::docker_hub()).await.unwrap_err();
        assert!(error.message.contains("is not valid") && !error.message.contains("hunter2"), "{error}");
        let login = logins.find(&RegistryHost::new("ghcr.io").unwrap()).await.unwrap();
        assert_eq!(login.who(), "x-access-token (GITHUB_TOKEN)");
        assert!(login.trouble.unwrap().contains("is not valid"));
    }
}
