//! What is live, where, and how the last run ended: looked up on the hosts, so that any machine says the same.

use futures_util::future::FutureExt;
use lockgate_engine::LeaseStore;
use lockgate_model::{
    Failure, FailureKind, Health, Holder, LeaseRecord, LeftOut, Mask, Millis, Observed, Plan, Probe,
    ServiceStatus, Timestamp,
};
use lockgate_perform::{HostLease, glimpse, masked, unhealthy, unless_silent};

use crate::Site;
use crate::session::Session;

impl Session<'_> {
    /// Looks at all hosts at once; one that cannot be reached, or of which something cannot be read, is part of the
    /// answer.
    pub(crate) async fn status(&self) -> ServiceStatus {
        let looks = self.site.hosts.iter().map(|ports| async move {
            let lease = HostLease::new(ports);
            let looked = tokio::try_join!(unless_silent(glimpse(ports)), unless_silent(read(&lease)));
            (ports.id.clone(), looked)
        });
        let looks: Vec<_> = looks.map(FutureExt::boxed).collect();
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
        status.mask(&Mask::of(&self.site.secrets));
        status
    }

    /// As [`Self::status`], for whoever wants to know whether users are served: what was seen to run is asked whether it
    /// passes its health check, where a container's own HEALTHCHECK says so, and while a run is open, which may have started it
    /// a moment ago. Costs a request for each such host.
    pub(crate) async fn status_with_health(&self) -> ServiceStatus {
        let mut status = self.status().await;
        let site = self.site;
        let (probe, mask) = (Probe::of(&site.service, &site.environment), site.mask());
        let is_looked_up = matches!(probe.health, Health::Docker(_));
        let looks = site.hosts.iter().filter_map(|ports| {
            let seen = status.observed.hosts.get(&ports.id)?;
            let is_open = status.leases.get(&ports.id).is_some_and(|lease| lease.unfinished.is_some());
            let (now, probe, ports) = (status.clocks.get(&ports.id).copied(), &probe, masked(ports, &mask));
            let look = async move { (ports.id.clone(), unhealthy(&ports, seen, probe, now).await) };
            (is_looked_up || is_open).then(|| look.boxed())
        });
        let looked = futures_util::future::join_all(looks.collect::<Vec<_>>()).await;
        for (host, unhealthy) in looked {
            if let Some(seen) = status.observed.hosts.get_mut(&host) {
                seen.unhealthy = unhealthy;
            }
        }
        status.mask(&mask);
        status
    }

    /// As [`Self::status`], but a host that takes longer than `bound` is one that was not seen, and hides no other.
    pub(crate) async fn status_within(&self, bound: Millis) -> ServiceStatus {
        let Session { site, tools, id } = self;
        let looks = site.hosts.iter().map(|ports| async move {
            let one = Site { hosts: vec![ports.clone()], ..(*site).clone() };
            let seen = tokio::time::timeout(bound.duration(), Session::new(&one, tools, *id).status()).await;
            seen.map_err(|_| &ports.id)
        });
        let looks: Vec<_> = looks.map(FutureExt::boxed).collect();
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
