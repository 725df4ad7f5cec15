//! Compose by its command line on the host.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Command, Host, Output, PortError};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::cli_cache::CliCache;
use crate::engine_address::Locator;
use crate::found_cli::{ComposeCli, FoundCli};
use crate::place::Place;
use crate::plain::plain;

/// Bound for `compose up` of one service, whose image is there already.
const UP_SECONDS_MAX: u64 = 120;
/// Bound for commands that only read files. Compose v1 alone needs about a second to start on a busy machine.
const READ_SECONDS_MAX: u64 = 30;
/// Lines of Compose's own words in an error.
const ERROR_LINES_MAX: usize = 6;
/// A secret shorter than this is no secret, and hiding it would hide half of every message.
const SECRET_BYTES_MIN: usize = 4;

pub(crate) struct Cli {
    host: Arc<dyn Host>,
    locator: Arc<Locator>,
    pub(crate) wanted: Option<ComposeCli>,
    found: OnceCell<FoundCli>,
}

impl Cli {
    pub(crate) fn new(locator: Arc<Locator>, wanted: Option<ComposeCli>) -> Self {
        Self { host: locator.host.clone(), locator, wanted, found: OnceCell::new() }
    }

    /// The Compose of the host; looked for once.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) async fn found(&self) -> Result<&FoundCli, PortError> {
        self.found.get_or_try_init(|| self.look()).await
    }

    /// The same, from what was remembered in a slot's folder while the programs are the same files: asking Compose for its
    /// version takes 50 ms, and version 1 more than 300.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) async fn found_in(&self, dir: &str) -> Result<&FoundCli, PortError> {
        let remembered = || async {
            let Some(known) = CliCache::of(self.host.as_ref(), self.wanted, dir).await else {
                return self.look().await;
            };
            if let Some(found) = known.read(self.host.as_ref()).await {
                return Ok(found);
            }
            let found = self.itself(self.look().await?, known.plugin.as_deref()).await;
            known.write(self.host.as_ref(), &found).await;
            Ok(found)
        };
        self.found.get_or_try_init(remembered).await
    }

    async fn look(&self) -> Result<FoundCli, PortError> {
        let candidates = match self.wanted {
            Some(cli) => vec![cli],
            None => vec![ComposeCli::Plugin, ComposeCli::Standalone],
        };
        for cli in candidates {
            let version = self.version(cli.argv()).await;
            if let Some(version) = version.map_err(|error| error.context("looking for Docker Compose"))? {
                return Ok(FoundCli { cli, version, program: None });
            }
        }
        Err(PortError::not_found(format!("Docker Compose is not installed on {}", self.host.id()))
            .hint("install the Compose plugin (package `docker-compose-plugin`) or `docker-compose`"))
    }

    /// Docker's CLI takes 40 ms of every call to find its plugin. Where that is seen on the host, and says the same version, it
    /// is called without it.
    async fn itself(&self, mut found: FoundCli, plugin: Option<&str>) -> FoundCli {
        if found.cli == ComposeCli::Plugin
            && let Some(program) = plugin
            && self.version(&[program]).await.is_ok_and(|version| version.as_ref() == Some(&found.version))
        {
            found.program = Some(program.to_owned());
        }
        found
    }

    /// `None` when that is no Compose.
    async fn version(&self, argv: &[&str]) -> Result<Option<String>, PortError> {
        let mut command = Command::new(argv.iter().copied()).arg("version").arg("--short");
        command.timeout = Millis::from_secs(READ_SECONDS_MAX);
        let output = match self.host.exec(&command).await {
            Ok(output) if output.ok() => output,
            Ok(_) => return Ok(None),
            Err(error) if error.kind == FailureKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let version = output.stdout_text().trim().trim_start_matches('v').to_owned();
        Ok(version.starts_with(|c: char| c.is_ascii_digit()).then_some(version))
    }

    /// `files` are within the place's folder and in order; `-f` keeps Compose from looking for others.
    async fn run(
        &self,
        place: &Place,
        files: &[&str],
        env: &BTreeMap<String, String>,
        args: &[&str],
        seconds_max: u64,
    ) -> Result<Output, PortError> {
        let command = self.command(place, files, env, args).await?;
        command.timeout(Millis::from_secs(seconds_max)).exec_on(self.host.as_ref()).await
    }

    /// As [`Cli::run`] runs it.
    pub(crate) async fn command(
        &self,
        place: &Place,
        files: &[&str],
        env: &BTreeMap<String, String>,
        args: &[&str],
    ) -> Result<Command, PortError> {
        let found = self.found_in(&place.dir).await?;
        let mut command = Command::new(found.argv()).cwd(&place.dir);
        for file in files {
            command = command.arg("-f").arg(*file);
        }
        if let Some(project) = &place.project {
            command = command.arg("-p").arg(project);
        }
        for arg in args {
            command = command.arg(*arg);
        }
        command.env.clone_from(env);
        for (name, value) in self.locator.address().await?.variables() {
            command = command.env(name, value);
        }
        Ok(command.env("COMPOSE_IGNORE_ORPHANS", "true").env("COMPOSE_ANSI", "never"))
    }

    /// The services of the place's files, as Compose reads them.
    pub(crate) async fn services(
        &self,
        place: &Place,
        env: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, PortError> {
        let files: Vec<&str> = place.files.iter().map(String::as_str).collect();
        let env = &with_profiles(place, env);
        let output = self.run(place, &files, env, &["config", "--services"], READ_SECONDS_MAX).await?;
        if !output.ok() {
            return Err(unreadable(place, &output, &self.found_in(&place.dir).await?.typed()));
        }
        let text = output.stdout_text();
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        // Compose lists them in another order each time.
        names.sort();
        Ok(names)
    }

    /// The place's files with everything interpolated, extended and merged: Compose's own document.
    pub(crate) async fn config(
        &self,
        place: &Place,
        env: &BTreeMap<String, String>,
    ) -> Result<Value, PortError> {
        let found = self.found_in(&place.dir).await?;
        let v1 = found.is_v1();
        let files: Vec<&str> = place.files.iter().map(String::as_str).collect();
        let env = &with_profiles(place, env);
        let args: &[&str] = if v1 { &["config"] } else { &["config", "--format", "json"] };
        let output = self.run(place, &files, env, args, READ_SECONDS_MAX).await?;
        if !output.ok() {
            return Err(unreadable(place, &output, &found.typed()));
        }
        let text = output.stdout_text();
        let parsed = if v1 {
            serde_saphyr::from_str(&text).map_err(|error| error.to_string())
        } else {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        };
        // The parser's message may quote a value of the file's environment, so it is not shown.
        parsed.map_err(|_: String| {
            PortError::other(format!("what Compose makes of {} is not understood", place.path()))
        })
    }

    pub(crate) async fn up(
        &self,
        place: &Place,
        overlay: &str,
        env: &BTreeMap<String, String>,
        secrets: &[&str],
        recreates: Recreates,
    ) -> Result<(), PortError> {
        let mut files: Vec<&str> = place.files.iter().map(String::as_str).collect();
        files.push(overlay);
        // Volumes without a name are the release's own: another one's image has other files there.
        let recreates = match recreates {
            Recreates::WithVolumes => "--renew-anon-volumes",
            Recreates::Nothing => "--no-recreate",
        };
        let args = ["up", "-d", "--no-deps", "--no-build", recreates, place.service.as_str()];
        let output = self.run(place, &files, env, &args, UP_SECONDS_MAX).await?;
        if output.ok() {
            return Ok(());
        }
        let typed = self.found_in(&place.dir).await?.typed();
        Err(explain(place, &said(&output, secrets), self.host.as_ref(), &typed))
    }
}

impl Cli {
    /// Begins a container of its own for the service, called `name`, with this program in the place of the image's command.
    ///
    /// # Errors
    /// `Conflict` when one is called so already; else as [`Cli::up`].
    pub(crate) async fn run_once(
        &self,
        place: &Place,
        overlay: &str,
        env: &BTreeMap<String, String>,
        secrets: &[&str],
        name: &str,
        argv: &[String],
    ) -> Result<(), PortError> {
        let mut files: Vec<&str> = place.files.iter().map(String::as_str).collect();
        files.push(overlay);
        let fixed = ["run", "-d", "-T", "--no-deps", "--name", name, place.service.as_str()];
        let args: Vec<&str> = fixed.into_iter().chain(argv.iter().map(String::as_str)).collect();
        let output = self.run(place, &files, env, &args, UP_SECONDS_MAX).await?;
        if output.ok() {
            return Ok(());
        }
        let said = said(&output, secrets);
        if said.contains("is already in use by container") {
            return Err(PortError::new(
                FailureKind::Conflict,
                format!("the container {name} is there already"),
            ));
        }
        let typed = self.found_in(&place.dir).await?.typed();
        Err(explain(place, &said, self.host.as_ref(), &typed))
    }
}

/// What becomes of containers that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recreates {
    /// Those that differ from what is wanted, with new volumes where they have no name.
    WithVolumes,
    /// None: only those that are missing are made, and those that have ended started.
    Nothing,
}

