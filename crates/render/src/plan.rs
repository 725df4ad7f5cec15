//! A plan as text: what is live, what would be, and the steps.

use std::fmt::Write;

use lockgate_model::{
    Action, HoldBounds, HostId, HostObserved, Interruption, Lane, Observed, Phase, Plan, Slot, SlotState,
    Step, live_text, not_running,
};

use crate::lines::headline;
use crate::outcome::hosts_text;
use crate::status::rejected_text;
use crate::time::rfc3339;
use crate::{Paint, Table, escaped};

/// A table of what is live on each host now and would be after, what was seen that is out of order, and the steps by
/// phase with what takes each back (`↩`). Hosts with the same steps are shown once. Without a line feed at the end.
#[must_use]
pub fn plan_text(plan: &Plan, observed: &Observed, paint: Paint) -> String {
    let mut text = paint.bold(&headline(plan));
    let _ = write!(text, "\n\n{}", hosts_table(plan, observed).text());
    for (host, seen) in &observed.hosts {
        for warning in warnings(seen) {
            let _ =
                write!(text, "\n{} {}: {warning}", paint.yellow("!"), hosts_text(std::slice::from_ref(host)));
        }
    }
    for (host, seen) in observed.hosts.iter().filter(|_| !plan.is_empty()) {
        for remark in &seen.router.remarks {
            let _ = write!(text, "\n{}: {}", hosts_text(std::slice::from_ref(host)), escaped(remark));
        }
    }
    if let Some(rejected) = observed.rejected(&plan.release) {
        let _ = write!(text, "\n{} {}", paint.yellow("!"), rejected_text(&rejected, &rfc3339));
    }
    for (host, text_of_host) in environments(plan, observed) {
        let host = if plan.hosts.len() > 1 { format!("{}: ", hosts_text(&[host])) } else { String::new() };
        let _ = write!(
            text,
            "\n{} {host}{} will have {text_of_host} (`lockgate deploy {} {}` runs it with today's)",
            paint.yellow("!"),
            plan.release.tag,
            plan.service,
            plan.release.tag
        );
    }
    if plan.is_empty() {
        let _ = write!(text, "\n\nnothing to do: what is wanted is what is");
        return text;
    }
    if let Some(interruption) = plan.interruption() {
        let _ = write!(text, "\n\n{} {}", paint.yellow("!"), interruption_text(plan, interruption));
    }
    let mut committed = false;
    for (index, phase) in plan.phases.iter().filter(|phase| has_steps(phase)).enumerate() {
        let last = match phase.committed && !committed {
            true => paint.faint(" (nothing is undone from here on)"),
            false => String::new(),
        };
        committed = phase.committed;
        let _ =
            write!(text, "\n\n{}{last}", paint.bold(&format!("{}. {}", index + 1, escaped(&phase.title))));
        push_lanes(&mut text, phase, plan.hosts.len() > 1, paint);
    }
    let _ = write!(text, "\n\n{}", paint.faint("↩ is what takes a step back if a later one fails"));
    text
}

/// Where going back brings another environment along than today's, or cannot.
fn environments(plan: &Plan, observed: &Observed) -> Vec<(HostId, String)> {
    let told = |host: &HostId| observed.hosts.get(host)?.own_environment.as_ref()?.text(rfc3339);
    plan.hosts.iter().filter_map(|host| Some((host.clone(), told(host)?))).collect()
}

/// What users will notice of it.
fn interruption_text(plan: &Plan, interruption: Interruption) -> String {
    let service = &plan.service;
    match interruption {
        Interruption::Dark => format!(
            "{service} will be dark on each host from when the old release stops until the new one is healthy: \
             there is no router that lets requests wait"
        ),
        Interruption::Waits(HoldBounds { time, requests_max }) => format!(
            "requests to {service} wait while it is started anew: at most {requests_max} of them on each host, none \
             longer than {time}"
        ),
    }
}

