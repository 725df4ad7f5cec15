//! When releases go live by themselves, and what a tick came to, as text.

use std::fmt::Write;

use lockgate_model::{
    EnvironmentName, FailedBefore, Handled, Outcome, Promotable, ScheduleLine, ScheduledEnd, ServiceName,
    Zone,
};

use crate::failure::failure_text;
use crate::promotion::prospect_text;
use crate::status::rejected_text;
use crate::{Paint, Table, escaped};

/// A table with the last tick and the next of each service; below it what keeps a release back. Without a line feed at the
/// end.
#[must_use]
pub fn schedule_text(lines: &[ScheduleLine], paint: Paint) -> String {
    let mut table = Table::new(["environment", "service", "when", "last", "next"]);
    for line in lines {
        let next = line.next.map_or("never again".to_owned(), |next| line.zone.rfc3339(next));
        let when = format!("{} ({})", line.schedule.cron, line.zone.name());
        table.push(vec![line.environment.to_string(), line.service.to_string(), when, last(line), next]);
    }
    let mut text = table.text();
    for line in lines {
        for note in notes(line, paint) {
            let _ =
                write!(text, "\n  {} {} in {}: {note}", paint.yellow("!"), line.service, line.environment);
        }
    }
    text
}

/// What the last tick came to, in a few words.
fn last(line: &ScheduleLine) -> String {
    let Ok(remembered) = &line.remembered else { return "not known".to_owned() };
    match (&remembered.last, remembered.tick) {
        (Some(last), tick) if tick.is_none_or(|tick| tick == last.tick) => {
            format!("{}: {}", line.zone.rfc3339(last.tick), brief(&last.end))
        }
        (_, Some(tick)) => format!("{}: begun, and not ended", line.zone.rfc3339(tick)),
        (_, None) => "none yet".to_owned(),
    }
}

/// How it ended and of which release.
fn brief(end: &ScheduledEnd) -> String {
    match end {
        ScheduledEnd::Live { release } => format!("{} is live", release.tag),
        ScheduledEnd::NoVersion { .. } => "no version".to_owned(),
        ScheduledEnd::Older { newest, .. } => format!("{newest} is older"),
        ScheduledEnd::Rejected { rejected } => format!("{} was rejected", rejected.rejection.release.tag),
        ScheduledEnd::FailedBefore { failed } => format!("{} failed before", failed.release.tag),
        ScheduledEnd::NotPromoted { prospect } => match &prospect.promotable {
            Promotable::Held { release, .. } => format!("{} is held", release.tag),
            _ => format!("nothing is live in {}", prospect.from),
        },
        ScheduledEnd::Waits => "an earlier run is stuck".to_owned(),
        ScheduledEnd::Missed => "missed".to_owned(),
        ScheduledEnd::Ran { release, outcome, .. } => {
            format!("{}: {}", release.tag, outcome.as_str().replace('_', " "))
        }
        ScheduledEnd::Failed { tag, failure, .. } => {
            let of = tag.as_ref().map(|tag| format!("{tag}: ")).unwrap_or_default();
            format!("{of}{}", failure.kind.as_str())
        }
    }
}

/// What somebody should know beside the last tick and the next.
fn notes(line: &ScheduleLine, paint: Paint) -> Vec<String> {
    let remembered = match &line.remembered {
        Ok(remembered) => remembered,
        Err(failure) => {
            return vec![format!(
                "nothing is done: {}",
                failure_text(failure, paint).replace('\n', "\n    ")
            )];
        }
    };
    let mut notes = Vec::new();
    if let Some(missed) = line.missed {
        notes.push(format!(
            "nobody was there at {}: is cron running, and does it have what `lockgate schedule --crontab` prints?",
            line.zone.rfc3339(missed)
        ));
    }
    if remembered.tick.is_none() {
        notes.push("nobody has called `lockgate run-schedule` here yet; `lockgate schedule --crontab` prints the line for cron".to_owned());
    }
    if let Some(failed) = &remembered.failed {
        notes.push(failed_text(&line.environment, &line.service, &line.zone, failed));
    }
    if let Some(Handled { end: ScheduledEnd::Rejected { rejected }, .. }) = &remembered.last {
        let time = |at| line.zone.rfc3339(at);
        let again = by_hand(&line.environment, &line.service, rejected.rejection.release.tag.as_str());
        notes.push(format!("{}; {again}", rejected_text(rejected, &time)));
    }
    notes
}

