//! A plan: the steps, as data, that take what is observed to what is wanted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Because, Digest, DockerHealth, EnvironmentName, Evidence, Failure, Gate, GateKind, GateTarget, Health,
    HoldBounds, Hook, HookMoment, HostId, HttpGate, Millis, Probe, ProjectName, Recorded, Release, RunId,
    Sampling, ServiceName, Slot, StepId, Strategy, Verify, without_query,
};

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "want")]
pub enum Intent {
    /// Have a release live.
    Deploy {
        /// Which one: its tag is resolved already.
        release: Release,
        /// Which gates it passes.
        gates: Gates,
        /// Also where it is live: what it is started with has changed.
        #[serde(default)]
        again: bool,
    },
    /// Back to `release`, or without one to the release that was live before.
    Rollback {
        /// `None`: the one that was live before.
        release: Option<Release>,
    },
    /// Stop what still runs beside the live release: kept warm for long enough, or left when tidying up was cut short.
    TidyUp,
}

impl Intent {
    /// As history names it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Intent::Deploy { .. } => "deploy",
            Intent::Rollback { .. } => "rollback",
            Intent::TidyUp => "tidy up",
        }
    }
}

/// Which gates a deployment passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gates {
    /// All that the environment has.
    All,
    /// `--only-swap`: system A's promotion. The health check and the question through the router stay.
    None,
}

/// Phases run one after another; a phase's lanes run beside each other; a lane's steps run in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// The project that it is about: one store may hold several.
    pub project: ProjectName,
    /// The service that it is about.
    pub service: ServiceName,
    /// The environment that it is about.
    pub environment: EnvironmentName,
    /// How the release goes live in the slots.
    pub strategy: Strategy,
    /// What was asked for.
    pub intent: Intent,
    /// Those that the steps concern, in the configuration's order.
    pub hosts: Vec<HostId>,
    /// Hosts of the environment that somebody left out by name (`--skip`), in the configuration's order: none of the steps
    /// concerns them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<HostId>,
    /// What was live on each host when the plan was made; absent: nothing.
    pub before: BTreeMap<HostId, Release>,
    /// What will be live on every host.
    pub release: Release,
    /// In the order in which they run. Empty, or with empty lanes, when there is nothing to do.
    pub phases: Vec<Phase>,
}

/// Steps that may run beside each other, host by host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Phase {
    /// For people: `prepare`, `switch`, `wave 2 of 3: switch`.
    pub title: String,
    /// True from the phase on in which nothing is undone any more: the release serves and has passed its gates, so
    /// what is left is tidying up. A failure there is a warning.
    #[serde(default)]
    pub committed: bool,
    /// One for each host that has something to do, and one for what concerns no single host.
    pub lanes: Vec<Lane>,
}

/// Steps that run in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Lane {
    /// Absent for steps that concern no single host, such as gates.
    pub host: Option<HostId>,
    /// In the order in which they run.
    pub steps: Vec<Step>,
}

/// One idempotent action and what takes it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Step {
    /// Counted through the whole plan.
    pub id: StepId,
    /// What it does.
    pub action: Action,
    /// Performed in this order when the step is undone; empty for a step that changes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Action>,
}

