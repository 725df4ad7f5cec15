//! A container's own health: its HEALTHCHECK, and programs that run in it.

use futures_util::future::try_join_all;
use lockgate_model::{FailureKind, Millis, Release, Slot, Template};
use lockgate_ports::{Output, OwnHealth, OwnHealthState, PortError, Request};

use crate::api::{Container, Created, Exec, Healthcheck};
use crate::compose::Compose;
use crate::engine::{LOOK_SECONDS_MAX, parse};
use crate::held::Held;
use crate::plain::demultiplex;

/// Docker's own times where a HEALTHCHECK says nothing. Source: Dockerfile reference, HEALTHCHECK.
const INTERVAL: Millis = Millis::from_secs(30);
const TIMEOUT: Millis = Millis::from_secs(30);
const RETRIES: u64 = 3;
/// Longest that a HEALTHCHECK is given by its own times. Who wants to wait longer says so: `timeout` beside `docker`.
const PATIENCE_SECONDS_MAX: u64 = 3_600;

impl Healthcheck {
    fn is_there(&self) -> bool {
        self.test.first().is_some_and(|kind| kind != "NONE")
    }

    /// The start period, and all retries with the checks between them; at most `PATIENCE_SECONDS_MAX`.
    fn patience(&self) -> Millis {
        let millis = |nanos: u64, default: Millis| match nanos {
            0 => default.0,
            nanos => nanos / 1_000_000,
        };
        let retries = if self.retries == 0 { RETRIES } else { self.retries };
        let round = millis(self.interval, INTERVAL) + millis(self.timeout, TIMEOUT);
        let patience = millis(self.start_period, Millis(0)).saturating_add(retries.saturating_mul(round));
        Millis(patience).min(Millis::from_secs(PATIENCE_SECONDS_MAX))
    }
}

fn own_health(container: &Container) -> OwnHealth {
    let check = container.config.healthcheck.clone().unwrap_or_default();
    let state = match container.state.health.as_ref().map(|health| health.status.as_str()) {
        None | Some("none" | "") => OwnHealthState::Missing,
        Some("healthy") => OwnHealthState::Healthy,
        Some("unhealthy") => OwnHealthState::Unhealthy,
        Some(_) => OwnHealthState::Starting,
    };
    OwnHealth { state, patience: check.patience() }
}

/// Of several containers that which one has which is furthest from healthy; the longest of their patience. `None` for none.
fn worst(all: Vec<OwnHealth>) -> Option<OwnHealth> {
    let patience = all.iter().map(|health| health.patience).max()?;
    let rank = |health: &OwnHealth| match health.state {
        OwnHealthState::Missing => 3,
        OwnHealthState::Unhealthy => 2,
        OwnHealthState::Starting => 1,
        OwnHealthState::Healthy => 0,
    };
    all.into_iter().max_by_key(rank).map(|health| OwnHealth { patience, ..health })
}

impl Compose {
    pub(crate) async fn health_of(&self, slot: Slot) -> Result<OwnHealth, PortError> {
        let all = self.some_running_in(slot).await?;
        let looked = try_join_all(all.iter().map(|one| self.engine.container(&one.summary.id))).await?;
        let mut health = Vec::new();
        for container in looked {
            // One that ended has the health that it had last.
            let running = container.filter(|container| container.state.status == "running");
            health.push(own_health(&running.ok_or_else(|| gone(slot))?));
        }
        worst(health).ok_or_else(|| gone(slot))
    }

    /// Docker has no bound for what runs in a container: after `limit` it is not waited for any longer.
    pub(crate) async fn exec_in(
        &self,
        slot: Slot,
        argv: &[Template],
        limit: Millis,
    ) -> Result<Output, PortError> {
        let all = self.some_running_in(slot).await?;
        let mut said = None;
        // The first that fails says what is wrong with the slot.
        for one in &all {
            let output = self.exec_in_one(one, slot, argv, limit).await?;
            let passed = output.ok();
            said = Some(output);
            if !passed {
                break;
            }
        }
        said.ok_or_else(|| gone(slot))
    }

