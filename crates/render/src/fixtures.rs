//! A two-host deployment for tests, with pinned times and ids.

use std::collections::BTreeMap;

use lockgate_model::{
    Action, Begun, Checksum, Digest, EnvironmentName, Event, EventKind, Evidence, Failure, FailureKind, Gate,
    GateKind, GateTarget, Gates, Headway, Health, Holder, Hook, HookMoment, HostId, HostObserved, HttpGate,
    HttpHealth, Intent, Lane, LeaseRecord, Millis, Moment, Observed, Outcome, Phase, Plan, PlanPlace, Probe,
    Progress, ProjectName, Recorded, Release, RouterObserved, RunEnd, RunId, Sampling, ServiceName, Slot,
    SlotObserved, SlotState, StatusRange, Step, StepId, StepProgress, Strategy, Stuck, Tag, Template,
    Timestamp, Told, WhoIsLive,
};

/// 2025-11-20T12:00:00Z.
const START: i64 = 1_763_640_000_000;

pub(crate) fn host(name: &str) -> HostId {
    HostId::new(name).unwrap()
}

pub(crate) fn service() -> ServiceName {
    ServiceName::new("web").unwrap()
}

pub(crate) fn environment() -> EnvironmentName {
    EnvironmentName::new("prod").unwrap()
}

pub(crate) fn release(tag: &str) -> Release {
    let digit = if tag == "v2" { "1f3a5b7c9d0e" } else { "0a0a0a0a0a0a" };
    Release {
        service: service(),
        tag: Tag::new(tag).unwrap(),
        digest: Digest::new(format!("sha256:{digit}{}", "0".repeat(52))).unwrap(),
        image: Some("ghcr.io/acme/web".into()),
        commit: None,
        provenance: None,
    }
}

pub(crate) fn evidence(ok: bool) -> Evidence {
    let seen = if ok { "200" } else { "500" };
    Evidence { check: "GET /health".into(), wanted: "200".into(), seen: seen.into(), ok }
}

pub(crate) fn unhealthy() -> Failure {
    Failure::new(FailureKind::Unhealthy, "green does not answer its health check within 60s")
        .at(&host("web1"))
        .slot(Slot::Green)
        .logs(vec!["starting".into(), "\x1b[31mcannot open database\x1b[0m\r".into()])
        .evidence(vec![evidence(true), evidence(false)])
        .hint("look at the database's address")
}

pub(crate) fn failure_smoke() -> Failure {
    Failure::new(FailureKind::GateFailed, "smoke: 1 of 2 checks failed")
        .evidence(vec![evidence(true), evidence(false)])
}

/// Of 31, so many milliseconds after the beginning.
pub(crate) fn progress(step: StepId, done: u32, millis: i64) -> StepProgress {
    let headway = Headway { done, of: 31, seen: "no failures".into(), said: Vec::new() };
    StepProgress { run: run(), at: Timestamp(START + millis), step, headway }
}

pub(crate) fn run() -> RunId {
    RunId(uuid::Uuid::from_u128(7))
}

fn probe() -> Probe {
    let health = Health::Http(HttpHealth {
        path: "/health".into(),
        timeout: Millis::from_secs(60),
        passes: 1,
        status: StatusRange::OK,
        body: None,
        headers: BTreeMap::new(),
    });
    Probe { health, port: Some(5000), origin: None }
}

fn gate() -> Gate {
    let http = HttpGate {
        target: GateTarget::Here,
        paths: vec![],
        status: StatusRange::OK,
        body: None,
        latency_p95: None,
        sampling: Sampling::Count { samples: 1, interval: Millis(0) },
        timeout: Millis(1_000),
    };
    Gate { name: "smoke".into(), kind: GateKind::Http(http) }
}

/// Gives steps their numbers.
struct Numbers(u32);

impl Numbers {
    fn step(&mut self, action: Action, undo: Vec<Action>) -> Step {
        self.0 += 1;
        Step { id: StepId(self.0 - 1), action, undo }
    }

    /// A phase in which every host does the same.
    fn phase(
        &mut self,
        title: &str,
        committed: bool,
        hosts: &[HostId],
        steps: &[(Action, Vec<Action>)],
    ) -> Phase {
        let lane = |host: &HostId| Lane {
            host: Some(host.clone()),
            steps: steps.iter().map(|(action, undo)| self.step(action.clone(), undo.clone())).collect(),
        };
        Phase { title: title.into(), committed, lanes: hosts.iter().map(lane).collect() }
    }
}

