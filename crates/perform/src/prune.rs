//! Removing what no release needs any more.

use std::time::Duration;

use lockgate_model::{Evidence, Failure, Seen, Slot};
use lockgate_ports::{HostPorts, PortError};

use crate::watch::{LOOK_MILLIS, Watch};
use crate::{environments, files, traffic};

/// Keeps as many of the newest releases. Where that takes longer than a look at who is live, `watch` looks beside it and
/// behind it: a run does not end well over a dark site.
///
/// # Errors
/// The runtime's, and `Unhealthy` when the slot that had the traffic does not serve by then.
pub(crate) async fn prune<'a>(
    ports: &'a HostPorts,
    keep: u32,
    watch: impl FnOnce(Slot) -> Watch<'a>,
) -> Result<Seen, Failure> {
    let releases = files::newest(&files::read_releases(ports).await?, keep);
    if ports.runtime.has_environments() {
        environments::prune(ports, &releases).await?;
    }
    let mut pruning = ports.runtime.prune(&releases);
    match tokio::time::timeout(Duration::from_millis(LOOK_MILLIS), &mut pruning).await {
        Ok(removed) => told(removed),
        Err(_) => {
            let live = traffic::route(ports).await.ok().and_then(|route| route.only());
            let Some(live) = live else { return told(pruning.await) };
            let watch = watch(live);
            let removed = watch.beside(pruning).await;
            watch.last_look().await?;
            told(removed)
        }
    }
}

fn told(removed: Result<Vec<String>, PortError>) -> Result<Seen, Failure> {
    let evidence = |what| Evidence { check: "pruned".into(), wanted: String::new(), seen: what, ok: true };
    Ok(removed?.into_iter().map(evidence).collect())
}
