//! What every [`Journal`] promises.

use std::collections::BTreeMap;

use lockgate_model::{
    Digest, EnvironmentName, Event, EventKind, Evidence, Failure, FailureKind, Gates, HostId, Intent,
    Outcome, Plan, Progress, ProjectName, Release, RunId, ServiceName, Slot, StepId, Strategy, Tag,
    Timestamp,
};

use crate::{Journal, JournalError, RunFilter};

/// What no database may trip over.
const ODD: &str = "ü 'quoted' \"twice\"; \\u0000 \0 \u{1f6a2} \u{202e} $1 ?1 %s\n--";
/// Runs that two callers write beside each other.
const BESIDE: u128 = 10;

/// `one` and `other` are two ways to the same journal, in which nothing is yet.
///
/// # Panics
/// When a promise is broken.
pub async fn journal(one: &dyn Journal, other: &dyn Journal) {
    assert_eq!(other.runs(&any()).await.unwrap(), []);
    events_come_back_as_they_were_appended(one, other).await;
    what_does_not_follow_is_refused_and_changes_nothing(one).await;
    what_another_one_appended_is_neither_overwritten_nor_forked(one, other).await;
    a_run_that_is_taken_over_is_unfinished_again(one, other).await;
    runs_are_listed_by_what_they_are_about_page_by_page(one, other).await;
    two_write_at_once(one, other).await;
}

/// A run's id: higher numbers are later.
fn run(number: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(number))
}

fn digest(mark: char) -> Digest {
    Digest::new(format!("sha256:{}", mark.to_string().repeat(64))).unwrap()
}

fn plan(project: &str, service: &str, environment: &str, mark: char) -> Plan {
    let service = ServiceName::new(service).unwrap();
    let release = Release {
        service: service.clone(),
        tag: Tag::new("v2").unwrap(),
        digest: digest(mark),
        image: Some("ghcr.io/acme/web".into()),
        commit: None,
        provenance: None,
    };
    Plan {
        project: ProjectName::new(project).unwrap(),
        service,
        environment: EnvironmentName::new(environment).unwrap(),
        strategy: Strategy::BlueGreen,
        intent: Intent::Deploy { release: release.clone(), gates: Gates::All, again: false },
        hosts: vec![HostId::local()],
        without: Vec::new(),
        before: BTreeMap::new(),
        release,
        phases: vec![],
    }
}

fn event(run: RunId, seq: u64, kind: EventKind) -> Event {
    Event { run, seq, at: Timestamp(1_763_640_000_000 + i64::try_from(seq).unwrap()), kind }
}

fn begun(plan: Plan) -> EventKind {
    EventKind::RunStarted { plan: Box::new(plan), owner: "lee@laptop".into(), requester: None }
}

fn ended(outcome: Outcome) -> EventKind {
    EventKind::RunEnded { outcome }
}

/// A whole run, with something of everything that nests.
fn whole(run: RunId, plan: Plan) -> Vec<Event> {
    let seen = Evidence { check: "GET /".into(), wanted: "200".into(), seen: ODD.into(), ok: false };
    let failure = Failure::new(FailureKind::Unhealthy, ODD)
        .at(&HostId::local())
        .slot(Slot::Green)
        .logs(vec!["line one".into(), ODD.into()])
        .evidence(vec![seen.clone()]);
    let step = StepId(3);
    let kinds = vec![
        begun(plan),
        EventKind::Intended { steps: vec![step, StepId(4)] },
        EventKind::StepStarted { step },
        EventKind::StepSucceeded { step, evidence: vec![seen], said: vec![ODD.into()] },
        EventKind::StepFailed { step: StepId(4), failure: failure.clone() },
        EventKind::UnwindStarted { cause: failure.clone() },
        EventKind::UndoStarted { step },
        EventKind::UndoSucceeded { step },
        ended(Outcome::RolledBack { failure }),
    ];
    (0..).zip(kinds).map(|(seq, kind)| event(run, seq, kind)).collect()
}

fn any() -> RunFilter {
    RunFilter { limit: 1_000, ..RunFilter::default() }
}

async fn listed(journal: &dyn Journal, filter: &RunFilter) -> Vec<u128> {
    let runs = journal.runs(filter).await.unwrap();
    runs.iter().map(|summary| summary.run.0.as_u128()).collect()
}

async fn events_come_back_as_they_were_appended(one: &dyn Journal, other: &dyn Journal) {
    let (first, second) = (run(1), run(2));
    let (of_first, of_second) =
        (whole(first, plan("shop", "web", "prod", 'a')), whole(second, plan("shop", "api", "prod", 'b')));
    // Event by event, and in bundles; two runs in turn.
    one.append_all(&[]).await.unwrap();
    one.append(&of_first[0]).await.unwrap();
    other.append_all(&of_second[..4]).await.unwrap();
    for event in &of_first[1..] {
        one.append(event).await.unwrap();
    }
    other.append_all(&of_second[4..]).await.unwrap();
    for journal in [one, other] {
        assert_eq!(journal.load(first).await.unwrap(), of_first);
        assert_eq!(journal.load(second).await.unwrap(), of_second);
        assert_eq!(journal.load(run(99)).await.unwrap(), []);
    }
    let summary = other.runs(&any()).await.unwrap().pop().unwrap();
    assert_eq!((summary.run, summary.project.as_str(), summary.intent.as_str()), (first, "shop", "deploy"));
    assert_eq!((summary.owner.as_str(), summary.started_at), ("lee@laptop", of_first[0].at));
    assert_eq!((summary.release.digest.clone(), summary.ended_at), (digest('a'), Some(of_first[8].at)));
    let EventKind::RunEnded { outcome } = &of_first[8].kind else { panic!("it is the last") };
    assert_eq!(summary.outcome.as_ref(), Some(outcome));
}

