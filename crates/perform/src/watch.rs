//! Somebody looks while the old slot drains and stops: whether the router still sends to its heir, and whether the heir
//! answers. Until the drain is over the old slot runs, so what dies meanwhile is gone back from at once; what dies while the
//! old slot stops is told.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use lockgate_model::{Failure, FailureKind, Health, Probe, ServiceName, Slot, SlotState};
use lockgate_ports::{HostPorts, PortError, Route, RuntimeSlot};
use tokio::time::Instant;

use crate::conductor::find;
use crate::health;
use crate::misses::{MISSES_PAUSE_MILLIS, Misses};
use crate::replicas::Answers;
use crate::traffic;

/// Between two looks that found all well.
pub(crate) const LOOK_MILLIS: u64 = 250;
/// As [`LOOK_MILLIS`], where a look runs a program in a container or asks its engine.
const LOOK_MILLIS_OWN: u64 = 500;
/// How long a router or a host that does not answer is waited for at the last look.
const SILENCE_SECONDS_MAX: u64 = 10;

/// Whom to look at.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub ports: &'a HostPorts,
    /// The slot that should have the traffic and answer.
    pub heir: Slot,
    pub service: &'a ServiceName,
    pub probe: &'a Probe,
}

/// What one look at the heir found.
enum Heir {
    Well,
    /// Its host does not say, so nothing is known of it.
    Unknown,
    /// It runs, and this is what it answers.
    Fails(String),
    /// It answered before, and does not run any more.
    Gone(String),
}

