//! A slot's containers: one, or as many as `deploy.replicas` or `scale` of its file want.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use lockgate_model::{OwnEnd, Release, Slot, SlotState};
use lockgate_ports::{Endpoint, Owner, PortError, Replica, RuntimeSlot};

use crate::api::Container;
use crate::compose::Compose;
use crate::containers::{Answers, answers, own_grace, timestamp};
use crate::engine_address::EngineAddress;
use crate::held::{Held, runs};
use crate::labels::{
    COMPOSE_DIR, COMPOSE_NUMBER, COMPOSE_ONEOFF, COMPOSE_PROJECT, COMPOSE_SERVICE, DIGEST_LABEL, label,
};

/// What a container has that takes the place of one that is gone: Compose made it of the same service in the same folder,
/// and it is nobody's `docker compose run`. The other slot's differ in one of these.
const HEIR_LABELS: [&str; 4] = [COMPOSE_PROJECT, COMPOSE_SERVICE, COMPOSE_DIR, COMPOSE_ONEOFF];

/// The slot's containers among those `held`: the first of them, which runs if any does, and all that hold the same release
/// as it. What a replacement that was cut off has left behind is none of them.
pub(crate) fn group(held: &[Held], slot: Slot) -> Vec<&Held> {
    let mut of_slot = held.iter().filter(|one| one.slot == slot);
    let Some(first) = of_slot.next() else { return Vec::new() };
    let mut group = vec![first];
    for one in of_slot {
        let is_new = !group.iter().any(|other| number(other) == number(one));
        if is_new && !one.has_interim_name() && same_release(first, one) {
            group.push(one);
        }
    }
    group
}

/// Compose counts a service's containers; a container that replaces another has its number. `None` in what is not
/// Compose's own doing.
fn number(held: &Held) -> Option<&str> {
    label(&held.summary, COMPOSE_NUMBER)
}

/// Two containers with one number: Compose was cut off while it replaced the one by the other.
pub(crate) fn is_cut_off(held: &[Held]) -> bool {
    let is_twice = |(n, one): (usize, &Held)| held[..n].iter().any(|other| number(other) == number(one));
    held.iter().any(Held::has_interim_name) || held.iter().enumerate().any(is_twice)
}

fn same_release(one: &Held, other: &Held) -> bool {
    let same = |name: &str| label(&one.summary, name) == label(&other.summary, name);
    let same_bytes = match one.ours {
        true => same(DIGEST_LABEL),
        false => one.summary.image_id == other.summary.image_id,
    };
    one.ours == other.ours && same(COMPOSE_PROJECT) && same(COMPOSE_SERVICE) && same_bytes
}

impl Compose {
    pub(crate) async fn look_at_slots(&self) -> Result<Vec<RuntimeSlot>, PortError> {
        let held = self.held().await?;
        let seen =
            try_join_all(self.slots.iter().map(|slot| self.look_at(*slot, group(&held, *slot)))).await?;
        Ok(seen.into_iter().flatten().collect())
    }

    /// `None` when nothing is there, or went away since it was listed.
    async fn look_at(&self, slot: Slot, group: Vec<&Held>) -> Result<Option<RuntimeSlot>, PortError> {
        let containers = self.inspected(group).await?;
        let Some((first, container)) = containers.first() else { return Ok(None) };
        let release = self.release_in(first, container).await?;
        let engine = self.engine.address().await?;
        let mut replicas: Vec<Replica> =
            containers.iter().map(|(held, container)| self.replica(engine, held, container)).collect();
        replicas.sort_by_key(|one| !one.runs());
        let running = replicas.iter().find(|one| one.runs());
        let endpoint = running.and_then(|running| running.endpoint.clone());
        let state = if running.is_some() { SlotState::Running } else { SlotState::Stopped };
        // Those that were started again by themselves say more than those that were not.
        let (restarts, started_at) = containers
            .iter()
            .filter(|(_, container)| running.is_none() || runs(&container.state.status))
            .map(|(_, container)| (container.restart_count, timestamp(&container.state.started_at)))
            .max_by_key(|(restarts, started_at)| (*restarts > 0, *started_at))
            .unwrap_or_default();
        let stop_grace = containers.iter().filter_map(|(_, container)| own_grace(container)).max();
        Ok(Some(RuntimeSlot { slot, release, state, started_at, restarts, endpoint, replicas, stop_grace }))
    }

