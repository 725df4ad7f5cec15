//! What the recipes have in common: which hosts need what, waves with their gates, and steps that read the same in each.

use lockgate_model::{
    Action, Environment, Failure, Gate, Gates, HostId, HostObserved, Intent, Lane, Moment, Observed, Phase,
    Plan, Probe, Project, Provenance, Recorded, Release, Router, Runtime, Service, Slot, SlotDelivery, Step,
    StepId,
};

use crate::waves;

pub(crate) struct Wanted<'a> {
    pub project: &'a Project,
    pub service: &'a Service,
    pub environment: &'a Environment,
    pub slots: &'a SlotDelivery,
    pub intent: &'a Intent,
    /// Without its provenance, which is told once and listed.
    pub release: Release,
    pub provenance: Option<Box<Provenance>>,
    pub gates: Gates,
    /// A release that is live is started anew.
    pub again: bool,
}

/// What one host needs.
pub(crate) struct HostPlan<'a> {
    pub host: &'a HostId,
    pub seen: &'a HostObserved,
    /// Where the release goes, or is.
    pub slot: Slot,
}

/// Hosts by what they need; one may be in several.
#[derive(Default)]
pub(crate) struct Sorted<'a> {
    /// The release is not live there.
    pub changing: Vec<HostPlan<'a>>,
    /// It is live, and not written down.
    pub recording: Vec<HostPlan<'a>>,
    /// It is live, and the router dials where it was before, or the other slot as well.
    pub mending: Vec<HostPlan<'a>>,
    /// For tidying up: what is live stays.
    pub beside: Vec<HostPlan<'a>>,
}

