//! The transition function is total: every (direction, status, event) either is in the table or changes nothing.

use crate::common;
use lockgate_engine::{Direction, RunState, RunSummary, StepStatus, Work};
use lockgate_model::{
    Action, Event, EventKind, Failure, FailureKind, Health, HostId, HttpHealth, Lane, Millis, Outcome, Phase,
    Plan, Probe, Progress, RunId, Slot, StatusRange, Step, StepId, Timestamp,
};

fn failure() -> Failure {
    Failure::new(FailureKind::Other, "as told")
}

fn plan() -> Plan {
    let host = HostId::new("web1").unwrap();
    let step = Step { id: StepId(0), action: Action::Fetch { release: common::release() }, undo: Vec::new() };
    let lane = Lane { host: Some(host.clone()), steps: vec![step] };
    common::plan(vec![host], vec![Phase { title: "fetch".into(), committed: false, lanes: vec![lane] }])
}

fn event(seq: u64, kind: EventKind) -> Event {
    Event { run: RunId(uuid::Uuid::from_u128(1)), seq, at: Timestamp(0), kind }
}

fn begin() -> RunState {
    let kind = EventKind::RunStarted { plan: Box::new(plan()), owner: "me".into(), requester: None };
    RunState::begin(&event(0, kind)).unwrap()
}

fn statuses() -> Vec<StepStatus> {
    use StepStatus::{Done, Failed, Pending, Running, UndoFailed, Undoing, Undone, Unknown};
    vec![Pending, Running, Unknown, Done, Failed(failure()), Undoing, Undone, UndoFailed(failure())]
}

fn step_events() -> Vec<EventKind> {
    let step = StepId(0);
    vec![
        EventKind::StepStarted { step },
        EventKind::StepSucceeded { step, evidence: Vec::new(), said: Vec::new() },
        EventKind::StepFailed { step, failure: failure() },
        EventKind::UndoStarted { step },
        EventKind::UndoSucceeded { step },
        EventKind::UndoFailed { step, failure: failure() },
    ]
}

#[test]
fn every_pair_of_status_and_event_is_legal_or_changes_nothing() {
    let mut legal = Vec::new();
    for direction in [Direction::Forward, Direction::Unwinding(failure()), Direction::Committed] {
        for status in statuses() {
            for kind in step_events() {
                let mut state = begin();
                state.direction = direction.clone();
                state.steps[0] = status.clone();
                let word = |text: String| text.split(['(', ' ']).next().unwrap_or_default().to_owned();
                let name =
                    (word(format!("{direction:?}")), word(format!("{status:?}")), word(format!("{kind:?}")));
                match state.apply(&event(1, kind)) {
                    Ok(()) => legal.push((name, word(format!("{:?}", state.steps[0])))),
                    Err(error) => {
                        assert_eq!((state.steps[0].clone(), state.next_seq), (status.clone(), 1), "{error}");
                    }
                }
            }
        }
    }
    let shown: Vec<String> = legal
        .iter()
        .map(|((direction, from, event), to)| format!("{direction}: {from} {event} {to}"))
        .collect();
    let mut wanted = Vec::new();
    for direction in ["Forward", "Unwinding", "Committed"] {
        let unwinding = direction == "Unwinding";
        let rows: &[(&str, &str, &str, bool)] = &[
            ("Pending", "StepStarted", "Running", !unwinding),
            ("Running", "StepSucceeded", "Done", true),
            ("Running", "StepFailed", "Failed", true),
            ("Unknown", "StepStarted", "Running", !unwinding),
            ("Unknown", "UndoStarted", "Undoing", unwinding),
            ("Done", "UndoStarted", "Undoing", unwinding),
            ("Failed", "UndoStarted", "Undoing", unwinding),
            ("Undoing", "UndoSucceeded", "Undone", unwinding),
            ("Undoing", "UndoFailed", "UndoFailed", unwinding),
        ];
        let legal = rows.iter().filter(|(.., legal)| *legal);
        wanted.extend(legal.map(|(from, event, to, _)| format!("{direction}: {from} {event} {to}")));
    }
    assert_eq!(shown, wanted);
}

