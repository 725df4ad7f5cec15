//! How it stands with Docker and Compose, and what would be installed. Pure.
//!
//! Packages are the distribution's own. Debian 12 has the engine with its command line in `docker.io`, Debian 13 the command line
//! in `docker-cli`; Debian calls Compose `docker-compose` (version 1 in Debian 12, 2 since), Ubuntu `docker-compose-v2`. What
//! apt would only recommend is named where containers need it: `ca-certificates` to reach registries, `apparmor` where the
//! kernel has it.

use lockgate_model::{SetupItem, SetupKind, SetupState};

use crate::items::{item, noted, refused};
use crate::seen::{Cli, Engine, Me, Power, SeenDocker};

/// What is wanted, for people.
pub(crate) const NAME: &str = "engine and Compose";
const BESIDE_ENGINE: [&str; 2] = ["ca-certificates", "apparmor"];
/// The first releases with all these packages.
const DEBIAN_MIN: u32 = 12;
const UBUNTU_MIN: u32 = 20;
/// From which on the command line is a package of its own.
const DEBIAN_WITH_CLI: u32 = 13;
const OTHER_MEANS: &str = "install Docker with Compose there by its own means (https://docs.docker.com/engine/install/); `lockgate setup` takes what works";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Errand {
    /// Installed by apt, the missing ones alone; empty where the engine is only started.
    pub packages: Vec<&'static str>,
    /// This user becomes a member of the group `docker`.
    pub joins: bool,
}

impl SeenDocker {
    /// Where Docker is from that the distribution did not bring; `None` where it did, or would.
    fn foreign(&self) -> Option<&'static str> {
        match self.cli {
            Cli::DockerCom => Some("docker.com"),
            Cli::None if self.has_foreign_packages => Some("docker.com"),
            Cli::Snap => Some("a snap"),
            Cli::Podman => Some("podman"),
            Cli::Other => Some("somewhere else than a package"),
            Cli::None | Cli::Distribution => None,
        }
    }

    /// What the engine and Compose are called there, and what belongs to the engine; `None` where that is not known.
    fn packages(&self) -> Option<(Vec<&'static str>, &'static str)> {
        let number = |text: &str| text.split('.').next().and_then(|part| part.parse::<u32>().ok());
        let release = self.release.as_deref().map(number);
        match (self.system.as_str(), release) {
            // Testing and unstable have no number.
            ("debian", None) => Some((vec!["docker.io", "docker-cli"], "docker-compose")),
            ("debian", Some(Some(release))) if release >= DEBIAN_WITH_CLI => {
                Some((vec!["docker.io", "docker-cli"], "docker-compose"))
            }
            ("debian", Some(Some(release))) if release >= DEBIAN_MIN => {
                Some((vec!["docker.io"], "docker-compose"))
            }
            ("ubuntu", Some(Some(release))) if release >= UBUNTU_MIN => {
                Some((vec!["docker.io"], "docker-compose-v2"))
            }
            _ => None,
        }
    }

    /// Of what is wanted; `None` on a system whose packages are not known.
    fn missing(&self) -> Option<Vec<&'static str>> {
        let (engine, compose) = self.packages()?;
        let mut missing = Vec::new();
        let is_up = matches!(self.engine, Engine::Up(_));
        if !is_up && (self.cli == Cli::None || !self.is_installed) {
            missing.extend(engine);
            missing.extend(BESIDE_ENGINE);
        }
        if self.compose.is_none() {
            missing.push(compose);
        }
        Some(missing)
    }

    fn name(&self) -> &str {
        if self.name.is_empty() { "this system" } else { &self.name }
    }
}

/// `user`: who acts there, by name.
pub(crate) fn judge(seen: &SeenDocker, me: Me, user: &str, power: Power) -> (SetupItem, Option<Errand>) {
    let new = |state| item(SetupKind::Docker, NAME, state);
    let cannot = |note: String, hint: String| (refused(new(SetupState::Refused), note, hint), None);
    if let (Engine::Up(engine), Some(compose)) = (&seen.engine, &seen.compose) {
        let engine = engine.as_deref().unwrap_or("of a version that it does not say");
        let from = seen.foreign().map(|source| format!(", from {source}")).unwrap_or_default();
        return (noted(new(SetupState::There), format!("Engine {engine}, Compose {compose}{from}")), None);
    }
    if let Some(source) = seen.foreign() {
        let (note, hint) = foreign(seen, source, me, user);
        return cannot(note, hint);
    }
    let Some(missing) = seen.missing().filter(|_| seen.has_apt) else {
        let note = format!(
            "{} is neither Debian {DEBIAN_MIN} or later nor Ubuntu {UBUNTU_MIN}.04 or later, whose packages are known",
            seen.name()
        );
        return cannot(note, OTHER_MEANS.to_owned());
    };
    let is_denied = seen.engine == Engine::Denied;
    if is_denied && missing.is_empty() && (seen.is_member || me.uid == 0) {
        let note = format!("its engine does not let {user} in");
        return cannot(note, "see whose it is, on the host: `ls -l /var/run/docker.sock`".to_owned());
    }
    let joins = me.uid != 0 && !seen.is_member;
    let errand = Errand { packages: missing, joins };
    match power {
        Power::Root | Power::Sudo => {
            let note = note(seen, &errand, user, power, is_denied);
            (noted(new(SetupState::Make), note), Some(errand))
        }
        Power::None | Power::Unasked => {
            let note = "only root can, and there is no sudo without a password".to_owned();
            let mut item = refused(new(SetupState::Refused), note, by_hand(&errand, user));
            item.hint = item
                .hint
                .map(|hint| format!("{hint}; or log in as root, or let {user} use sudo without a password"));
            (item, None)
        }
    }
}

