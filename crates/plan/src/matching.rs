//! A found run against this configuration: what may be done with a plan that others have written.
//!
//! Whoever can write a host's lease record can write any plan into it. So nothing of a found plan is ever performed as
//! it was found: the plan is made again from this configuration and what the record says was seen ([`Former`]), and a run
//! goes forward only when that is the very plan that all its records have. Else it goes back, or is tidied up where it was
//! settled, by a plan that this configuration makes for each host from that host's own record and what is seen there.

use std::collections::BTreeMap;

use lockgate_model::{
    Delivery, Environment, Failure, FailureKind, Gates, HostId, HostObserved, Intent, Observed, Phase, Plan,
    Project, Provenance, Release, Runtime, Service, SlotDelivery, StepId,
};

use crate::difference::{self, Difference, Record};
use crate::former::Former;

/// Longest commit that is taken from a record, in characters.
const COMMIT_CHARS_MAX: usize = 128;

/// What this machine would do by itself.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    pub project: &'a Project,
    pub service: &'a Service,
    pub environment: &'a Environment,
}

/// What is known of a run that was cut off. Where the plans were read from does not matter.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The hosts of the configuration that hold the run as unfinished, each with the plan that it has.
    pub held: &'a BTreeMap<HostId, &'a Plan>,
    /// The plan in this machine's own journal, which is believed; `None` when the run is not in it.
    pub journaled: Option<&'a Plan>,
    /// What is there now; a host is missing when it could not be looked at.
    pub seen: &'a Observed,
    /// It was settled: all that is left is to tidy up.
    pub settled: bool,
}

/// What may be done with a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matched {
    /// Every record has the plan that this configuration makes: it may go forward, and back.
    Same(Box<Plan>),
    /// It goes back only, or is tidied up where it was settled, by `plan`: this configuration's, without gates, on the
    /// hosts that hold the run. At least one difference.
    Differs { plan: Box<Plan>, differences: Vec<Difference> },
}

/// Matches a run with the configuration and with what is seen.
///
/// # Errors
/// `Refused`, at the host whose record no plan of ours can be made from.
pub fn match_run(here: Here<'_>, found: Found<'_>) -> Result<Matched, Failure> {
    let base = found.journaled.or(found.held.values().next().copied());
    // Whoever began it left these out by name.
    let environment = here.environment.without(base.map_or(&[], |plan| &plan.without));
    let here = Here { environment: &environment, ..here };
    let Some(slots) = here.environment.slots() else {
        let message = format!("{} is only checked, so no run of it can be taken over", here.environment.name);
        return Err(Failure::new(FailureKind::Refused, message));
    };
    let mut own = BTreeMap::new();
    for (host, held) in found.held {
        let plan = found.journaled.filter(|plan| plan.hosts.contains(host)).unwrap_or(held);
        if plan.hosts.contains(host) {
            own.insert(
                host,
                OnHost::read((here, slots), found, host, plan).map_err(|reason| unmatched(host, &reason))?,
            );
        }
    }
    let Some(base) = base else {
        return Err(Failure::new(FailureKind::NotFound, "no host holds the run"));
    };
    let differences = differences((here, slots), found, base, &own);
    if differences.is_empty() {
        return Ok(Matched::Same(Box::new(base.clone())));
    }
    let mut plan = Plan {
        project: here.project.name.clone(),
        service: here.service.name.clone(),
        environment: here.environment.name.clone(),
        strategy: slots.strategy,
        intent: told_intent(here, &base.intent),
        hosts: Vec::new(),
        without: base.without.clone(),
        before: BTreeMap::new(),
        release: told(here, &base.release),
        phases: Vec::new(),
    };
    for host in slots.hosts.iter().filter_map(|host| own.get(host)) {
        host.join(here, slots, found.settled, &mut plan).map_err(|reason| unmatched(host.host, &reason))?;
    }
    plan.phases.sort_by_key(|phase| phase.committed);
    number(&mut plan);
    Ok(Matched::Differs { plan: Box::new(plan), differences })
}

fn unmatched(host: &HostId, reason: &str) -> Failure {
    let message = format!("the run that was cut off cannot be matched with this configuration: {reason}");
    Failure::new(FailureKind::Refused, message).at(host)
}

/// One host of the run, by its own record.
struct OnHost<'a> {
    host: &'a HostId,
    intent: &'a Intent,
    /// What is wanted there.
    release: Release,
    former: Former<'a>,
    /// When the plan was made.
    then: HostObserved,
    /// Where it is another than what is seen.
    differences: Vec<Difference>,
}

