//! Past runs as text.

use lockgate_model::{HostId, LeftOut, Outcome, PastRun, Requester, Timestamp};

use crate::{Table, escaped};

/// A table with one line for each run, in their order. `time` writes a point in time as whoever reads it wants it. Without a
/// line feed at the end.
#[must_use]
pub fn history_text(runs: &[PastRun], time: &dyn Fn(Timestamp) -> String) -> String {
    let mut table = Table::new([
        "started",
        "ended",
        "service",
        "environment",
        "what",
        "release",
        "outcome",
        "by",
        "without",
        "run",
    ]);
    for run in runs {
        table.push(vec![
            time(run.started_at),
            run.ended_at.map(time).unwrap_or_default(),
            run.service.to_string(),
            run.environment.to_string(),
            escaped(&run.intent),
            run.release.to_string(),
            run.outcome.as_ref().map_or("unfinished".to_owned(), shown),
            escaped(&run.requester.as_ref().map_or_else(|| run.owner.clone(), Requester::to_string)),
            left_out_text(&run.owner, &run.left_out, time),
            run.run.to_string(),
        ]);
    }
    table.text()
}

/// How a run ended, and whether its release was rejected by it.
fn shown(outcome: &Outcome) -> String {
    match outcome.rejects() {
        true => format!("{}, rejected", outcome.as_str()),
        false => outcome.as_str().to_owned(),
    }
}

/// With who and when, where that is not who began the run.
fn left_out_text(owner: &str, left_out: &[LeftOut], time: &dyn Fn(Timestamp) -> String) -> String {
    let texts = left_out.iter().map(|LeftOut { hosts, by, at, .. }| {
        let names: Vec<&str> = hosts.iter().map(HostId::as_str).collect();
        let names = escaped(&names.join(", "));
        match by == owner {
            true => names,
            false => format!("{names} (by {} at {})", escaped(by), time(*at)),
        }
    });
    texts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use lockgate_model::{By, LeftOut, ProjectName, RunId};

    use super::*;
    use crate::fixtures::{environment, failure_smoke, host, release, service, stuck};
    use crate::time::clock_time_utc;

    /// 2025-11-20T12:00:00Z.
    const NOON: i64 = 1_763_640_000_000;

    fn run(number: u32, intent: &str, tag: &str, outcome: Option<Outcome>) -> PastRun {
        let began = NOON - 60_000 * i64::from(number);
        PastRun {
            run: RunId(uuid::Uuid::from_u128(100 - u128::from(number))),
            project: ProjectName::new("acme").unwrap(),
            service: service(),
            environment: environment(),
            release: release(tag),
            intent: intent.into(),
            owner: "lee@laptop".into(),
            requester: None,
            started_at: Timestamp(began),
            ended_at: outcome.as_ref().map(|_| Timestamp(began + 12_345)),
            rejected: outcome.as_ref().is_some_and(Outcome::rejects),
            outcome,
            left_out: Vec::new(),
        }
    }

    fn past() -> Vec<PastRun> {
        let web2 = [host("web2")];
        let mut asked = run(1, "deploy", "v2", Some(Outcome::RolledBack { failure: failure_smoke() }));
        asked.requester = Some(Requester::new(By::Ci, "acme/shop#17").why("nightly\u{1b}[2J"));
        let mut without = run(2, "rollback", "v1", Some(Outcome::Succeeded { warnings: Vec::new() }));
        let later = Timestamp(NOON - 30_000);
        without.left_out = [("lee@laptop", later), ("kim@desk", later)]
            .into_iter()
            .filter_map(|(by, at)| LeftOut::new(without.run, &web2, by, at))
            .collect();
        vec![
            run(0, "deploy", "v2", None),
            asked,
            without,
            run(3, "deploy", "v2", Some(Outcome::Failed { failure: failure_smoke() })),
            run(4, "tidy up", "v1", Some(Outcome::Stuck(stuck()))),
        ]
    }

    #[test]
    fn every_end_of_a_run_who_asked_for_it_and_whom_it_left_out() {
        insta::assert_snapshot!(history_text(&past(), &clock_time_utc));
    }

    #[test]
    fn for_programs_a_run_is_one_object() {
        let lines: Vec<String> = past().iter().map(|run| serde_json::to_string(run).unwrap()).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