/// What is not the distribution's is left as it is.
fn foreign(seen: &SeenDocker, source: &str, me: Me, user: &str) -> (String, String) {
    let sudo = if me.uid == 0 { "" } else { "sudo " };
    if seen.cli == Cli::Podman {
        let note = "the `docker` there is podman's, and does not answer as Docker with Compose".to_owned();
        let hint = format!("`{sudo}apt-get remove podman-docker` on the host, then `lockgate setup`");
        return (note, hint);
    }
    if seen.cli == Cli::None {
        let note = "packages of docker.com's are there without a `docker`; the distribution's are not mixed with them";
        let packages = "docker-ce docker-ce-cli containerd.io docker-compose-plugin";
        let hint = format!("`{sudo}apt-get install {packages}` on the host, from the same source");
        return (note.to_owned(), hint);
    }
    let from = match seen.cli {
        Cli::Other => "no package of the distribution brought Docker there".to_owned(),
        _ => format!("Docker is from {source}"),
    };
    if seen.compose.is_none() {
        let note =
            format!("{from}, and it has no Compose; the distribution's packages are not mixed with it");
        let hint = match source {
            "docker.com" => format!("`{sudo}apt-get install docker-compose-plugin` on the host, from the same source"),
            _ => "add Compose to it on the host (https://docs.docker.com/compose/install/linux/), or remove it; then `lockgate setup`".to_owned(),
        };
        return (note, hint);
    }
    match (&seen.engine, seen.cli) {
        (Engine::Denied, Cli::Snap) => (
            format!("{from}, and its engine does not let {user} in"),
            "log in as root, or see https://snapcraft.io/docker for its group".to_owned(),
        ),
        (Engine::Denied, _) => (
            format!("{from}, and its engine does not let {user} in"),
            format!("`sudo usermod -a -G docker {user}` on the host, then `lockgate setup`"),
        ),
        (Engine::Up(_) | Engine::Down, Cli::Snap) => (
            format!("{from}, and its engine does not answer"),
            format!("`{sudo}snap start docker` on the host, then `lockgate setup`"),
        ),
        (Engine::Up(_) | Engine::Down, _) => (
            format!("{from}, and its engine does not answer"),
            format!("`{sudo}systemctl enable --now docker` on the host, then `lockgate setup`"),
        ),
    }
}

fn note(seen: &SeenDocker, errand: &Errand, user: &str, power: Power, is_denied: bool) -> String {
    let mut parts = Vec::new();
    if seen.is_broken_off {
        parts.push("an installation that was broken off goes on".to_owned());
    }
    if !errand.packages.is_empty() {
        let sudo = if power == Power::Sudo { " with sudo" } else { "" };
        parts.push(format!("{} of {}, by apt-get{sudo}", errand.packages.join(", "), seen.name()));
    } else if !is_denied {
        parts.push("its engine does not run, and is started".to_owned());
    }
    if errand.joins {
        parts.push(format!("{user} joins the group docker"));
    }
    parts.join("; ")
}

/// What root would type.
fn by_hand(errand: &Errand, user: &str) -> String {
    let mut steps = Vec::new();
    if errand.packages.is_empty() {
        steps.push("systemctl enable --now docker".to_owned());
    } else {
        let packages = errand.packages.join(" ");
        steps.push("apt-get update".to_owned());
        steps.push(format!("apt-get install -y --no-install-recommends {packages}"));
    }
    if errand.joins {
        steps.push(format!("usermod -a -G docker {user}"));
    }
    format!("as root on the host: `{}`", steps.join(" && "))
}

#[cfg(test)]
#[path = "docker_tests.rs"]
mod tests;
