//! While nothing is seen of a run because somebody else holds the lease, who that is.

use std::time::Duration;

use futures_util::future::{FutureExt, join_all};
use lockgate_engine::LeaseStore;
use lockgate_model::{Holder, Told};
use lockgate_perform::HostLease;

use crate::events::Voice;
use crate::session::Session;

/// A lease that is free is taken within that, and nobody asks why nothing happens.
const SILENT_MILLIS_MAX: u64 = 1000;
/// Longest look at the leases; all hosts are looked at beside each other.
const LOOK_SECONDS_MAX: u64 = 5;

/// What `work` comes to. It is not held up by what is looked at beside it. `has_begun`: a run is seen.
pub(crate) async fn told<T>(
    session: &Session<'_>,
    voice: &Voice,
    has_begun: impl Fn() -> bool,
    work: &mut (impl Future<Output = T> + Unpin),
) -> T {
    tokio::select! {
        biased;
        done = &mut *work => return done,
        () = tell(session, voice, has_begun) => {}
    }
    work.await
}

async fn tell(session: &Session<'_>, voice: &Voice, has_begun: impl Fn() -> bool) {
    tokio::time::sleep(Duration::from_millis(SILENT_MILLIS_MAX)).await;
    if has_begun() {
        return;
    }
    let looked = tokio::time::timeout(Duration::from_secs(LOOK_SECONDS_MAX), other_holder(session)).await;
    let Ok(Some(holder)) = looked else { return };
    if !has_begun() {
        voice.tell(Told::Waiting { owner: holder.owner, up_to: session.tools.lease_ttl });
    }
}

/// A host that cannot be read is told of by the run itself.
async fn other_holder(session: &Session<'_>) -> Option<Holder> {
    let looks = session.site.hosts.iter().map(|ports| async move { HostLease::new(ports).read().await });
    let looks: Vec<_> = looks.map(FutureExt::boxed).collect();
    let holders = join_all(looks).await.into_iter().flatten().filter_map(|(record, ..)| record.holder);
    let identity = session.identity();
    holders.into_iter().find(|holder| !identity.is(holder)).map(Holder::told)
}
