//! Docker's configuration with one more login, for as long as a program needs it.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_model::{RegistryHost, RegistryLogin};
use lockgate_ports::{Host, PortError, docker_login};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The one file of the folder that is not the user's own.
const CONFIG: &str = "config.json";

/// A folder for `DOCKER_CONFIG`, which nobody else may read. It is gone with this.
pub(crate) struct LoginFolder(TempDir);

impl LoginFolder {
    /// # Errors
    /// `Other` when the user's own configuration does not parse, and those of files.
    pub(crate) async fn make(
        host: &dyn Host,
        own: Option<&str>,
        registry: &RegistryHost,
        login: &RegistryLogin,
    ) -> Result<Self, PortError> {
        let own = match own {
            Some(folder) => folder.to_owned(),
            None => docker_login::config_folder(host).await?,
        };
        let path = format!("{own}/{CONFIG}");
        let before = host.read(&path).await?.content;
        let config = with_login(before.as_deref(), registry, login).ok_or_else(|| {
            // What it says could be a secret.
            PortError::other(format!("{path} is not valid"))
                .hint(format!("mend the file, or run `docker login {registry}` again"))
        })?;
        // Memory, where there is such a folder: a disk would keep what was on it.
        let memory = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
        let mut builder = tempfile::Builder::new();
        builder.prefix("lockgate-docker-");
        let folder = match memory {
            Some(memory) => builder.tempdir_in(memory),
            None => builder.tempdir(),
        }?;
        link_all(Path::new(&own), folder.path())?;
        let target = folder.path().join(CONFIG);
        host.write(&text(&target)?, config.to_string().as_bytes(), 0o600).await?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> Result<String, PortError> {
        text(self.0.path())
    }
}

fn text(path: &Path) -> Result<String, PortError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| PortError::other(format!("{} is not UTF-8", path.display())))
}

/// Builders, contexts and plugins stay where they are.
fn link_all(from: &Path, into: &Path) -> Result<(), PortError> {
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PortError::from(error).context(from.display())),
    };
    let from = std::path::absolute(from)?;
    for entry in entries {
        let name = entry?.file_name();
        if name != CONFIG {
            std::os::unix::fs::symlink(from.join(&name), into.join(&name))?;
        }
    }
    Ok(())
}

/// `None` when what was there is no configuration.
fn with_login(before: Option<&[u8]>, registry: &RegistryHost, login: &RegistryLogin) -> Option<Value> {
    let mut config: Value = match before {
        Some(before) if !before.trim_ascii().is_empty() => serde_json::from_slice(before).ok()?,
        _ => json!({}),
    };
    let address = docker_login::server_address(registry.as_str());
    let auth = STANDARD.encode(format!("{}:{}", login.user, login.password.reveal()));
    let members = config.as_object_mut()?;
    let auths = members.entry("auths").or_insert_with(|| json!({}));
    auths.as_object_mut()?.insert(address.to_owned(), json!({ "auth": auth }));
    // Without a helper of its own it would be looked for in the user's keychain.
    let helpers = members.entry("credHelpers").or_insert_with(|| json!({}));
    helpers.as_object_mut()?.insert(address.to_owned(), json!(""));
    Some(config)
}

#[cfg(test)]
mod tests {
    use lockgate_model::Secret;

    use super::*;

    fn login() -> RegistryLogin {
        RegistryLogin { user: "ann".into(), password: Secret::new("hunter2:x") }
    }

    #[test]
    fn a_login_is_added_to_what_docker_knows_already() {
        let registry = RegistryHost::new("ghcr.io").unwrap();
        let before =
            br#"{"auths":{"a.example":{"auth":"eA=="}},"credsStore":"desktop","currentContext":"far"}"#;
        let after = with_login(Some(before), &registry, &login()).unwrap();
        let auth = STANDARD.encode("ann:hunter2:x");
        assert_eq!(
            after,
            json!({
                "auths": { "a.example": { "auth": "eA==" }, "ghcr.io": { "auth": auth } },
                "credsStore": "desktop", "credHelpers": { "ghcr.io": "" }, "currentContext": "far",
            })
        );
        let hub = with_login(None, &RegistryHost::docker_hub(), &login()).unwrap();
        assert_eq!(hub["auths"]["https://index.docker.io/v1/"]["auth"], auth);
        for broken in [&b"{"[..], b"[]", br#"{"auths":7}"#] {
            assert_eq!(with_login(Some(broken), &registry, &login()), None);
        }
    }
}
