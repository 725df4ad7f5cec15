//! Soaking: a release is live in an environment for a time and healthy for it, before it goes on to the next.

use serde::{Deserialize, Serialize};

use crate::{Millis, Secret, Timestamp};

/// A release must have been live where promotions come from for a time, and a monitor must have seen it healthy for all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soak {
    /// The gate's name. Unique among the gates of its environment.
    pub name: String,
    /// For how long. A failure within it begins it anew.
    pub span: Millis,
    /// How much of that time the monitor must have data for, in percent, 1 to 100: with less nobody can say that the release was
    /// healthy (P6).
    pub coverage: u8,
    /// Who watches.
    pub monitor: Monitor,
}

/// Who watches a release over a time, and can be asked afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Monitor {
    /// A Prometheus server, or what speaks its HTTP API.
    Prometheus(PrometheusMonitor),
}

impl Monitor {
    /// What `lockgate.yaml` calls it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Monitor::Prometheus(_) => "prometheus",
        }
    }

    /// Between two of its looks.
    #[must_use]
    pub fn every(&self) -> Millis {
        match self {
            Monitor::Prometheus(prometheus) => prometheus.every,
        }
    }
}

/// A range query to a Prometheus server (<https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusMonitor {
    /// Base URL of its HTTP API, without a slash at its end; it may hold a password.
    pub url: Secret,
    /// A bearer token. `None`: none is sent.
    pub token: Option<Secret>,
    /// PromQL. `{service}` and `{environment}` in it, which no PromQL has, are replaced by the names.
    pub query: String,
    /// Which values are good.
    pub good: Within,
    /// Between two values, at least a second.
    pub every: Millis,
    /// For one request.
    pub timeout: Millis,
}

/// Values from the least to the most, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Within {
    /// `None`: however little.
    pub min: Option<f64>,
    /// `None`: however much.
    pub max: Option<f64>,
}

// No bound is NaN: the configuration refuses it.
impl Eq for Within {}

impl Within {
    /// Whether the value is good. NaN is not.
    #[must_use]
    pub fn contains(self, value: f64) -> bool {
        !value.is_nan() && self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

/// For people: `at most 0.01`.
impl std::fmt::Display for Within {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("any"),
        }
    }
}

/// What a monitor saw of a release in a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Looks that should have been made in the time.
    pub expected: u64,
    /// Looks that saw something, good or bad.
    pub seen: u64,
    /// Of these, how many were bad.
    pub bad: u64,
    /// The latest bad one. `None`: none was.
    pub last_bad: Option<BadLook>,
}

/// One bad look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadLook {
    /// When, by the monitor's clock.
    pub at: Timestamp,
    /// What was seen, in the monitor's words.
    pub saw: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_good_within_both_bounds_and_nan_never_is() {
        let within = |min, max| Within { min, max };
        for (bounds, value, good) in [
            (within(None, Some(0.01)), 0.01, true),
            (within(None, Some(0.01)), 0.011, false),
            (within(Some(0.99), None), 0.99, true),
            (within(Some(0.99), None), 0.98, false),
            (within(Some(1.0), Some(2.0)), 1.5, true),
            (within(Some(1.0), Some(2.0)), 2.5, false),
            (within(None, Some(0.01)), f64::NEG_INFINITY, true),
            (within(None, Some(0.01)), f64::INFINITY, false),
            (within(None, Some(0.01)), f64::NAN, false),
            (within(None, None), f64::NAN, false),
        ] {
            assert_eq!(bounds.contains(value), good, "{bounds} {value}");
        }
    }
}
