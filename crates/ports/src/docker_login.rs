//! The logins that a host's own `docker login` left: its `config.json` and the credential helpers named there.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use lockgate_model::{FailureKind, Millis, Secret, quoted};
use serde::Deserialize;

use crate::{Command, Host, Output, PortError};

/// Docker Hub's key in `config.json`, from the times of the first registry.
pub const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

const HELPER_SECONDS_MAX: u64 = 15;
/// Longest name of a credential helper.
const HELPER_CHARS_MAX: usize = 100;
/// The user name by which a credential helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers write when they have no login for a registry (docker-credential-helpers, `credentials/error.go`).
const HELPER_HAS_NONE: &str = "credentials not found in native keychain";

/// Asks the user's own login shell for a program, by its name in `$1`, and for its `PATH`.
const LOGIN_PATH: &str = r#"exec "${SHELL:-/bin/sh}" -lc 'command -v '"$1"' && printf "%s\n" "$PATH"'"#;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A login for one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerLogin {
    /// A user and a password.
    Password {
        /// May be empty, as some registries have it.
        user: String,
        /// May be a token that is used as a password.
        password: Secret,
    },
    /// An identity token, for which a token server gives access tokens.
    Token(Secret),
}

/// What was found for a registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// `None`: the host has no login for it.
    pub login: Option<DockerLogin>,
    /// A credential helper that failed, and how; it may have had the login.
    pub trouble: Option<String>,
}

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

/// By what name `config.json` and helpers know the registry.
#[must_use]
pub fn server_address(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER_HUB_KEY } else { registry }
}