#[test]
fn a_run_turns_back_or_commits_only_from_forward_and_ends_once() {
    for direction in [Direction::Forward, Direction::Unwinding(failure()), Direction::Committed] {
        for kind in [EventKind::UnwindStarted { cause: failure() }, EventKind::Committed] {
            let mut state = begin();
            state.direction = direction.clone();
            let legal = state.apply(&event(1, kind)).is_ok();
            assert_eq!(legal, direction == Direction::Forward);
        }
    }
    let mut state = begin();
    let outcome = Outcome::Failed { failure: failure() };
    state.apply(&event(1, EventKind::RunEnded { outcome: outcome.clone() })).unwrap();
    let again = state.apply(&event(2, EventKind::RunEnded { outcome }));
    assert!(again.is_err(), "a run that has ended stays as it is");
}

#[test]
fn events_out_of_order_of_another_run_or_of_no_step_are_refused() {
    let mut state = begin();
    assert!(state.apply(&event(2, EventKind::StepStarted { step: StepId(0) })).is_err(), "a gap");
    assert!(state.apply(&event(1, EventKind::StepStarted { step: StepId(7) })).is_err(), "no such step");
    let mut other = event(1, EventKind::StepStarted { step: StepId(0) });
    other.run = RunId(uuid::Uuid::from_u128(2));
    assert!(state.apply(&other).is_err(), "another run");
    assert_eq!(state.next_seq, 1);
}

fn adopted_with(
    mut state: RunState,
    status: StepStatus,
    progress: Progress,
    left: Vec<HostId>,
) -> (StepStatus, Direction) {
    state.steps[0] = status;
    state
        .apply(&event(1, EventKind::Adopted { owner: "you".into(), progress, left, without: Vec::new() }))
        .unwrap();
    (state.steps[0].clone(), state.direction)
}

/// An app that was started and healthy may have died with the machine that the orchestrator died on.
#[test]
fn adopting_looks_again_at_what_may_have_ended_by_itself() {
    let mut state = begin();
    let release = state.plan.release.clone();
    state.plan.phases[0].lanes[0].steps[0].action =
        Action::Start { slot: Slot::Green, release, own_environment: false };
    let seen = |progress| adopted_with(state.clone(), StepStatus::Done, progress, Vec::new()).0;
    assert_eq!(seen(Progress::Forward), StepStatus::Unknown);
    assert_eq!(seen(Progress::Unwinding), StepStatus::Unknown, "it is undone like any other");
    assert_eq!(seen(Progress::Committed), StepStatus::Unknown, "it is brought back, not undone");
}

#[test]
fn a_host_that_went_on_without_the_run_is_neither_done_nor_undone() {
    let left = || vec![HostId::new("web1").unwrap()];
    for status in statuses() {
        let seen = |progress| adopted_with(begin(), status.clone(), progress, left()).0;
        assert_eq!(seen(Progress::Unwinding), StepStatus::Pending, "{status:?}");
        assert_eq!(seen(Progress::Committed), StepStatus::Done, "{status:?}");
    }
}

/// Whoever adopts a run knows only what was journaled here; another machine may have gone on since.
#[test]
fn adopting_makes_unknown_whatever_is_not_known_to_be_done() {
    let adopted = |status: StepStatus, progress| adopted_with(begin(), status, progress, Vec::new());
    for status in
        [StepStatus::Pending, StepStatus::Running, StepStatus::Undoing, StepStatus::UndoFailed(failure())]
    {
        assert_eq!(adopted(status, Progress::Forward), (StepStatus::Unknown, Direction::Forward));
    }
    assert_eq!(adopted(StepStatus::Done, Progress::Forward).0, StepStatus::Done);
    assert_eq!(adopted(StepStatus::Pending, Progress::Committed), (StepStatus::Done, Direction::Committed));
    assert!(matches!(adopted(StepStatus::Done, Progress::Unwinding).1, Direction::Unwinding(_)));
}

