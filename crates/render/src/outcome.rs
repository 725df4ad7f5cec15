//! How a run ended, as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use lockgate_model::{Action, Failure, FailureKind, HostId, Millis, Outcome, Plan, Release, Slot, Stuck};

use crate::failure::failure_text;
use crate::{Paint, clean};

/// Hosts named one by one up to this many, else counted.
const HOSTS_NAMED_MAX: usize = 3;

/// How it ended, why, what is live now, and what to type. Without a line feed at the end.
#[must_use]
pub fn outcome_text(outcome: &Outcome, plan: &Plan, paint: Paint) -> String {
    match outcome {
        Outcome::Succeeded { warnings } => succeeded(warnings, plan, paint),
        Outcome::Failed { failure } => {
            let (head, again) = match failure.kind {
                FailureKind::GateNotYet => {
                    ("not yet: nothing was changed", "later, run the same command again")
                }
                FailureKind::Cancelled => {
                    ("cancelled: nothing was changed", "to go on, run the same command again")
                }
                _ => ("failed: nothing was changed", "when it is put right, run the same command again"),
            };
            unhappy(&paint.red(head), failure, &live_before(plan, false), again, paint)
        }
        Outcome::RolledBack { failure } => {
            let head = paint.yellow("rolled back");
            let again = "when it is put right, run the same command again";
            unhappy(&head, failure, &live_before(plan, true), again, paint)
        }
        Outcome::Stuck(stuck) => stuck_text(stuck, plan, paint),
    }
}

/// `web1`, `web1 and web2`, `12 hosts`; `this machine` for the local one.
#[must_use]
pub fn hosts_text(hosts: &[HostId]) -> String {
    let names: Vec<&str> =
        hosts.iter().map(|host| if host.is_local() { "this machine" } else { host.as_str() }).collect();
    match names.as_slice() {
        [] => "no host".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] if names.len() <= HOSTS_NAMED_MAX => format!("{} and {last}", first.join(", ")),
        many => format!("{} hosts", many.len()),
    }
}

/// How long nothing was live: `dark: 1.2s on web1, 800ms on web2`.
#[must_use]
pub fn dark_text(dark: &BTreeMap<HostId, Millis>) -> String {
    let times: Vec<String> = dark
        .iter()
        .map(|(host, time)| format!("{time} on {}", hosts_text(std::slice::from_ref(host))))
        .collect();
    format!("dark: {}", times.join(", "))
}

fn succeeded(warnings: &[Failure], plan: &Plan, paint: Paint) -> String {
    let (service, release, environment) = (&plan.service, &plan.release, &plan.environment);
    let hosts = hosts_text(&plan.hosts);
    let mut text =
        format!("{}: {service} {release} is live in {environment} on {hosts}", paint.green("succeeded"));
    for warning in warnings {
        let _ = write!(text, "\n{} {}", paint.yellow("warning:"), failure_text(warning, paint));
    }
    if !warnings.is_empty() {
        text.push_str("\nThe release stays; what was not tidied up is tried again by the next run.");
    }
    text
}

fn unhappy(head: &str, failure: &Failure, live: &str, again: &str, paint: Paint) -> String {
    format!("{head}\n{}\n{live}\n{} {again}", failure_text(failure, paint), paint.bold("next:"))
}

/// What was live before, which is what is live now; hosts with the same release in one line.
fn live_before(plan: &Plan, again: bool) -> String {
    let mut groups: Vec<(Option<&Release>, Vec<HostId>)> = Vec::new();
    for host in &plan.hosts {
        let release = plan.before.get(host);
        match groups.iter_mut().find(|(known, _)| *known == release) {
            Some((_, hosts)) => hosts.push(host.clone()),
            None => groups.push((release, vec![host.clone()])),
        }
    }
    let verb = if again { "is live again" } else { "is still live" };
    let lines: Vec<String> = groups
        .into_iter()
        .map(|(release, hosts)| match release {
            Some(release) => {
                format!(
                    "live: {} {release} {verb} in {} on {}",
                    plan.service,
                    plan.environment,
                    hosts_text(&hosts)
                )
            }
            None => format!(
                "now: nothing of {} is live in {} on {}, as before",
                plan.service,
                plan.environment,
                hosts_text(&hosts)
            ),
        })
        .collect();
    lines.join("\n")
}

fn stuck_text(stuck: &Stuck, plan: &Plan, paint: Paint) -> String {
    // One that was settled is not undone; then its release does not serve.
    let what =
        if stuck.undo_failures.is_empty() { "does not serve everywhere" } else { "could not be undone" };
    let head = format!("stuck: {} in {} {what}; look now", plan.service, plan.environment);
    let mut text = format!("{}\n{}", paint.red(&head), failure_text(&stuck.failure, paint));
    for failure in &stuck.undo_failures {
        let _ = write!(text, "\n{} {}", paint.red("not undone:"), failure_text(failure, paint));
    }
    text.push_str("\nnow, as far as is known:");
    for host in &plan.hosts {
        let place = hosts_text(std::slice::from_ref(host));
        let live = stuck.seen.live.get(host).map(|slot| match held(plan, host, *slot) {
            Some(release) => format!("{release} in slot {slot}"),
            None => format!("slot {slot}"),
        });
        let _ = match (live, stuck.seen.silent.contains(host)) {
            (Some(live), false) => write!(text, "\n  {place}: {live} gets the traffic"),
            (Some(live), true) => {
                write!(text, "\n  {place}: its router does not answer; {live} is recorded as active and runs")
            }
            (None, true) => write!(text, "\n  {place}: not known, its router does not answer"),
            (None, false) => write!(text, "\n  {place}: nothing gets the traffic"),
        };
    }
    let _ = write!(text, "\n{} type, in this order:", paint.bold("next:"));
    for command in &stuck.commands {
        let _ = write!(text, "\n  {}", clean(command));
    }
    if !stuck.seen.silent.is_empty() && plan.hosts.len() > 1 {
        text.push_str(
            "\n  where a host is gone for good, `lockgate resume` goes on without it; then take it out of `hosts`, or deploy with `--skip HOST`",
        );
    }
    text
}

