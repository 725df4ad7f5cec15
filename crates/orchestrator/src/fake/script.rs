//! What is to become of what is asked for.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::{
    Digest, Event, EventKind, Failure, FailureKind, Gates, Holder, HostId, Intent, Millis, Observed, Outcome,
    Place, Plan, ProjectName, Refusal, Release, Report, Requester, RunId, ServiceStatus, Strategy, Timestamp,
    Told, Want,
};

/// How the deployment of a tag ends.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "few are made, and only by tests")]
pub enum Ending {
    /// A run begins and ends so.
    Run(Outcome),
    /// It is live already: no run begins.
    LiveAlready,
    /// No run begins, for this reason.
    Refused(Box<Refusal>),
}

/// All that is said about tags, and all that has come of it.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) endings: BTreeMap<String, Ending>,
    pub(super) told: BTreeMap<String, Vec<Told>>,
    /// Tags whose runs wait, after all was told that there is to tell.
    pub(super) held: BTreeSet<String>,
    pub(super) started: Vec<(Want, Requester)>,
    pub(super) resumed: u64,
    pub(super) journal: BTreeMap<RunId, Vec<Event>>,
    /// Each with the run's tag: at most one of a service in an environment.
    pub(super) at_work: BTreeSet<String>,
    /// Rises when the process of all sessions is killed.
    pub(super) life: u64,
    pub(super) journal_fails: bool,
}

impl Script {
    pub(super) fn ending(&self, tag: &str) -> Ending {
        self.endings.get(tag).cloned().unwrap_or(Ending::Run(Outcome::Succeeded { warnings: Vec::new() }))
    }

    /// The next event of a run.
    pub(super) fn append(&mut self, run: RunId, kind: EventKind, at: Timestamp) -> Event {
        let events = self.journal.entry(run).or_default();
        let event = Event { run, seq: events.len() as u64, at, kind };
        events.push(event.clone());
        event
    }

    /// The oldest run of a place that has no end, with its plan.
    pub(super) fn unfinished(&self, place: &str) -> Option<(RunId, Plan)> {
        self.journal.iter().find_map(|(run, events)| {
            let is_over = events.iter().any(|event| matches!(event.kind, EventKind::RunEnded { .. }));
            let plan = events.iter().find_map(|event| match &event.kind {
                EventKind::RunStarted { plan, .. } => Some((**plan).clone()),
                _ => None,
            })?;
            (!is_over && place_of(&plan) == place).then_some((*run, plan))
        })
    }
}

pub(super) fn place_of(plan: &Plan) -> String {
    format!("{}/{}", plan.environment, plan.service)
}

/// A plan without steps, for the release that the tag's text makes.
pub(super) fn plan(project: &ProjectName, want: &Want) -> Plan {
    let asked = want.aim.asked().unwrap_or_else(|| "before".to_owned());
    let environment = want.environment.clone().unwrap_or_else(|| name("prod"));
    let release = Release {
        service: want.service.clone(),
        tag: name(&asked),
        digest: Digest::of(asked.as_bytes()),
        image: None,
        commit: None,
        provenance: None,
    };
    Plan {
        project: project.clone(),
        service: want.service.clone(),
        environment,
        strategy: Strategy::BlueGreen,
        intent: Intent::Deploy { release: release.clone(), gates: Gates::All, again: false },
        hosts: vec![HostId::local()],
        without: Vec::new(),
        before: BTreeMap::new(),
        release,
        phases: Vec::new(),
    }
}

pub(super) fn name<T: std::str::FromStr<Err = lockgate_model::InvalidName>>(text: &str) -> T {
    text.parse().unwrap_or_else(|invalid| panic!("{invalid}"))
}

pub(super) fn report(run: Option<RunId>, plan: Plan, outcome: Outcome) -> Report {
    Report { run, plan, outcome, dark: BTreeMap::new(), recovered: None, rejected: None }
}

/// Of a host that nobody has looked at.
pub(super) fn status(plan: &Plan) -> ServiceStatus {
    ServiceStatus {
        service: plan.service.clone(),
        environment: plan.environment.clone(),
        observed: Observed::default(),
        leases: BTreeMap::new(),
        wanted: BTreeMap::new(),
        clocks: BTreeMap::new(),
        unseen: BTreeMap::new(),
    }
}

/// Somebody else deploys.
pub(super) fn held() -> Refusal {
    let holder = Holder {
        owner: "lee@laptop".to_owned(),
        boot_id: "boot".to_owned(),
        pid: 7,
        started: 1,
        session: "theirs".to_owned(),
        host: None,
        since: Timestamp(0),
        renewed_at: Timestamp(0),
        ttl: Millis::from_secs(15),
    };
    Refusal::Held {
        failure: Failure::new(FailureKind::Conflict, "lee@laptop deploys").hint("wait for it"),
        place: Place::Host(HostId::local()),
        holder: Box::new(holder),
        age: Millis(0),
    }
}
