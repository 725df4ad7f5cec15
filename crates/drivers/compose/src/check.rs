//! What a deployment will need, looked at for `doctor`.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{Check, PortError};

use crate::compose::Compose;
use crate::conflicts::{Alone, Comparison};
use crate::engine_address::{EngineAddress, ToldBy};
use crate::found_cli::FoundCli;
use crate::held::{Held, is_running};
use crate::host_ports::HostPort;
use crate::labels::{COMPOSE_SERVICE, label};
use crate::per_slot::PerSlot;
use crate::place::Place;
use crate::{api, image, per_slot};

/// A tag that a registry is asked for only to see what it says.
const UNKNOWN_TAG: &str = "lockgate-doctor";
/// From here on an image has no `ContainerConfig`, which Compose version 1 reads when it replaces a container.
/// Source: Docker Engine API, version history, v1.45.
const API_WITHOUT_CONTAINER_CONFIG: (u32, u32) = (1, 45);

impl Compose {
    pub(crate) async fn check_all(&self) -> Vec<Check> {
        let engine = self.check_engine().await;
        let engine_answers = engine.state == lockgate_ports::CheckState::Ok;
        let mut checks = vec![engine, self.check_cli().await];
        let files = join_all(self.slots.iter().map(|slot| self.check_file(*slot))).await;
        let files_ok = files.iter().all(|check| check.state == lockgate_ports::CheckState::Ok);
        checks.extend(files);
        match self.slots {
            _ if !files_ok => {}
            [only] => checks.extend(self.check_alone(*only).await),
            _ => checks.extend(self.check_conflicts().await),
        }
        checks.push(self.check_login().await);
        if matches!(self.service.health, lockgate_model::Health::Docker(_)) {
            checks.extend(self.check_health().await);
        }
        if engine_answers {
            let nameless = self.check_nameless().await;
            checks.extend(nameless.unwrap_or_else(|error| Some(bad("volumes without a name", error))));
            checks.push(self.check_disk().await);
        }
        checks
    }

    async fn check_engine(&self) -> Check {
        let what = format!("Docker Engine on {}", self.host.id());
        match self.engine.get::<api::Version>("/version").await {
            Ok(Some(found)) => match self.engine.address().await {
                Ok(address) => engine_found(what, &found, address),
                Err(error) => bad(what, error),
            },
            Ok(None) => Check::bad(what, "it does not tell its version", "is the socket Docker's?"),
            Err(error) => bad(what, error),
        }
    }

    async fn check_cli(&self) -> Check {
        let what = format!("Docker Compose on {}", self.host.id());
        match self.cli.found().await {
            Ok(found) if found.is_v1() => {
                let engine = self.engine.get::<api::Version>("/version").await.ok().flatten();
                let (seen, mend) =
                    version_1(&found.version, engine.map(|engine| engine.api_version).as_deref());
                Check::warn(what, seen, mend)
            }
            Ok(found) => Check::ok(what, &found.version),
            Err(error) => bad(what, error),
        }
    }

    async fn check_file(&self, slot: Slot) -> Check {
        let what = format!("Compose file of slot {slot}");
        match self.place(slot).await {
            Ok(place) => Check::ok(what, format!("{}, service {}", place.path(), place.service)),
            Err(error) => bad(what, error),
        }
    }

    async fn check_conflicts(&self) -> Vec<Check> {
        let what = "slots beside each other";
        match self.find_conflicts().await {
            Ok(Comparison { conflicts, ports, per_slot }) => {
                let between = match conflicts.is_empty() {
                    true => Check::ok(what, "no host port or name is wanted twice"),
                    false => Check::bad(what, conflicts.join("; "), "change the Compose files as said"),
                };
                let mut checks = vec![between];
                checks.extend(per_slot::check_volumes(&per_slot));
                checks.extend(per_slot::check_binds(&per_slot));
                match self.blue_and_green().await {
                    Ok((blue, green)) => checks.extend(self.check_needed(&[blue, green], &per_slot).await),
                    Err(error) => checks.push(bad(per_slot::NEEDED, error)),
                }
                for (slot, ports) in [Slot::Blue, Slot::Green].into_iter().zip(ports) {
                    checks.extend(self.check_ports(slot, &ports).await);
                }
                checks
            }
            Err(error) => vec![bad(what, error)],
        }
    }

