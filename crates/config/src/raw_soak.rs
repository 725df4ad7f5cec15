//! `soak` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::at::{At, Number, Span, Whole};

/// What is promoted must have been live where promotions come from for a time, and a monitor must have seen it healthy for all of
/// it. A failure begins it anew.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `for` and a monitor")]
pub struct Soak {
    /// Where: the environment that is this one's `from`, which is the default.
    #[serde(rename = "in")]
    pub environment: Option<At<String>>,
    /// For how long, 1s to 168h.
    #[serde(rename = "for")]
    pub span: At<Span>,
    /// How much of that time the monitor must have data for, in percent. Default: 90.
    pub coverage: Option<At<Whole>>,
    /// A Prometheus server watches.
    pub prometheus: Option<At<Prometheus>>,
}

/// Values of a query to a Prometheus server, each of which must be within the bounds: `max`, `min`, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `query` and `max` or `min`")]
pub struct Prometheus {
    /// Base URL of its HTTP API. Default: `${PROMETHEUS_URL}`.
    pub url: Option<At<String>>,
    /// A bearer token, best as `${PROMETHEUS_TOKEN:-}`. Default: none.
    pub token: Option<At<String>>,
    /// PromQL; `{service}` and `{environment}` are replaced by the names. It should give one number for each moment, such as a
    /// share of failed requests.
    pub query: At<String>,
    /// The most that is good.
    pub max: Option<At<Number>>,
    /// The least that is good.
    pub min: Option<At<Number>>,
    /// How often it looks, 1s or more. Default: 1m, and at most a tenth of `for`.
    pub every: Option<At<Span>>,
    /// Longest wait for the answer. Default: 10s.
    pub timeout: Option<At<Span>>,
}