impl<'a> OnHost<'a> {
    fn read(
        (here, slots): (Here<'_>, &SlotDelivery),
        found: Found<'_>,
        host: &'a HostId,
        plan: &'a Plan,
    ) -> Result<Self, String> {
        if let Some((index, step)) = plan.steps().enumerate().find_map(|(index, (_, _, step))| {
            (usize::try_from(step.id.0).ok() != Some(index)).then_some((index, step))
        }) {
            return Err(format!(
                "its steps are not numbered one after the other: step {index} is number {}",
                step.id.0
            ));
        }
        let former = Former::of(host, plan, slots)?;
        let mut then = former.seen()?;
        let record = Record::Host(host.clone());
        let mut differences = Vec::new();
        let now = found.seen.hosts.get(host);
        for (slot, held) in &mut then.slots {
            let Some(release) = &mut held.release else { continue };
            if !former.goes_back_to(*slot) {
                continue;
            }
            let seen = now.and_then(|now| now.slots.get(slot)?.release.as_ref());
            // In one place the release itself may have followed it by now.
            let followed =
                |seen: &&Release| former.starts_in() == Some(*slot) && seen.same_bytes(&plan.release);
            let seen = seen.filter(|seen| !seen.same_bytes(release) && !followed(seen));
            if former.starts_in().is_some()
                && let Some(seen) = seen
            {
                let path = format!("{slot} on {host}");
                differences.push(Difference::new(&record, &path, &release.to_string(), &seen.to_string()));
                *release = seen.clone();
            }
            if !is_ours(here, release) && !is_known(now, release) {
                return Err(no_image_of_ours(release));
            }
        }
        let mut release = plan.release.clone();
        if !is_ours(here, &release) && !is_known(now, &release) {
            if found.settled {
                return Err(no_image_of_ours(&release));
            }
            release = told(here, &release);
            let image = |image: &Option<String>| image.clone().unwrap_or_else(|| "no image".to_owned());
            let (there, ours) = (image(&plan.release.image), image(&release.image));
            differences.push(Difference::new(&record, "release.image", &there, &ours));
        }
        Ok(Self { host, intent: &plan.intent, release, former, then, differences })
    }

    /// Without gates. Of the places that name the release only one was looked at.
    fn intent_alone(&self) -> Intent {
        let release = self.release.clone();
        match self.intent {
            Intent::Deploy { again, .. } => Intent::Deploy { release, gates: Gates::None, again: *again },
            Intent::Rollback { .. } => Intent::Rollback { release: Some(release) },
            Intent::TidyUp => Intent::TidyUp,
        }
    }

    /// Adds what this configuration would do on the host.
    fn join(
        &self,
        here: Here<'_>,
        slots: &SlotDelivery,
        settled: bool,
        into: &mut Plan,
    ) -> Result<(), String> {
        let former = &self.former;
        let to_undo = former.starts_in().is_some() || former.has_undos();
        if !settled && !to_undo {
            return Ok(());
        }
        let alone = SlotDelivery { hosts: vec![self.host.clone()], ..slots.clone() };
        let environment =
            Environment { delivery: Delivery::Slots(Box::new(alone)), ..here.environment.clone() };
        let observed = Observed { hosts: BTreeMap::from([(self.host.clone(), self.then.clone())]) };
        let Here { project, service, .. } = here;
        let alone = crate::plan(project, service, &environment, &self.intent_alone(), &observed)
            .map_err(|failure| failure.message)?;
        let now = Former::of(self.host, &alone, slots)?;
        if now.starts_in() != former.starts_in() || (to_undo && !now.has_undos()) {
            return Err("what it did there does not follow from what it says was there before".to_owned());
        }
        into.hosts.push(self.host.clone());
        into.before.extend(alone.before);
        for phase in alone.phases {
            let same = |known: &&mut Phase| known.title == phase.title && known.committed == phase.committed;
            match into.phases.iter_mut().find(same) {
                // Two phases of one host stay one after the other.
                Some(known) if known.lanes.iter().all(|lane| lane.host.as_ref() != Some(self.host)) => {
                    known.lanes.extend(phase.lanes);
                }
                _ => into.phases.push(phase),
            }
        }
        Ok(())
    }
}

fn differences(
    (here, slots): (Here<'_>, &SlotDelivery),
    found: Found<'_>,
    base: &Plan,
    own: &BTreeMap<&HostId, OnHost<'_>>,
) -> Vec<Difference> {
    let of_journal = || found.journaled.map(|plan| (Record::Journal, plan));
    let of_hosts = found.held.iter().map(|(host, plan)| (Record::Host(host.clone()), *plan));
    let records: Vec<(Record, &Plan)> = of_hosts.chain(of_journal()).collect();
    let mut differences: Vec<Difference> = own.values().flat_map(|host| host.differences.clone()).collect();
    let made =
        seen_then(slots, base).and_then(|then| make(here, base, &then).map_err(|failure| failure.message));
    match made {
        Ok(made) => {
            differences
                .extend(records.iter().flat_map(|(record, plan)| difference::between(record, plan, &made)));
        }
        Err(reason) => {
            differences.extend(
                records.first().map(|(record, _)| Difference::new(record, "plan", "a plan", &reason)),
            );
        }
    }
    differences
}

/// What was seen of every host of the configuration when the plan was made.
fn seen_then(slots: &SlotDelivery, plan: &Plan) -> Result<Observed, String> {
    let seen = |host: &HostId| Ok((host.clone(), Former::of(host, plan, slots)?.seen()?));
    Ok(Observed { hosts: slots.hosts.iter().map(seen).collect::<Result<_, String>>()? })
}

/// The plan again. A rollback is to the release that the plan found, for what it was found in is not known any more.
fn make(here: Here<'_>, plan: &Plan, then: &Observed) -> Result<Plan, Failure> {
    let Here { project, service, environment } = here;
    let intent = match &plan.intent {
        Intent::Rollback { release: None } => Intent::Rollback { release: Some(plan.release.clone()) },
        asked @ (Intent::Deploy { .. } | Intent::Rollback { .. } | Intent::TidyUp) => asked.clone(),
    };
    let made = crate::plan(project, service, environment, &intent, then)?;
    Ok(Plan { intent: plan.intent.clone(), without: plan.without.clone(), ..made })
}

/// It is of the service, and of the image that the configuration names.
pub(crate) fn is_ours(here: Here<'_>, release: &Release) -> bool {
    release.service == here.service.name
        && (release.image == here.service.image || (release.image.is_none() && runs_processes(here)))
        && release.commit.as_deref().is_none_or(is_commit)
        && release.provenance.as_deref().is_none_or(Provenance::is_told)
}

/// A service that has an image elsewhere has none where it runs as a process.
fn runs_processes(here: Here<'_>) -> bool {
    here.environment.slots().is_some_and(|slots| matches!(slots.runtime, Runtime::Process(_)))
}

fn is_commit(commit: &str) -> bool {
    commit.chars().count() <= COMMIT_CHARS_MAX && !commit.chars().any(char::is_control)
}

/// The host has it in a slot or on its list: an image that the configuration named before.
pub(crate) fn is_known(now: Option<&HostObserved>, release: &Release) -> bool {
    let known = |now: &HostObserved| {
        let held = now.slots.values().filter_map(|slot| slot.release.as_ref());
        held.chain(now.was_live()).any(|known| {
            known.same_bytes(release) && (&known.service, &known.image) == (&release.service, &release.image)
        })
    };
    now.is_some_and(known)
}

fn no_image_of_ours(release: &Release) -> String {
    format!("{release} is of no image that this service has or had there")
}

/// What somebody calls it and its digest, of the image that the configuration names.
fn told(here: Here<'_>, release: &Release) -> Release {
    let Release { tag, digest, commit, provenance, .. } = release;
    Release {
        service: here.service.name.clone(),
        tag: tag.clone(),
        digest: digest.clone(),
        image: here.service.image.clone().filter(|_| !runs_processes(here)),
        commit: commit.clone().filter(|commit| is_commit(commit)),
        provenance: provenance.clone().map(|provenance| Box::new(provenance.told())),
    }
}

fn told_intent(here: Here<'_>, intent: &Intent) -> Intent {
    match intent {
        Intent::Deploy { release, gates, again } => {
            Intent::Deploy { release: told(here, release), gates: *gates, again: *again }
        }
        Intent::Rollback { release } => {
            Intent::Rollback { release: release.as_ref().map(|release| told(here, release)) }
        }
        Intent::TidyUp => Intent::TidyUp,
    }
}

fn number(plan: &mut Plan) {
    let lanes = plan.phases.iter_mut().flat_map(|phase| &mut phase.lanes);
    for (step, id) in lanes.flat_map(|lane| &mut lane.steps).zip(0..) {
        step.id = StepId(id);
    }
}
