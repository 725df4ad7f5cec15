//! What is live, where, and how the last run ended: looked up on the hosts, so that any machine says the same.

use lockgate_engine::LeaseStore;
use lockgate_model::{
    Failure, FailureKind, Holder, LeaseRecord, LeftOut, Mask, Millis, Observed, Plan, ServiceStatus,
    StatusWord, Timestamp,
};
use lockgate_perform::{HostLease, glimpse, unless_silent};
use serde::Serialize;

use crate::{Session, Site};

/// System A's state of a service.
#[derive(Debug, Clone, Serialize)]
pub struct StateLine {
    pub service: String,
    /// The tag that is live everywhere; absent when nothing is, or when hosts differ.
    pub image_tag: Option<String>,
    pub status: StatusWord,
    /// When the run that `status` is about ended; absent when it has not, and when there was none.
    #[serde(skip)]
    pub ended_at: Option<Timestamp>,
    pub notes: String,
}

impl Session<'_> {
    /// Looks at all hosts at once; one that cannot be reached, or of which something cannot be read, is part of the
    /// answer.
    pub async fn status(&self) -> ServiceStatus {
        let looks = self.site.hosts.iter().map(|ports| async move {
            let lease = HostLease::new(ports);
            let looked = tokio::try_join!(unless_silent(glimpse(ports)), unless_silent(read(&lease)));
            (ports.id.clone(), looked)
        });
        let mut status = self.nothing_seen();
        for (host, looked) in futures_util::future::join_all(looks).await {
            let (seen, lease) = match looked {
                Ok(looked) => looked,
                Err(failure) => {
                    status.unseen.insert(host, failure);
                    continue;
                }
            };
            match lease {
                Ok((mut record, plan, now)) => {
                    status.clocks.insert(host.clone(), now);
                    // Nobody is at work any more; what was left is.
                    let gone =
                        |holder: &mut Holder| holder.has_expired(now) || (self.tools.surely_dead)(holder);
                    record.holder.take_if(gone);
                    record.holder = record.holder.map(Holder::told);
                    record.last = record.last.map(|end| end.told_by(&host));
                    record.left_out = record.left_out.map(LeftOut::told);
                    status.leases.insert(host.clone(), record);
                    match plan {
                        None => {}
                        Some(Ok(plan)) => drop(status.wanted.insert(host.clone(), plan.release)),
                        Some(Err(failure)) => drop(status.unseen.insert(host.clone(), failure)),
                    }
                }
                Err(failure) => {
                    status.unseen.insert(host.clone(), failure);
                }
            }
            // What runs matters more than the lease: where both are out of order, this is what is told.
            let missing = match seen {
                Ok((seen, missing)) => {
                    status.observed.hosts.insert(host.clone(), seen);
                    missing
                }
                Err(failure) => Some(failure),
            };
            status.unseen.extend(missing.map(|failure| (host, failure)));
        }
        mask(&mut status, &Mask::of(&self.site.secrets));
        status
    }

    /// As [`Self::status`], but a host that takes longer than `bound` is one that was not seen, and hides no other.
    pub async fn status_within(&self, bound: Millis) -> ServiceStatus {
        let Session { site, tools, .. } = self;
        let looks = site.hosts.iter().map(|ports| async move {
            let one = Site { hosts: vec![ports.clone()], ..(*site).clone() };
            let seen = tokio::time::timeout(bound.duration(), Session::new(&one, tools).status()).await;
            seen.map_err(|_| &ports.id)
        });
        let mut all = self.nothing_seen();
        for looked in futures_util::future::join_all(looks).await {
            match looked {
                Ok(seen) => {
                    all.observed.hosts.extend(seen.observed.hosts);
                    all.leases.extend(seen.leases);
                    all.wanted.extend(seen.wanted);
                    all.clocks.extend(seen.clocks);
                    all.unseen.extend(seen.unseen);
                }
                Err(host) => {
                    let late = format!("it did not say within {bound} what is live");
                    all.unseen.insert(host.clone(), Failure::new(FailureKind::TimedOut, late));
                }
            }
        }
        all
    }

    fn nothing_seen(&self) -> ServiceStatus {
        ServiceStatus {
            service: self.site.service.name.clone(),
            environment: self.site.environment.name.clone(),
            observed: Observed::default(),
            leases: std::collections::BTreeMap::new(),
            wanted: std::collections::BTreeMap::new(),
            clocks: std::collections::BTreeMap::new(),
            unseen: std::collections::BTreeMap::new(),
        }
    }
}

/// The record, the plan of what is unfinished, and the host's clock.
async fn read(lease: &HostLease) -> Result<(LeaseRecord, Option<Result<Plan, Failure>>, Timestamp), Failure> {
    let (record, _, now) = lease.read().await?;
    let plan = match &record.unfinished {
        Some(begun) => Some(lease.glimpse_plan(begun).await),
        None => None,
    };
    Ok((record, plan, now))
}

/// Why something could not be seen is said by hosts and routers.
fn mask(status: &mut ServiceStatus, mask: &Mask) {
    for failure in status.unseen.values_mut() {
        *failure = mask.failure(failure.clone());
    }
    let reasons = status.observed.hosts.values_mut().filter_map(|seen| seen.router.unreachable.as_mut());
    reasons.for_each(|reason| *reason = mask.hide(std::mem::take(reason)));
}

/// System A's state for what was seen.
#[must_use]
pub fn state_line(status: &ServiceStatus) -> StateLine {
    let last = status.last_end();
    let live = |host: &lockgate_model::HostObserved| Some(host.live()?.1.release.as_ref()?.tag.to_string());
    let mut tags: Vec<String> = status.observed.hosts.values().filter_map(live).collect();
    tags.dedup();
    let mut notes: Vec<String> =
        last.and_then(|end| end.outcome.failure()).map(ToString::to_string).into_iter().collect();
    notes.extend(status.unseen.iter().map(|(host, failure)| format!("{host}: {failure}")));
    let held = status.leases.iter().filter(|(_, lease)| lease.unfinished.is_some());
    let at_work = held.filter_map(|(host, lease)| lease.holder.as_ref().zip(status.wanted.get(host))).next();
    if let Some((holder, release)) = at_work {
        notes.push(format!("{} is at work on {release}", holder.owner));
    }
    if tags.len() > 1 {
        notes.push(format!("hosts differ: {}", tags.join(", ")));
    }
    if status.leases.values().any(|lease| lease.unfinished.is_some() && lease.holder.is_none()) {
        notes.push("a run was left unfinished; `lockgate resume` finishes or undoes it".to_owned());
    }
    for (host, behind) in status.behind() {
        notes.push(format!("{host} is behind: run {} went on without it", behind.run));
    }
    StateLine {
        service: status.service.to_string(),
        image_tag: (tags.len() == 1).then(|| tags.remove(0)),
        status: status.word(),
        ended_at: last.map(|end| end.at),
        notes: notes.join("; "),
    }
}