/// What was seen on the host that is out of order.
pub(crate) fn warnings(seen: &HostObserved) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(reason) = &seen.router.unreachable {
        let what = if seen.router.answers { "used as it is" } else { "asked" };
        warnings.push(format!("the router cannot be {what}: {}", escaped(reason)));
    }
    if let (Some(target), Some(active), false) =
        (seen.router.target, seen.recorded.active, seen.router.absent)
        && target != active
    {
        warnings.push(format!("the traffic goes to {target}, but {active} is recorded as active"));
    }
    if let (Some(target), true) = (seen.router.target, seen.router.absent)
        && seen.slots.get(&target).is_none_or(|slot| slot.state != SlotState::Running)
    {
        warnings.push(format!("{target} should be live, {}", not_running(seen, target)));
    } else if let Some(target) = seen.router.target
        && seen.slots.get(&target).is_none_or(|slot| slot.state != SlotState::Running)
    {
        warnings.push(format!("the traffic goes to {target}, {}", not_running(seen, target)));
    }
    if let (Some((slot, _)), Some(unhealthy)) = (seen.live(), &seen.unhealthy) {
        warnings.push(format!("{slot} {}", escaped(&unhealthy.to_string())));
    }
    if let Some((slot, live)) = seen.live().filter(|(_, live)| live.restarts > 0) {
        warnings.push(format!("{slot} was {}", live.restarts_text()));
    }
    if let (Some(target), Some(address)) = (seen.router.target, &seen.router.direct) {
        warnings.push(format!(
            "{target} publishes {} itself, where the router is to listen, so users reach it without the router; the next \
             deployment stops it and starts the router in its place, and nothing answers in between",
            escaped(address)
        ));
    }
    if let (Some(target), Some(active), true) = (seen.router.target, seen.recorded.active, seen.router.absent)
        && target != active
    {
        warnings.push(format!("{target} runs, but {active} is recorded as active"));
    }
    if let Some((running, all)) =
        seen.live().filter(|(_, live)| live.is_short()).and_then(|(_, live)| live.counted())
    {
        warnings.push(format!("{running} of the {all} containers of what is live run"));
    }
    if let (true, Some(dial)) = (seen.router.stale, &seen.router.dial) {
        warnings.push(format!(
            "the router dials {}, where the slot is not any more; deploying the live release again mends it",
            escaped(dial)
        ));
    }
    if let Some(how) = &seen.router.torn {
        warnings.push(format!(
            "parts of the router send to different slots: {}; `lockgate resume` mends it",
            escaped(how)
        ));
    }
    warnings.extend(seen.router.cuts.as_deref().map(escaped));
    warnings.extend(
        seen.conflicts.iter().map(|conflict| format!("the slots cannot run together: {}", escaped(conflict))),
    );
    warnings
}

fn hosts_table(plan: &Plan, observed: &Observed) -> Table {
    let mut table = Table::new(["host", "live now", "will be"]);
    for host in &plan.hosts {
        let seen = observed.hosts.get(host);
        let now = seen.map_or_else(|| "not seen".to_owned(), live_text);
        let after = match target(plan, host) {
            Target::Slot(slot) => format!("{} in {slot}", plan.release),
            Target::Unchanged => "unchanged".to_owned(),
        };
        table.push(vec![hosts_text(std::slice::from_ref(host)), now, after]);
    }
    table
}

enum Target {
    Slot(Slot),
    Unchanged,
}

/// Where the plan's last switch on the host sends the traffic; where none does, what it starts.
fn target(plan: &Plan, host: &HostId) -> Target {
    let ours = || plan.steps().filter(|(_, lane, _)| *lane == Some(host)).map(|(_, _, step)| &step.action);
    let switched = ours().filter_map(|action| match action {
        Action::Switch { slot, .. } => Some(*slot),
        _ => None,
    });
    let started = ours().filter_map(|action| match action {
        Action::Start { slot, .. } => Some(*slot),
        _ => None,
    });
    switched.last().or_else(|| started.last()).map_or(Target::Unchanged, Target::Slot)
}

