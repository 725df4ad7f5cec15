//! HTTP: statuses, bodies and latency of paths, at a URL or through the routers of hosts.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{Evidence, GateTarget, HostId, HttpGate, Millis, Sampling, without_query};
use lockgate_ports::{Check, Gate, GateAnswer, GateSubject, OnHeadway, Prober, Router};

use crate::look::{Look, Place, Tally};
use crate::watch::{Span, watch};

/// For looking whether somebody answers at a URL.
const LOOK_SECONDS_MAX: u64 = 10;
/// From here on the answer is a failure of the server, whoever gave it.
const SERVER_ERROR_MIN: u16 = 500;

/// An HTTP gate.
pub struct Http {
    gate: HttpGate,
    prober: Arc<dyn Prober>,
}

impl Http {
    #[must_use]
    pub fn new(gate: HttpGate, prober: Arc<dyn Prober>) -> Self {
        Self { gate, prober }
    }

    fn places(&self, subject: &GateSubject) -> Vec<Place> {
        let router =
            |(host, router): (&HostId, &Arc<dyn Router>)| Place::Router(host.clone(), router.clone());
        match &self.gate.target {
            GateTarget::Url(url) => vec![Place::Url(url.clone())],
            GateTarget::Here => subject.routers.iter().map(router).collect(),
            GateTarget::Hosts(hosts) => {
                let of = |host| match subject.routers.get_key_value(host) {
                    Some(found) => router(found),
                    None => Place::Missing(host.clone()),
                };
                hosts.iter().map(of).collect()
            }
            // The plan resolves these to a URL; one that is left has none, so there is nothing to look at.
            GateTarget::Environment(_) => Vec::new(),
        }
    }

    fn looks(&self, place: &Place) -> Vec<Look> {
        self.gate.paths.iter().map(|path| Look::new(place.clone(), path, self.gate.timeout)).collect()
    }

    /// A handful in each place by itself: path by path in rounds, so that they are spread over the time.
    async fn few(&self, places: &[Place], samples: u32, pause: Millis) -> GateAnswer {
        let evidence = places.iter().map(|place| self.few_in(place, samples, pause));
        GateAnswer::judge(futures_util::future::join_all(evidence).await.into_iter().flatten().collect())
    }

    async fn few_in(&self, place: &Place, samples: u32, pause: Millis) -> Vec<Evidence> {
        let looks = self.looks(place);
        let mut tallies: Vec<Tally> = looks.iter().map(|_| Tally::default()).collect();
        for round in 0..samples {
            if round > 0 {
                tokio::time::sleep(pause.duration()).await;
            }
            for (look, tally) in looks.iter().zip(&mut tallies) {
                tally.take(&look.get(self.prober.as_ref()).await, &self.gate);
            }
            // It has failed, and every further sample keeps a bad release live.
            if tallies.iter().any(|tally| tally.bad() > 0) {
                break;
            }
        }
        let broken_off = tallies.iter().any(|tally| tally.bad() > 0);
        let each = looks.iter().zip(&tallies);
        each.flat_map(|(look, tally)| tally.evidence(&look.at(), &self.gate, broken_off)).collect()
    }

    /// Stability: all places and paths together, until the time is over or one of them cannot pass any more.
    async fn over(&self, places: &[Place], span: Span, told: OnHeadway<'_>) -> GateAnswer {
        let looks: Vec<Look> = places.iter().flat_map(|place| self.looks(place)).collect();
        if looks.is_empty() {
            return GateAnswer::judge(Vec::new());
        }
        let tallies = watch(&looks, &self.gate, span, self.prober.as_ref(), told).await;
        let failed = tallies.iter().any(|tally| tally.cannot_pass(&self.gate));
        let evidence: Vec<Evidence> = looks
            .iter()
            .zip(&tallies)
            .flat_map(|(look, tally)| tally.evidence(&look.at(), &self.gate, failed))
            .collect();
        // Looks that were not made are no data, and so neither a pass nor a failure.
        let is_whole = tallies.iter().all(|tally| tally.missing(&self.gate) == 0);
        match failed || is_whole {
            true => GateAnswer::judge(evidence),
            false => GateAnswer::not_yet(evidence),
        }
    }
}

#[async_trait]
impl Gate for Http {
    async fn ask(&self, subject: &GateSubject, told: OnHeadway<'_>) -> GateAnswer {
        let places = self.places(subject);
        match self.gate.sampling {
            Sampling::Count { samples, interval } => self.few(&places, samples, interval).await,
            Sampling::Span { span, every, .. } => self.over(&places, Span { span, every }, told).await,
        }
    }

    fn limit(&self) -> Millis {
        self.gate.limit()
    }

    /// Any answer will do: before the first deployment there is nothing behind it, and what is good the gate itself says.
    async fn check(&self, what: &str, _: &GateSubject) -> Vec<Check> {
        let GateTarget::Url(url) = &self.gate.target else { return Vec::new() };
        let Some(path) = self.gate.paths.first() else { return Vec::new() };
        let at = without_query(&format!("{}{path}", url.trim_end_matches('/')));
        let look = Look::new(Place::Url(url.clone()), path, Millis::from_secs(LOOK_SECONDS_MAX));
        vec![match look.get(self.prober.as_ref()).await {
            Ok(answer) if answer.status >= SERVER_ERROR_MIN => Check::warn(
                what,
                format!("{at} answers {}", answer.status),
                "the gate would fail now; before the first deployment that is as it should be",
            ),
            Ok(answer) => Check::ok(what, format!("{at} answers {}", answer.status)),
            Err(error) => Check::warn(
                what,
                format!("{at} does not answer this machine: {}", error.message),
                "the gate asks it from here: see that the name leads to the routers and that they listen on that port",
            ),
        }]
    }
}
