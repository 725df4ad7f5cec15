//! What is done when this machine has come up, or the daemon has: each service that has a slot on this host is brought back
//! as it was. What was live runs again, behind the built-in proxy where it has that router; a run that was cut off is
//! brought to its end. Nothing else is started, stopped or tidied up.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::FutureExt;
use futures_util::stream;
use lockgate_model::{
    EnvironmentName, Exit, Failure, FailureKind, HostId, Leftover, Millis, Refusal, Requester, Resumed,
    ServiceName, ServiceStatus, StatusWord,
};
use tokio::time::Instant;

use crate::in_process::{InProcess, Job};
use crate::session::Session;
use crate::{Site, lookup};

/// So many services are brought back at once: each start costs the machine's processors, which have just begun.
const WAKES_AT_ONCE_MAX: usize = 4;
/// Longest wait for an engine that comes up beside us, and for a host that does not answer yet.
const ENGINE_SECONDS_MAX: u64 = 120;
/// Pause before it is asked again.
const AGAIN_MILLIS: u64 = 500;
/// Longest first look at one service.
const LOOK_SECONDS_MAX: u64 = 10;
/// What is brought to an end, in this order. What still runs beside the live release is a person's or a deployment's.
const BROUGHT_BACK: [Leftover; 2] = [Leftover::CutOff, Leftover::Died];

/// What bringing one service back came to.
#[derive(Debug, Clone)]
pub struct Woken {
    /// What was looked at.
    pub service: ServiceName,
    /// Where.
    pub environment: EnvironmentName,
    /// `None`: nothing was ever live there. `ended` is empty where all was as it should be. A refusal says why it was not brought
    /// back: somebody else is at work, a run waits for a person, or a host does not answer.
    pub end: Result<Option<Resumed>, Refusal>,
}

impl Woken {
    /// Nothing is left that somebody has to look at.
    #[must_use]
    pub fn is_well(&self) -> bool {
        match &self.end {
            Ok(None) => true,
            Ok(Some(resumed)) => resumed.refusal.is_none() && resumed.exit() == Exit::Succeeded,
            Err(refusal) => matches!(refusal, Refusal::Held { .. }),
        }
    }

    /// One sentence for a log: `web in prod: v2 was brought back (succeeded)`.
    #[must_use]
    pub fn said(&self) -> String {
        let what = match &self.end {
            Ok(None) => "nothing was live there yet".to_owned(),
            Ok(Some(resumed)) => said_of(resumed),
            Err(refusal) => match refusal.failure() {
                Some(failure) => format!("not brought back: {}", failure.message),
                None => "not brought back: a run is stuck".to_owned(),
            },
        };
        format!("{} in {}: {what}", self.service, self.environment)
    }
}

fn said_of(resumed: &Resumed) -> String {
    let ends = resumed.ended.iter().map(|end| {
        let what = match end.what {
            Leftover::CutOff => "a run that was cut off",
            Leftover::Died => "the live release",
            Leftover::Torn => "the route",
            Leftover::Beside => "what ran beside it",
        };
        format!("{what}: {}", end.outcome.as_str().replace('_', " "))
    });
    let mut parts: Vec<String> = ends.collect();
    if let Some(failure) = resumed.refusal.as_ref().and_then(|refusal| refusal.failure()) {
        parts.push(format!("then: {}", failure.message));
    }
    if parts.is_empty() {
        let word = resumed.word();
        parts.push(match word.is_well() {
            true => "as it should be".to_owned(),
            false => format!("{}, and nothing could be brought back", word.as_str().replace('_', " ")),
        });
    }
    parts.join(", ")
}

impl InProcess {
    /// Brings back what was live on this host, some services beside each other, and waits for all of them: at most
    /// two minutes for an engine or a host that does not answer yet, beyond what each service's own bounds allow. One that
    /// cannot be brought back keeps no other from it. Sessions go on when this is dropped, and what a process that ends leaves of
    /// them the next one brings to its end.
    ///
    /// In the configuration's order; environments without a slot on this host are not looked at. Where a service has hosts besides,
    /// they are asked as `resume` asks them.
    pub async fn wake(&self, requester: &Requester) -> Vec<Woken> {
        let wakes = self.sites_here().into_iter().map(|site| async move {
            let (service, environment) = match &site {
                Ok(site) => (site.service.name.clone(), site.environment.name.clone()),
                Err((service, environment, _)) => (service.clone(), environment.clone()),
            };
            let end = match site {
                Ok(site) => self.wake_patiently(site, requester).await,
                Err((_, _, refusal)) => Err(refusal),
            };
            Woken { service, environment, end }
        });
        // Boxed, for the compiler cannot show of closures over references that they may move between threads.
        let wakes: Vec<_> = wakes.map(FutureExt::boxed).collect();
        stream::iter(wakes).buffered(WAKES_AT_ONCE_MAX).collect().await
    }

