//! What is said of hosts that were left out, and of one that did not answer.

use lockgate_model::{Aim, Failure, HostId, Outcome, Report};

/// Below the end of a deployment or rollback: who is behind, and how to go on without a host that does not answer.
pub fn without(aim: &Aim, report: &Report) -> Vec<String> {
    let Report { plan, outcome, .. } = report;
    let left_out = &plan.without;
    let mut lines = Vec::new();
    if let (Outcome::Succeeded { .. }, [_, ..]) = (outcome, left_out.as_slice()) {
        let names: Vec<&str> = left_out.iter().map(HostId::as_str).collect();
        let deploy =
            format!("lockgate --env {} deploy {} {}", plan.environment, plan.service, plan.release.tag);
        lines.push(format!(
            "behind: {} (left out); `{deploy}` brings it along when it is back",
            names.join(", ")
        ));
    }
    if let Some(host) = outcome.failure().and_then(silent).filter(|_| plan.hosts.len() > 1) {
        let without = [left_out.as_slice(), std::slice::from_ref(host)].concat();
        let typed = aim.typed(&plan.service, &plan.environment, &without);
        lines.push(format!("to go on without it: `{typed}`"));
    }
    lines
}

fn silent(failure: &Failure) -> Option<&HostId> {
    failure.host.as_ref().filter(|_| failure.is_silence())
}