/// What a step does. Every action looks first and does only what is missing, so that it can be performed again after
/// a crash, by another machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Action {
    /// Ask a gate about a release.
    Gate {
        /// As it is configured, with all that it leaves open filled in.
        gate: Gate,
        /// Before anything is touched, or after the switch.
        moment: Moment,
        /// The release that is judged.
        release: Release,
    },
    /// Have the release's bytes on the host.
    Fetch {
        /// Whose bytes.
        release: Release,
    },
    /// Have a hook's program run to its end, once in a run, where the release would run in the slot.
    RunHook {
        /// What is run, and for how long.
        hook: Hook,
        /// Which of the service's hooks it is.
        moment: HookMoment,
        /// Whose place and environment it has.
        slot: Slot,
        /// In whose bytes.
        release: Release,
        /// The run that it is of: who goes on with a run must know it from another's. In no plan, for it is known only when
        /// the action is performed; see [`Action::told`].
        #[serde(skip)]
        run: Option<RunId>,
    },
    /// End the program of a hook where it still runs, and remove what is left of it. What it has changed stays.
    EndHook {
        /// Which of the service's hooks it is.
        moment: HookMoment,
    },
    /// Have exactly this release running in this slot; refused when the slot is live with another release.
    Start {
        /// Where.
        slot: Slot,
        /// What is to run.
        release: Release,
        /// It is gone back to, so it gets the environment variables that it ran with when it was live, as the host has kept
        /// them; else today's.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own_environment: bool,
    },
    /// Wait until the slot answers its health check.
    AwaitHealthy {
        /// Which one.
        slot: Slot,
        /// What is to run in it.
        release: Release,
        /// How it is asked.
        probe: Probe,
    },
    /// Send the traffic to the slot; the slot is probed once more before.
    Switch {
        /// Where the traffic goes.
        slot: Slot,
        /// What is to run in it.
        release: Release,
        /// How it is asked before.
        probe: Probe,
    },
    /// Have requests wait at the router instead of being sent on.
    Hold {
        /// How long and how many may wait.
        bounds: HoldBounds,
        /// What is stopped meanwhile may want more time to end than `bounds` count with; what it wants is known when
        /// requests are held, and comes on top.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own_grace: bool,
    },
    /// Send the requests that wait, and all later ones, to where the route leads.
    LetGo,
    /// Put back what the router had before there was a slot to send traffic to; `dial` absent removes the route.
    Withdraw {
        /// What the router dialled then, in its own words; `None` removes the route.
        dial: Option<String>,
    },
    /// Ask through the router which release answers, until it is this one.
    Verify {
        /// Which one is to answer.
        slot: Slot,
        /// Which release is to answer.
        release: Release,
        /// What tells its answers from another's; `None`: what the router itself says.
        verify: Option<Verify>,
        /// How it is asked where nothing else says so.
        probe: Probe,
        /// There is nothing better to go back to, so a wrong answer of the release itself is waited for as silence is. In
        /// no plan, for it is known only when the action is performed; see [`Action::told`].
        #[serde(skip)]
        patient: bool,
    },
    /// Write the state files and, when a release went live, add it to the host's list of releases.
    Record {
        /// What the state files are to say.
        recorded: Recorded,
        /// The release that went live; `None` where none did.
        release: Option<Release>,
        /// The release that has the traffic from now on and has still to pass its gates: since when is kept on the host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tried: Option<Release>,
    },
    /// The release was tried, and is not any more. Where [it is to blame](crate::condemns), or a person went back from it,
    /// the host keeps that it was rejected.
    TakeBack {
        /// The release that was tried.
        release: Release,
        /// What a person went back to from it; absent in an undo.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead: Option<Release>,
        /// By whom and why. In no plan, for it is known only when the action is performed; see [`Action::told`].
        #[serde(skip)]
        because: Option<Because>,
    },
    /// Look at the slot's requests in flight until there are none, or the deadline has passed. `heir` is the slot that
    /// the traffic went to: until it is settled there, this one is all there is to go back to. It is the slot itself where
    /// requests are held until another release is in it.
    Drain {
        /// The slot that has lost the traffic.
        slot: Slot,
        /// How long it is waited for; what is in flight then is cut off when the slot is stopped.
        deadline: Millis,
        /// The slot that has the traffic now; `None` where nothing is to be gone back to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heir: Option<Slot>,
    },
    /// Stop the slot; refused while the router sends it traffic (P1) that is not held, and while its `heir`, where it has
    /// one, does not run with the traffic: then this slot is all there is to go back to.
    Stop {
        /// The slot that is to stop.
        slot: Slot,
        /// From the request to end (SIGTERM) to the end by force (SIGKILL). Absent: as long as what is in the slot wants
        /// itself, which is known when it is stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Millis>,
        /// The slot that must run with the traffic; `None` where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heir: Option<Slot>,
        /// Only while it has these bytes: where one slot has first the old release and then the new one, what is stopped
        /// again after a crash must not be the other. Absent: whatever it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holding: Option<Digest>,
    },
    /// Remove this project's images beyond the newest `keep` releases; never another project's.
    Prune {
        /// How many releases' images stay, the newest.
        keep: u32,
    },
}