impl Watch<'_> {
    /// Ends when the heir serves no more, with why. A router of ours that died is started again, which is no reason to end;
    /// nor is a host that cannot be reached, for nothing is known of the heir then.
    pub(crate) async fn until_it_fails(&self) -> Failure {
        tokio::select! {
            biased;
            failure = self.until_the_route_leaves() => failure,
            failure = self.until_the_heir_fails() => failure,
        }
    }

    /// Does `work` to its end, and looks meanwhile, so that a router of ours that dies is started again.
    pub(crate) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            failure = self.until_it_fails() => tracing::warn!(%failure, "seen while another slot stops"),
        }
        work.await
    }

    /// Whether the heir still serves, when the last look is old. One that runs and does not answer may have died and been
    /// started again by its restart policy: whether it answers soon is found out while the old slot still runs. A host that
    /// does not say is no reason to end.
    ///
    /// # Errors
    /// `Unhealthy` when it does not.
    pub(crate) async fn look_again(&self) -> Result<(), Failure> {
        match self.running().await {
            Ok(None) => Err(self.unhealthy("it does not run", Instant::now()).await),
            Ok(Some(running)) => self.is_well(Duration::ZERO, Answers::of(&running)).await,
            Err(_) => Ok(()),
        }
    }

    /// Whether the heir still runs, asked once. A host that does not say is no reason to end.
    async fn look_once(&self) -> Result<(), Failure> {
        match self.running().await {
            Ok(None) => Err(self.unhealthy("it does not run", Instant::now()).await),
            Ok(Some(_)) | Err(_) => Ok(()),
        }
    }

    /// The last look: whether the heir serves, as far as that can be told from here.
    ///
    /// # Errors
    /// `Unhealthy` when it certainly does not. Who looks again finds the old slot stopped, so no kind that is tried again.
    pub(crate) async fn last_look(&self) -> Result<(), Failure> {
        if !self.ports.router.sends_traffic() {
            return self.look_once().await;
        }
        let silence = Duration::from_secs(SILENCE_SECONDS_MAX);
        let (routed, well) = tokio::join!(self.is_routed_at_last(), self.is_well(silence, None));
        routed.and(well)
    }

    /// `routed` as it was read, or read again: a router that is silent is waited for.
    ///
    /// # Errors
    /// `Unhealthy` when it is gone although its host answers, or sends elsewhere by then; as it was read otherwise.
    pub(crate) async fn routed(&self, routed: Result<Route, PortError>) -> Result<Route, Failure> {
        match routed {
            Err(error) if error.kind == FailureKind::Unreachable => {
                self.is_routed_at_last().await?;
                Ok(traffic::route(self.ports).await?)
            }
            routed => Ok(routed?),
        }
    }

    async fn is_routed_at_last(&self) -> Result<(), Failure> {
        let (start, mut away) = (Instant::now(), Misses::default());
        loop {
            match traffic::route(self.ports).await {
                Ok(route) if route.sends_to(self.heir) => return Ok(()),
                Ok(route) => {
                    away.note();
                    if away.count() {
                        return Err(Failure { kind: FailureKind::Unhealthy, ..self.elsewhere(&route) });
                    }
                }
                Err(error) if start.elapsed() >= Duration::from_secs(SILENCE_SECONDS_MAX) => {
                    // Where the host answers it is the router that is gone.
                    let Ok(_) = self.running().await else { return Ok(()) };
                    let router = self.ports.router.name();
                    let message = format!("{router} does not answer any more: {}", error.message);
                    return Err(Failure::new(FailureKind::Unhealthy, message)
                        .hint(format!("start {router} again; `lockgate status` shows then what is live")));
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(MISSES_PAUSE_MILLIS)).await;
        }
    }

    /// A host that does not answer is waited for, up to `silence`, and nothing is known then. `known`: where the heir was seen
    /// just now; `None`: it is looked for.
    async fn is_well(&self, silence: Duration, mut known: Option<Answers>) -> Result<(), Failure> {
        let (start, mut missed) = (Instant::now(), Misses::default());
        loop {
            let (seen, is_gone) = match self.look(&mut known).await {
                Heir::Well => return Ok(()),
                Heir::Unknown if start.elapsed() >= silence => return Ok(()),
                Heir::Unknown => (None, false),
                Heir::Fails(seen) => (Some(seen), false),
                Heir::Gone(seen) => (Some(seen), true),
            };
            if let Some(seen) = seen {
                missed.note();
                if is_gone || missed.count() {
                    return Err(self.unhealthy(&seen, start).await);
                }
            }
            tokio::time::sleep(Duration::from_millis(MISSES_PAUSE_MILLIS)).await;
        }
    }

    async fn unhealthy(&self, seen: &str, since: Instant) -> Failure {
        let after = since.elapsed().into();
        health::unhealthy(self.ports, self.heir, self.service, self.probe, seen, after).await
    }

    async fn until_the_route_leaves(&self) -> Failure {
        let mut away = Misses::default();
        loop {
            pause(&away, LOOK_MILLIS).await;
            match self.ports.router.route().await {
                Ok(route) if route.sends_to(self.heir) => away = Misses::default(),
                Ok(route) => {
                    away.note();
                    if away.count() {
                        return self.elsewhere(&route);
                    }
                }
                Err(error) => {
                    if let Err(error) = traffic::revive(self.ports, &error).await {
                        tracing::warn!(%error, "the router is looked at again");
                    }
                }
            }
        }
    }

    fn elsewhere(&self, route: &Route) -> Failure {
        let (router, heir) = (self.ports.router.name(), self.heir);
        let dials = route.dial.as_deref().unwrap_or("nothing");
        let message = format!("{heir} has lost the traffic: {router} dials {dials}");
        Failure::new(FailureKind::Conflict, message).slot(heir).hint(format!(
            "somebody changed the route, or {router} was restarted without it; run the deployment again, it looks anew"
        ))
    }

    async fn until_the_heir_fails(&self) -> Failure {
        let (start, mut missed) = (Instant::now(), Misses::default());
        let mut known = None;
        let look_millis = match self.probe.health {
            Health::Http(_) => LOOK_MILLIS,
            Health::Docker(_) | Health::Command(_) => LOOK_MILLIS_OWN,
        };
        loop {
            pause(&missed, look_millis).await;
            let (seen, is_gone) = match self.look(&mut known).await {
                Heir::Well => {
                    missed = Misses::default();
                    continue;
                }
                Heir::Unknown => continue,
                Heir::Fails(seen) => (seen, false),
                Heir::Gone(seen) => (seen, true),
            };
            missed.note();
            if is_gone || missed.count() {
                return self.unhealthy(&seen, start).await;
            }
        }
    }

    /// The heir is asked at `known`, where it was when it was looked at first: a router that dials addresses sends it nothing
    /// anywhere else.
    async fn look(&self, known: &mut Option<Answers>) -> Heir {
        if known.is_none() {
            match self.running().await {
                Ok(running) => *known = running.as_ref().and_then(Answers::of),
                Err(unknown) => return unknown,
            }
        }
        let Some(answers) = known else { return Heir::Fails("it does not run".to_owned()) };
        let seen = match health::probe_at(self.ports, self.heir, &answers.endpoints(), self.probe).await {
            Ok(Ok(_)) => return Heir::Well,
            Ok(Err(seen)) => seen,
            Err(failure) => failure.message,
        };
        // What does not answer may be the way to its host: that is not the heir's fault.
        match self.running().await {
            Ok(Some(running)) => {
                if let Some(now) = Answers::of(&running).filter(|_| !self.ports.router.dials_slots()) {
                    *answers = now;
                }
                Heir::Fails(seen)
            }
            Ok(None) => Heir::Gone(seen),
            Err(unknown) => unknown,
        }
    }

    /// The heir, if it runs. `Err` where that cannot be told.
    async fn running(&self) -> Result<Option<RuntimeSlot>, Heir> {
        match find(self.ports, self.heir).await {
            Ok(found) => Ok(found.filter(|found| found.state == SlotState::Running)),
            Err(error) => {
                tracing::debug!(%error, "the heir is looked at again");
                Err(Heir::Unknown)
            }
        }
    }
}

/// Until the next look, which is sooner where the last one found something wrong.
async fn pause(missed: &Misses, millis: u64) {
    let millis = if missed.are_none() { millis } else { MISSES_PAUSE_MILLIS };
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[cfg(test)]
mod tests;