fn has_steps(phase: &Phase) -> bool {
    phase.lanes.iter().any(|lane| !lane.steps.is_empty())
}

/// Lanes whose steps read the same are shown once, with all their hosts.
fn push_lanes(text: &mut String, phase: &Phase, several_hosts: bool, paint: Paint) {
    let mut groups: Vec<(Vec<HostId>, Vec<StepTitles>)> = Vec::new();
    for lane in phase.lanes.iter().filter(|lane| !lane.steps.is_empty()) {
        let steps = step_titles(lane);
        let hosts = lane.host.iter().cloned();
        match groups
            .iter_mut()
            .find(|(known, same)| *same == steps && known.is_empty() == lane.host.is_none())
        {
            Some((known, _)) => known.extend(hosts),
            None => groups.push((hosts.collect(), steps)),
        }
    }
    for (hosts, steps) in groups {
        let named = several_hosts && !hosts.is_empty();
        let indent = if named { 5 } else { 3 };
        if named {
            let _ = write!(text, "\n   {}:", hosts_text(&hosts));
        }
        let mut table = Table::default().indent(indent);
        for (title, undo) in steps {
            let undo = if undo.is_empty() { String::new() } else { paint.faint(&format!("↩ {undo}")) };
            table.push(vec![title, undo]);
        }
        let _ = write!(text, "\n{}", table.text());
    }
}

/// A step's title and that of its undo.
type StepTitles = (String, String);

fn step_titles(lane: &Lane) -> Vec<StepTitles> {
    let undo = |step: &Step| step.undo_titles().map(|title| escaped(&title)).collect::<Vec<_>>().join(", ");
    lane.steps.iter().map(|step| (escaped(&step.action.title()), undo(step))).collect()
}

#[cfg(test)]
mod tests {
    use lockgate_model::{Action, GateKind, Millis, RouterObserved, Sampling};

    use super::*;
    use crate::fixtures::{host, observed, plan};