impl Wanted<'_> {
    /// `slot_for` is where the release goes on a host that does not have it.
    pub fn sort<'a>(&'a self, observed: &'a Observed, slot_for: fn(&HostObserved) -> Slot) -> Sorted<'a> {
        let mut sorted = Sorted::default();
        for host in &self.slots.hosts {
            let seen = &observed.hosts[host];
            if *self.intent == Intent::TidyUp {
                sorted.beside.extend(seen.live().map(|(slot, _)| HostPlan { host, seen, slot }));
                continue;
            }
            let lives_on = self.lives_on(seen);
            let stale = lives_on.filter(|_| seen.router.stale || seen.router.torn.is_some());
            sorted.mending.extend(stale.map(|slot| HostPlan { host, seen, slot }));
            match lives_on {
                Some(slot)
                    if seen.recorded.active == Some(slot)
                        && is_listed_first(seen)
                        && seen.rejection(&self.release).is_none() => {}
                Some(slot) => sorted.recording.push(HostPlan { host, seen, slot }),
                None => sorted.changing.push(HostPlan { host, seen, slot: slot_for(seen) }),
            }
        }
        sorted
    }

    /// The slot that is live with the wanted release already, where that is enough: not where users reach it without the
    /// router.
    fn lives_on(&self, seen: &HostObserved) -> Option<Slot> {
        let (slot, live) = seen.live().filter(|_| !self.again && seen.router.direct.is_none())?;
        live.release.as_ref().filter(|release| release.same_bytes(&self.release)).map(|_| slot)
    }

    pub fn is_routed(&self) -> bool {
        !matches!(self.slots.router, Router::None)
    }

    /// The `process` runtime runs what others put on the host: it pulls nothing and has nothing to prune.
    pub fn has_images(&self) -> bool {
        !matches!(self.slots.runtime, Runtime::Process(_))
    }

    pub fn plan(&self, observed: &Observed, phases: Phases) -> Plan {
        Plan {
            project: self.project.name.clone(),
            service: self.service.name.clone(),
            environment: self.environment.name.clone(),
            strategy: self.slots.strategy,
            intent: self.intent.clone(),
            hosts: self.slots.hosts.clone(),
            without: Vec::new(),
            before: live_releases(observed),
            release: self.with_provenance(&self.release),
            phases: phases.phases,
        }
    }

    /// For what is kept: where the wanted release comes from.
    fn with_provenance(&self, release: &Release) -> Release {
        match release.same_bytes(&self.release) && release.tag == self.release.tag {
            true => Release { provenance: self.provenance.clone(), ..release.clone() },
            false => release.clone(),
        }
    }

    /// The gates before anything is touched.
    pub fn check_before(&self, phases: &mut Phases) -> Result<(), Failure> {
        let before = match self.gates {
            Gates::All => {
                crate::gates::resolve(self.project, self.service, self.environment, &self.environment.before)?
            }
            Gates::None => Vec::new(),
        };
        phases.push("check before", false, vec![self.gate_lane(before, Moment::Before)]);
        Ok(())
    }

    /// Wave by wave, each with its gates behind it.
    pub fn waves(
        &self,
        phases: &mut Phases,
        changing: &[HostPlan<'_>],
        go_live: impl Fn(&HostPlan<'_>) -> Lane,
    ) -> Result<(), Failure> {
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
            let lanes = changing.iter().filter(|host| wave.contains(host.host)).map(&go_live);
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
    pub fn look_again(&self, host: &HostPlan<'_>) -> Lane {
        let looks = match self.is_routed() {
            true => self.verify(host.slot, &self.release),
            false => self.await_healthy(host.slot, &self.release),
        };
        lane(host.host, vec![step(looks, vec![])])
    }

    /// The release is live, but the router dials where it was before: there is nothing to go back to.
    pub fn mend_route(&self, host: &HostPlan<'_>) -> Lane {
        let (slot, release) = (host.slot, &self.release);
        let actions =
            [self.await_healthy(slot, release), self.switch(slot, release), self.verify(slot, release)];
        lane(host.host, actions.into_iter().map(|action| step(action, vec![])).collect())
    }

    pub fn record(&self, host: &HostPlan<'_>, listed: Listed<'_>) -> Step {
        let before = host.seen.recorded.clone();
        let previous = match host.seen.router.target {
            Some(target) if target != host.slot => Some(target),
            _ => before.previous,
        };
        let (release, tried) = match listed {
            Listed::Tried(release) => (None, Some(release.clone())),
            Listed::Live(release) => (Some(self.with_provenance(release)), None),
        };
        step(
            Action::Record { recorded: Recorded { active: Some(host.slot), previous }, release, tried },
            vec![Action::Record { recorded: before, release: None, tried: None }],
        )
    }

    /// The list of releases, which has nothing to do with the slot beside `host.slot`: the two are lanes of their own.
    pub fn list(&self, host: &HostPlan<'_>, released: Option<&Release>) -> Lane {
        // What was live without Lockgate is on no list yet, what could not be written down is not its first, and it is
        // what a rollback goes back to.
        let live = host.seen.live().and_then(|(_, seen)| seen.release.as_ref());
        let unlisted = live.filter(|live| !is_listed_first(host.seen) && host.seen.rejection(live).is_none());
        let listed = unlisted.into_iter().chain(released);
        let records =
            listed.map(|release| Step { undo: Vec::new(), ..self.record(host, Listed::Live(release)) });
        lane(host.host, records.collect())
    }

    /// What starts the release takes back too that it was tried. Where it is the `former` one, which is gone back to, nothing
    /// is said against it: it was started anew, or had died.
    pub fn take_back(&self, former: Option<&Release>) -> Option<Action> {
        let was_good = former.is_some_and(|former| former.same_bytes(&self.release));
        (!was_good).then(|| Action::TakeBack { release: bare(&self.release), instead: None, because: None })
    }

    /// Who goes back from the `former` release does not want it to come again by itself. Who goes back to one that was
    /// rejected here takes that word back, and says nothing against what was live meanwhile.
    pub fn reject(&self, host: &HostPlan<'_>, former: Option<&Release>) -> Option<Step> {
        let left = former.filter(|former| !former.same_bytes(&self.release))?;
        let was_rejected = host.seen.rejection(&self.release).is_some();
        let goes_back = matches!(self.intent, Intent::Rollback { .. }) && !was_rejected;
        let (release, instead) = (bare(left), Some(bare(&self.release)));
        goes_back.then(|| step(Action::TakeBack { release, instead, because: None }, vec![]))
    }

    /// After both: it asks the list what to keep, and leaves what a container still uses.
    pub fn prune(&self, host: &HostPlan<'_>) -> Lane {
        let prunes = self.has_images().then_some(Action::Prune { keep: self.slots.keep_releases });
        lane(host.host, prunes.into_iter().map(|action| step(action, vec![])).collect())
    }

    /// Hosts on which the release is live already, and not written down.
    pub fn record_live(&self, recording: &[HostPlan<'_>]) -> Vec<Lane> {
        let lanes = recording.iter();
        lanes.map(|host| lane(host.host, vec![self.record(host, Listed::Live(&self.release))])).collect()
    }

    fn gate_lane(&self, gates: Vec<Gate>, moment: Moment) -> Lane {
        let action = |gate| Action::Gate { gate, moment, release: self.release.clone() };
        Lane { host: None, steps: gates.into_iter().map(|gate| step(action(gate), vec![])).collect() }
    }

    /// Of what was asked for. Who goes back to a release goes back to what it ran with.
    pub fn start(&self, slot: Slot, release: &Release) -> Action {
        let own_environment = matches!(self.intent, Intent::Rollback { .. });
        Action::Start { slot, release: release.clone(), own_environment }
    }

    /// Of what had the traffic before, in an undo.
    pub fn start_again(&self, slot: Slot, release: &Release) -> Action {
        Action::Start { slot, release: release.clone(), own_environment: true }
    }

    pub fn await_healthy(&self, slot: Slot, release: &Release) -> Action {
        Action::AwaitHealthy { slot, release: release.clone(), probe: self.probe() }
    }

    pub fn switch(&self, slot: Slot, release: &Release) -> Action {
        Action::Switch { slot, release: release.clone(), probe: self.probe() }
    }

    pub fn verify(&self, slot: Slot, release: &Release) -> Action {
        Action::Verify {
            slot,
            release: release.clone(),
            verify: self.service.verify.clone(),
            probe: self.probe(),
            patient: false,
        }
    }

    fn probe(&self) -> Probe {
        Probe::of(self.service, self.environment)
    }
}

/// What the host's list of releases learns.
pub(crate) enum Listed<'a> {
    /// It has the traffic, and has still to pass its gates.
    Tried(&'a Release),
    /// It joins the list, which says what a rollback may go back to: only what has passed its gates.
    Live(&'a Release),
}

/// Numbers the steps as they come; phases and lanes without steps are left out.
#[derive(Default)]
pub(crate) struct Phases {
    pub phases: Vec<Phase>,
    next: u32,
}

impl Phases {
    pub(crate) fn push(&mut self, title: &str, committed: bool, mut lanes: Vec<Lane>) {
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
    Release { image: None, commit: None, provenance: None, ..release.clone() }
}

/// The list of releases begins with what is live, as far as that is known.
pub(crate) fn is_listed_first(seen: &HostObserved) -> bool {
    let live = seen.live().and_then(|(_, live)| live.release.as_ref());
    live.is_none_or(|live| seen.was_live().next().is_some_and(|first| first.same_bytes(live)))
}

pub(crate) fn lane(host: &HostId, steps: Vec<Step>) -> Lane {
    Lane { host: Some(host.clone()), steps }
}

/// The id is given when the step is put into its phase.
pub(crate) fn step(action: Action, undo: Vec<Action>) -> Step {
    Step { id: StepId(u32::MAX), action, undo }
}

pub(crate) fn live_releases(observed: &Observed) -> std::collections::BTreeMap<HostId, Release> {
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
