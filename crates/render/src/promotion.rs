//! How far releases are from one environment to the next, as text.

use std::fmt::Write;

use lockgate_model::{
    Holds, Millis, Obstacle, Passed, Promotable, Prospect, Release, StatusWord, TagLine, Timestamp,
};

use crate::failure::failure_text;
use crate::{Paint, Table, escaped};

/// Longest part of a commit that is shown.
const COMMIT_CHARS: usize = 8;

/// What may go, and below it each gate that is open or what holds it. `time` formats points in time. Without a line feed at the
/// end.
#[must_use]
pub fn prospect_text(prospect: &Prospect, time: &dyn Fn(Timestamp) -> String, paint: Paint) -> String {
    let Prospect { service, from, to, promotable, .. } = prospect;
    let mut text = paint.bold(&format!("{service} from {from} to {to}"));
    match promotable {
        Promotable::Nothing => {
            let _ = write!(text, ": nothing is live in {from}");
        }
        Promotable::Same { release } => {
            let _ = write!(text, ": nothing to do, {release} is live in both");
        }
        Promotable::Ready { release, passed, .. } => {
            let _ = write!(text, ": {release} may go{}", instead(prospect.replaces.as_ref()));
            for open in passed {
                let _ = write!(text, "\n  {} {}", paint.green("✓"), passed_text(open, time));
            }
        }
        Promotable::Held { release, by, until } => {
            let there = prospect.replaces.as_ref().map(|live| format!("; {live} is live there"));
            let _ = write!(text, ": {release} is held{}", there.unwrap_or_default());
            for obstacle in by {
                let _ = write!(text, "\n  {} {}", mark(obstacle, paint), obstacle_text(obstacle, time));
            }
            if let Some(until) = until {
                let _ = write!(text, "\n  ask again at {}", time(*until));
            }
        }
    }
    for note in &prospect.notes {
        let _ = write!(text, "\n  {} {}", paint.yellow("!"), escaped(note));
    }
    text
}

fn instead(replaces: Option<&Release>) -> String {
    replaces.map(|live| format!(", in place of {live}")).unwrap_or_default()
}

fn mark(obstacle: &Obstacle, paint: Paint) -> String {
    match obstacle.what {
        Holds::Failed { .. } | Holds::Rejected { .. } | Holds::Unfounded { .. } => paint.red("✗"),
        Holds::Unasked { .. }
        | Holds::NotYet { .. }
        | Holds::Expired { .. }
        | Holds::Ahead { .. }
        | Holds::Soaking { .. }
        | Holds::Unseen { .. }
        | Holds::Frozen { .. } => paint.yellow("·"),
    }
}

fn passed_text(open: &Passed, time: &dyn Fn(Timestamp) -> String) -> String {
    let Passed { gate, at, by, until, waived } = open;
    let (gate, by) = (escaped(gate), escaped(by));
    let until = until.map(|until| format!(", until {}", time(until))).unwrap_or_default();
    match waived {
        Some(why) => format!("{gate}: waived by {by} at {}{until}: {}", time(*at), escaped(why)),
        None => format!("{gate}: passed at {}{until}", time(*at)),
    }
}

fn obstacle_text(obstacle: &Obstacle, time: &dyn Fn(Timestamp) -> String) -> String {
    let since = match &obstacle.what {
        Holds::Failed { at, .. } => format!(" (last at {})", time(*at)),
        Holds::Rejected { at, .. } => format!(" (at {})", time(*at)),
        Holds::Soaking { since, .. } => format!(" (since {})", time(*since)),
        Holds::Unasked { .. }
        | Holds::NotYet { .. }
        | Holds::Expired { .. }
        | Holds::Unfounded { .. }
        | Holds::Ahead { .. }
        | Holds::Unseen { .. }
        | Holds::Frozen { .. } => String::new(),
    };
    let until = obstacle.until.map(|until| format!(", until {}", time(until))).unwrap_or_default();
    format!("{}{since}{until}", escaped(&obstacle.what.to_string()))
}

/// Every service and environment side by side. `time` as in [`prospect_text`]. Without a line feed at the end.
#[must_use]
pub fn tags_text(lines: &[TagLine], time: &dyn Fn(Timestamp) -> String, paint: Paint) -> String {
    let mut table = Table::new(["service", "environment", "tag", "digest", "commit", "live for", "next"]);
    for line in lines {
        let release = line.release.as_ref();
        let cell = |of: &dyn Fn(&Release) -> String| release.map_or("-".to_owned(), of);
        table.push(vec![
            line.service.to_string(),
            line.environment.to_string(),
            cell(&|release| release.tag.to_string()),
            cell(&|release| release.digest.short().to_owned()),
            cell(&|release| release.commit.as_deref().map_or("-".to_owned(), shortened)),
            line.live_for.filter(|_| release.is_some()).map_or("-".to_owned(), whole_minutes),
            next(line, time),
        ]);
    }
    let mut text = table.text();
    for line in lines {
        let place = format!("{} in {}", line.service, line.environment);
        if let Some(failure) = &line.failure {
            let shown = failure_text(failure, paint).replace('\n', "\n    ");
            let _ = write!(text, "\n  {} {place}: {shown}", paint.red("✗"));
        } else if !line.status.is_well() {
            let word = line.status.as_str().replace('_', " ");
            let look = format!("`lockgate --env {} status {}` says more", line.environment, line.service);
            let _ = write!(text, "\n  {} {place}: {word}; {look}", paint.yellow("!"));
        }
    }
    text
}

/// A commit is the first letters of what a host tells.
fn shortened(commit: &str) -> String {
    escaped(&commit.chars().take(COMMIT_CHARS).collect::<String>())
}