    async fn exec_in_one(
        &self,
        one: &Held,
        slot: Slot,
        argv: &[Template],
        limit: Millis,
    ) -> Result<Output, PortError> {
        let release = self.labelled_release(&one.summary);
        let argv = argv.iter().map(|part| self.fill_in(part, slot, release.as_ref()));
        let argv: Vec<String> = argv.collect::<Result<_, _>>()?;
        let program = argv.first().cloned().unwrap_or_default();
        let look = Millis::from_secs(LOOK_SECONDS_MAX);
        let wanted = serde_json::json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": argv });
        let target = format!("/containers/{}/exec", one.summary.id);
        let created: Created = self.posted(target, &wanted, look, &program, slot).await?;
        let start = serde_json::json!({ "Detach": false, "Tty": false });
        let request = Request::json("POST", format!("/exec/{}/start", created.id), bytes(&start), limit);
        let answer = match self.engine.send(request).await? {
            Ok(answer) => answer,
            Err(refusal) => return Err(refusal.into_error(&format!("run {program} in {slot}"))),
        };
        let ended: Option<Exec> = self.engine.get(&format!("/exec/{}/json", created.id)).await?;
        let code = ended.filter(|exec| !exec.running).and_then(|exec| exec.exit_code);
        let code = code.ok_or_else(|| PortError::timed_out(format!("{program} in {slot} has not ended")))?;
        let lines = demultiplex(&answer.body).join("\n");
        Ok(Output { code, stdout: lines.into_bytes(), stderr: Vec::new() })
    }

    async fn posted<T: serde::de::DeserializeOwned>(
        &self,
        target: String,
        document: &serde_json::Value,
        limit: Millis,
        program: &str,
        slot: Slot,
    ) -> Result<T, PortError> {
        let request = Request::json("POST", target.clone(), bytes(document), limit);
        match self.engine.send(request).await? {
            Ok(answer) => parse(&answer.body, &target),
            Err(refusal) if matches!(refusal.status, 404 | 409) => Err(gone(slot)),
            Err(refusal) => Err(refusal.into_error(&format!("run {program} in {slot}"))),
        }
    }

    fn fill_in(&self, part: &Template, slot: Slot, release: Option<&Release>) -> Result<String, PortError> {
        let vars = lockgate_model::Vars {
            service: Some(&self.service.name),
            environment: Some(&self.environment),
            slot: Some(slot),
            port: self.service.port,
            tag: release.map(|release| &release.tag),
            digest: release.map(|release| &release.digest),
        };
        part.fill(&vars).map_err(|error| PortError::other(format!("`health: {part}`: {error}")))
    }

    pub(crate) async fn some_running_in(&self, slot: Slot) -> Result<Vec<Held>, PortError> {
        let running = self.running_in(slot).await?;
        if running.is_empty() { Err(gone(slot)) } else { Ok(running) }
    }

    /// Before anything is changed: a container without a HEALTHCHECK would be waited for in vain.
    pub(crate) async fn demand_healthcheck(&self, release: &Release) -> Result<(), PortError> {
        let Some(image) = self.on_host(release).await? else { return Ok(()) };
        let found = self.engine.image(&image).await?;
        let in_image = found.and_then(|image| image.config.healthcheck);
        if in_image.is_some_and(|check| check.is_there()) || self.file_has_healthcheck().await? {
            return Ok(());
        }
        let message = format!(
            "{release} has no HEALTHCHECK, neither in its image nor in the Compose file, and `health: docker` asks it"
        );
        Err(PortError::new(FailureKind::Refused, message).hint(
            "add HEALTHCHECK to the image or `healthcheck:` to the Compose file, or write `health: /path` or \
             `health: { command: … }`",
        ))
    }