/// What an action is like, for whoever runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActionProperties {
    /// Performing it changes nothing, so that it needs no intent in the journal. Such an action may be broken off too.
    pub only_looks: bool,
    /// What it came to may be over by itself: an app that ran, was healthy and answered may have died since, and where it
    /// is started again it may be elsewhere, so that the traffic has to follow it.
    pub may_lapse: bool,
    /// It decides where the traffic goes.
    pub moves_traffic: bool,
    /// Abandoning it half-way leaves nothing behind that does harm. All others are waited for, also after Ctrl-C.
    pub may_be_broken_off: bool,
}

/// When a gate is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Regression: before anything is touched.
    Before,
    /// Smoke: on live traffic, after the switch and before the old slot is stopped.
    After,
}

/// Which hosts a gate asks, where it asks hosts: the same gate may ask the URL in the next step.
fn asked_hosts(gate: &Gate) -> String {
    let GateKind::Http(HttpGate { target: GateTarget::Hosts(hosts), .. }) = &gate.kind else {
        return String::new();
    };
    match hosts.as_slice() {
        [] => String::new(),
        [one] if one.is_local() => " on this machine".to_owned(),
        [one] => format!(" on {one}"),
        [first, second] => format!(" on {first} and {second}"),
        many => format!(" on {} hosts", many.len()),
    }
}

/// For how long a gate looks: a deployment waits for it.
fn takes_its_time(gate: &Gate) -> String {
    match &gate.kind {
        GateKind::Http(HttpGate { sampling: sampling @ Sampling::Span { .. }, .. }) => {
            format!(" ({sampling})")
        }
        GateKind::Http(_) | GateKind::Command(_) => String::new(),
    }
}

impl Step {
    /// What undoing it does, as [`Action::title`] says it: that something is noted about its release is not told as an undo.
    pub fn undo_titles(&self) -> impl Iterator<Item = String> {
        self.undo.iter().filter(|action| !matches!(action, Action::TakeBack { .. })).map(Action::title)
    }

    /// It stops what is live, and only going back starts that again: a stop beside the live slot has no undo.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        matches!(self.action, Action::Stop { .. }) && !self.undo.is_empty()
    }
}

impl Action {
    /// What it is like to perform it. One match over every action, so that a new one cannot silently answer *no*.
    #[must_use]
    pub fn properties(&self) -> ActionProperties {
        let none = ActionProperties::default();
        let looks = ActionProperties { only_looks: true, may_be_broken_off: true, ..none };
        match self {
            Action::Gate { .. } | Action::Drain { heir: None, .. } => looks,
            // A router that lost its change has sent the old slot requests again.
            Action::Drain { heir: Some(_), .. } | Action::AwaitHealthy { .. } | Action::Verify { .. } => {
                ActionProperties { may_lapse: true, ..looks }
            }
            // Half of an image does no harm: it is pulled on, or pruned, by whoever comes next.
            Action::Fetch { .. } => ActionProperties { may_be_broken_off: true, ..none },
            // Its undo ends what was begun.
            Action::RunHook { .. } => ActionProperties { may_be_broken_off: true, ..none },
            Action::Start { .. } => ActionProperties { may_lapse: true, ..none },
            Action::Switch { .. } => ActionProperties { may_lapse: true, moves_traffic: true, ..none },
            Action::Withdraw { .. } => ActionProperties { moves_traffic: true, ..none },
            // A hold ends by itself. Whoever holds again lets go again.
            Action::Hold { .. } | Action::LetGo => ActionProperties { may_lapse: true, ..none },
            Action::Record { .. }
            | Action::TakeBack { .. }
            | Action::Stop { .. }
            | Action::Prune { .. }
            | Action::EndHook { .. } => none,
        }
    }

    /// As it is performed: in which run, with who does it, in an undo why the run turned back, and whether it can still turn
    /// back. No plan knows these.
    #[must_use]
    pub fn told(mut self, in_run: RunId, by: &str, cause: Option<&Failure>, can_turn_back: bool) -> Self {
        match &mut self {
            Action::TakeBack { because, .. } => {
                *because = Some(Because { by: by.to_owned(), cause: cause.cloned() });
            }
            Action::Verify { patient, .. } => *patient = !can_turn_back,
            Action::RunHook { run, .. } => *run = Some(in_run),
            _ => {}
        }
        self
    }

