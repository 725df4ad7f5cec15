//! Blue-green: start beside, prove healthy, switch, prove through the router, pass the gates, then stop the old.
//!
//! Nothing of the old release is touched before the committed phase: until then every undo finds it running.

use lockgate_model::{
    Action, Environment, Failure, Gate, Gates, HostId, HostObserved, Intent, Lane, Moment, Observed, Phase,
    Plan, Probe, Project, Recorded, Release, Runtime, Service, Slot, SlotDelivery, SlotState, Step, StepId,
};

use crate::waves;

pub(crate) struct Wanted<'a> {
    pub project: &'a Project,
    pub service: &'a Service,
    pub environment: &'a Environment,
    pub slots: &'a SlotDelivery,
    pub intent: &'a Intent,
    pub release: Release,
    pub gates: Gates,
    /// A release that is live is started anew beside itself.
    pub again: bool,
}

/// What one host needs.
struct HostPlan<'a> {
    host: &'a HostId,
    seen: &'a HostObserved,
    /// Where the release goes.
    slot: Slot,
}

impl HostPlan<'_> {
    /// What had the traffic, running or not; where the route was lost, what should have it. It is what is gone back to.
    fn former(&self) -> Option<(Slot, &Release)> {
        let seen = self.seen;
        let lost = || seen.recorded.active.filter(|slot| seen.router.dial.is_none() && *slot != self.slot);
        let slot = seen.router.target.or_else(lost)?;
        Some((slot, seen.slots.get(&slot)?.release.as_ref()?))
    }
}

pub(crate) fn plan(wanted: &Wanted<'_>, observed: &Observed) -> Result<Plan, Failure> {
    let environment = wanted.environment;
    let mut changing = Vec::new();
    let mut recording = Vec::new();
    let mut beside = Vec::new();
    let mut mending = Vec::new();
    for host in &wanted.slots.hosts {
        let seen = &observed.hosts[host];
        if *wanted.intent == Intent::TidyUp {
            beside.extend(seen.live().map(|(slot, _)| HostPlan { host, seen, slot }));
            continue;
        }
        let lives_on = wanted.lives_on(seen);
        mending.extend(lives_on.filter(|_| seen.router.stale).map(|slot| HostPlan { host, seen, slot }));
        match lives_on {
            Some(slot)
                if seen.recorded.active == Some(slot)
                    && is_listed_first(seen)
                    && !wanted.is_rejected(seen) => {}
            Some(slot) => recording.push(HostPlan { host, seen, slot }),
            None => changing.push(HostPlan { host, seen, slot: wanted.slot_for(seen) }),
        }
    }
    let mut phases = Phases::default();
    phases.push("mend the route", false, mending.iter().map(|host| wanted.mend_route(host)).collect());
    if !changing.is_empty() {
        let before = match wanted.gates {
            Gates::All => {
                crate::gates::resolve(wanted.project, wanted.service, environment, &environment.before)?
            }
            Gates::None => Vec::new(),
        };
        phases.push("check before", false, vec![wanted.gate_lane(before, Moment::Before)]);
        // One host has just been asked for the bytes, and asks again before it starts them; of several, the last must
        // not find out after the first has changed.
        if wanted.has_images() || changing.len() > 1 {
            phases.push("fetch", false, changing.iter().map(|host| wanted.fetch(host)).collect());
        }
        wanted.waves(&mut phases, &changing)?;
    }
    let drains: Vec<Lane> = changing.iter().map(|host| wanted.drain_old(host)).collect();
    if drains.iter().any(|lane| !lane.steps.is_empty()) {
        phases.push("drain", false, drains);
        // That may have taken long, and what died meanwhile is gone back from while all old slots still run.
        phases.push("look again", false, changing.iter().map(|host| wanted.look_again(host)).collect());
    }
    phases.push(
        "record",
        false,
        recording
            .iter()
            .map(|host| lane(host.host, vec![wanted.record(host, Listed::Live(&wanted.release))]))
            .collect(),
    );
    phases.push("tidy up", true, changing.iter().flat_map(|host| wanted.tidy_up(host)).collect());
    phases.push("prune", true, changing.iter().map(|host| wanted.prune(host)).collect());
    phases.push("tidy up", true, beside.iter().flat_map(|host| wanted.tidy_up_beside(host)).collect());
    Ok(Plan {
        project: wanted.project.name.clone(),
        service: wanted.service.name.clone(),
        environment: environment.name.clone(),
        strategy: wanted.slots.strategy,
        intent: wanted.intent.clone(),
        hosts: wanted.slots.hosts.clone(),
        before: live_releases(observed),
        release: wanted.release.clone(),
        phases: phases.phases,
    })
}