async fn what_does_not_follow_is_refused_and_changes_nothing(one: &dyn Journal) {
    let id = run(3);
    let events = whole(id, plan("shop", "web", "prod", 'a'));
    let refused = async |wrong: &[Event]| {
        let error = one.append_all(wrong).await.unwrap_err();
        assert!(matches!(error, JournalError::Other { .. }), "{error}");
    };
    refused(&events[1..2]).await;
    refused(&events[5..]).await;
    one.append_all(&events[..2]).await.unwrap();
    for wrong in [&events[..1], &events[1..2], &events[1..4], &events[3..4]] {
        refused(wrong).await;
    }
    // One that does not belong there, behind some that do.
    refused(&[events[2].clone(), event(run(1), 3, EventKind::Committed)]).await;
    refused(&[events[2].clone(), events[4].clone()]).await;
    assert_eq!(one.load(id).await.unwrap(), events[..2]);
    one.append_all(&events[2..]).await.unwrap();
    assert_eq!(one.load(id).await.unwrap(), events);
}

async fn what_another_one_appended_is_neither_overwritten_nor_forked(one: &dyn Journal, other: &dyn Journal) {
    let id = run(4);
    let events = whole(id, plan("shop", "web", "prod", 'a'));
    one.append_all(&events[..2]).await.unwrap();
    other.append_all(&events[2..4]).await.unwrap();
    assert!(one.append(&events[2]).await.is_err(), "it is there already");
    one.append_all(&events[4..]).await.unwrap();
    assert!(other.append(&events[4]).await.is_err(), "it is there already");
    for journal in [one, other] {
        assert_eq!(journal.load(id).await.unwrap(), events);
    }
}

async fn a_run_that_is_taken_over_is_unfinished_again(one: &dyn Journal, other: &dyn Journal) {
    let id = run(5);
    let unfinished = RunFilter { unfinished: true, ..any() };
    one.append(&event(id, 0, begun(plan("shop", "web", "prod", 'a')))).await.unwrap();
    assert_eq!(listed(other, &unfinished).await, [5]);
    let failure = Failure::new(FailureKind::Other, "it was cut off");
    one.append(&event(id, 1, ended(Outcome::Failed { failure }))).await.unwrap();
    assert_eq!(listed(other, &unfinished).await, [0; 0]);
    let adopted = EventKind::Adopted {
        owner: "kim@desk".into(),
        progress: Progress::Unwinding,
        left: vec![],
        without: vec![],
    };
    other.append(&event(id, 2, adopted)).await.unwrap();
    let summary = one.runs(&unfinished).await.unwrap().remove(0);
    assert_eq!((summary.run, summary.ended_at, summary.outcome), (id, None, None));
    other.append(&event(id, 3, ended(Outcome::Succeeded { warnings: vec![] }))).await.unwrap();
    assert_eq!(listed(one, &unfinished).await, [0; 0]);
}

async fn runs_are_listed_by_what_they_are_about_page_by_page(one: &dyn Journal, other: &dyn Journal) {
    let about = [
        (20, "bakery", "web", "prod", 'c'),
        (21, "bakery", "api", "test", 'c'),
        (22, "bakery", "web", "test", 'd'),
        (23, "bakery", "web", "prod", 'd'),
        (24, "bakery", "web", "prod", 'c'),
    ];
    for (number, project, service, environment, mark) in about {
        let mut events = whole(run(number), plan(project, service, environment, mark));
        // The last one goes on.
        events.truncate(if number == 24 { 2 } else { events.len() });
        one.append_all(&events).await.unwrap();
    }
    let of = RunFilter { project: Some(ProjectName::new("bakery").unwrap()), ..any() };
    let web = RunFilter { service: Some(ServiceName::new("web").unwrap()), ..of.clone() };
    let prod = RunFilter { environment: Some(EnvironmentName::new("prod").unwrap()), ..of.clone() };
    let both = RunFilter { environment: prod.environment.clone(), ..web.clone() };
    let bytes = RunFilter { digest: Some(digest('c')), ..of.clone() };
    assert_eq!(listed(other, &of).await, [24, 23, 22, 21, 20]);
    assert_eq!(listed(other, &web).await, [24, 23, 22, 20]);
    assert_eq!(listed(other, &prod).await, [24, 23, 20]);
    assert_eq!(listed(other, &both).await, [24, 23, 20]);
    assert_eq!(listed(other, &bytes).await, [24, 21, 20]);
    assert_eq!(listed(other, &RunFilter { digest: Some(digest('c')), ..any() }).await, [24, 21, 20]);
    assert_eq!(listed(other, &RunFilter { unfinished: true, ..both.clone() }).await, [24]);
    let page = |before| RunFilter { before, limit: 2, ..web.clone() };
    assert_eq!(listed(other, &page(None)).await, [24, 23]);
    assert_eq!(listed(other, &page(Some(run(23)))).await, [22, 20]);
    assert_eq!(listed(other, &page(Some(run(20)))).await, [0; 0]);
    let nowhere = RunFilter { project: Some(ProjectName::new("another").unwrap()), ..any() };
    assert_eq!(listed(other, &nowhere).await, [0; 0]);
}

async fn two_write_at_once(one: &dyn Journal, other: &dyn Journal) {
    let write = async |journal: &dyn Journal, first: u128| {
        for number in first..first + BESIDE {
            for event in whole(run(number), plan("shop", "web", "prod", 'a')) {
                journal.append(&event).await.unwrap();
            }
        }
    };
    tokio::join!(write(one, 100), write(other, 200));
    for number in (100..100 + BESIDE).chain(200..200 + BESIDE) {
        assert_eq!(one.load(run(number)).await.unwrap().len(), 9);
    }
}