fn by_hand(environment: &EnvironmentName, service: &ServiceName, tag: &str) -> String {
    format!(
        "it does not go live by itself; to deploy it all the same: `lockgate --env {environment} deploy {service} {tag}`"
    )
}

fn failed_text(
    environment: &EnvironmentName,
    service: &ServiceName,
    zone: &Zone,
    failed: &FailedBefore,
) -> String {
    let FailedBefore { release, failed_at, why } = failed;
    format!(
        "{release} failed at {}: {}; it is not tried again until its tag means something else; to deploy it all the same: `lockgate --env {environment} deploy {service} {}`",
        zone.rfc3339(*failed_at),
        escaped(why),
        release.tag
    )
}

/// What a tick came to for a service. Without a line feed at the end. Of a run only how it ended: all of it is said by
/// [`crate::outcome_text`].
#[must_use]
pub fn turn_text(
    environment: &EnvironmentName,
    service: &ServiceName,
    zone: &Zone,
    handled: &Handled,
    paint: Paint,
) -> String {
    let what = paint.bold(&format!("{service} in {environment}"));
    let nothing = |why: String| format!("{what}: nothing to do: {why}");
    match &handled.end {
        ScheduledEnd::Live { release } => nothing(format!("{release} is live")),
        ScheduledEnd::NoVersion { tags: 0 } => nothing("its image has no tags".to_owned()),
        ScheduledEnd::NoVersion { tags } => {
            nothing(format!("none of its image's tags ({tags}) is a version that counts, such as v1.2.3"))
        }
        ScheduledEnd::Older { live, newest } => {
            nothing(format!("{live} is live, which is newer than {newest}, the newest tag"))
        }
        ScheduledEnd::Rejected { rejected } => {
            let time = |at| zone.rfc3339(at);
            let again = by_hand(environment, service, rejected.rejection.release.tag.as_str());
            nothing(format!("{}; {again}", rejected_text(rejected, &time)))
        }
        ScheduledEnd::FailedBefore { failed } => nothing(failed_text(environment, service, zone, failed)),
        ScheduledEnd::NotPromoted { prospect } => prospect_text(prospect, &|at| zone.rfc3339(at), paint),
        ScheduledEnd::Waits => format!(
            "{what}: {}: an earlier run waits for a person, so nothing is done; `lockgate --env {environment} status {service}` says what is live",
            paint.red("stuck")
        ),
        ScheduledEnd::Missed => format!(
            "{what}: {}: nobody was there at {}, and it is too late to make up for it",
            paint.yellow("missed"),
            zone.rfc3339(handled.tick)
        ),
        ScheduledEnd::Ran { release, outcome, .. } => {
            let word = outcome.as_str().replace('_', " ");
            let word = match outcome {
                Outcome::Succeeded { .. } => paint.green(&word),
                Outcome::Failed { .. } | Outcome::Stuck(_) => paint.red(&word),
                Outcome::RolledBack { .. } => paint.yellow(&word),
            };
            format!("{what}: {release}: {word}")
        }
        ScheduledEnd::Failed { tag, failure, how } => {
            let of = tag.as_ref().map(|tag| format!("{tag}: ")).unwrap_or_default();
            let word = paint.red(&how.as_str().replace('_', " "));
            format!("{what}: {of}{word}: {}", failure_text(failure, paint))
        }
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{
        Cron, Failure, FailureKind, Millis, Pick, Rejected, Rejection, Remembered, Schedule, ScheduledWord,
        Tag, Timestamp,
    };

    use super::*;
    use crate::fixtures::{environment, failure_smoke, host, release, run, service};

    /// 2026-11-26T04:00:00Z: five in Berlin.
    const TICK: Timestamp = Timestamp(1_795_665_600_000);
    const LATER: Timestamp = Timestamp(TICK.0 + 61_000);

    fn zone() -> Zone {
        let rules = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        Zone::new("Europe/Berlin", rules)
    }

    fn failed() -> FailedBefore {
        FailedBefore { release: release("v2"), failed_at: LATER, why: "gate failed: smoke\n".into() }
    }

    fn rejected() -> Rejected {
        let (release, why) = (release("v2"), "gate failed: smoke".to_owned());
        let rejection = Rejection { release, rejected_at: LATER, by: "kim@desk".into(), why };
        Rejected { rejection, hosts: vec![host("web1")] }
    }

    fn ends() -> Vec<ScheduledEnd> {
        let registry =
            Failure::new(FailureKind::Unreachable, "ghcr.io: no route").hint("look at its status page");
        let held = Failure::new(FailureKind::Conflict, "lee@laptop holds the lease").hint("wait for it");
        vec![
            ScheduledEnd::Live { release: release("v2") },
            ScheduledEnd::NoVersion { tags: 0 },
            ScheduledEnd::NoVersion { tags: 12 },
            ScheduledEnd::Older { live: release("v2"), newest: Tag::new("v1").unwrap() },
            ScheduledEnd::Rejected { rejected: rejected() },
            ScheduledEnd::FailedBefore { failed: failed() },
            ScheduledEnd::Waits,
            ScheduledEnd::Missed,
            ScheduledEnd::Ran {
                run: run(),
                release: release("v2"),
                outcome: Outcome::Succeeded { warnings: Vec::new() },
            },
            ScheduledEnd::Ran {
                run: run(),
                release: release("v2"),
                outcome: Outcome::RolledBack { failure: failure_smoke() },
            },
            ScheduledEnd::Failed { tag: None, how: ScheduledWord::Failed, failure: registry },
            ScheduledEnd::Failed {
                tag: Some(Tag::new("v2").unwrap()),
                how: ScheduledWord::Held,
                failure: held,
            },
        ]
    }

    #[test]
    fn every_end_of_a_tick_says_what_it_was_and_what_to_type() {
        let text = |end| {
            let handled = Handled { tick: TICK, at: LATER, end };
            turn_text(&environment(), &service(), &zone(), &handled, Paint::plain())
        };
        insta::assert_snapshot!(ends().into_iter().map(text).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn every_end_of_a_tick_is_one_object_for_programs() {
        let json = |end| {
            let handled = Handled { tick: TICK, at: LATER, end };
            let (environment, service) = (environment(), service());
            let told = lockgate_model::TurnTold::new(&environment, &service, &zone(), &handled, None);
            serde_json::to_string(&told).unwrap()
        };
        insta::assert_snapshot!(ends().into_iter().map(json).collect::<Vec<_>>().join("\n"));
    }

    fn line(service: &str, remembered: Result<Remembered, Failure>) -> ScheduleLine {
        ScheduleLine {
            environment: environment(),
            service: ServiceName::new(service).unwrap(),
            schedule: Schedule {
                cron: Cron::new("0 5 * * *").unwrap(),
                zone: Some(zone()),
                deploy: Pick::LatestSemver,
                pre_releases: false,
                catch_up: Millis::from_secs(3600),
            },
            zone: zone(),
            remembered,
            missed: None,
            next: Some(Timestamp(TICK.0 + 24 * 3_600_000)),
        }
    }

    fn lines() -> Vec<ScheduleLine> {
        let ended = |end, failed| Remembered {
            tick: Some(TICK),
            last: Some(Handled { tick: TICK, at: LATER, end }),
            failed,
        };
        let ran = |outcome| ScheduledEnd::Ran { run: run(), release: release("v2"), outcome };
        let unread = Failure::new(FailureKind::Other, "api.json does not say it").hint("move it away");
        let mut missed = line("mailer", Ok(ended(ScheduledEnd::Live { release: release("v1") }, None)));
        missed.missed = Some(Timestamp(TICK.0 + 3_600_000));
        missed.next = None;
        let rolled_back = Outcome::RolledBack { failure: failure_smoke() };
        vec![
            line("web", Ok(ended(ran(Outcome::Succeeded { warnings: Vec::new() }), None))),
            line("cart", Ok(ended(ran(rolled_back), Some(failed())))),
            line("shop", Ok(ended(ScheduledEnd::Rejected { rejected: rejected() }, None))),
            line("new", Ok(Remembered::default())),
            line("cut", Ok(Remembered { tick: Some(TICK), ..Remembered::default() })),
            missed,
            line("api", Err(unread)),
        ]
    }

    #[test]
    fn the_last_tick_and_the_next_of_each_service() {
        insta::assert_snapshot!(schedule_text(&lines(), Paint::plain()));
    }

    #[test]
    fn the_last_tick_and_the_next_of_each_service_for_programs() {
        let json = |line: &ScheduleLine| serde_json::to_string(&line.told()).unwrap();
        insta::assert_snapshot!(lines().iter().map(json).collect::<Vec<_>>().join("\n"));
    }
}