/// Every host: fetch and start; then switch; then the gate; then stop the old slot.
pub(crate) fn plan_for(hosts: &[HostId]) -> Plan {
    let mut numbers = Numbers(0);
    let (new, old) = (release("v2"), release("v1"));
    let fetch = Action::Fetch { release: new.clone() };
    let start = Action::Start { slot: Slot::Green, release: new.clone(), own_environment: false };
    let stop = |slot| Action::Stop { slot, grace: Some(Millis(10_000)), heir: None, holding: None };
    let switch = |slot, release: &Release| Action::Switch { slot, release: release.clone(), probe: probe() };
    let prepare = [(fetch, vec![]), (start, vec![stop(Slot::Green)])];
    let prepare = numbers.phase("prepare", false, hosts, &prepare);
    let swap = [(switch(Slot::Green, &new), vec![switch(Slot::Blue, &old)])];
    let swap = numbers.phase("switch", false, hosts, &swap);
    let smoke = Action::Gate { gate: gate(), moment: Moment::After, release: new.clone() };
    let check = Lane { host: None, steps: vec![numbers.step(smoke, vec![])] };
    let check = Phase { title: "check".into(), committed: false, lanes: vec![check] };
    let tidy = numbers.phase("tidy up", true, hosts, &[(stop(Slot::Blue), vec![])]);
    Plan {
        project: ProjectName::new("acme").unwrap(),
        service: service(),
        environment: environment(),
        strategy: Strategy::BlueGreen,
        intent: Intent::Deploy { release: new.clone(), gates: Gates::All, again: false },
        hosts: hosts.to_vec(),
        without: Vec::new(),
        before: hosts.iter().map(|host| (host.clone(), old.clone())).collect(),
        release: new,
        phases: vec![prepare, swap, check, tidy],
    }
}

pub(crate) fn plan() -> Plan {
    plan_for(&[host("web1"), host("web2")])
}

pub(crate) fn local_plan() -> Plan {
    plan_for(&[HostId::local()])
}

pub(crate) fn observed() -> Observed {
    let blue = SlotObserved {
        release: Some(release("v1")),
        state: SlotState::Running,
        started_at: Some(Timestamp(START)),
        restarts: 0,
        endpoint: None,
        replicas: Vec::new(),
    };
    let green = SlotObserved {
        release: None,
        state: SlotState::Stopped,
        started_at: None,
        restarts: 0,
        endpoint: None,
        replicas: Vec::new(),
    };
    let seen = |slots| HostObserved {
        own_environment: None,
        unhealthy: None,
        slots,
        router: RouterObserved {
            target: Some(Slot::Blue),
            dial: Some("web-blue:5000".into()),
            ..RouterObserved::default()
        },
        recorded: Recorded { active: Some(Slot::Blue), previous: None },
        releases: vec![],
        rejected: vec![],
        conflicts: vec![],
    };
    let first = seen(BTreeMap::from([(Slot::Blue, blue.clone())]));
    let second = seen(BTreeMap::from([(Slot::Blue, blue), (Slot::Green, green)]));
    Observed { hosts: [(host("web1"), first), (host("web2"), second)].into() }
}

/// Numbers the events; each comes 240 ms after the one before, except that events given together share a time.
fn events(kinds: Vec<Vec<EventKind>>) -> Vec<Event> {
    let timed = kinds.into_iter().enumerate().flat_map(|(tick, together)| {
        let at = Timestamp(START + 240 * i64::try_from(tick).unwrap());
        together.into_iter().map(move |kind| (at, kind))
    });
    timed.enumerate().map(|(seq, (at, kind))| Event { run: run(), seq: seq as u64, at, kind }).collect()
}

fn begun(plan: Plan) -> EventKind {
    EventKind::RunStarted { plan: Box::new(plan), owner: "lee@laptop".into(), requester: None }
}

fn started(step: u32) -> EventKind {
    EventKind::StepStarted { step: StepId(step) }
}

fn done(step: u32) -> EventKind {
    EventKind::StepSucceeded { step: StepId(step), evidence: vec![], said: vec![] }
}

fn undoing(step: u32) -> EventKind {
    EventKind::UndoStarted { step: StepId(step) }
}

fn undone(step: u32) -> EventKind {
    EventKind::UndoSucceeded { step: StepId(step) }
}

/// Steps 0–3 fetch and start, 4 and 5 switch, 6 is the gate, 7 and 8 stop.
fn until_gate() -> Vec<Vec<EventKind>> {
    vec![
        vec![begun(plan()), started(0), started(2)],
        vec![done(0)],
        vec![started(1)],
        vec![done(1), done(2)],
        vec![started(3)],
        vec![done(3)],
        vec![started(4), started(5)],
        vec![done(4), done(5)],
        vec![started(6)],
    ]
}

pub(crate) fn deploy_events() -> Vec<Event> {
    let mut kinds = until_gate();
    kinds.push(vec![
        EventKind::StepSucceeded {
            step: StepId(6),
            evidence: vec![evidence(true), evidence(true)],
            said: vec![],
        },
        EventKind::Committed,
        started(7),
        started(8),
    ]);
    kinds.push(vec![done(7), done(8)]);
    kinds.push(vec![EventKind::RunEnded { outcome: Outcome::Succeeded { warnings: vec![] } }]);
    events(kinds)
}

fn until_unwind() -> Vec<Vec<EventKind>> {
    let mut kinds = until_gate();
    kinds.push(vec![
        EventKind::StepFailed { step: StepId(6), failure: failure_smoke() },
        EventKind::UnwindStarted { cause: failure_smoke() },
    ]);
    kinds.push(vec![undoing(5), undoing(4)]);
    kinds
}