/// One host: fetch; start, wait, switch; then, committed, drain and stop; then prune.
fn long_plan() -> Plan {
    let mut plan = plan();
    let (release, host) = (plan.release.clone(), Some(plan.hosts[0].clone()));
    let (slot, old, grace) = (Slot::Green, Slot::Blue, Millis(0));
    let status = StatusRange { from: 200, to: 299 };
    let headers = std::collections::BTreeMap::new();
    let path = "/".into();
    let health =
        Health::Http(HttpHealth { path, timeout: Millis(1), passes: 1, status, body: None, headers });
    let probe = Probe { health, port: None, origin: None };
    let mut ids = (0..).map(StepId);
    let mut phase = |committed, actions: Vec<Action>| Phase {
        title: String::new(),
        committed,
        lanes: vec![Lane {
            host: host.clone(),
            steps: actions
                .into_iter()
                .zip(&mut ids)
                .map(|(action, id)| Step { id, action, undo: Vec::new() })
                .collect(),
        }],
    };
    plan.phases = vec![
        phase(false, vec![Action::Fetch { release: release.clone() }]),
        phase(
            false,
            vec![
                Action::Start { slot, release: release.clone(), own_environment: false },
                Action::AwaitHealthy { slot, release: release.clone(), probe: probe.clone() },
                Action::Switch { slot, release, probe },
            ],
        ),
        phase(
            true,
            vec![
                Action::Drain { slot: old, deadline: grace, heir: None },
                Action::Stop { slot: old, grace: Some(grace), heir: Some(slot), holding: None },
            ],
        ),
        phase(true, vec![Action::Prune { keep: 1 }]),
    ];
    plan
}

/// Of this phase and the next one, none that only looks, and none behind a commit that has not happened.
#[test]
fn the_effects_ahead_are_those_of_this_phase_and_the_next() {
    let kind = EventKind::RunStarted { plan: Box::new(long_plan()), owner: "me".into(), requester: None };
    let mut state = RunState::begin(&event(0, kind)).unwrap();
    let ids = |ids: Vec<StepId>| ids.into_iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(ids(state.ahead()), [0, 1, 3]);
    state.steps[0] = StepStatus::Done;
    state.steps[1] = StepStatus::Running;
    assert_eq!(ids(state.ahead()), [3]);
    state.steps[1..4].fill(StepStatus::Done);
    assert_eq!(ids(state.ahead()), [0; 0]);
    assert_eq!(ids(state.behind_the_commit()), [5, 6]);
    state.direction = Direction::Committed;
    assert_eq!(ids(state.ahead()), [5, 6]);
    state.direction = Direction::Unwinding(failure());
    assert_eq!(ids(state.ahead()), [0; 0]);
}

#[test]
fn an_intent_changes_nothing_by_itself() {
    let mut state = begin();
    let intended = |step| EventKind::Intended { steps: vec![StepId(0), StepId(step)] };
    assert!(state.apply(&event(1, intended(7))).is_err(), "no such step");
    state.apply(&event(1, intended(0))).unwrap();
    assert_eq!((state.steps[0].clone(), state.next_seq), (StepStatus::Pending, 2));
}

/// A step's status is found by its number.
#[test]
fn a_plan_whose_steps_are_not_numbered_one_after_the_other_does_not_begin() {
    for ids in [&[1][..], &[0, 0], &[1, 0], &[0, 2], &[u32::MAX]] {
        let mut wrong = plan();
        let step = wrong.phases[0].lanes[0].steps[0].clone();
        wrong.phases[0].lanes[0].steps =
            ids.iter().map(|id| Step { id: StepId(*id), ..step.clone() }).collect();
        let kind = EventKind::RunStarted { plan: Box::new(wrong), owner: "me".into(), requester: None };
        let refused = RunState::begin(&event(0, kind)).unwrap_err();
        assert_eq!(refused.reason, "its steps are not numbered one after the other");
    }
}

/// Nothing is done on a host that a run goes on without, also where only this machine's journal knows that it was settled.
#[test]
fn adopting_does_nothing_on_hosts_that_are_left_out() {
    let table = [
        (Direction::Forward, Progress::Unwinding, StepStatus::Pending),
        (Direction::Forward, Progress::Committed, StepStatus::Done),
        (Direction::Committed, Progress::Forward, StepStatus::Done),
    ];
    for (direction, progress, wanted) in table {
        let mut state = begin();
        state.direction = direction.clone();
        let without: Vec<HostId> =
            state.plan.steps().find_map(|(_, host, _)| host.cloned()).into_iter().collect();
        let adopted = EventKind::Adopted { owner: "you".into(), progress, left: Vec::new(), without };
        state.apply(&event(1, adopted)).unwrap();
        assert_eq!(state.steps[0], wanted, "{direction:?}, {progress:?}");
    }
}

