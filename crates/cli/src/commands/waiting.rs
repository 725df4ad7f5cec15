//! While nothing is seen of a run because somebody else holds the lease, who that is.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use lockgate_engine::LeaseStore;
use lockgate_model::Holder;
use lockgate_orchestrator::Session;
use lockgate_perform::HostLease;
use lockgate_render::escaped;

use crate::sink::Screen;

/// A lease that is free is taken within that, and nobody asks why nothing happens.
const SILENT_MILLIS_MAX: u64 = 1000;
/// Longest look at the leases; all hosts are looked at beside each other.
const LOOK_SECONDS_MAX: u64 = 5;

/// What `work` comes to. It is not held up by what is looked at beside it.
pub async fn told<T>(session: &Session<'_>, screen: &Screen, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = tell(session, screen) => {}
    }
    work.await
}

async fn tell(session: &Session<'_>, screen: &Screen) {
    tokio::time::sleep(Duration::from_millis(SILENT_MILLIS_MAX)).await;
    if screen.has_shown_events() {
        return;
    }
    let looked = tokio::time::timeout(Duration::from_secs(LOOK_SECONDS_MAX), other_holder(session)).await;
    let Ok(Some(holder)) = looked else { return };
    if !screen.has_shown_events() {
        let seconds = session.tools.lease_ttl.0.div_ceil(1000);
        screen.note(&format!(
            "waiting up to {seconds} s to see whether {}, who holds the lease, is still at work",
            escaped(&holder.owner)
        ));
    }
}

/// A host that cannot be read is told of by the run itself.
async fn other_holder(session: &Session<'_>) -> Option<Holder> {
    let looks = session.site.hosts.iter().map(|ports| async move { HostLease::new(ports).read().await });
    let holders = join_all(looks).await.into_iter().flatten().filter_map(|(record, ..)| record.holder);
    let identity = session.identity();
    holders.into_iter().find(|holder| !identity.is(holder)).map(Holder::told)
}