/// A service behind a profile is started when it is named, and read only where its profile is on.
fn with_profiles(place: &Place, env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let profiles = place.profiles();
    let mut env = env.clone();
    if !profiles.is_empty() {
        env.insert("COMPOSE_PROFILES".to_owned(), profiles.join(","));
    }
    env
}

/// Puts the call at the end of the builder's chain.
trait ExecOn {
    async fn exec_on(self, host: &dyn Host) -> Result<Output, PortError>;
}

impl ExecOn for Command {
    async fn exec_on(self, host: &dyn Host) -> Result<Output, PortError> {
        host.exec(&self).await
    }
}

fn unreadable(place: &Place, output: &Output, typed: &str) -> PortError {
    PortError::other(format!("Compose does not accept {}: {}", place.path(), said(output, &[])))
        .hint(format!("see `{typed} -f {} config`", place.path()))
}

/// What Compose complained about: the last lines of its errors without progress, warnings, colours and secrets.
fn said(output: &Output, secrets: &[&str]) -> String {
    let mut text = plain(&output.stderr_text());
    for secret in secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
        text = text.replace(secret, "…");
    }
    let noise = |line: &&str| {
        let line = line.trim();
        line.is_empty() || line.contains("level=warning") || line.starts_with("WARNING:") || is_progress(line)
    };
    let lines: Vec<&str> = text.lines().filter(|line| !noise(line)).map(str::trim).collect();
    let last = &lines[lines.len().saturating_sub(ERROR_LINES_MAX)..];
    if last.is_empty() {
        format!("it ended with code {} and said nothing", output.code)
    } else {
        last.join(" | ")
    }
}

