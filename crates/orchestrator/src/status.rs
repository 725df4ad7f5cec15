//! What is live, where, and how the last run ended: looked up on the hosts.

use lockgate_engine::LeaseStore;
use lockgate_model::{
    EnvironmentName, Failure, Holder, HostId, HostObserved, Outcome, Release, RunId, ServiceName, Slot, SlotState,
    Timestamp,
};
use lockgate_perform::{Depth, HostLease, observe_host};
use serde::Serialize;

use crate::Session;

/// System A's three words, and two more for what it could not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusWord {
    Success,
    Failed,
    RolledBack,
    Stuck,
    /// Never deployed by Lockgate.
    Unknown,
}

#[derive(Debug, Clone, Serialize)]
pub struct ServiceStatus {
    pub service: ServiceName,
    pub environment: EnvironmentName,
    /// The tag that is live; absent when nothing is, or when hosts differ.
    pub image_tag: Option<String>,
    pub status: StatusWord,
    /// When the last run ended.
    pub ended_at: Option<Timestamp>,
    /// For people: what stands out.
    pub notes: Vec<String>,
    pub hosts: Vec<HostStatus>,
}

#[derive(Debug, Clone, Serialize)]
pub struct HostStatus {
    pub host: HostId,
    pub live: Option<Slot>,
    pub release: Option<Release>,
    pub router: Option<String>,
    pub active_color: Option<Slot>,
    pub previous_color: Option<Slot>,
    pub slots: Vec<SlotStatus>,
    /// Who runs a deployment right now.
    pub holder: Option<Holder>,
    /// A run that was left.
    pub unfinished: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<Failure>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SlotStatus {
    pub slot: Slot,
    pub state: SlotState,
    pub release: Option<Release>,
    pub endpoint: Option<String>,
    pub started_at: Option<Timestamp>,
}

impl Session<'_> {
    /// Looks at all hosts at once; one that cannot be reached is part of the answer.
    pub async fn status(&self) -> ServiceStatus {
        let looks = self.site.hosts.iter().map(|ports| async move {
            let lease = HostLease::new(ports);
            let seen = async { observe_host(ports, Depth::Status).await.map_err(Failure::from) };
            match tokio::try_join!(seen, lease.read()) {
                Ok((seen, (record, _, now))) => (host_status(&ports.id, &seen, &record, now), record.last),
                Err(failure) => (unreachable(&ports.id, failure), None),
            }
        });
        let (hosts, ends): (Vec<_>, Vec<_>) = futures_util::future::join_all(looks).await.into_iter().unzip();
        let last = ends.into_iter().flatten().max_by_key(|end| end.at);
        let word = last.as_ref().map_or(StatusWord::Unknown, |end| match end.outcome {
            Outcome::Succeeded { .. } => StatusWord::Success,
            Outcome::Failed { .. } => StatusWord::Failed,
            Outcome::RolledBack { .. } => StatusWord::RolledBack,
            Outcome::Stuck(_) => StatusWord::Stuck,
        });
        let mut notes: Vec<String> = Vec::new();
        notes.extend(last.as_ref().and_then(|end| end.outcome.failure()).map(ToString::to_string));
        notes.extend(hosts.iter().flat_map(notes_on));
        let mut tags: Vec<String> =
            hosts.iter().filter_map(|host| Some(host.release.as_ref()?.tag.to_string())).collect();
        tags.dedup();
        if tags.len() > 1 {
            notes.push(format!("hosts differ: {}", tags.join(", ")));
        }
        ServiceStatus {
            service: self.site.service.name.clone(),
            environment: self.site.environment.name.clone(),
            image_tag: (tags.len() == 1).then(|| tags.remove(0)),
            status: word,
            ended_at: last.map(|end| end.at),
            notes,
            hosts,
        }
    }
}

fn host_status(
    host: &HostId,
    seen: &HostObserved,
    record: &lockgate_model::LeaseRecord,
    now: Timestamp,
) -> HostStatus {
    let live = seen.live();
    HostStatus {
        host: host.clone(),
        live: live.map(|(slot, _)| slot),
        release: live.and_then(|(_, slot)| slot.release.clone()),
        router: seen.router.unreachable.clone().or_else(|| seen.router.dial.clone()),
        active_color: seen.recorded.active,
        previous_color: seen.recorded.previous,
        slots: seen
            .slots
            .iter()
            .map(|(slot, held)| SlotStatus {
                slot: *slot,
                state: held.state,
                release: held.release.clone(),
                endpoint: held.endpoint.clone(),
                started_at: held.started_at,
            })
            .collect(),
        holder: record.holder.clone().filter(|holder| now < holder.renewed_at.plus(holder.ttl)),
        unfinished: record.unfinished.as_ref().map(|unfinished| unfinished.run),
        unreachable: None,
    }
}

fn unreachable(host: &HostId, failure: Failure) -> HostStatus {
    HostStatus {
        host: host.clone(),
        live: None,
        release: None,
        router: None,
        active_color: None,
        previous_color: None,
        slots: Vec::new(),
        holder: None,
        unfinished: None,
        unreachable: Some(failure),
    }
}

fn notes_on(host: &HostStatus) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(failure) = &host.unreachable {
        notes.push(format!("{}: {failure}", host.host));
        return notes;
    }
    if let (Some(run), None) = (host.unfinished, &host.holder) {
        notes.push(format!("{}: run {run} was left unfinished; `lockgate resume` finishes or undoes it", host.host));
    }
    if let Some(holder) = &host.holder {
        notes.push(format!("{}: {} is deploying", host.host, holder.owner));
    }
    if host.live.is_some() && host.active_color != host.live {
        notes.push(format!("{}: active_color does not say what the router does; the next deployment mends it", host.host));
    }
    notes
}