    /// A few words for people, in the imperative: `start v2 in green`.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Action::Gate { gate, moment, .. } => {
                let when = match moment {
                    Moment::Before => "before",
                    Moment::After => "after",
                };
                format!("gate {when}: {}{}{}", gate.name, asked_hosts(gate), takes_its_time(gate))
            }
            Action::Fetch { release } => format!("fetch {release}"),
            Action::RunHook { hook, moment, release, .. } => {
                let Hook { timeout, .. } = hook;
                format!("{moment}: run `{hook}` in {}, once (up to {timeout})", release.tag)
            }
            Action::EndHook { moment } => format!("end {moment} if it still runs"),
            Action::Start { slot, release, .. } => format!("start {} in {slot}", release.tag),
            Action::AwaitHealthy { slot, probe, .. } => match &probe.health {
                Health::Http(http) => format!(
                    "wait until {slot} is healthy ({}, up to {})",
                    without_query(&http.path),
                    http.timeout
                ),
                Health::Docker(DockerHealth { timeout: None, .. }) => {
                    format!("wait until {slot} is healthy ({}, as long as that takes)", probe.health)
                }
                health => {
                    format!("wait until {slot} is healthy ({health}, up to {})", health.timeout())
                }
            },
            Action::Switch { slot, .. } => format!("switch traffic to {slot}"),
            Action::Hold { bounds, .. } => {
                format!("let requests wait (up to {}, {} of them)", bounds.time, bounds.requests_max)
            }
            Action::LetGo => "let the waiting requests go".to_owned(),
            Action::Withdraw { dial: Some(dial) } => format!("point the router back at {dial}"),
            Action::Withdraw { dial: None } => "remove the route".to_owned(),
            Action::Verify { slot, release, .. } => {
                format!("ask through the router: {} from {slot}", release.tag)
            }
            Action::Record { recorded: Recorded { active: Some(active), .. }, release: None, .. } => {
                format!("record {active} as active")
            }
            Action::Record {
                recorded: Recorded { active: Some(active), .. },
                release: Some(release),
                ..
            } => {
                format!("record {active} as active, {release} as released")
            }
            Action::Record { .. } => "record that nothing is active".to_owned(),
            Action::TakeBack { release, instead: None, .. } => {
                format!("reject {} if it is to blame", release.tag)
            }
            Action::TakeBack { release, instead: Some(_), .. } => format!("reject {release}"),
            Action::Drain { slot, deadline, .. } => format!("drain {slot} (up to {deadline})"),
            Action::Stop { slot, .. } => format!("stop {slot}"),
            Action::Prune { keep } => format!("prune images, keep {keep} releases"),
        }
    }
}

/// What users notice of a strategy that stops before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Nothing answers from the stop until the new release is healthy.
    Dark,
    /// Requests wait at the router meanwhile.
    Waits(HoldBounds),
}

impl Plan {
    /// `None` for a plan during which users are served all the time.
    #[must_use]
    pub fn interruption(&self) -> Option<Interruption> {
        let forward = || self.steps().filter(|(phase, ..)| !self.phases[*phase].committed);
        let held = forward().find_map(|(_, _, step)| match &step.action {
            Action::Hold { bounds, .. } => Some(Interruption::Waits(*bounds)),
            _ => None,
        });
        let stops = || forward().any(|(_, _, step)| step.takes_away());
        held.or_else(|| stops().then_some(Interruption::Dark))
    }

    /// True when what is wanted is what is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.phases.iter().all(|phase| phase.lanes.iter().all(|lane| lane.steps.is_empty()))
    }

    /// Every step with its phase's index and its lane's host, in order of ids.
    pub fn steps(&self) -> impl Iterator<Item = (usize, Option<&HostId>, &Step)> {
        self.phases.iter().enumerate().flat_map(|(index, phase)| {
            phase
                .lanes
                .iter()
                .flat_map(move |lane| lane.steps.iter().map(move |step| (index, lane.host.as_ref(), step)))
        })
    }

    /// The step of this id, with its lane's host. `None` for an id that the plan does not have.
    #[must_use]
    pub fn step(&self, id: StepId) -> Option<(Option<&HostId>, &Step)> {
        self.steps().find(|(_, _, step)| step.id == id).map(|(_, host, step)| (host, step))
    }
}

/// What performing an action showed.
pub type Seen = Vec<Evidence>;