/// What a slot holds in the midst of the plan: what was started in it, else what was live.
fn held<'a>(plan: &'a Plan, host: &HostId, slot: Slot) -> Option<&'a Release> {
    let lanes = plan.phases.iter().flat_map(|phase| &phase.lanes);
    let mut steps = lanes.filter(|lane| lane.host.as_ref() == Some(host)).flat_map(|lane| &lane.steps);
    let started = steps.find_map(|step| match &step.action {
        Action::Start { slot: started, release, .. } => Some((*started, release)),
        _ => None,
    });
    match started {
        Some((started, release)) if started == slot => Some(release),
        _ => plan.before.get(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{failure_smoke, host, local_plan, plan, stuck, unhealthy};

    #[test]
    fn success_says_what_is_live_and_where() {
        let outcome = Outcome::Succeeded { warnings: vec![] };
        insta::assert_snapshot!(
            outcome_text(&outcome, &plan(), Paint::plain()),
            @"succeeded: web v2 (1f3a5b7c9d0e) is live in prod on web1 and web2"
        );
        let warned =
            Outcome::Succeeded { warnings: vec![Failure::new(FailureKind::Unreachable, "cannot prune")] };
        insta::assert_snapshot!(outcome_text(&warned, &local_plan(), Paint::plain()), @r"
        succeeded: web v2 (1f3a5b7c9d0e) is live in prod on this machine
        warning: unreachable: cannot prune
        The release stays; what was not tidied up is tried again by the next run.
        ");
    }

    #[test]
    fn failed_says_that_nothing_was_changed_and_what_is_still_live() {
        let outcome = Outcome::Failed { failure: unhealthy() };
        insta::assert_snapshot!(outcome_text(&outcome, &plan(), Paint::plain()), @r"
        failed: nothing was changed
        unhealthy: green does not answer its health check within 60s
          at host web1, slot green
          ✗ GET /health: wanted 200, saw 500
          1 other check passed
          its last log lines:
            | starting
            | cannot open database
          hint: look at the database's address
        live: web v1 (0a0a0a0a0a0a) is still live in prod on web1 and web2
        next: when it is put right, run the same command again
        ");
        let mut first = local_plan();
        first.before.clear();
        let not_yet = Outcome::Failed { failure: Failure::new(FailureKind::GateNotYet, "soak: 3h of 24h") };
        insta::assert_snapshot!(outcome_text(&not_yet, &first, Paint::plain()), @r"
        not yet: nothing was changed
        gate says not yet: soak: 3h of 24h
        now: nothing of web is live in prod on this machine, as before
        next: later, run the same command again
        ");
    }

    #[test]
    fn rolled_back_says_which_release_is_live_again_on_which_host() {
        let mut mixed = plan();
        mixed.before.remove(&host("web2"));
        let outcome = Outcome::RolledBack { failure: failure_smoke() };
        insta::assert_snapshot!(outcome_text(&outcome, &mixed, Paint::plain()), @r"
        rolled back
        gate failed: smoke: 1 of 2 checks failed
          ✗ GET /health: wanted 200, saw 500
          1 other check passed
        live: web v1 (0a0a0a0a0a0a) is live again in prod on web1
        now: nothing of web is live in prod on web2, as before
        next: when it is put right, run the same command again
        ");
    }

    #[test]
    fn stuck_says_what_is_live_and_what_to_type() {
        insta::assert_snapshot!(outcome_text(&Outcome::Stuck(stuck()), &plan(), Paint::plain()), @r"
        stuck: web in prod could not be undone; look now
        gate failed: smoke: 1 of 2 checks failed
          ✗ GET /health: wanted 200, saw 500
          1 other check passed
        not undone: unreachable: caddy does not answer
          at host web2
          hint: is caddy running?
        now, as far as is known:
          web1: v1 (0a0a0a0a0a0a) in slot blue gets the traffic
          web2: not known, its router does not answer
        next: type, in this order:
          lockgate status web
          lockgate resume
          where a host is gone for good, `lockgate resume` goes on without it; then take it out of `hosts`, or deploy with `--skip HOST`
        ");
        let mut known = stuck();
        known.seen.live.insert(host("web2"), lockgate_model::Slot::Green);
        let text = outcome_text(&Outcome::Stuck(known), &plan(), Paint::plain());
        assert!(
            text.contains("web2: its router does not answer; ")
                && text.contains(" is recorded as active and runs")
        );
    }

    #[test]
    fn few_hosts_are_named_and_many_are_counted() {
        let hosts: Vec<HostId> = (1..=4).map(|index| host(&format!("web{index}"))).collect();
        assert_eq!(hosts_text(&hosts[..1]), "web1");
        assert_eq!(hosts_text(&hosts[..3]), "web1, web2 and web3");
        assert_eq!(hosts_text(&hosts), "4 hosts");
        assert_eq!(hosts_text(&[HostId::local()]), "this machine");
    }
}