/// `13h5m`; of less than a minute the seconds.
fn whole_minutes(time: Millis) -> String {
    const MINUTE: u64 = 60_000;
    match time.0 {
        0..MINUTE => Millis(time.0 / 1_000 * 1_000).to_string(),
        _ => Millis(time.0 / MINUTE * MINUTE).to_string(),
    }
}

/// What would come here from the environment before, and what holds it.
fn next(line: &TagLine, time: &dyn Fn(Timestamp) -> String) -> String {
    let Some(prospect) = &line.next else {
        return if line.status == StatusWord::InProgress { "-".to_owned() } else { String::new() };
    };
    match &prospect.promotable {
        Promotable::Nothing | Promotable::Same { .. } => String::new(),
        Promotable::Ready { release, .. } => format!("{} may come from {}", release.tag, prospect.from),
        Promotable::Held { release, by, until } => {
            let unasked = |obstacle: &&Obstacle| matches!(obstacle.what, Holds::Unasked { .. });
            // What is asked when it is promoted holds nothing by itself.
            let first = by.iter().find(|one| !unasked(one)).or(by.first());
            let why = first.map(|one| escaped(&one.what.to_string())).unwrap_or_default();
            let until = first.and_then(|one| one.until).or(*until);
            let until = until.map(|until| format!(", until {}", time(until))).unwrap_or_default();
            format!("{}: {why}{until}", release.tag)
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use lockgate_model::{EnvironmentName, Failure, FailureKind};

    use super::*;
    use crate::fixtures::{release, service};

    fn name(name: &str) -> EnvironmentName {
        EnvironmentName::new(name).unwrap()
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp(1_763_640_000_000 + minutes * 60_000)
    }

    /// Minutes from the beginning.
    fn time(at: Timestamp) -> String {
        format!("minute {}", (at.0 - 1_763_640_000_000) / 60_000)
    }

    fn prospect(promotable: Promotable, notes: &[&str]) -> Prospect {
        Prospect {
            service: service(),
            from: name("green"),
            to: name("blue"),
            replaces: Some(release("v1")),
            promotable,
            notes: notes.iter().map(|note| (*note).to_owned()).collect(),
        }
    }

    fn ready() -> Promotable {
        let gate = |gate: &str, waived: Option<&str>| Passed {
            gate: gate.into(),
            at: at(0),
            by: "kim@desk".into(),
            until: waived.map(|_| at(60)),
            waived: waived.map(str::to_owned),
        };
        let passed = vec![gate("soak in green", None), gate("scan", Some("CVE-1 is not\u{1b}[2J reachable"))];
        Promotable::Ready { release: release("v2"), passed, until: Some(at(60)) }
    }

    fn held(by: Vec<(Holds, Option<i64>)>) -> Promotable {
        let one = |(what, until): (Holds, Option<i64>)| Obstacle { what, until: until.map(at) };
        let by: Vec<Obstacle> = by.into_iter().map(one).collect();
        let until = by.iter().map(|one| one.until).try_fold(at(0), |last, until| Some(last.max(until?)));
        Promotable::Held { release: release("v2"), by, until }
    }

    fn soaking() -> Holds {
        Holds::Soaking { since: at(-60), wanted: Millis::from_secs(86_400), after_failure_of: None }
    }

    #[test]
    fn what_may_go_what_is_held_and_by_what() {
        let failed = Holds::Failed {
            gate: "soak in green".into(),
            at: at(-5),
            by: "kim@desk".into(),
            because: "prometheus over 24h0m: 3 of 1440 looks are bad".into(),
        };
        let rejected =
            Holds::Rejected { at: at(-9), by: "lee@laptop".into(), why: "gate failed: smoke".into() };
        let moved = "the tag v2 leads to other bytes by now (0a0a0a0a0a0a): what was tested is promoted";
        let texts = [
            prospect(Promotable::Nothing, &[]),
            prospect(Promotable::Same { release: release("v2") }, &[]),
            prospect(ready(), &[moved]),
            prospect(held(vec![(soaking(), Some(1_380)), (failed.clone(), Some(1_435))]), &[]),
            prospect(held(vec![(Holds::Unasked { gate: "scan".into() }, None), (rejected, None)]), &[]),
        ]
        .map(|prospect| prospect_text(&prospect, &time, Paint::plain()));
        assert_snapshot!(texts.join("\n\n"));
    }

    #[test]
    fn every_environment_side_by_side_with_what_comes_next() {
        let line =
            |environment: &str, tag: Option<&str>, live_for: Option<u64>, next: Option<Promotable>| TagLine {
                service: service(),
                environment: name(environment),
                status: StatusWord::Success,
                release: tag
                    .map(|tag| Release { commit: Some("3f786850e387550fdab8".into()), ..release(tag) }),
                live_for: live_for.map(Millis),
                failure: None,
                next: next.map(|next| prospect(next, &[])),
            };
        let unasked = Holds::Unasked { gate: "soak in green".into() };
        let mut out = line("edge", Some("v1"), None, None);
        out.status = StatusWord::Stuck;
        let mut dark = line("far", None, None, None);
        dark.failure = Some(
            Failure::new(FailureKind::Unreachable, "no route to host").at(&crate::fixtures::host("web9")),
        );
        let lines = [
            line("green", Some("v2"), Some(3_600_000 + 5 * 60_000 + 999), None),
            line(
                "blue",
                Some("v1"),
                Some(42_900),
                Some(held(vec![(unasked, None), (soaking(), Some(1_380))])),
            ),
            line("east", Some("v1"), None, Some(ready())),
            line("west", None, None, Some(Promotable::Nothing)),
            out,
            dark,
        ];
        assert_snapshot!(tags_text(&lines, &time, Paint::plain()));
    }
}