    /// Those that are still there, in the order of their numbers.
    async fn inspected<'a>(&self, group: Vec<&'a Held>) -> Result<Vec<(&'a Held, Container)>, PortError> {
        let looked = group.iter().map(|held| self.engine.container(&held.summary.id));
        let containers = try_join_all(looked).await?;
        let mut found: Vec<(&Held, Container)> =
            group.into_iter().zip(containers).filter_map(|(held, found)| Some((held, found?))).collect();
        found.sort_by_key(|(held, _)| number(held).and_then(|number| number.parse::<u32>().ok()));
        Ok(found)
    }

    fn replica(&self, engine: &EngineAddress, held: &Held, container: &Container) -> Replica {
        let running = runs(&container.state.status);
        let answers = answers(container, self.service.port, engine.elsewhere.as_deref()).filter(|_| running);
        Replica {
            name: Some(held.name().to_owned()),
            state: if running { SlotState::Running } else { SlotState::Stopped },
            owner: answers.as_ref().and_then(|answers| owner(engine, held, answers)),
            endpoint: answers.map(|answers| answers.endpoint),
        }
    }

    /// Of several the one that ended worst; none has while one of them runs.
    pub(crate) async fn look_at_end(&self, slot: Slot) -> Result<Option<OwnEnd>, PortError> {
        let held = self.held().await?;
        let containers = self.inspected(group(&held, slot)).await?;
        if containers.iter().any(|(_, container)| runs(&container.state.status)) {
            return Ok(None);
        }
        Ok(containers.iter().filter_map(|(_, container)| end_of(container)).max_by_key(|end| end.exit_code))
    }

    /// The slot's containers that run.
    pub(crate) async fn running_in(&self, slot: Slot) -> Result<Vec<Held>, PortError> {
        let held = self.held().await?;
        Ok(group(&held, slot).into_iter().filter(|one| one.runs()).cloned().collect())
    }

    /// The ids of the slot's containers that run this release.
    pub(crate) async fn running_with(
        &self,
        held: &[Held],
        slot: Slot,
        release: &Release,
    ) -> Result<Vec<String>, PortError> {
        let mut ids = Vec::new();
        for one in group(held, slot) {
            if one.summary.state != "running" || one.has_interim_name() {
                continue;
            }
            let Some(container) = self.engine.container(&one.summary.id).await? else { continue };
            let runs = self.release_in(one, &container).await?;
            if runs.is_some_and(|runs| runs.same_bytes(release)) {
                ids.push(one.summary.id.clone());
            }
        }
        Ok(ids)
    }
}

/// `None` where the engine is not on the host: nobody there could ask it.
fn owner(engine: &EngineAddress, held: &Held, answers: &Answers) -> Option<Owner> {
    let Endpoint::Unix(engine) = &engine.at else { return None };
    let own = HEIR_LABELS.iter().filter_map(|name| {
        let value = label(&held.summary, name)?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    let labels: BTreeMap<String, String> = own.collect();
    Some(Owner::Container {
        engine: engine.clone(),
        id: held.summary.id.clone(),
        labels: if labels.len() == HEIR_LABELS.len() { labels } else { BTreeMap::new() },
        network: answers.network.clone(),
        port: answers.port,
    })
}

/// One that was made and never started has not ended either.
fn end_of(container: &Container) -> Option<OwnEnd> {
    let state = &container.state;
    matches!(state.status.as_str(), "exited" | "dead").then(|| OwnEnd {
        exit_code: state.exit_code,
        ended_at: timestamp(&state.finished_at),
        out_of_memory: state.oom_killed,
    })
}

#[cfg(test)]
mod tests {
    use lockgate_model::Timestamp;

    use super::*;
    use crate::api::ContainerSummary;

    fn container(document: serde_json::Value) -> Container {
        serde_json::from_value(document).unwrap()
    }

    fn held(id: &str, state: &str, digest: &str, number: &str) -> Held {
        let labels = [
            (DIGEST_LABEL, digest),
            (COMPOSE_NUMBER, number),
            (COMPOSE_PROJECT, "shop"),
            (COMPOSE_SERVICE, "web"),
        ];
        let summary = ContainerSummary {
            id: id.to_owned(),
            names: vec![format!("/{id}")],
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            state: state.to_owned(),
            ..ContainerSummary::default()
        };
        Held { slot: Slot::Blue, summary, ours: true }
    }

    #[test]
    fn a_slots_containers_are_those_with_one_release_and_a_number_each() {
        let all = [
            held("one", "running", "d2", "1"),
            held("two", "running", "d2", "2"),
            held("three", "exited", "d2", "3"),
            held("0123456789ab_old", "exited", "d2", "4"),
            held("old-one", "exited", "d1", "1"),
            held("old-two", "exited", "d2", "2"),
        ];
        let ids = |slot| group(&all, slot).iter().map(|one| one.summary.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(Slot::Blue), ["one", "two", "three"]);
        assert!(ids(Slot::Green).is_empty());
        assert!(is_cut_off(&all) && !is_cut_off(&all[..3]));
        assert!(is_cut_off(&[held("one", "running", "d2", "1"), held("other", "created", "d2", "1")]));
    }

    #[test]
    fn how_a_container_ended_is_dockers_word_and_one_that_runs_has_no_end() {
        let state = |status: &str| {
            container(serde_json::json!({ "State": { "Status": status, "ExitCode": 137, "OOMKilled": true,
                "FinishedAt": "1970-01-01T00:00:02Z" } }))
        };
        let end = OwnEnd { exit_code: 137, ended_at: Some(Timestamp(2_000)), out_of_memory: true };
        assert_eq!(end_of(&state("exited")), Some(end));
        for status in ["created", "running", "restarting", "paused"] {
            assert_eq!(end_of(&state(status)), None, "{status}");
        }
    }
}