impl Wanted<'_> {
    /// The `process` runtime runs what others put on the host: it pulls nothing and has nothing to prune.
    fn has_images(&self) -> bool {
        !matches!(self.slots.runtime, Runtime::Process(_))
    }

    /// The slot that has the traffic with the wanted release already, where that is enough.
    fn lives_on(&self, seen: &HostObserved) -> Option<Slot> {
        let (slot, live) = seen.live().filter(|_| !self.again)?;
        live.release.as_ref().filter(|release| release.same_bytes(&self.release)).map(|_| slot)
    }

    /// Beside what the router points at, running or not: never the slot that may have traffic.
    fn slot_for(&self, seen: &HostObserved) -> Slot {
        seen.should_be_live().map_or(Slot::Blue, Slot::other)
    }

    fn waves(&self, phases: &mut Phases, changing: &[HostPlan<'_>]) -> Result<(), Failure> {
        let hosts: Vec<HostId> = changing.iter().map(|host| host.host.clone()).collect();
        let waves = waves::cut(&hosts, &self.slots.waves);
        let count = waves.len();
        let mut done: Vec<HostId> = Vec::new();
        let mut asked = false;
        for (index, wave) in waves.iter().enumerate() {
            let title = |what: &str| match count {
                1 => what.to_owned(),
                _ => format!("{what}, wave {} of {count}", index + 1),
            };
            let lanes =
                changing.iter().filter(|host| wave.contains(host.host)).map(|host| self.go_live(host));
            phases.push(&title("go live"), false, lanes.collect());
            done.extend(wave.iter().cloned());
            let all = index + 1 == count;
            let gates = match self.gates {
                Gates::All => {
                    crate::gates::after_wave(self.project, self.service, self.environment, &done, all)?
                }
                Gates::None => Vec::new(),
            };
            asked |= !gates.is_empty();
            phases.push(&title("check after"), false, vec![self.gate_lane(gates, Moment::After)]);
        }
        // Gates and further waves take their time, in which an app may die and a router be restarted.
        if asked || count > 1 {
            phases.push("look again", false, changing.iter().map(|host| self.look_again(host)).collect());
        }
        Ok(())
    }

    /// Nothing is settled before every host answers with the release.
    fn look_again(&self, host: &HostPlan<'_>) -> Lane {
        lane(host.host, vec![step(self.verify(host.slot, &self.release), vec![])])
    }

    /// Until the old slot has answered its last request the run can still go back to it.
    fn drain_old(&self, host: &HostPlan<'_>) -> Lane {
        let old = host.slot.other();
        let runs = host.seen.slots.get(&old).is_some_and(|seen| seen.state == SlotState::Running);
        let drains = (runs && self.retires(host)).then(|| self.drain(old, Some(host.slot)));
        lane(host.host, drains.map(|drain| step(drain, vec![])).into_iter().collect())
    }

    /// There is another slot, and it is not to be kept warm.
    fn retires(&self, host: &HostPlan<'_>) -> bool {
        host.seen.slots.contains_key(&host.slot.other()) && self.slots.keep_warm.0 == 0
    }

    /// The promise in one screen: each action beside what takes it back.
    fn go_live(&self, host: &HostPlan<'_>) -> Lane {
        let (slot, release, probe) = (host.slot, &self.release, self.probe());
        let grace = self.slots.stop_grace;
        let mut steps = Vec::new();
        // A slot that was kept warm may still be answering from when it had the traffic.
        let warm = host.seen.slots.get(&slot).is_some_and(|seen| seen.state == SlotState::Running);
        if self.replaces_running(host) {
            steps.push(step(self.drain(slot, None), vec![]));
        } else if warm && self.again {
            // To start what runs already does nothing.
            steps.extend(self.retire(slot, None));
        }
        let drain_first = warm.then(|| self.drain(slot, None));
        let stop = Action::Stop { slot, grace, heir: None };
        let stop_again = drain_first.into_iter().chain([stop]).chain(self.take_back(host)).collect();
        steps.extend([
            step(Action::Start { slot, release: release.clone() }, stop_again),
            step(Action::AwaitHealthy { slot, release: release.clone(), probe: probe.clone() }, vec![]),
            step(
                Action::Switch { slot, release: release.clone(), probe: probe.clone() },
                self.switch_back(host),
            ),
            step(self.verify(slot, release), vec![]),
            self.record(host, Listed::Tried(release)),
        ]);
        lane(host.host, steps)
    }

    /// The release is live, but the router dials where it was before: there is nothing to go back to.
    fn mend_route(&self, host: &HostPlan<'_>) -> Lane {
        let (slot, release, probe) = (host.slot, &self.release, self.probe());
        let actions = [
            Action::AwaitHealthy { slot, release: release.clone(), probe: probe.clone() },
            Action::Switch { slot, release: release.clone(), probe },
            self.verify(slot, release),
        ];
        lane(host.host, actions.into_iter().map(|action| step(action, vec![])).collect())
    }

    /// The slot still runs another release (kept warm, or left by a run whose tidying up failed), which may not have
    /// answered all its requests (P2).
    fn replaces_running(&self, host: &HostPlan<'_>) -> bool {
        host.seen.slots.get(&host.slot).is_some_and(|seen| {
            seen.state == SlotState::Running
                && seen.release.as_ref().is_none_or(|held| !held.same_bytes(&self.release))
        })
    }

    /// Back to the release that had the traffic, started again should it have died; where the route was lost, to the
    /// one that should have it. Without one, the router gets back what it had. Then the slot that had the traffic for a
    /// while finishes what it was asked.
    fn switch_back(&self, host: &HostPlan<'_>) -> Vec<Action> {
        let mut back = self.restore_traffic(host);
        back.push(self.drain(host.slot, None));
        back
    }

    fn restore_traffic(&self, host: &HostPlan<'_>) -> Vec<Action> {
        let Some((slot, release)) = host.former() else {
            return vec![Action::Withdraw { dial: host.seen.router.dial.clone() }];
        };
        vec![
            Action::Start { slot, release: release.clone() },
            Action::AwaitHealthy { slot, release: release.clone(), probe: self.probe() },
            Action::Switch { slot, release: release.clone(), probe: self.probe() },
            self.verify(slot, release),
        ]
    }

    fn record(&self, host: &HostPlan<'_>, listed: Listed<'_>) -> Step {
        let before = host.seen.recorded.clone();
        let previous = match host.seen.router.target {
            Some(target) if target != host.slot => Some(target),
            _ => before.previous,
        };
        let (release, tried) = match listed {
            Listed::Tried(release) => (None, Some(release.clone())),
            Listed::Live(release) => (Some(release.clone()), None),
        };
        step(
            Action::Record { recorded: Recorded { active: Some(host.slot), previous }, release, tried },
            vec![Action::Record { recorded: before, release: None, tried: None }],
        )
    }

    /// What starts the release takes back too that it was tried. Where it is what the host should have anyway, nothing is
    /// said against it: it was started anew, or had died.
    fn take_back(&self, host: &HostPlan<'_>) -> Option<Action> {
        let has_it = host.former().is_some_and(|(_, held)| held.same_bytes(&self.release));
        let release = bare(&self.release);
        (!has_it).then_some(Action::TakeBack { release, instead: None, because: None })
    }

    /// Who goes back from a release does not want it to come again by itself. Who goes back to one that was rejected here
    /// takes that word back, and says nothing against what was live meanwhile.
    fn reject_former(&self, host: &HostPlan<'_>) -> Option<Step> {
        let (_, left) = host.former().filter(|(_, held)| !held.same_bytes(&self.release))?;
        let goes_back = matches!(self.intent, Intent::Rollback { .. }) && !self.is_rejected(host.seen);
        let (release, instead) = (bare(left), Some(bare(&self.release)));
        goes_back.then(|| step(Action::TakeBack { release, instead, because: None }, vec![]))
    }

    /// By what the host itself says.
    fn is_rejected(&self, seen: &HostObserved) -> bool {
        seen.rejection(&self.release).is_some()
    }

    fn fetch(&self, host: &HostPlan<'_>) -> Lane {
        lane(host.host, vec![step(Action::Fetch { release: self.release.clone() }, vec![])])
    }

    /// The slot keeps running for `keep_warm`, which makes a rollback instant; whoever comes next stops it. It was drained
    /// before the commit.
    fn tidy_up(&self, host: &HostPlan<'_>) -> [Lane; 2] {
        let stop = self.retires(host).then(|| self.stop(host.slot.other(), Some(host.slot)));
        [self.list(host, Some(&self.release)), lane(host.host, stop.into_iter().collect())]
    }

    /// What an earlier run left. `host.slot` is the live one here.
    fn tidy_up_beside(&self, host: &HostPlan<'_>) -> [Lane; 2] {
        let beside = host.seen.slots.get(&host.slot.other());
        let runs = beside.is_some_and(|seen| seen.state == SlotState::Running);
        let retired = if runs { self.retire(host.slot.other(), Some(host.slot)).into() } else { Vec::new() };
        [self.list(host, None), lane(host.host, retired)]
    }

    /// The list of releases, which has nothing to do with the slot beside `host.slot`: the two are lanes of their own.
    fn list(&self, host: &HostPlan<'_>, released: Option<&Release>) -> Lane {
        // What was live without Lockgate is on no list yet, what could not be written down is not its first, and it is
        // what a rollback goes back to.
        let live = host.seen.live().and_then(|(_, seen)| seen.release.as_ref());
        let unlisted = live.filter(|live| !is_listed_first(host.seen) && host.seen.rejection(live).is_none());
        let listed = unlisted.into_iter().chain(released);
        let records =
            listed.map(|release| Step { undo: Vec::new(), ..self.record(host, Listed::Live(release)) });
        lane(host.host, records.chain(released.and_then(|_| self.reject_former(host))).collect())
    }

    /// After both: it asks the list what to keep, and leaves what a container still uses.
    fn prune(&self, host: &HostPlan<'_>) -> Lane {
        let prunes = self.has_images().then_some(Action::Prune { keep: self.slots.keep_releases });
        lane(host.host, prunes.into_iter().map(|action| step(action, vec![])).collect())
    }

    fn retire(&self, slot: Slot, heir: Option<Slot>) -> [Step; 2] {
        [step(self.drain(slot, heir), vec![]), self.stop(slot, heir)]
    }

    fn drain(&self, slot: Slot, heir: Option<Slot>) -> Action {
        Action::Drain { slot, deadline: self.slots.drain, heir }
    }

    fn stop(&self, slot: Slot, heir: Option<Slot>) -> Step {
        step(Action::Stop { slot, grace: self.slots.stop_grace, heir }, vec![])
    }

    fn gate_lane(&self, gates: Vec<Gate>, moment: Moment) -> Lane {
        let action = |gate| Action::Gate { gate, moment, release: self.release.clone() };
        Lane { host: None, steps: gates.into_iter().map(|gate| step(action(gate), vec![])).collect() }
    }

    fn verify(&self, slot: Slot, release: &Release) -> Action {
        Action::Verify {
            slot,
            release: release.clone(),
            verify: self.service.verify.clone(),
            probe: self.probe(),
        }
    }

    fn probe(&self) -> Probe {
        Probe { health: self.service.health.clone(), port: self.service.port }
    }
}