/// `Container web-1  Creating` (v2) and `Creating web_1 ...` (v1).
fn is_progress(line: &str) -> bool {
    let progress =
        ["Creating", "Created", "Starting", "Started", "Recreate", "Recreated", "Running", "Stopping"];
    let v2 = (line.starts_with("Container ") || line.starts_with("Network "))
        && progress.iter().any(|word| line.ends_with(word));
    let v1 = line.ends_with("...") || line.ends_with("... done") || line.ends_with("is up-to-date");
    v2 || v1
}

fn explain(place: &Place, said: &str, host: &dyn Host, typed: &str) -> PortError {
    let text = said.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let (path, id) = (place.path(), host.id());
    let message = format!("{} of {path} did not start: {said}", place.service);
    let error = |kind| PortError::new(kind, &message);
    // Of an address in a network Docker says no more than that; of a port it names who could not listen.
    let listens = has(&["bind", "listen tcp", "listen udp", "userland proxy", "external connectivity"]);
    if has(&["address already in use"]) && !listens {
        return error(FailureKind::Conflict).hint(format!(
            "another container has the address that `networks` of {path} gives this one: take `ipv4_address` out, for the \
             router finds each slot on its own"
        ));
    }
    if has(&["pool overlaps with other one"]) {
        return error(FailureKind::Conflict).hint(format!(
            "another network has the subnet that `ipam` of {path} names: `docker network ls`; take `ipam` out, or use that \
             network (`external: true`)"
        ));
    }
    if has(&["cannot join network of", "joining network of container"]) {
        return error(FailureKind::Conflict).hint(format!(
            "`network_mode` of {path} names a container that does not run: start that one first"
        ));
    }
    if has(&["unsupported external secret", "unsupported external config"]) {
        return error(FailureKind::Refused)
            .hint(format!("only Swarm keeps what is `external`: give it a `file:` in {path} instead"));
    }
    if has(&["port is already allocated", "address already in use", "ports are not available"]) {
        return error(FailureKind::Conflict).hint(format!(
            "another container or program on {id} has the host port: slots need none, so take `ports:` out of {path}"
        ));
    }
    if has(&["is already in use by container", "container name"]) {
        return error(FailureKind::Conflict).hint(format!(
            "another container has that name: put the slot into `container_name:` of {path}, as the router dials it"
        ));
    }
    if has(&[
        "cannot connect to the docker daemon",
        "error while fetching server api version",
        "connection aborted",
    ]) || has(&[
        "error during connect",
        "connectionrefusederror",
        "unexpected eof",
        "connection reset by peer",
    ]) {
        return error(FailureKind::Unreachable)
            .hint(format!("Docker on {id} stopped answering: is it being restarted?"));
    }
    if has(&["permission denied while trying to connect", "permission denied: '/var/run/docker.sock'"]) {
        return error(FailureKind::Unauthorized).hint(format!("add the user to the group `docker` on {id}"));
    }
    if has(&["no space left on device"]) {
        return error(FailureKind::DiskFull).hint("`docker system df` shows what takes the space");
    }
    if has(&["no such image", "manifest unknown", "pull access denied", "unable to find image"]) {
        return error(FailureKind::NotFound).hint("the image went away after it was fetched: deploy again");
    }
    if has(&["declared as external, but could not be found", "network not found"]) {
        return error(FailureKind::Other)
            .hint(format!("create the network on {id}: `docker network create NAME`"));
    }
    error(FailureKind::Other).hint(format!("try `{typed} -f {path} up {}` on {id}", place.service))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_model::Slot;

    fn output(stderr: &str) -> Output {
        Output { code: 1, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() }
    }

    #[test]
    fn an_error_keeps_what_matters_and_no_secret() {
        let stderr = "time=\"x\" level=warning msg=\"obsolete\"\n Container web-1  Creating\n\
                      \u{1b}[31mCreating web_1 ... \u{1b}[0m\nError: driver failed: hunter2 is wrong\n";
        assert_eq!(said(&output(stderr), &["hunter2"]), "Error: driver failed: … is wrong");
        assert_eq!(said(&output(""), &[]), "it ended with code 1 and said nothing");
    }

    fn place() -> Place {
        Place {
            slot: Slot::Blue,
            dir: "/srv/web/blue".into(),
            files: vec!["compose.yaml".into()],
            contents: vec![Vec::new()],
            dot_env: None,
            service: "web".into(),
            project: None,
        }
    }

    #[test]
    fn an_address_in_a_network_is_told_from_a_port_of_the_host() {
        let place = place();
        let hint = |said: &str| {
            explain(&place, said, &lockgate_local::Local::new(), "docker compose").hints().to_string()
        };
        assert!(hint("Error response from daemon: Address already in use").contains("`ipv4_address`"));
        let port = "driver failed programming external connectivity: listen tcp4 0.0.0.0:80: bind: address already in use";
        assert!(hint(port).contains("host port"), "{}", hint(port));
    }

    #[test]
    fn complaints_become_kinds_that_say_what_to_do() {
        let place = place();
        let host = lockgate_local::Local::new();
        for (said, kind) in [
            ("Bind for 0.0.0.0:80 failed: port is already allocated", FailureKind::Conflict),
            (
                "Conflict. The container name \"/web\" is already in use by container \"1\"",
                FailureKind::Conflict,
            ),
            (
                "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
                FailureKind::Unreachable,
            ),
            ("No such image: web@sha256:00", FailureKind::NotFound),
            ("Error response from daemon: Address already in use", FailureKind::Conflict),
            ("Pool overlaps with other one on this address space", FailureKind::Conflict),
            ("cannot join network of a non running container: 1", FailureKind::Conflict),
            ("unsupported external secret token", FailureKind::Refused),
            ("write /x: no space left on device", FailureKind::DiskFull),
            ("something else", FailureKind::Other),
        ] {
            let error = explain(&place, said, &host, "docker-compose");
            assert_eq!(error.kind, kind, "{said}");
            assert!(
                !error.hints().to_string().contains("docker compose"),
                "{error:?}: it has no such command"
            );
            assert!(!error.hints().is_empty() && error.message.contains(said));
        }
    }
}
