//! Gates as they are configured: what is asked, where, and how long that may take.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, HostId, Millis, StatusRange, Template};

/// How much later than planned the looks of a [`Sampling::Span`] may begin, in percent of its span.
const LATE_PERCENT_MAX: u64 = 25;
/// The same at least, for a short span on a busy machine.
const LATE_SECONDS_MIN: u64 = 2;

/// A named check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Gate {
    /// Unique among the gates of one environment that are asked at the same moment.
    pub name: String,
    /// What is asked.
    pub kind: GateKind,
}

/// What a gate asks. A driver for each is chosen in the wiring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// Paths over HTTP.
    Http(HttpGate),
    /// A program's exit code.
    Command(CommandGate),
}

/// Where an HTTP gate looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateTarget {
    /// A base URL, from this machine.
    Url(String),
    /// Another environment's URL.
    Environment(EnvironmentName),
    /// This environment: its URL, or without one through the router of every host.
    Here,
    /// Through the routers of these hosts: what a plan makes of `Here` after a wave, when not all hosts have the release.
    Hosts(Vec<HostId>),
}

/// Every path is asked some times; each answer's status and body must match and the latency percentile hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HttpGate {
    /// Where the paths are asked.
    pub target: GateTarget,
    /// Empty: the service's health path and critical paths.
    pub paths: Vec<String>,
    /// Which statuses are good.
    pub status: StatusRange,
    /// Text that each answer's body must contain; `None`: any body is good.
    pub body: Option<String>,
    /// 95th percentile over all samples of one path (nearest rank).
    pub latency_p95: Option<Millis>,
    /// How often each path is asked.
    #[serde(flatten)]
    pub sampling: Sampling,
    /// For one request.
    pub timeout: Millis,
}

/// How often each path is asked. In JSON its fields stand beside the gate's others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Sampling {
    /// A handful: one path after the other, in rounds. All must be good.
    Count {
        /// Rounds, at least 1.
        samples: u32,
        /// Pause between rounds.
        interval: Millis,
    },
    /// Stability: all paths at once, again and again for a time. The first look is at the beginning, the last at the end.
    Span {
        /// How long the gate looks.
        #[serde(rename = "for")]
        span: Millis,
        /// Between two looks, at least 1 ms and at most the span.
        every: Millis,
        /// Looks of one path in one place that may fail.
        failures: u32,
    },
}

impl Sampling {
    /// Looks at each path, at least 1.
    #[must_use]
    pub fn looks(self) -> u32 {
        match self {
            Sampling::Count { samples, .. } => samples.max(1),
            Sampling::Span { span, every, .. } => {
                u32::try_from(span.0 / every.0.max(1)).unwrap_or(u32::MAX).saturating_add(1)
            }
        }
    }

    /// How much later than planned looks may begin: a machine that was busy for a moment has looked all the same. What would
    /// begin later is missing, for nobody looked in its time.
    #[must_use]
    pub fn late_max(self) -> Millis {
        match self {
            Sampling::Count { .. } => Millis(0),
            Sampling::Span { span, .. } => {
                Millis(span.0.saturating_mul(LATE_PERCENT_MAX) / 100).max(Millis::from_secs(LATE_SECONDS_MIN))
            }
        }
    }

    /// Looks of one path in one place that may fail.
    #[must_use]
    pub fn failures(self) -> u32 {
        match self {
            Sampling::Count { .. } => 0,
            Sampling::Span { failures, .. } => failures,
        }
    }
}

/// For people, of what takes its time: `for 1m, every 2s`; of a handful nothing.
impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sampling::Span { span, every, failures } = self else { return Ok(()) };
        write!(f, "for {span}, every {every}")?;
        match failures {
            0 => Ok(()),
            1 => f.write_str(", 1 failure allowed"),
            many => write!(f, ", {many} failures allowed"),
        }
    }
}

impl HttpGate {
    /// The longest that it takes until it has looked at everything.
    #[must_use]
    pub fn limit(&self) -> Millis {
        match self.sampling {
            Sampling::Count { samples, interval } => {
                let paths = u64::try_from(self.paths.len()).unwrap_or(u64::MAX);
                let round = self.timeout.0.saturating_mul(paths).saturating_add(interval.0);
                Millis(round.saturating_mul(samples.into()))
            }
            Sampling::Span { span, .. } => {
                let late = self.sampling.late_max();
                Millis(span.0.saturating_add(late.0).saturating_add(self.timeout.0))
            }
        }
    }
}

/// A program on this machine; its exit code is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CommandGate {
    /// Program and arguments; no shell reads them. Not empty.
    pub argv: Vec<Template>,
    /// For the whole program; one that takes longer is ended, and does not pass.
    pub timeout: Millis,
    /// Exit codes that pass; default 0.
    pub pass: Vec<i32>,
    /// Exit codes that say *not yet*; default 75 (`EX_TEMPFAIL` of sysexits.h).
    pub not_yet: Vec<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(sampling: Sampling) -> HttpGate {
        HttpGate {
            target: GateTarget::Here,
            paths: vec!["/a".into(), "/b".into()],
            status: StatusRange::OK,
            body: None,
            latency_p95: None,
            sampling,
            timeout: Millis(3_000),
        }
    }

    const MINUTE: Sampling =
        Sampling::Span { span: Millis::from_secs(60), every: Millis::from_secs(2), failures: 1 };

    /// A host keeps the plan of a run that an older program began.
    #[test]
    fn a_handful_is_written_as_it_was_before_there_was_a_span() {
        let written = concat!(
            r#"{"target":"here","paths":["/a","/b"],"status":{"from":200,"to":299},"body":null,"latency_p95":null,"#,
            r#""samples":5,"interval":200,"timeout":3000}"#
        );
        let few = http(Sampling::Count { samples: 5, interval: Millis(200) });
        assert_eq!(serde_json::from_str::<HttpGate>(written).unwrap(), few);
        assert_eq!(serde_json::to_string(&few).unwrap(), written);
        let text = serde_json::to_string(&http(MINUTE)).unwrap();
        assert!(text.contains(r#""for":60000,"every":2000,"failures":1"#), "{text}");
        assert_eq!(serde_json::from_str::<HttpGate>(&text).unwrap(), http(MINUTE));
        // Neither, so it is not a gate that passes by looking at nothing.
        assert!(serde_json::from_str::<HttpGate>(&written.replace("\"samples\":5,", "")).is_err());
    }

    #[test]
    fn a_span_has_a_look_at_both_ends_and_ends_in_time() {
        let span = |span, every| Sampling::Span { span: Millis(span), every: Millis(every), failures: 0 };
        for (sampling, looks, limit) in [
            (Sampling::Count { samples: 5, interval: Millis(200) }, 5, 31_000),
            (MINUTE, 31, 78_000),
            (span(1_000, 1_000), 2, 6_000),
            (span(1_000, 300), 4, 6_000),
            (span(u64::MAX, 0), u32::MAX, u64::MAX),
        ] {
            assert_eq!((sampling.looks(), http(sampling).limit()), (looks, Millis(limit)), "{sampling:?}");
        }
    }

    #[test]
    fn a_span_is_told_in_a_few_words() {
        let few = Sampling::Count { samples: 5, interval: Millis(200) };
        assert_eq!([few.to_string(), MINUTE.to_string()], ["", "for 1m, every 2s, 1 failure allowed"]);
    }
}
