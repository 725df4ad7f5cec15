//! One range query.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{FailureKind, Millis, PrometheusMonitor, Timestamp, Watched, without_query};
use lockgate_ports::{Answer, Monitor, PortError, Prober, Request, WatchedPlace};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::matrix;

/// A Prometheus server, asked from this machine.
pub struct Prometheus {
    monitor: PrometheusMonitor,
    prober: Arc<dyn Prober>,
}

impl Prometheus {
    #[must_use]
    pub fn new(monitor: PrometheusMonitor, prober: Arc<dyn Prober>) -> Self {
        Self { monitor, prober }
    }

    /// Names of services and environments are of letters, digits, `-` and `_`, so they end no string of the query's.
    fn query(&self, place: &WatchedPlace) -> String {
        let query = self.monitor.query.replace("{service}", place.service.as_str());
        query.replace("{environment}", place.environment.as_str())
    }

    fn request(&self, place: &WatchedPlace, from: Timestamp, to: Timestamp) -> Request {
        let query = self.query(place);
        let encoded = utf8_percent_encode(&query, NON_ALPHANUMERIC);
        let target = format!(
            "{}/api/v1/query_range?query={encoded}&start={}&end={}&step={}",
            self.monitor.url.reveal(),
            seconds(from.0),
            seconds(to.0),
            seconds(i64::try_from(self.monitor.every.0).unwrap_or(i64::MAX)),
        );
        let request = Request::get(target, self.monitor.timeout).header("accept", "application/json");
        match &self.monitor.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.reveal())),
            None => request,
        }
    }

    /// Without a password that is part of it.
    fn name(&self) -> String {
        let url = self.monitor.url.reveal();
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let shown = rest.rsplit_once('@').map_or(rest, |(_, shown)| shown);
        without_query(&format!("{scheme}://{shown}"))
    }

    fn refused(&self, answer: &Answer) -> PortError {
        let said = matrix::error_of(&answer.body).map(|said| format!(": {said}")).unwrap_or_default();
        let message = format!("{} answers {}{said}", self.name(), answer.status);
        match answer.status {
            401 | 403 => PortError::new(FailureKind::Unauthorized, message)
                .hint("give `prometheus` a `token`, or user and password in its `url`"),
            404 => PortError::new(FailureKind::NotFound, message)
                .hint("`url` is the address under which /api/v1/query_range is found"),
            429 | 503 => {
                let error = PortError::new(FailureKind::Refused, message);
                match answer.retry_after() {
                    Some(after) => error.hint(format!("it wants to be asked again in {} s", after.as_secs())),
                    None => error.hint("ask again later"),
                }
            }
            400 | 422 => PortError::other(message).hint("try the `query` in Prometheus' own page"),
            _ => PortError::other(message),
        }
    }
}

/// Prometheus takes seconds with a fraction.
fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000))
}

/// Both ends are asked.
fn moments(from: Timestamp, to: Timestamp, every: Millis) -> u64 {
    to.since(from).0 / every.0.max(1) + 1
}

#[async_trait]
impl Monitor for Prometheus {
    async fn watched(
        &self,
        place: &WatchedPlace,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Watched, PortError> {
        let expected = moments(from, to, self.monitor.every);
        let answer = self.prober.send(&self.request(place, from, to)).await?;
        if answer.status != 200 {
            return Err(self.refused(&answer).without_effect());
        }
        let watched = matrix::watched(&answer.body, expected, self.monitor.good);
        watched.map_err(|error| error.context(self.name()).without_effect())
    }
}