    /// Of one slot, which has none beside it. Nothing is said when all is well.
    async fn check_alone(&self, slot: Slot) -> Vec<Check> {
        let what = "containers of the slot";
        let looked = async { self.ask_compose_alone(self.place(slot).await?).await };
        let Alone { conflicts, ports, per_slot, place } = match looked.await {
            Ok(alone) => alone,
            Err(error) => return vec![bad(what, error)],
        };
        let mut checks = Vec::new();
        if !conflicts.is_empty() {
            checks.push(Check::bad(what, conflicts.join("; "), "change the Compose file as said"));
        }
        checks.extend(self.check_needed(&[place], &[per_slot]).await);
        checks.extend(self.check_ports(slot, &ports).await);
        checks
    }

    /// Nobody starts what a slot's service depends on: said of what does not run in the slot's Compose project.
    async fn check_needed(&self, places: &[Place], per_slot: &[PerSlot]) -> Option<Check> {
        if per_slot.iter().all(|slot| slot.needed.is_empty()) {
            return None;
        }
        let containers = match self.engine.containers(None).await {
            Ok(containers) => containers,
            Err(error) => return Some(bad(per_slot::NEEDED, error)),
        };
        let mut missing = BTreeSet::new();
        for (place, slot) in places.iter().zip(per_slot) {
            let runs = |name: &str| {
                containers.iter().any(|one| {
                    is_running(one) && place.has_made(one) && label(one, COMPOSE_SERVICE) == Some(name)
                })
            };
            missing.extend(slot.needed.iter().filter(|name| !runs(name)).map(String::as_str));
        }
        let typed = self.cli.found().await.map_or_else(|_| "docker compose".to_owned(), FoundCli::typed);
        per_slot::check_missing(&missing, places, &typed)
    }

    /// Whether somebody else has what the slot publishes. Nothing is said of a slot that publishes nothing, or that runs and
    /// has its ports itself.
    async fn check_ports(&self, slot: Slot, ports: &[HostPort]) -> Option<Check> {
        let what = format!("host ports of slot {slot}");
        let endpoints: Vec<String> =
            ports.iter().filter_map(HostPort::endpoint).map(|endpoint| endpoint.to_string()).collect();
        if endpoints.is_empty() {
            return None;
        }
        let taken = match self.taken(slot, ports).await {
            Ok(taken) => taken,
            Err(error) => return Some(bad(what, error)),
        };
        if let Some(first) = taken.first() {
            let seen: Vec<String> = taken
                .iter()
                .map(|taken| format!("{} listens on {}", taken.who, place(&taken.port)))
                .collect();
            return Some(Check::bad(what, seen.join("; "), &first.mend));
        }
        match self.held_in(slot).await {
            Ok(held) if held.iter().any(Held::runs) => None,
            Ok(_) => Some(Check::ok(what, format!("{} free", endpoints.join(", ")))),
            Err(error) => Some(bad(what, error)),
        }
    }

    /// Asks the registry for a tag that nobody has: that there is none says that we may ask. Under a name that names no
    /// registry an image may have been built here, and nobody is asked.
    async fn check_login(&self) -> Check {
        let what = "registry login";
        let repository = match self.repository() {
            Ok(repository) => repository,
            Err(error) => return bad(what, error),
        };
        let registry = image::registry(repository);
        let login = match self.registry_auth(repository).await {
            Ok(Some(_)) => "with the login that is there",
            Ok(None) => "without a login",
            Err(error) => return bad(what, error),
        };
        if !image::names_registry(repository) {
            return Check::ok(
                what,
                format!("{repository} is looked for here first, then in {registry}, {login}"),
            );
        }
        match self.ask_registry(repository, &format!("{repository}:{UNKNOWN_TAG}")).await {
            Ok(_) => Check::ok(what, format!("{registry} answers {login}")),
            Err(error) if error.kind == FailureKind::NotFound => match error.hints().joined() {
                // Docker Hub says the same of what is not there and of what is not for us.
                Some(hint) if hint.contains("docker login") => Check::warn(what, error.message, hint),
                _ => Check::ok(what, format!("{registry} answers {login}")),
            },
            Err(error) => bad(what, error),
        }
    }