/// The folder of `config.json` on the host: `$DOCKER_CONFIG`, else `~/.docker`.
///
/// # Errors
/// The host's.
pub async fn config_folder(host: &dyn Host) -> Result<String, PortError> {
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

/// The login for `registry` (`ghcr.io`, `docker.io`) in the host's `<folder>/config.json`. A helper that fails is no
/// error, for the registry may want no login: it is in [`Found::trouble`].
///
/// # Errors
/// `Other` when the configuration does not parse or names a helper that cannot be one, `Unauthorized` when its credential
/// helper is missing, and the host's. No error holds a part of the file or of a helper's answer.
pub async fn find(host: &dyn Host, folder: &str, registry: &str) -> Result<Found, PortError> {
    let path = format!("{folder}/config.json");
    let Some(content) = host.read(&path).await?.content else { return Ok(Found::default()) };
    // The parser's message could quote a part of a secret, so only the place is told.
    let config: DockerConfig = serde_json::from_slice(&content).map_err(|error| {
        PortError::other(format!("{path} on {} is not valid, line {}", host.id(), error.line()))
            .hint(format!("mend the file, or run `docker login {registry}` again"))
    })?;
    let address = server_address(registry);
    let own = config.cred_helpers.get(registry).or_else(|| config.cred_helpers.get(address));
    let mut trouble = None;
    if let Some(helper) = own.or(config.creds_store.as_ref()).filter(|name| !name.is_empty()) {
        let found = ask_helper(host, &path, helper, registry).await?;
        if found.login.is_some() {
            return Ok(found);
        }
        trouble = found.trouble;
    }
    let entry = config.auths.iter().find(|(key, _)| bare(key) == bare(address)).map(|(_, entry)| entry);
    Ok(Found { login: entry.and_then(from_entry), trouble })
}

/// A key of `auths` without scheme and path: `https://ghcr.io/v2/` is the same place as `ghcr.io`.
fn bare(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

fn from_entry(entry: &AuthEntry) -> Option<DockerLogin> {
    if let Some(token) = entry.identitytoken.as_deref().filter(|token| !token.is_empty()) {
        return Some(DockerLogin::Token(Secret::new(token)));
    }
    if let (Some(user), Some(password)) = (&entry.username, &entry.password) {
        return Some(DockerLogin::Password { user: user.clone(), password: Secret::new(password) });
    }
    let decoded = LENIENT.decode(entry.auth.as_deref()?.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(DockerLogin::Password { user: user.to_owned(), password: Secret::new(password) })
}

async fn ask_helper(host: &dyn Host, path: &str, helper: &str, registry: &str) -> Result<Found, PortError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if helper.len() > HELPER_CHARS_MAX || !helper.bytes().all(is_name) {
        let shown = quoted(helper, HELPER_CHARS_MAX);
        return Err(PortError::other(format!(
            "{path} on {} names a credential helper \"{shown}\"",
            host.id()
        ))
        .hint("`credsStore` and `credHelpers` hold what follows docker-credential- in a program's name"));
    }
    let program = format!("docker-credential-{helper}");
    let command = Command::new([program.as_str(), "get"])
        .stdin(server_address(registry))
        .timeout(Millis::from_secs(HELPER_SECONDS_MAX));
    let mut asked = ask(host, command.clone()).await;
    if let Ok(None) = asked {
        // A shell that people type in may have a longer PATH than the one that commands get.
        let Some(path) = login_path(host, &program).await else { return Err(no_helper(host, &program)) };
        let argv = vec![path.program, "get".to_owned()];
        asked = ask(host, Command { argv, ..command.env("PATH", path.folders) }).await;
    }
    let output = match asked {
        Ok(Some(output)) => output,
        Ok(None) => return Err(no_helper(host, &program)),
        Err(error) => return Err(error.context(format!("{program} get"))),
    };
    if !output.ok() {
        let has_none = output.stdout_text().contains(HELPER_HAS_NONE);
        let trouble = format!("{program} on {} failed with exit code {}", host.id(), output.code);
        return Ok(Found { login: None, trouble: (!has_none).then_some(trouble) });
    }
    let answer: HelperAnswer = serde_json::from_slice(&output.stdout)
        .map_err(|_| PortError::other(format!("{program} on {} gave no valid answer", host.id())))?;
    let secret = Secret::new(answer.secret);
    let login = match answer.username.as_str() {
        TOKEN_USER => DockerLogin::Token(secret),
        _ => DockerLogin::Password { user: answer.username, password: secret },
    };
    Ok(Found { login: Some(login), trouble: None })
}

/// `None` where there is no such program.
async fn ask(host: &dyn Host, command: Command) -> Result<Option<Output>, PortError> {
    match host.exec(&command).await {
        // 127 is how a shell, which an SSH host may put in between, says that there is no such program.
        Ok(output) => Ok((output.code != 127).then_some(output)),
        Err(error) if error.kind == FailureKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A program as a login shell finds it.
struct LoginPath {
    /// Absolute.
    program: String,
    /// What that shell has in `PATH`: a helper calls others (`pass`, `gpg`).
    folders: String,
}

/// Where the user's login shell finds the program; `None` where it does not either.
async fn login_path(host: &dyn Host, program: &str) -> Option<LoginPath> {
    let command =
        Command::new(["sh", "-c", LOGIN_PATH, "sh", program]).timeout(Millis::from_secs(HELPER_SECONDS_MAX));
    let output = host.exec(&command).await.ok().filter(Output::ok)?;
    // What a profile prints comes before.
    let text = output.stdout_text();
    let mut lines = text.lines().rev();
    let (folders, found) = (lines.next()?.to_owned(), lines.next()?.to_owned());
    let is_it = found.starts_with('/') && found.rsplit('/').next() == Some(program);
    is_it.then_some(LoginPath { program: found, folders })
}

fn no_helper(host: &dyn Host, program: &str) -> PortError {
    let message = format!(
        "the credential helper {program}, which Docker's config.json names, is not on {}, neither in the PATH of commands nor \
         in that of a login shell",
        host.id()
    );
    PortError::new(FailureKind::Unauthorized, message)
        .hint("install it in /usr/local/bin, or take it out of ~/.docker/config.json")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lockgate_model::HostId;

    use super::*;
    use crate::fake::{Catalogue, FakeHost, FakePorts, Machine, NoFaults, shared};

    fn password(user: &str, password: &str) -> Option<DockerLogin> {
        Some(DockerLogin::Password { user: user.to_owned(), password: Secret::new(password) })
    }

    #[test]
    fn a_login_is_found_whatever_form_docker_wrote_it_in() {
        let entry = AuthEntry { auth: Some(LENIENT.encode("ann:p:w")), ..AuthEntry::default() };
        assert_eq!(from_entry(&entry), password("ann", "p:w"));
        let entry = AuthEntry { identitytoken: Some("t".into()), ..AuthEntry::default() };
        assert_eq!(from_entry(&entry), Some(DockerLogin::Token(Secret::new("t"))));
        assert_eq!(from_entry(&AuthEntry::default()), None);
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

    #[tokio::test]
    async fn a_helper_is_a_program_by_its_name_and_never_a_path() {
        let machine = shared(Machine::new(HostId::new("web1").unwrap(), Arc::new(Catalogue::default())));
        let host = FakeHost(FakePorts::new(machine, Arc::new(NoFaults)));
        for helper in ["../../tmp/evil", "a b", "x;y", "é", &"a".repeat(101)] {
            let config = serde_json::json!({ "credsStore": helper }).to_string();
            host.write("/login/config.json", config.as_bytes(), 0o600).await.unwrap();
            let error = find(&host, "/login", "ghcr.io").await.unwrap_err();
            assert!(
                error.message.contains("names a credential helper") && !error.hints().is_empty(),
                "{error}"
            );
        }
        let config =
            r#"{ "credHelpers": { "ghcr.io": "" }, "auths": { "https://ghcr.io": { "auth": "YTpi" } } }"#;
        host.write("/login/config.json", config.as_bytes(), 0o600).await.unwrap();
        assert_eq!(find(&host, "/login", "ghcr.io").await.unwrap().login, password("a", "b"));
        assert_eq!(find(&host, "/login", "quay.io").await.unwrap(), Found::default());
    }

    /// A host whose helper `vault` leaves this, and the login it has then for `ghcr.io`.
    async fn helped(code: i32, stdout: &str) -> Result<Found, PortError> {
        let mut machine = Machine::new(HostId::new("web1").unwrap(), Arc::new(Catalogue::default()));
        let output = crate::Output { code, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() };
        machine.programs.insert("docker-credential-vault".to_owned(), output);
        let host = FakeHost(FakePorts::new(shared(machine), Arc::new(NoFaults)));
        let config = r#"{ "credsStore": "vault", "auths": { "ghcr.io": { "auth": "" } } }"#;
        host.write("/login/config.json", config.as_bytes(), 0o600).await.unwrap();
        find(&host, "/login", "ghcr.io").await
    }

    #[tokio::test]
    async fn what_a_helper_gives_is_the_login_and_a_failing_one_is_told_of() {
        let found = helped(0, r#"{ "ServerURL": "ghcr.io", "Username": "ann", "Secret": "hunter2" }"#).await;
        assert_eq!(found.unwrap().login, password("ann", "hunter2"));
        let found = helped(0, r#"{ "Username": "<token>", "Secret": "t" }"#).await.unwrap();
        assert_eq!(found.login, Some(DockerLogin::Token(Secret::new("t"))));
        assert_eq!(helped(1, HELPER_HAS_NONE).await.unwrap(), Found::default(), "it has no login");
        let found = helped(1, "the vault is locked, hunter2").await.unwrap();
        let trouble = found.trouble.unwrap();
        assert!(trouble.contains("docker-credential-vault") && !trouble.contains("hunter2"), "{trouble}");
        let error = helped(0, "hunter2 is no JSON").await.unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let error = helped(127, "").await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    }

    /// The user's own login shell finds what a command's PATH does not have.
    #[test]
    fn a_login_shell_is_asked_for_a_helper_and_its_path() {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join("own bin");
        std::fs::create_dir(&bin).unwrap();
        let program = bin.join("docker-credential-vault");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let profile = format!("echo Welcome\nPATH=\"$PATH:{}\"\n", bin.display());
        std::fs::write(home.path().join(".profile"), profile).unwrap();
        let asked = |name: &str| {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", LOGIN_PATH, "sh", name]).env("HOME", home.path()).env("SHELL", "/bin/sh");
            shell.output().unwrap()
        };
        let output = asked("docker-credential-vault");
        let said = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[1], program.to_str().unwrap(), "{said}");
        assert!(lines[2].ends_with(bin.to_str().unwrap()), "{said}");
        assert!(!asked("docker-credential-none").status.success());
    }

    #[tokio::test]
    async fn a_helper_that_only_a_login_shell_finds_is_asked_there() {
        let mut machine = Machine::new(HostId::new("web1").unwrap(), Arc::new(Catalogue::default()));
        let mut leaves = |program: &str, stdout: &str| {
            let output = Output { code: 0, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() };
            machine.programs.insert(program.to_owned(), output);
        };
        leaves("sh", "Welcome\n/home/ann/bin/docker-credential-vault\n/usr/bin:/home/ann/bin\n");
        leaves("/home/ann/bin/docker-credential-vault", r#"{ "Username": "ann", "Secret": "hunter2" }"#);
        let host = FakeHost(FakePorts::new(shared(machine), Arc::new(NoFaults)));
        host.write("/login/config.json", br#"{ "credsStore": "vault" }"#, 0o600).await.unwrap();
        let found = find(&host, "/login", "ghcr.io").await.unwrap();
        assert_eq!(found.login, password("ann", "hunter2"));
        host.write("/login/config.json", br#"{ "credsStore": "other" }"#, 0o600).await.unwrap();
        let error = find(&host, "/login", "ghcr.io").await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Unauthorized);
        assert!(error.message.contains("nor in that of a login shell"), "{error}");
    }
}
