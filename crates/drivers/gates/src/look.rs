//! One path in one place, and what its looks came to.

use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{Evidence, HostId, HttpGate, Millis, Sampling, without_query};
use lockgate_ports::{Answer, PortError, Prober, Request, Router};

/// The percentile of `latency_p95`.
const PERCENT: usize = 95;
/// How much later than its own limit a request is given up, for a router that does not keep it.
const LATE_MILLIS_MAX: u64 = 500;

/// Where a path is asked.
#[derive(Clone)]
pub(crate) enum Place {
    /// A base URL, from this machine.
    Url(String),
    Router(HostId, Arc<dyn Router>),
    /// A host whose router is not there to ask.
    Missing(HostId),
}

/// One path in one place.
pub(crate) struct Look {
    place: Place,
    path: String,
    timeout: Millis,
}

impl Look {
    pub(crate) fn new(place: Place, path: &str, timeout: Millis) -> Self {
        Self { place, path: path.to_owned(), timeout }
    }

    /// For people, without queries.
    pub(crate) fn at(&self) -> String {
        match &self.place {
            Place::Url(_) => without_query(&self.url().unwrap_or_default()),
            Place::Router(host, router) => {
                format!("{} through {} on {host}", without_query(&self.path), router.name())
            }
            Place::Missing(host) => format!("{} on {host}", without_query(&self.path)),
        }
    }

    fn url(&self) -> Option<String> {
        let Place::Url(url) = &self.place else { return None };
        Some(format!("{}{}", url.trim_end_matches('/'), self.path))
    }

    /// One answer, or what came instead, within the request's own limit.
    pub(crate) async fn get(&self, prober: &dyn Prober) -> Result<Answer, PortError> {
        let limit = Millis(self.timeout.0.saturating_add(LATE_MILLIS_MAX));
        let asked = async {
            match &self.place {
                Place::Url(_) => {
                    let url = self.url().unwrap_or_default();
                    prober.send(&Request::get(url, self.timeout)).await
                }
                Place::Router(_, router) => {
                    let asked = router.ask(&Request::get(&self.path, self.timeout)).await;
                    asked.map(|answer| answer.answer)
                }
                Place::Missing(host) => {
                    Err(PortError::not_found(format!("host {host} is not one of the environment's")))
                }
            }
        };
        match tokio::time::timeout(limit.duration(), asked).await {
            Ok(answer) => answer,
            Err(_) => Err(PortError::timed_out(format!("no whole answer within {}", self.timeout))),
        }
    }
}

/// What is wrong with one answer; `None` for a good one.
pub(crate) fn objection(answer: &Result<Answer, PortError>, gate: &HttpGate) -> Option<String> {
    match answer {
        Ok(answer) if !gate.status.contains(answer.status) => Some(answer.status.to_string()),
        Ok(answer) => {
            let lacks = gate.body.as_ref().is_some_and(|wanted| !answer.text().contains(wanted.as_str()));
            lacks.then(|| "a body without it".to_owned())
        }
        Err(error) => Some(error.to_string()),
    }
}

/// What the looks of one path in one place came to. No answer is kept: they may be large and many.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    good: u32,
    bad: u32,
    first_bad: Option<String>,
    /// Of the whole answers, good or bad.
    took: Vec<Duration>,
}

impl Tally {
    pub(crate) fn take(&mut self, answer: &Result<Answer, PortError>, gate: &HttpGate) {
        match objection(answer, gate) {
            None => self.good += 1,
            Some(objection) => {
                self.bad += 1;
                self.first_bad.get_or_insert(objection);
            }
        }
        self.took.extend(answer.as_ref().ok().map(|answer| answer.elapsed));
    }

    pub(crate) fn bad(&self) -> u32 {
        self.bad
    }

    /// Looks that are wanted and were not made.
    pub(crate) fn missing(&self, gate: &HttpGate) -> u32 {
        gate.sampling.looks().saturating_sub(self.good + self.bad)
    }

    /// Whatever the looks that are left come to, it does not pass.
    pub(crate) fn cannot_pass(&self, gate: &HttpGate) -> bool {
        let slow = |limit: &Millis| self.took.iter().filter(|took| **took > limit.duration()).count();
        let looks = usize::try_from(gate.sampling.looks()).unwrap_or(usize::MAX);
        // So many of them may be slower than the percentile, and of fewer answers not more.
        let slow_max = looks - rank(looks);
        self.bad > gate.sampling.failures()
            || gate.latency_p95.as_ref().is_some_and(|limit| slow(limit) > slow_max)
    }

    /// `broken_off`: another path in another place had failed already, so looks that are missing here say nothing.
    pub(crate) fn evidence(&self, at: &str, gate: &HttpGate, broken_off: bool) -> Vec<Evidence> {
        let body = gate.body.as_ref().map(|text| format!(" with {text:?} in the body")).unwrap_or_default();
        let looks = gate.sampling.looks();
        let (wanted, missing) = (format!("{}{body}, {looks} times", gate.status), self.missing(gate));
        let (wanted, seen) = match gate.sampling {
            Sampling::Count { .. } => {
                let good = format!("{} good answers", self.good);
                (wanted, self.first_bad.clone().unwrap_or(good))
            }
            Sampling::Span { span, failures, .. } => {
                let but = match failures {
                    0 => String::new(),
                    1 => ", at most 1 failure".to_owned(),
                    many => format!(", at most {many} failures"),
                };
                (format!("{wanted} in {span}{but}"), self.counted(if broken_off { 0 } else { missing }))
            }
        };
        let (lost, made) = (if broken_off { 0 } else { missing }, self.good + self.bad > 0);
        let ok = made && self.bad.saturating_add(lost) <= gate.sampling.failures();
        let mut evidence = vec![Evidence { check: format!("GET {at}"), wanted, seen, ok }];
        evidence.extend(gate.latency_p95.map(|limit| self.latency(at, limit)));
        evidence
    }

    /// `29 good answers, 1 failure (500), 1 look missing`.
    fn counted(&self, missing: u32) -> String {
        let some = |count: u32, one: &str, many: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {many}"),
        };
        let mut text = some(self.good, "good answer", "good answers");
        if let Some(first) = &self.first_bad {
            text.push_str(&format!(", {} ({first})", some(self.bad, "failure", "failures")));
        }
        if missing > 0 {
            text.push_str(&format!(", {}", some(missing, "look missing", "looks missing")));
        }
        text
    }

    /// The percentile by nearest rank. Without an answer there is no latency, and no data is not a pass.
    fn latency(&self, at: &str, limit: Millis) -> Evidence {
        let mut took = self.took.clone();
        took.sort_unstable();
        let p95 = rank(took.len()).checked_sub(1).map(|index| took[index]);
        Evidence {
            check: format!("p95 latency of GET {at}"),
            wanted: format!("at most {limit}"),
            seen: p95.map_or("no answer".to_owned(), |p95| format!("{:.1}ms", p95.as_secs_f64() * 1000.0)),
            ok: p95.is_some_and(|p95| p95 <= limit.duration()),
        }
    }
}

/// The place of the percentile among so many in order, from 1; of none 0.
fn rank(count: usize) -> usize {
    (count.saturating_mul(PERCENT)).div_ceil(100)
}