    async fn file_has_healthcheck(&self) -> Result<bool, PortError> {
        let Some(slot) = self.slots.first().copied() else { return Ok(false) };
        let place = self.place(slot).await?;
        let document = self.cli.config(&place, &self.interpolation(slot, None)).await?;
        let check = document.pointer(&format!("/services/{}/healthcheck", pointer(&place.service)));
        let Some(check) = check else { return Ok(false) };
        let is_off = check.get("disable").and_then(serde_json::Value::as_bool).unwrap_or(false);
        let first =
            check.get("test").and_then(|test| test.get(0).or(Some(test))).and_then(|kind| kind.as_str());
        Ok(!is_off && first.is_some_and(|kind| kind != "NONE"))
    }

    /// For `doctor`: of the container that is there now.
    pub(crate) async fn check_health(&self) -> Option<lockgate_ports::Check> {
        let what = "health check of the container";
        for slot in self.slots.iter().copied() {
            match self.health_of(slot).await {
                Ok(OwnHealth { state: OwnHealthState::Missing, .. }) => {
                    return Some(lockgate_ports::Check::bad(
                        what,
                        format!("the container of {slot} has no HEALTHCHECK, and `health: docker` asks it"),
                        "add HEALTHCHECK to the image or `healthcheck:` to the Compose file, or write `health: /path`",
                    ));
                }
                Ok(_) => return Some(lockgate_ports::Check::ok(what, format!("{slot} has one"))),
                Err(_) => {}
            }
        }
        None
    }
}

/// A key of a JSON pointer (RFC 6901).
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn bytes(document: &serde_json::Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

fn gone(slot: Slot) -> PortError {
    PortError::not_found(format!("no container of {slot} runs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_dockers_own_and_the_patience_that_of_the_check() {
        let seen = |document: serde_json::Value| own_health(&serde_json::from_value(document).unwrap());
        let check = serde_json::json!({ "Test": ["CMD", "true"], "Interval": 1_000_000_000, "Timeout": 2_000_000_000,
            "StartPeriod": 5_000_000_000_u64, "Retries": 2 });
        for (status, state) in [
            ("starting", OwnHealthState::Starting),
            ("healthy", OwnHealthState::Healthy),
            ("unhealthy", OwnHealthState::Unhealthy),
        ] {
            let own = seen(serde_json::json!({ "State": { "Health": { "Status": status } },
                "Config": { "Healthcheck": check } }));
            assert_eq!(own, OwnHealth { state, patience: Millis::from_secs(5 + 2 * 3) });
        }
        let none = seen(serde_json::json!({ "State": { "Status": "running" } }));
        assert_eq!(none.state, OwnHealthState::Missing);
        assert_eq!(Healthcheck::default().patience(), Millis::from_secs(180), "Docker's defaults");
        let endless = Healthcheck { retries: u64::MAX, start_period: u64::MAX, ..Healthcheck::default() };
        assert_eq!(endless.patience(), Millis::from_secs(PATIENCE_SECONDS_MAX));
    }

    #[test]
    fn of_several_containers_the_one_furthest_from_healthy_counts() {
        use OwnHealthState::{Healthy, Missing, Starting, Unhealthy};
        let of = |states: &[OwnHealthState]| {
            let health = |(n, state): (usize, &OwnHealthState)| OwnHealth {
                state: *state,
                patience: Millis(n as u64),
            };
            worst(states.iter().enumerate().map(health).collect())
        };
        assert_eq!(of(&[]), None);
        for (states, state) in [
            (vec![Healthy, Healthy], Healthy),
            (vec![Starting, Healthy], Starting),
            (vec![Starting, Unhealthy, Healthy], Unhealthy),
            (vec![Healthy, Missing], Missing),
        ] {
            assert_eq!(of(&states), Some(OwnHealth { state, patience: Millis(states.len() as u64 - 1) }));
        }
    }

    #[test]
    fn a_check_that_is_switched_off_is_none() {
        let check = |test: &[&str]| Healthcheck {
            test: test.iter().map(|word| (*word).to_owned()).collect(),
            ..Healthcheck::default()
        };
        assert!(check(&["CMD-SHELL", "true"]).is_there());
        assert!(!check(&["NONE"]).is_there() && !check(&[]).is_there());
    }
}
