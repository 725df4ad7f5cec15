//! What a monitor saw of a release in a time, as a gate's answer. No data is no pass (P6), and less than was expected is none
//! either: a monitor that was down for half of the night has not seen a clean night.

use lockgate_model::{Evidence, Failure, GateVerdict, Monitor, Soak, Timestamp, Watched};

/// From when to when a monitor was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Window {
    /// The time that a soak looks back over: its span, as far as the release was live in it.
    #[must_use]
    pub fn of(soak: &Soak, live_since: Timestamp, now: Timestamp) -> Self {
        let from = now.minus(soak.span).max(live_since).min(now);
        Self { from, to: now }
    }
}

/// A soak's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soaked {
    pub answer: GateVerdict,
    /// When the answer is from: of a failure that of the last bad look, from which the soak begins anew; else when it was asked.
    pub at: Timestamp,
    /// Of a failure: when the last bad look lies further back than is looked. `None` for every other answer.
    pub until: Option<Timestamp>,
}

/// The answer that what was seen in `window` allows.
#[must_use]
pub fn soaked(soak: &Soak, window: Window, seen: &Result<Watched, Failure>) -> Soaked {
    let over = window.to.since(window.from);
    let Monitor::Prometheus(prometheus) = &soak.monitor;
    let wanted = prometheus.good.to_string();
    let check = format!("{} over {over}", soak.monitor.as_str());
    let evidence = |wanted: String, seen: String, ok| Evidence { check: check.clone(), wanted, seen, ok };
    let not_yet = |wanted: String, seen: String| Soaked {
        answer: GateVerdict::not_yet(&soak.name, vec![evidence(wanted, seen, false)]),
        at: window.to,
        until: None,
    };
    let watched = match seen {
        Ok(watched) => watched,
        Err(failure) => return not_yet("an answer".to_owned(), failure.to_string()),
    };
    if let Some(bad) = &watched.last_bad {
        let told =
            format!("{} of {} looks are bad, the last of them saw {}", watched.bad, watched.seen, bad.saw);
        return Soaked {
            answer: GateVerdict::judge(&soak.name, vec![evidence(wanted, told, false)]),
            at: bad.at.min(window.to),
            until: Some(bad.at.min(window.to).plus(soak.span)),
        };
    }
    let told = format!("{} of {} looks, all of them good", watched.seen, watched.expected);
    match is_covered(watched, soak.coverage) {
        false => not_yet(
            format!("{}% of the looks", soak.coverage),
            match watched.seen {
                0 => "no data".to_owned(),
                _ => format!("{} of {}", watched.seen, watched.expected),
            },
        ),
        true => Soaked {
            answer: GateVerdict::judge(&soak.name, vec![evidence(wanted, told, true)]),
            at: window.to,
            until: None,
        },
    }
}

/// A bad look that nobody names counts as no data: it cannot be said from when on the release is clean.
fn is_covered(watched: &Watched, percent: u8) -> bool {
    let (seen, expected) = (u128::from(watched.seen), u128::from(watched.expected));
    watched.bad == 0 && seen > 0 && seen * 100 >= expected * u128::from(percent)
}

#[cfg(test)]
mod tests {
    use lockgate_model::{BadLook, FailureKind, Judgement, Millis, PrometheusMonitor, Secret, Within};

    use super::*;

    fn soak() -> Soak {
        Soak {
            name: "soak in green".into(),
            span: Millis::from_secs(86_400),
            coverage: 90,
            monitor: Monitor::Prometheus(PrometheusMonitor {
                url: Secret::new("http://127.0.0.1:9090"),
                token: None,
                query: "x".into(),
                good: Within { min: None, max: Some(0.01) },
                every: Millis::from_secs(60),
                timeout: Millis::from_secs(10),
            }),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    /// In a few words, times in seconds.
    fn told(soaked: &Soaked) -> String {
        let judged = match soaked.answer.judgement {
            Judgement::Pass => "pass",
            Judgement::Fail => "fail",
            Judgement::NotYet => "not yet",
        };
        let until = soaked.until.map_or("-".to_owned(), |until| (until.0 / 1_000).to_string());
        let Evidence { check, wanted, seen, .. } = &soaked.answer.evidence[0];
        format!("{judged}@{} until {until}: {check}: {seen}, wanted {wanted}", soaked.at.0 / 1_000)
    }

    #[test]
    fn only_a_time_that_was_watched_and_clean_passes() {
        let window = Window { from: at(100_000), to: at(186_400) };
        let watched = |expected, seen, bad, last_bad: Option<i64>| {
            let last_bad = last_bad.map(|seconds| BadLook { at: at(seconds), saw: "0.2".into() });
            Ok(Watched { expected, seen, bad, last_bad })
        };
        let over = "prometheus over 24h0m";
        for (seen, wanted) in [
            (
                watched(1_440, 1_440, 0, None),
                format!(
                    "pass@186400 until -: {over}: 1440 of 1440 looks, all of them good, wanted at most 0.01"
                ),
            ),
            (
                watched(1_440, 1_296, 0, None),
                format!(
                    "pass@186400 until -: {over}: 1296 of 1440 looks, all of them good, wanted at most 0.01"
                ),
            ),
            (
                watched(1_440, 1_295, 0, None),
                format!("not yet@186400 until -: {over}: 1295 of 1440, wanted 90% of the looks"),
            ),
            (
                watched(1_440, 0, 0, None),
                format!("not yet@186400 until -: {over}: no data, wanted 90% of the looks"),
            ),
            (
                watched(0, 0, 0, None),
                format!("not yet@186400 until -: {over}: no data, wanted 90% of the looks"),
            ),
            // Bad, and nobody knows when.
            (
                watched(10, 10, 1, None),
                format!("not yet@186400 until -: {over}: 10 of 10, wanted 90% of the looks"),
            ),
            // A failure counts however little was seen beside it, and from its own time on.
            (
                watched(1_440, 3, 2, Some(120_000)),
                format!(
                    "fail@120000 until 206400: {over}: 2 of 3 looks are bad, the last of them saw 0.2, wanted at most 0.01"
                ),
            ),
            // The monitor's clock is ahead.
            (
                watched(1_440, 1_440, 1, Some(900_000)),
                format!(
                    "fail@186400 until 272800: {over}: 1 of 1440 looks are bad, the last of them saw 0.2, wanted at most 0.01"
                ),
            ),
            (
                Err(Failure::new(FailureKind::Unauthorized, "it answers 401")),
                format!("not yet@186400 until -: {over}: unauthorized: it answers 401, wanted an answer"),
            ),
        ] {
            assert_eq!(told(&soaked(&soak(), window, &seen)), wanted);
        }
    }

    #[test]
    fn it_looks_back_no_further_than_the_release_was_live() {
        let of = |live_since, now| {
            let window = Window::of(&soak(), at(live_since), at(now));
            (window.from.0 / 1_000, window.to.0 / 1_000)
        };
        assert_eq!(of(0, 186_400), (100_000, 186_400));
        assert_eq!(of(186_000, 186_400), (186_000, 186_400));
        // A clock was set back since.
        assert_eq!(of(200_000, 186_400), (186_400, 186_400));
    }
}