pub(crate) fn rolled_back_events() -> Vec<Event> {
    let mut kinds = until_unwind();
    kinds.push(vec![undone(5), undone(4)]);
    // Fetching changes nothing that would have to be taken back.
    for step in [3, 1] {
        kinds.push(vec![undoing(step)]);
        kinds.push(vec![undone(step)]);
    }
    kinds.push(vec![EventKind::RunEnded { outcome: Outcome::RolledBack { failure: failure_smoke() } }]);
    events(kinds)
}

fn unreachable_caddy() -> Failure {
    Failure::new(FailureKind::Unreachable, "caddy does not answer")
        .at(&host("web2"))
        .hint("is caddy running?")
}

pub(crate) fn stuck() -> Stuck {
    Stuck {
        failure: failure_smoke(),
        undo_failures: vec![unreachable_caddy()],
        seen: WhoIsLive { live: [(host("web1"), Slot::Blue)].into(), silent: [host("web2")].into() },
        commands: vec!["lockgate status web".into(), "lockgate resume".into()],
    }
}

pub(crate) fn stuck_events() -> Vec<Event> {
    let mut kinds = until_unwind();
    kinds.push(vec![undone(4), EventKind::UndoFailed { step: StepId(5), failure: unreachable_caddy() }]);
    kinds.push(vec![EventKind::RunEnded { outcome: Outcome::Stuck(stuck()) }]);
    events(kinds)
}

/// Every host of a fleet fetches at once.
pub(crate) fn fleet_events(hosts: u32) -> Vec<Event> {
    let names: Vec<HostId> = (0..hosts).map(|index| host(&format!("web{index}"))).collect();
    let mut kinds = vec![begun(plan_for(&names))];
    kinds.extend((0..hosts).map(|index| started(index * 2)));
    events(vec![kinds])
}

pub(crate) fn held_lease() -> LeaseRecord {
    let holder = Holder {
        owner: "kim@desk".into(),
        boot_id: String::new(),
        pid: 1,
        started: 0,
        session: String::new(),
        host: None,
        since: Timestamp(5),
        renewed_at: Timestamp(6),
        ttl: Millis(1),
    };
    let last =
        RunEnd { run: run(), at: Timestamp(4), outcome: Outcome::RolledBack { failure: failure_smoke() } };
    LeaseRecord {
        token: 1,
        holder: Some(holder),
        unfinished: None,
        last: Some(last),
        ended_at: None,
        left_out: None,
    }
}

pub(crate) fn left_lease() -> LeaseRecord {
    let plan = PlanPlace::Beside(Checksum::of(b""));
    let unfinished = Begun { run: run(), plan, progress: Progress::Forward, cause: None };
    LeaseRecord {
        token: 1,
        holder: None,
        unfinished: Some(unfinished),
        last: None,
        ended_at: None,
        left_out: None,
    }
}

/// A migration on `local` that writes three lines, one of them odd, and then ends with 0 or another code: what is told of it, in
/// its order.
pub(crate) fn hook_told(is_good: bool) -> Vec<Told> {
    let argv = ["python", "manage.py", "migrate"].map(|word| Template::new(word).unwrap()).to_vec();
    let hook = Hook { argv, timeout: Millis::from_secs(600), repeat: false, only_warns: false };
    let (moment, id) = (HookMoment::BeforeSwitch, StepId(100));
    let runs = Action::RunHook { hook, moment, slot: Slot::Green, release: release("v2"), run: None };
    let step = Step { id, action: runs, undo: vec![Action::EndHook { moment }] };
    let lane = Lane { host: Some(HostId::local()), steps: vec![step] };
    let mut plan = local_plan();
    plan.phases = vec![Phase { title: "before the switch".into(), committed: false, lanes: vec![lane] }];
    let lines = ["Applying 0001_initial...", "\x1b[31mApplying\x1b[0m 0002_\u{202e}more...\r", "done\x1b[2J"];
    let said: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let mut told: Vec<Told> = events(vec![vec![begun(plan), EventKind::StepStarted { step: id }]])
        .into_iter()
        .map(|event| Told::Event(Box::new(event)))
        .collect();
    for (count, line) in (1..).zip(&said) {
        let at = Timestamp(START + 1_000 * i64::from(count));
        let headway = Headway { done: count, of: count, seen: line.clone(), said: vec![line.clone()] };
        told.push(Told::Progress(StepProgress { run: run(), at, step: id, headway }));
    }
    let failure = Failure::new(
        FailureKind::HookFailed,
        "before_switch `python manage.py migrate` ended with exit code 3",
    )
    .logs(said.clone());
    let ends = match is_good {
        true => vec![
            EventKind::StepSucceeded { step: id, evidence: vec![], said },
            EventKind::RunEnded { outcome: Outcome::Succeeded { warnings: vec![] } },
        ],
        false => vec![
            EventKind::StepFailed { step: id, failure: failure.clone() },
            EventKind::RunEnded { outcome: Outcome::Failed { failure } },
        ],
    };
    let end = |(seq, kind)| Event { run: run(), seq, at: Timestamp(START + 4_000), kind };
    told.extend((9..).zip(ends).map(|numbered| Told::Event(Box::new(end(numbered)))));
    told
}