    /// Every service in every environment that has a slot on this machine.
    fn sites_here(&self) -> Vec<Result<Site, (ServiceName, EnvironmentName, Refusal)>> {
        let here = self.project().environments.iter().filter(|one| one.hosts().iter().any(HostId::is_local));
        let mut sites = Vec::new();
        for environment in here.filter(|one| one.slots().is_some()) {
            for service in self.project().services.keys() {
                let found = lookup::service(self.project(), service.as_str());
                let site = found.and_then(|found| self.site(found.name.as_str(), Some(&environment.name)));
                sites.push(site.map_err(|refusal| (service.clone(), environment.name.clone(), refusal)));
            }
        }
        sites
    }

    async fn wake_patiently(&self, site: Site, requester: &Requester) -> Result<Option<Resumed>, Refusal> {
        let limit = Instant::now() + Duration::from_secs(ENGINE_SECONDS_MAX);
        loop {
            match self.wake_once(&site, requester).await {
                Err(Refusal::Failed { failure }) if is_early(&failure) && Instant::now() < limit => {
                    tracing::debug!(%failure, service = %site.service.name, "it is asked again");
                    tokio::time::sleep(Duration::from_millis(AGAIN_MILLIS)).await;
                }
                end => return end,
            }
        }
    }

    async fn wake_once(&self, site: &Site, requester: &Requester) -> Result<Option<Resumed>, Refusal> {
        let tools = self.looking();
        let session = Session::new(site, &tools, self.new_run());
        let status = session.status_within(Millis::from_secs(LOOK_SECONDS_MAX)).await;
        match Needs::of(&status) {
            Needs::Nothing => Ok(None),
            Needs::NoMore => Ok(Some(Resumed { ended: Vec::new(), status, refusal: None })),
            Needs::Person => {
                // Users are served by what runs, also while a run waits.
                session.revive_routers().await.map_err(|failure| Refusal::Failed { failure })?;
                Err(Refusal::Failed { failure: waits(site) })
            }
            Needs::BringingBack => {
                self.begin(site.clone(), None, requester, bringing_back).end().await.map(Some)
            }
        }
    }
}

/// What a service needs by a first look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing was ever live there.
    Nothing,
    /// All is as it should be, or somebody is at work on it.
    NoMore,
    /// A run waits for a person, while users are served.
    Person,
    BringingBack,
}

impl Needs {
    fn of(status: &ServiceStatus) -> Self {
        let is_unfinished = status.leases.values().any(|lease| lease.unfinished.is_some());
        let hosts = || status.observed.hosts.values();
        if status.unseen.is_empty() && !is_unfinished && hosts().all(|seen| seen.is_new()) {
            return Needs::Nothing;
        }
        let is_left =
            status.leases.values().any(|lease| lease.unfinished.is_some() && lease.holder.is_none());
        match status.word() {
            // Where nothing serves, trying again what could not be undone can only bring it back.
            StatusWord::Stuck if !hosts().any(|seen| seen.is_dark()) => Needs::Person,
            word if word.is_well() && !is_left => Needs::NoMore,
            _ => Needs::BringingBack,
        }
    }
}

fn bringing_back<'s>(session: &'s Session<'s>) -> Job<'s, Resumed> {
    async move { session.bring_to_end(&BROUGHT_BACK, &[]).await }.boxed()
}

/// An engine that has not come up yet does not answer, or says no more than that it starts.
fn is_early(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Unreachable | FailureKind::TimedOut)
}

fn waits(site: &Site) -> Failure {
    let (service, environment) = (&site.service.name, &site.environment.name);
    Failure::new(FailureKind::Refused, "a run is stuck and waits for a person, so nothing was started")
        .hint(format!("look with `lockgate --env {environment} status {service}`, then `lockgate --env {environment} resume {service}`"))
}
