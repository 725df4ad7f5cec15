//! The login for a registry, as the host's own `docker login` left it, in the form that Docker's engine takes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use lockgate_ports::docker_login::{self, DockerLogin, server_address};
use lockgate_ports::{Host, PortError};

/// The value of the header `X-Registry-Auth`: base64url of a JSON document. A secret.
pub(crate) struct RegistryAuth(String);

impl RegistryAuth {
    pub(crate) fn header(&self) -> &str {
        &self.0
    }

    fn of(registry: &str, login: &DockerLogin) -> Self {
        let serveraddress = server_address(registry);
        let document = match login {
            DockerLogin::Password { user, password } => serde_json::json!({
                "username": user, "password": password.reveal(), "serveraddress": serveraddress,
            }),
            DockerLogin::Token(token) => {
                serde_json::json!({ "identitytoken": token.reveal(), "serveraddress": serveraddress })
            }
        };
        Self(URL_SAFE.encode(document.to_string()))
    }
}

/// The login for `registry`, or `None` when the host has none or its credential helper gives none.
///
/// # Errors
/// See [`docker_login::find`].
pub(crate) async fn find(
    host: &dyn Host,
    folder: &str,
    registry: &str,
) -> Result<Option<RegistryAuth>, PortError> {
    let found = docker_login::find(host, folder, registry).await?;
    if let Some(trouble) = found.trouble {
        tracing::warn!(registry, "{trouble}");
    }
    Ok(found.login.map(|login| RegistryAuth::of(registry, &login)))
}

#[cfg(test)]
mod tests {
    use lockgate_model::Secret;

    use super::*;

    fn read(auth: &RegistryAuth) -> serde_json::Value {
        serde_json::from_slice(&URL_SAFE.decode(auth.header()).unwrap()).unwrap()
    }

    #[test]
    fn a_login_is_told_to_the_engine_by_the_name_that_docker_has_for_the_registry() {
        let login = DockerLogin::Password { user: "ann".into(), password: Secret::new("p:w") };
        let document = read(&RegistryAuth::of("docker.io", &login));
        let wanted = serde_json::json!({
            "username": "ann", "password": "p:w", "serveraddress": "https://index.docker.io/v1/",
        });
        assert_eq!(document, wanted);
        let token = DockerLogin::Token(Secret::new("t"));
        let document = read(&RegistryAuth::of("ghcr.io", &token));
        assert_eq!(document, serde_json::json!({ "identitytoken": "t", "serveraddress": "ghcr.io" }));
    }
}
