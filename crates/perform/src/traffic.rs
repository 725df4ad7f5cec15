//! Switching the traffic, and asking through the router who answers.

use std::time::Duration;

use lockgate_model::{
    Evidence, Failure, FailureKind, HoldBounds, Millis, Probe, Release, Seen, Slot, Split, Verify,
    without_query,
};
use lockgate_ports::{HostPorts, PortError, Route, Router, Upstream, http};
use tokio::time::Instant;

use crate::asking::{as_logs, request, shown};
use crate::attribution::{Attribution, attribute};
use crate::conductor::find;
use crate::health;

/// A router that restarts is waited for this long.
const ROUTER_SECONDS_MAX: u64 = 10;
/// Until the new release must answer through the router; nginx feeds the old one for 100 ms after a reload.
const VERIFY_SECONDS_MAX: u64 = 10;
const PAUSE_MILLIS_FIRST: u64 = 2;
const PAUSE_MILLIS_MAX: u64 = 200;
const ASK_SECONDS_MAX: u64 = 5;
/// How long the router may say that it cannot reach the slot; one that has just learnt of it may need a moment.
const BAD_GATEWAY_MILLIS_MAX: u64 = 1_000;
/// Good answers in a row when they do not say who gave them.
const ANONYMOUS_ANSWERS: u32 = 3;

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

async fn revive(ports: &HostPorts, error: &PortError) -> Result<(), PortError> {
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
    let (endpoint, known) = tokio::join!(health::once(ports, slot, release, probe), route(ports));
    let upstream = Upstream { slot, release: release.clone(), endpoint: endpoint? };
    let before = patiently(ports, known, &Change::To(&Split::all_to(upstream)))
        .await
        .map_err(|failure| failure.slot(slot))?;
    Ok(vec![moved(ports, &before, &slot.to_string())])
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

/// Asks through the router until the release answers: a return code of the switch proves nothing.
pub(crate) async fn verify(
    ports: &HostPorts,
    slot: Slot,
    release: &Release,
    verify: Option<&Verify>,
    probe: &Probe,
) -> Result<Seen, Failure> {
    let start = Instant::now();
    let path = verify.map_or(probe.health.path(), |verify| &verify.path);
    let mut pause = Duration::from_millis(PAUSE_MILLIS_FIRST);
    let mut in_a_row = 0;
    let mut last = String::new();
    let mut said = Vec::new();
    let mut patience = health::Patience::default();
    let mut bad_gateway: Option<Instant> = None;
    while start.elapsed() < Duration::from_secs(VERIFY_SECONDS_MAX) {
        let request = request(path, Millis::from_secs(ASK_SECONDS_MAX), probe);
        said.clear();
        let answered = match ports.router.ask(&request).await {
            Ok(answer) => {
                said = shown(&answer.answer, &ports.mask);
                match is_bad_gateway(answer.answer.status) {
                    true => drop(bad_gateway.get_or_insert_with(Instant::now)),
                    false => bad_gateway = None,
                }
                attribute(&answer, slot, release, verify, probe)
            }
            Err(error) => {
                revive(ports, &error).await?;
                Err(error.message)
            }
        };
        match answered {
            Ok(Attribution::ThisRelease) => {
                return Ok(vec![answered_by(path, slot, release, "it says so itself")]);
            }
            Ok(Attribution::Unknown) => {
                in_a_row += 1;
                match route(ports).await {
                    Ok(route) if route.only() == Some(slot) && in_a_row >= ANONYMOUS_ANSWERS => {
                        let how = "healthy answers, and the router says it dials this slot; set `verify` to be certain";
                        return Ok(vec![answered_by(path, slot, release, how)]);
                    }
                    Ok(route) if route.only() == Some(slot) => {}
                    Ok(route) => {
                        last = format!("the router dials {}", route.dial.as_deref().unwrap_or("nothing"))
                    }
                    Err(error) => last = error.message,
                }
            }
            Err(seen) => {
                in_a_row = 0;
                last = seen;
                // While a dead one is waited for nobody is served.
                health::still_runs(ports, slot, release, probe, &mut patience, start.elapsed()).await?;
                let long = Duration::from_millis(BAD_GATEWAY_MILLIS_MAX);
                if bad_gateway.is_some_and(|since| since.elapsed() >= long) {
                    reachable(ports, slot, path, &last, probe).await?;
                    bad_gateway = None;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(PAUSE_MILLIS_MAX));
    }
    let sent = probe.sent().map(|sent| format!(" ({sent})")).unwrap_or_default();
    Err(Failure::new(
        FailureKind::Unhealthy,
        format!(
            "{} does not answer through {}: GET {}{sent}: {last}",
            release.tag,
            ports.router.name(),
            without_query(path)
        ),
    )
    .slot(slot)
    .logs(as_logs(said).collect())
    .hint(format!(
        "compare `lockgate logs {}` with the router's log; `verify` in lockgate.yaml says what tells releases apart",
        release.service
    )))
}

/// What a proxy answers in the place of an upstream that it cannot reach (RFC 9110, 15.6.3 to 15.6.5).
fn is_bad_gateway(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// Users get what the router answers, so there is nothing to wait for where it is not the slot that fails.
///
/// # Errors
/// `Unhealthy` when the slot answers whoever asks it directly.
async fn reachable(
    ports: &HostPorts,
    slot: Slot,
    path: &str,
    seen: &str,
    probe: &Probe,
) -> Result<(), Failure> {
    let Some(endpoint) = find(ports, slot).await?.and_then(|seen| seen.endpoint) else { return Ok(()) };
    let request = request(path, Millis::from_secs(ASK_SECONDS_MAX), probe);
    match http::send(ports.host.as_ref(), &endpoint, request).await {
        Ok(answer) if !is_bad_gateway(answer.status) => {}
        Ok(_) | Err(_) => return Ok(()),
    }
    let dialled = route(ports).await?.dial.unwrap_or_else(|| "nothing".to_owned());
    let router = ports.router.name();
    Err(Failure::new(
        FailureKind::Unhealthy,
        format!(
            "{slot} answers at {endpoint}, but {router}, which dials {dialled}, does not reach it: GET {}: {seen}",
            without_query(path)
        ),
    )
    .slot(slot)
    .hint(format!(
        "{router} must find the slot by what it dials: give the container that name (`container_name` or a network alias) on a network that both are on"
    )))
}

fn answered_by(path: &str, slot: Slot, release: &Release, how: &str) -> Evidence {
    Evidence {
        check: format!("GET {} through the router", without_query(path)),
        wanted: format!("{} from {slot}", release.tag),
        seen: how.to_owned(),
        ok: true,
    }
}