/// What the host's list of releases learns.
enum Listed<'a> {
    /// It has the traffic, and has still to pass its gates.
    Tried(&'a Release),
    /// It joins the list, which says what a rollback may go back to: only what has passed its gates.
    Live(&'a Release),
}

/// Numbers the steps as they come; phases and lanes without steps are left out.
#[derive(Default)]
struct Phases {
    phases: Vec<Phase>,
    next: u32,
}

impl Phases {
    fn push(&mut self, title: &str, committed: bool, mut lanes: Vec<Lane>) {
        lanes.retain(|lane| !lane.steps.is_empty());
        if lanes.is_empty() {
            return;
        }
        for step in lanes.iter_mut().flat_map(|lane| &mut lane.steps) {
            step.id = StepId(self.next);
            self.next += 1;
        }
        self.phases.push(Phase { title: title.to_owned(), committed, lanes });
    }
}

/// What somebody calls it and its digest: no more is kept of a release that is rejected.
fn bare(release: &Release) -> Release {
    Release { image: None, commit: None, ..release.clone() }
}

/// The list of releases begins with what is live, as far as that is known.
fn is_listed_first(seen: &HostObserved) -> bool {
    let live = seen.live().and_then(|(_, live)| live.release.as_ref());
    live.is_none_or(|live| seen.was_live().next().is_some_and(|first| first.same_bytes(live)))
}

fn lane(host: &HostId, steps: Vec<Step>) -> Lane {
    Lane { host: Some(host.clone()), steps }
}

/// The id is given when the step is put into its phase.
fn step(action: Action, undo: Vec<Action>) -> Step {
    Step { id: StepId(u32::MAX), action, undo }
}

fn live_releases(observed: &Observed) -> std::collections::BTreeMap<HostId, Release> {
    observed
        .hosts
        .iter()
        .filter_map(|(host, seen)| Some((host.clone(), seen.live()?.1.release.clone()?)))
        .collect()
}

/// What is live on the first host that has anything live.
#[must_use]
pub fn live_release(observed: &Observed) -> Option<Release> {
    live_releases(observed).into_values().next()
}