/// Found by the simulation, kind `lock`, seeds 1333 and 3414: who takes over a run that was settled and is stopped by Ctrl-C
/// once its release serves has not tidied up, as little as who stops while tidying up a run of its own.
#[test]
fn what_nobody_is_known_to_have_done_is_in_the_end_of_a_run_that_was_taken_over() {
    let kind = EventKind::RunStarted { plan: Box::new(long_plan()), owner: "me".into(), requester: None };
    let mut state = RunState::begin(&event(0, kind)).unwrap();
    let (owner, progress) = ("you".into(), Progress::Committed);
    let adopted = EventKind::Adopted { owner, progress, left: Vec::new(), without: Vec::new() };
    state.apply(&event(1, adopted)).unwrap();
    let mut seq = 2;
    let mut perform = |state: &mut RunState, steps: &[u32]| {
        for step in steps.iter().map(|step| StepId(*step)) {
            for kind in [
                EventKind::StepStarted { step },
                EventKind::StepSucceeded { step, evidence: Vec::new(), said: Vec::new() },
            ] {
                state.apply(&event(seq, kind)).unwrap();
                seq += 1;
            }
        }
    };
    let warnings = |state: &RunState| match state.outcome() {
        Outcome::Succeeded { warnings } => warnings.into_iter().map(|one| one.message).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    // It serves.
    perform(&mut state, &[1, 2, 3]);
    assert!(!state.is_bringing_back());
    let [warning] = &warnings(&state)[..] else { panic!("{:?}", warnings(&state)) };
    assert!(warning.starts_with("not done any more: ") && warning.contains("stop blue"), "{warning}");
    perform(&mut state, &[4, 5, 6]);
    assert_eq!(warnings(&state), [""; 0]);
}

/// The heir is found dead while the old slot drains or when it has stopped: its lane ends there, and it is no mere warning.
#[test]
fn a_settled_run_whose_release_is_found_dead_while_it_tidies_up_is_stuck() {
    let (drain, stop, prune) = (4, 5, 6);
    for (step, kind, stuck) in [
        (drain, FailureKind::Unhealthy, true),
        (drain, FailureKind::Conflict, true),
        (stop, FailureKind::Unhealthy, true),
        (stop, FailureKind::Refused, true),
        (prune, FailureKind::Unhealthy, true),
        (prune, FailureKind::Other, false),
        // The old slot could not be looked at, or not be stopped.
        (drain, FailureKind::Unreachable, false),
        (stop, FailureKind::Unreachable, false),
    ] {
        let mut plan = long_plan();
        let drains = &mut plan.phases[2].lanes[0].steps[0];
        let Action::Drain { heir, .. } = &mut drains.action else { panic!("{drains:?}") };
        *heir = Some(Slot::Green);
        let started = EventKind::RunStarted { plan: Box::new(plan), owner: "me".into(), requester: None };
        let mut state = RunState::begin(&event(0, started)).unwrap();
        state.direction = Direction::Committed;
        state.steps.fill(StepStatus::Done);
        state.steps[step] = StepStatus::Failed(Failure::new(kind, "green is not healthy"));
        if let Some(next) = state.steps.get_mut(step + 1) {
            *next = StepStatus::Pending;
        }
        let after = state.ready();
        assert!(!after.contains(&Work::Perform(StepId(5))), "the old slot is kept: {after:?}");
        assert_eq!(matches!(state.outcome(), Outcome::Stuck(_)), stuck, "{kind:?}: {:?}", state.outcome());
    }
}

/// As the stores have it in their rows, and the simulation in memory.
#[test]
fn who_goes_on_with_a_run_takes_its_end_away_until_there_is_another() {
    let started = EventKind::RunStarted { plan: Box::new(plan()), owner: "me".into(), requester: None };
    let ended = |outcome| EventKind::RunEnded { outcome };
    let failed = Outcome::Failed { failure: failure() };
    let adopted = EventKind::Adopted {
        owner: "you".into(),
        progress: Progress::Committed,
        left: Vec::new(),
        without: Vec::new(),
    };
    let succeeded = Outcome::Succeeded { warnings: Vec::new() };
    let kinds = [started, ended(failed.clone()), adopted, ended(succeeded.clone())];
    let events: Vec<_> = (0..).zip(kinds).map(|(seq, kind)| event(seq, kind)).collect();
    let outcome = |count: usize| RunSummary::of(&events[..count]).map(|summary| summary.outcome);
    assert_eq!(
        [0, 1, 2, 3, 4].map(outcome),
        [None, Some(None), Some(Some(failed)), Some(None), Some(Some(succeeded))]
    );
    assert_eq!(RunSummary::of(&events[1..]), None, "it does not begin with the start");
}
