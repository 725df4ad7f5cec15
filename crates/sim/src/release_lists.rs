//! What the hosts' lists must say at a run's end: what succeeded is live since a known time, and what was taken back for its
//! own fault is rejected wherever it was tried.

use lockgate_model::{Action, HostId, Outcome, Plan, Releases, RunId, condemns};
use lockgate_ports::fake::{Call, Machine};

use crate::actor::Mutation;
use crate::scene::HOME;
use crate::world::World;

/// What a lease record has in it when its run turned back for its release's fault.
const CONDEMNED: [&str; 3] = [
    r#""cause":{"kind":"unhealthy""#,
    r#""cause":{"kind":"gate_failed""#,
    r#""cause":{"kind":"gate_not_yet""#,
];

impl World {
    pub(crate) fn check_listed(&self, run: RunId, plan: &Plan, outcome: &Outcome) {
        match outcome {
            Outcome::Succeeded { warnings } if warnings.is_empty() => {
                for host in plan.hosts.iter().filter(|host| tries(plan, host) && !self.was_left(run, host)) {
                    self.check_live_since(host, plan);
                }
            }
            Outcome::Succeeded { .. } | Outcome::Stuck(_) => {}
            Outcome::Failed { failure } | Outcome::RolledBack { failure } => {
                let blamed = condemns(failure);
                if self.was_condemned(run) && !blamed {
                    self.violated(format!(
                        "P9: a host was told that run {run} turned back for its release's fault, and it ended with {failure}"
                    ));
                }
                for host in plan.hosts.iter().filter(|host| {
                    blamed
                        && is_taken_back(plan, host)
                        && self.was_started(run, host, &plan.release)
                        && !self.was_left(run, host)
                }) {
                    self.check_rejected(host, plan);
                }
            }
        }
    }

    fn check_live_since(&self, host: &HostId, plan: &Plan) {
        let list = list(&self.machine(host));
        let first = list.live.first().filter(|first| first.release.same_bytes(&plan.release));
        if first.is_none_or(|first| first.live_since.is_none()) {
            let tag = &plan.release.tag;
            self.violated(format!("{host}: {tag} succeeded, and since when it is live is not written down"));
        }
        if list.rejected.iter().any(|rejection| rejection.release.same_bytes(&plan.release)) {
            self.violated(format!("P9: {host}: {} succeeded, and is still rejected", plan.release.tag));
        }
    }

    fn check_rejected(&self, host: &HostId, plan: &Plan) {
        let list = list(&self.machine(host));
        if !list.rejected.iter().any(|rejection| rejection.release.same_bytes(&plan.release)) {
            self.violated(format!(
                "P9: {host}: {} was taken back for its fault, and is not rejected",
                plan.release.tag
            ));
        }
    }
}

/// Whether the record says that its run turned back for its release's fault. Looked for in the bytes, for it is looked at
/// with every change and the plan in it is long.
pub(crate) fn condemns_the_release(record: &[u8]) -> bool {
    let text = String::from_utf8_lossy(record);
    CONDEMNED.iter().any(|words| text.contains(words))
}

/// What a broken Lockgate leaves out of what it writes.
pub(crate) fn forget(mutation: Mutation, call: &Call, machine: &mut Machine) {
    let file = match mutation {
        Mutation::NeverRejects | Mutation::ForgetsSince => "releases.json",
        Mutation::ForgetsCause => "lease.json",
        _ => return,
    };
    let written = machine.files.get_mut(&format!("{HOME}/.lockgate/{file}"));
    let Some(written) = written.filter(|_| call.detail.ends_with(file)) else { return };
    let text = String::from_utf8_lossy(written);
    *written = match mutation {
        Mutation::NeverRejects => text.replace("rejected\"", "refused\""),
        Mutation::ForgetsSince => text.replace("live_since", "since_when"),
        _ => text.replace(r#""cause":{"kind""#, r#""why":{"kind""#),
    }
    .into_bytes();
}

fn list(machine: &Machine) -> Releases {
    let content = machine.files.get(&format!("{HOME}/.lockgate/releases.json"));
    content.and_then(|content| serde_json::from_slice(content).ok()).unwrap_or_default()
}

fn tries(plan: &Plan, host: &HostId) -> bool {
    plan.steps()
        .any(|(_, on, step)| on == Some(host) && matches!(step.action, Action::Record { tried: Some(_), .. }))
}

fn is_taken_back(plan: &Plan, host: &HostId) -> bool {
    let takes_back = |undo: &Action| matches!(undo, Action::TakeBack { .. });
    plan.steps().any(|(_, on, step)| on == Some(host) && step.undo.iter().any(takes_back))
}