    async fn check_disk(&self) -> Check {
        let what = "free disk space for images";
        let wanted = self.disk_free_mib;
        match self.disk().await {
            Ok(None) => Check::warn(
                what,
                "not looked at: the engine is on another machine",
                "see `docker system df`, and `df` on the engine's machine",
            ),
            Ok(Some((folder, free))) if free >= wanted => Check::ok(what, format!("{free} MiB in {folder}")),
            Ok(Some((folder, free))) => {
                let seen = format!("{free} MiB in {folder}, {wanted} MiB wanted");
                Check::bad(
                    what,
                    seen,
                    "free space (`docker system df`), or lower `disk_free` in lockgate.yaml",
                )
            }
            Err(error) => bad(what, error),
        }
    }
}

/// As it is looked for, where it can be.
fn place(port: &HostPort) -> String {
    port.endpoint().map_or_else(|| port.to_string(), |endpoint| endpoint.to_string())
}

/// Where it is, is said where somebody said so: `DOCKER_HOST` of a shell is forgotten easily.
fn engine_found(what: String, found: &api::Version, address: &EngineAddress) -> Check {
    let version = format!("{} (API {})", found.version, found.api_version);
    let seen = match &address.told_by {
        ToldBy::Default => version,
        told_by => format!("{version} at {address}, as {told_by} says"),
    };
    match &address.elsewhere {
        None => Check::ok(what, seen),
        Some(name) => Check::warn(
            what,
            format!("{seen}: another machine, while Compose files, leases and state are on this one"),
            format!(
                "containers are reached by the ports that they publish there, and who deploys from elsewhere is not kept out:                  better name the machine in lockgate.yaml, as in `hosts: [\"root@{name}\"]`"
            ),
        ),
    }
}

/// What is said of Compose version 1 beside an engine that speaks this version of its API, where that is known.
fn version_1(version: &str, api: Option<&str>) -> (String, &'static str) {
    let numbers = api.and_then(|api| {
        let (major, minor) = api.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    match (api, numbers) {
        (Some(api), Some(numbers)) if numbers >= API_WITHOUT_CONTAINER_CONFIG => (
            format!(
                "{version}, which cannot replace a container of an engine with API {api} (`KeyError: 'ContainerConfig'`)"
            ),
            "Lockgate removes a slot's old container first, but `docker-compose up` by hand fails: install the Compose plugin \
             (package `docker-compose-plugin`)",
        ),
        _ => (
            version.to_owned(),
            "it works, but slower, and nobody maintains version 1: install the Compose plugin",
        ),
    }
}

fn bad(what: impl Into<String>, error: PortError) -> Check {
    let mend = error.hints().joined().unwrap_or_else(|| "mend that, then `lockgate doctor` again".to_owned());
    Check::bad(what, error.message, mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_api_1_45_on_version_1_of_compose_cannot_replace_a_container() {
        for (api, warned) in [
            (Some("1.41"), false),
            (Some("1.44"), false),
            (Some("1.45"), true),
            (Some("1.100"), true),
            (Some("2.0"), true),
            (Some("new"), false),
            (None, false),
        ] {
            let (seen, mend) = version_1("1.29.2", api);
            assert_eq!(seen.contains("ContainerConfig"), warned, "{api:?}: {seen}");
            assert!(seen.starts_with("1.29.2") && mend.contains("install the Compose plugin"));
        }
    }
}
