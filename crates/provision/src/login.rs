//! Logins for registries, where the host's own Docker keeps them: deployments pull with what is there, and so does a person.
//!
//! The password goes to `docker login` on its standard input. Docker writes it to `config.json` (mode 0600) or gives it to the
//! credential helper that is named there.

use lockgate_model::{
    FailureKind, Millis, RegistryHost, RegistryLogin, SetupItem, SetupKind, SetupState, quoted,
};
use lockgate_ports::docker_login::{self, DockerLogin};
use lockgate_ports::{Command, Host, Output, PortError};

use crate::wanted::Wanted;

/// The engine asks the registry.
const LOGIN_SECONDS_MAX: u64 = 60;
const SHOWN_CHARS_MAX: usize = 200;

/// How it stands with each login.
pub(crate) async fn look(host: &dyn Host, wanted: &Wanted) -> Result<Vec<SetupItem>, PortError> {
    if wanted.logins.is_empty() {
        return Ok(Vec::new());
    }
    let folder = docker_login::config_folder(host).await.map_err(PortError::without_effect)?;
    let mut items = Vec::new();
    for (registry, login) in &wanted.logins {
        let found =
            docker_login::find(host, &folder, registry.as_str()).await.map_err(PortError::without_effect)?;
        let (state, note) = match (found.login, found.trouble) {
            // What is behind a token nobody can see; the registry gave it for a login.
            (Some(DockerLogin::Token(_)), _) => (SetupState::There, Some("by a token".to_owned())),
            (Some(DockerLogin::Password { user, password }), _)
                if user == login.user && password == login.password =>
            {
                (SetupState::There, None)
            }
            (Some(DockerLogin::Password { user, .. }), _) if user == login.user => {
                (SetupState::Make, Some(format!("{user} has another password there")))
            }
            (Some(DockerLogin::Password { user, .. }), _) => {
                (SetupState::Make, Some(format!("{user} is logged in there")))
            }
            (None, trouble) => (SetupState::Make, trouble),
        };
        items.push(SetupItem { kind: SetupKind::Login, name: registry.to_string(), state, note, hint: None });
    }
    Ok(items)
}

pub(crate) async fn make(
    host: &dyn Host,
    registry: &RegistryHost,
    login: &RegistryLogin,
) -> Result<(), PortError> {
    let address = docker_login::server_address(registry.as_str());
    let command = Command::new(["docker", "login", "--username", &login.user, "--password-stdin", address])
        .stdin(login.password.reveal())
        .timeout(Millis::from_secs(LOGIN_SECONDS_MAX));
    match host.exec(&command).await {
        Ok(output) if output.ok() => Ok(()),
        Ok(output) => Err(refused(host, registry, login, &output)),
        Err(error) if error.kind == FailureKind::NotFound => {
            Err(error.hint(
                "`setup: { docker: install }` in lockgate.yaml installs it there; `wait_for` waits for a first-time setup that does",
            ))
        }
        Err(error) => Err(error),
    }
}

fn refused(host: &dyn Host, registry: &RegistryHost, login: &RegistryLogin, output: &Output) -> PortError {
    let said = output.stderr_text();
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it says nothing of why");
    // A registry's answer is anything; ours is not to be told back.
    let last = last.replace(login.password.reveal(), "***");
    let message = format!(
        "`docker login {registry}` on {} ended with exit code {}: {}",
        host.id(),
        output.code,
        quoted(&last, SHOWN_CHARS_MAX)
    );
    let is_daemon = said.contains("docker daemon") || said.contains("docker.sock");
    let hint = match is_daemon {
        true => "does Docker's engine run there, and may this user use it (the group `docker`)?".to_owned(),
        false => format!("is the login for {registry} in `registries` right, and can the host reach it?"),
    };
    PortError::new(FailureKind::Unauthorized, message).hint(hint)
}
