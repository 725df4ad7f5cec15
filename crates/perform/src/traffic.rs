//! Switching the traffic.

use std::time::Duration;

use lockgate_model::{Evidence, Failure, FailureKind, HoldBounds, Probe, Release, Seen, Slot, Split};
use lockgate_ports::{HostPorts, PortError, Route, Router, Upstream};
use tokio::time::Instant;

use crate::replicas::Answers;
use crate::{health, trial};

/// A router that restarts is waited for this long.
const ROUTER_SECONDS_MAX: u64 = 10;
const PAUSE_MILLIS_FIRST: u64 = 2;
const PAUSE_MILLIS_MAX: u64 = 200;

/// Where the traffic goes. A router that died in the middle of a run is brought up again where that is ours to do, for
/// until then nothing answers.
pub(crate) async fn route(ports: &HostPorts) -> Result<Route, PortError> {
    match ports.router.route().await {
        Err(error) if error.kind == FailureKind::Unreachable => {
            revive(ports, &error).await?;
            ports.router.route().await
        }
        answered => answered,
    }
}

/// Brings a router of ours up again that nobody answers for; after any other error it does nothing.
///
/// # Errors
/// As [`Router::revive`].
pub(crate) async fn revive(ports: &HostPorts, error: &PortError) -> Result<(), PortError> {
    if error.kind != FailureKind::Unreachable {
        return Ok(());
    }
    tracing::info!(%error, "the router is brought up again, if it is ours");
    ports.router.revive().await
}

/// Sends the traffic to a slot that has just answered its health check.
pub(crate) async fn switch(
    ports: &HostPorts,
    slot: Slot,
    release: &Release,
    probe: &Probe,
) -> Result<Seen, Failure> {
    let (answers, known) = tokio::join!(health::once(ports, slot, release, probe), route(ports));
    let Answers { endpoint, replicas } = answers?;
    let upstream = Upstream { slot, release: release.clone(), endpoint, replicas };
    let has_it = known.as_ref().is_ok_and(|route| route.only() == Some(slot));
    let tried = if has_it { None } else { trial::try_out(ports, &upstream, probe).await? };
    let before = patiently(ports, known, &Change::To(&Split::all_to(upstream)))
        .await
        .map_err(|failure| failure.slot(slot))?;
    Ok(tried.into_iter().chain([moved(ports, &before, &slot.to_string())]).collect())
}

pub(crate) async fn withdraw(ports: &HostPorts, dial: Option<&str>) -> Result<Seen, Failure> {
    let before = patiently(ports, route(ports).await, &Change::Withdraw { dial }).await?;
    Ok(vec![moved(ports, &before, dial.unwrap_or("nothing"))])
}

/// Has requests wait from now on.
pub(crate) async fn hold(ports: &HostPorts, bounds: &HoldBounds) -> Result<Seen, Failure> {
    // A router of ours that died in the middle of a run is brought up again.
    route(ports).await?;
    ports.router.hold(bounds).await?;
    Ok(Seen::new())
}

pub(crate) async fn let_go(ports: &HostPorts) -> Result<Seen, Failure> {
    route(ports).await?;
    ports.router.let_go().await?;
    Ok(Seen::new())
}

fn moved(ports: &HostPorts, before: &Route, to: &str) -> Evidence {
    let was = before.split.as_ref().map(Split::to_string).or(before.dial.clone());
    Evidence {
        check: format!("{} switched", ports.router.name()),
        wanted: to.to_owned(),
        seen: format!("{} to {to}", was.as_deref().unwrap_or("nothing")),
        ok: true,
    }
}

/// What becomes of a route.
enum Change<'a> {
    To(&'a Split<Upstream>),
    /// Back to what lay outside of Lockgate.
    Withdraw {
        dial: Option<&'a str>,
    },
}

impl Change<'_> {
    async fn make(&self, router: &dyn Router, from: &Route) -> Result<(), PortError> {
        match self {
            Change::To(split) => router.set(split, &from.version).await,
            Change::Withdraw { dial } if from.dial.as_deref() == *dial => Ok(()),
            Change::Withdraw { dial } => router.withdraw(*dial, &from.version).await,
        }
    }
}

/// Changes the route that was read, and reads and changes it again while the router cannot be reached or was changed
/// between reading and changing. What it was before is the answer.
async fn patiently(
    ports: &HostPorts,
    mut read: Result<Route, PortError>,
    change: &Change<'_>,
) -> Result<Route, Failure> {
    let deadline = Instant::now() + Duration::from_secs(ROUTER_SECONDS_MAX);
    let mut pause = Duration::from_millis(PAUSE_MILLIS_FIRST);
    loop {
        let changed = match read {
            Ok(route) => change.make(&*ports.router, &route).await.map(|()| route),
            Err(error) => Err(error),
        };
        match changed {
            Ok(before) => return Ok(before),
            Err(error)
                if (error.is_silence() || error.kind == FailureKind::Conflict)
                    && Instant::now() < deadline =>
            {
                tracing::debug!(%error, "the router is asked again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(PAUSE_MILLIS_MAX));
            }
            Err(error) => return Err(error.into()),
        }
        read = route(ports).await;
    }
}
