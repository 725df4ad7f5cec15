//! System A's state of a service, with what was seen on the hosts beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Behind, EnvironmentName, Exit, Failure, HostClosely, HostId, HostObserved, Mask, Rejected,
    ServiceClosely, ServiceName, ServiceStatus, StatusWord, Timestamp, deploy_again, not_running,
};

/// As `status --format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StatusLine {
    /// Which service.
    pub service: ServiceName,
    /// The tag that is live everywhere; `None` when nothing is, while it starts, or when hosts differ.
    pub image_tag: Option<String>,
    /// One word for the whole; the exit code follows from it.
    pub status: StatusWord,
    /// When the run that `status` is about ended, as people write it; `None` when it has not, and when there was none.
    pub timestamp: Option<String>,
    /// For people: what the word alone does not say. May be empty.
    pub notes: String,
    /// In which environment.
    pub environment: EnvironmentName,
    /// See [`ServiceStatus::live_since`].
    pub live_since: Option<String>,
    /// Releases that hosts say were rejected.
    pub rejected: Vec<Rejected>,
    /// What was seen on each host.
    pub hosts: BTreeMap<HostId, HostObserved>,
    /// Hosts that could not be looked at, and why.
    pub unseen: BTreeMap<HostId, Failure>,
    /// Hosts that a run went on without, and that have not caught up.
    pub behind: BTreeMap<HostId, Behind>,
    /// What was seen more closely, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closely: Option<BTreeMap<HostId, HostClosely>>,
}

impl StatusLine {
    /// `time` writes a point in time as whoever reads it wants it.
    #[must_use]
    pub fn of(status: &ServiceStatus, time: impl Fn(Timestamp) -> String) -> Self {
        Self {
            service: status.service.clone(),
            image_tag: status.image_tag(),
            status: status.word(),
            timestamp: status.last_end().map(|end| time(end.at)),
            notes: status.notes(),
            environment: status.environment.clone(),
            live_since: status.live_since().map(&time),
            rejected: status.rejected(),
            hosts: status.observed.hosts.clone(),
            unseen: status.unseen.clone(),
            behind: status.behind(),
            closely: None,
        }
    }

    /// With what was seen more closely.
    #[must_use]
    pub fn closely(looked: &ServiceClosely, time: impl Fn(Timestamp) -> String) -> Self {
        Self { closely: Some(looked.hosts.clone()), ..Self::of(&looked.status, time) }
    }
}

impl ServiceStatus {
    /// For a command that looked at these, and at nothing else.
    #[must_use]
    pub fn exit<'s>(statuses: impl IntoIterator<Item = &'s ServiceStatus>) -> Exit {
        let exits = statuses.into_iter().map(|status| Exit::of_look(status.word()));
        exits.fold(Exit::Succeeded, Exit::or_worse)
    }

    fn live_tags(&self) -> Vec<String> {
        let serves = |host: &&HostObserved| !host.is_starting();
        let live = |host: &HostObserved| Some(host.live()?.1.release.as_ref()?.tag.to_string());
        let mut tags: Vec<String> = self.observed.hosts.values().filter(serves).filter_map(live).collect();
        tags.dedup();
        tags
    }

    /// The tag that is live everywhere; `None` when nothing is, while it starts, or when hosts differ.
    #[must_use]
    pub fn image_tag(&self) -> Option<String> {
        let mut tags = self.live_tags();
        (tags.len() == 1).then(|| tags.remove(0))
    }

    /// What a person should know beside the word, on one line; may be empty.
    #[must_use]
    pub fn notes(&self) -> String {
        let failure = self.last_end().and_then(|end| end.outcome.failure());
        let mut notes: Vec<String> = failure.map(ToString::to_string).into_iter().collect();
        notes.extend(self.seen_notes());
        notes.join("; ")
    }

    /// As [`Self::notes`], one by one and without how the last run ended.
    #[must_use]
    pub fn seen_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        notes.extend(self.unseen.iter().map(|(host, failure)| format!("{host}: {failure}")));
        let held = self.leases.iter().filter(|(_, lease)| lease.unfinished.is_some());
        let at_work =
            held.filter_map(|(host, lease)| lease.holder.as_ref().zip(self.wanted.get(host))).next();
        if let Some((holder, release)) = at_work {
            notes.push(format!("{} is at work on {release}", holder.owner));
        }
        let tags = self.live_tags();
        if tags.len() > 1 {
            notes.push(format!("hosts differ: {}", tags.join(", ")));
        }
        if self.leases.values().any(|lease| lease.unfinished.is_some() && lease.holder.is_none()) {
            notes.push("a run was left unfinished; `lockgate resume` finishes or undoes it".to_owned());
        }
        notes.extend(self.observed.hosts.iter().filter_map(|(host, seen)| self.out_of_order(host, seen)));
        for (host, behind) in self.behind() {
            notes.push(format!("{host} is behind: run {} went on without it", behind.run));
        }
        notes
    }

    /// That nothing serves on the host although something should, with what brings it back where no run has to be ended first;
    /// or that what should does not pass its health check.
    fn out_of_order(&self, host: &HostId, seen: &HostObserved) -> Option<String> {
        if seen.router.unreachable.is_some() {
            return None;
        }
        let (slot, how) = match (seen.live(), &seen.unhealthy) {
            (Some((slot, _)), Some(unhealthy)) => (slot, unhealthy.to_string()),
            (None, _) if seen.is_dark() => {
                let slot = seen.should_be_live()?;
                (slot, format!("should be live, {}", not_running(seen, slot)))
            }
            _ => return None,
        };
        let is_unfinished = self.leases.values().any(|lease| lease.unfinished.is_some());
        let mend = match seen.is_dark() && !is_unfinished {
            true => format!("; {} brings it back", deploy_again(&self.service, &self.environment, seen)),
            false => String::new(),
        };
        Some(format!("{host}: {slot} {how}{mend}"))
    }

    /// Hides secrets in why something could not be seen, which hosts and routers say.
    pub fn mask(&mut self, mask: &Mask) {
        for failure in self.unseen.values_mut() {
            *failure = mask.failure(failure.clone());
        }
        for seen in self.observed.hosts.values_mut() {
            let unhealthy = seen.unhealthy.as_mut().map(|unhealthy| &mut unhealthy.seen);
            for said in seen.router.unreachable.iter_mut().chain(unhealthy) {
                *said = mask.hide(std::mem::take(said));
            }
        }
    }
}
