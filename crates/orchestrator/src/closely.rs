//! A closer look at the hosts than `status` takes: both slots beside what files and router say.

use std::collections::BTreeMap;

use futures_util::future::{FutureExt, join_all};
use lockgate_model::{
    HostClosely, HostId, HostObserved, LeaseRecord, Probe, ServiceClosely, ServiceStatus, Slot,
};
use lockgate_perform::{look_closely, masked};

use crate::session::Session;

impl Session<'_> {
    /// Looks first as [`Session::status_with_health`] does, then more closely at the hosts that could be seen, all at once.
    pub(crate) async fn status_closely(&self) -> ServiceClosely {
        let status = self.status_with_health().await;
        let hosts = self.look_closely(&status).await;
        ServiceClosely { status, hosts }
    }

    async fn look_closely(&self, status: &ServiceStatus) -> BTreeMap<HostId, HostClosely> {
        let site = self.site;
        let Some(slots) = site.environment.slots() else { return BTreeMap::new() };
        let mask = site.mask();
        let probe = Probe::of(&site.service, &site.environment);
        let probe = &probe;
        let looks = site.hosts.iter().filter_map(|ports| {
            let (host, seen) = status.observed.hosts.get_key_value(&ports.id)?;
            let ports = masked(ports, &mask);
            let lease = status.leases.get(host);
            let look = async move {
                let now = status.clocks.get(host).copied();
                let failed = |slot| failed_in(seen, lease, slot);
                let slots = slots.strategy.slots();
                (host.clone(), look_closely(&ports, seen, slots, probe, now, failed).await)
            };
            Some(look.boxed())
        });
        let mut looked: BTreeMap<_, _> = join_all(looks.collect::<Vec<_>>()).await.into_iter().collect();
        looked.values_mut().for_each(|closely| closely.mask(&mask));
        looked
    }
}

/// Why what the slot holds is known to have failed on this host: it was rejected, or the last run failed there.
fn failed_in(seen: &HostObserved, lease: Option<&LeaseRecord>, slot: Slot) -> Option<String> {
    let held = seen.slots.get(&slot)?.release.as_ref();
    if let Some(rejection) = held.and_then(|release| seen.rejection(release)) {
        return Some(format!("it was rejected: {}", rejection.why));
    }
    let failure = lease?.last.as_ref()?.outcome.failure()?;
    (failure.slot == Some(slot)).then(|| format!("the last run failed there: {failure}"))
}