    #[test]
    fn a_plan_shows_what_is_what_will_be_and_every_step_with_its_undo() {
        insta::assert_snapshot!(plan_text(&plan(), &observed(), Paint::plain()), @r"
        deploy web v2 (1f3a5b7c9d0e) to prod on web1 and web2

        host  live now                   will be
        web1  v1 (0a0a0a0a0a0a) in blue  v2 (1f3a5b7c9d0e) in green
        web2  v1 (0a0a0a0a0a0a) in blue  v2 (1f3a5b7c9d0e) in green

        1. prepare
           web1 and web2:
             fetch v2 (1f3a5b7c9d0e)
             start v2 in green        ↩ stop green

        2. switch
           web1 and web2:
             switch traffic to green  ↩ switch traffic to blue

        3. check
           gate after: smoke

        4. tidy up (nothing is undone from here on)
           web1 and web2:
             stop blue

        ↩ is what takes a step back if a later one fails
        ");
    }

    #[test]
    fn a_gate_that_takes_its_time_says_so() {
        let mut plan = plan();
        for step in plan.phases.iter_mut().flat_map(|phase| &mut phase.lanes).flat_map(|lane| &mut lane.steps)
        {
            if let Action::Gate { gate, .. } = &mut step.action
                && let GateKind::Http(http) = &mut gate.kind
            {
                let (span, every) = (Millis::from_secs(60), Millis::from_secs(2));
                http.sampling = Sampling::Span { span, every, failures: 3 };
            }
        }
        insta::assert_snapshot!(plan_text(&plan, &observed(), Paint::plain()));
    }

    #[test]
    fn how_a_router_is_switched_and_drained_is_said_where_there_is_something_to_do() {
        let mut seen = observed();
        let first = seen.hosts.get_mut(&host("web1")).unwrap();
        first.router.remarks = vec!["the switch is /srv/web/active_color".into()];
        let said = "\nweb1: the switch is /srv/web/active_color\n";
        assert!(plan_text(&plan(), &seen, Paint::plain()).contains(said));
        let mut empty = plan();
        empty.phases.clear();
        assert!(!plan_text(&empty, &seen, Paint::plain()).contains(said));
    }

    #[test]
    fn what_is_out_of_order_is_said() {
        let mut seen = observed();
        let first = seen.hosts.get_mut(&host("web1")).unwrap();
        first.recorded.active = Some(Slot::Green);
        first.conflicts.push("both want port 80".into());
        let second = seen.hosts.get_mut(&host("web2")).unwrap();
        second.router =
            RouterObserved { unreachable: Some("connection refused".into()), ..RouterObserved::default() };
        let mut empty = plan();
        empty.phases.clear();
        insta::assert_snapshot!(plan_text(&empty, &seen, Paint::plain()), @r"
        deploy web v2 (1f3a5b7c9d0e) to prod on web1 and web2

        host  live now                   will be
        web1  v1 (0a0a0a0a0a0a) in blue  unchanged
        web2  not known                  unchanged
        ! web1: the traffic goes to blue, but green is recorded as active
        ! web1: the slots cannot run together: both want port 80
        ! web2: the router cannot be asked: connection refused

        nothing to do: what is wanted is what is
        ");
    }

    /// The plan with its tidying up before the switch, as `recreate` stops the old release before it starts the new one.
    fn recreated(first: Option<Action>) -> Plan {
        let mut plan = plan();
        plan.strategy = lockgate_model::Strategy::Recreate;
        let mut stops = plan.phases.remove(3);
        stops.title = "stop the old release".into();
        stops.committed = false;
        for step in stops.lanes.iter_mut().flat_map(|lane| &mut lane.steps) {
            step.undo = vec![Action::Start {
                slot: Slot::Blue,
                release: plan.release.clone(),
                own_environment: true,
            }];
            if let Some(first) = &first {
                step.action = first.clone();
            }
        }
        plan.phases.insert(0, stops);
        plan
    }

    #[test]
    fn what_users_will_notice_is_said_before_the_steps() {
        let bounds = HoldBounds { time: Millis::from_secs(30), requests_max: 1_000 };
        let plans = [recreated(None), recreated(Some(Action::Hold { bounds, own_grace: false }))];
        let texts = plans.map(|plan| plan_text(&plan, &observed(), Paint::plain()));
        insta::assert_snapshot!(texts.join("\n\n---\n\n"));
    }

    #[test]
    fn what_going_back_brings_along_is_said_by_name() {
        let mut seen = observed();
        let at = lockgate_model::Timestamp(1_763_640_000_000);
        let own = lockgate_model::OwnEnvironment { since: Some(at), differs: vec!["A".into(), "B".into()] };
        seen.hosts.get_mut(&host("web1")).unwrap().own_environment = Some(own.clone());
        let same = lockgate_model::OwnEnvironment { differs: Vec::new(), ..own };
        seen.hosts.get_mut(&host("web2")).unwrap().own_environment = Some(same);
        let text = plan_text(&plan(), &seen, Paint::plain()).replace(&rfc3339(at), "(then)");
        let line = "! web1: v2 will have its own environment of (then): 2 variables differ from today's: A, B (`lockgate \
                    deploy web v2` runs it with today's)";
        assert!(text.lines().any(|one| one == line), "{text}");
        assert!(!text.contains("web2: v2"), "nothing differs there: {text}");
    }

    #[test]
    fn that_the_release_was_rejected_and_whom_the_plan_leaves_out_is_said() {
        let at = lockgate_model::Timestamp(1_763_640_000_000);
        let mut seen = observed();
        let rejection = lockgate_model::Rejection {
            release: plan().release,
            rejected_at: at,
            by: "kim@desk".into(),
            why: "smoke: 1 of 2 checks failed".into(),
        };
        seen.hosts.get_mut(&host("web1")).unwrap().rejected = vec![rejection];
        let mut fewer = plan();
        fewer.without = vec![host("web3")];
        let text = plan_text(&fewer, &seen, Paint::plain());
        // The machine's own time zone.
        insta::assert_snapshot!(text.replace(&rfc3339(at), "(then)"));
    }
}
