//! What is out of order now: colour files beside what they are about, each slot's health as seen from its host, and the
//! last lines of a slot that has failed.

use futures_util::future::{FutureExt, join_all};
use lockgate_model::{
    EnvironmentName, HostClosely, ServiceClosely, ServiceName, Slot, SlotClosely, SlotState, deploy_again,
    shortened,
};
use lockgate_perform::masked;
use lockgate_ports::{Check, CheckState, HostPorts};

use crate::Site;

/// Last lines of a slot's log that are shown.
const LOG_LINES_MAX: u32 = 20;
/// Longest line of them, in characters.
const LINE_CHARS_MAX: usize = 500;

/// Nothing where the host could not be looked at, which is said elsewhere.
pub(super) async fn checks(site: &Site, ports: &HostPorts, looked: &ServiceClosely) -> Vec<Check> {
    let (Some(closely), Some(seen)) =
        (looked.hosts.get(&ports.id), looked.status.observed.hosts.get(&ports.id))
    else {
        return Vec::new();
    };
    // Nothing was ever started here.
    if seen.is_new() {
        return Vec::new();
    }
    let (service, environment) = (&site.service.name, &site.environment.name);
    let deploy = deploy_again(service, environment, seen);
    let mut checks = vec![files_check(closely, service, environment, &deploy)];
    let live = seen.should_be_live();
    let ports = masked(ports, &site.mask());
    let slots = closely.slots.iter().map(|(slot, held)| {
        let (ports, is_live) = (&ports, live == Some(*slot));
        async move { slot_checks(ports, service, environment, *slot, held, is_live).await }.boxed()
    });
    checks.extend(join_all(slots.collect::<Vec<_>>()).await.into_iter().flatten());
    checks
}

fn files_check(
    closely: &HostClosely,
    service: &ServiceName,
    environment: &EnvironmentName,
    deploy: &str,
) -> Check {
    let what = "colour files";
    let named = |slot: Option<Slot>| slot.map_or("none", Slot::as_str);
    let (active, previous) = (named(closely.active_color), named(closely.previous_color));
    let files = format!("active_color {active}, previous_color {previous}");
    match closely.disagreements.as_slice() {
        [] => Check::ok(what, files),
        wrong => Check::warn(
            what,
            format!("{files}; but {}", wrong.join("; ")),
            format!(
                "look at both slots: `lockgate --env {environment} status {service} -v`; a deployment goes by the router and \
                 writes the files anew: {deploy}"
            ),
        ),
    }
}

/// What the slot holds, and how it answers.
async fn slot_checks(
    ports: &HostPorts,
    service: &ServiceName,
    environment: &EnvironmentName,
    slot: Slot,
    closely: &SlotClosely,
    is_live: bool,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let Some(held) = &closely.holds else { return checks };
    let what = format!("what {slot} holds");
    let release = held.release.as_ref().map_or("an unknown release".to_owned(), ToString::to_string);
    let state = match (held.state, &closely.ended) {
        (SlotState::Running, _) => "runs".to_owned(),
        (SlotState::Stopped, Some(end)) => format!("has ended with exit code {}", end.exit_code),
        (SlotState::Stopped, None) => "does not run".to_owned(),
    };
    checks.push(match &closely.trouble {
        None => Check::ok(what, format!("{release}, {state}")),
        Some(trouble) => {
            let seen = format!("{release}, {state}: {trouble}");
            let mend = format!("its whole log: `lockgate --env {environment} logs {service} --slot {slot}`");
            let check = match is_live {
                true => Check::bad(what, seen, mend),
                false => Check::warn(what, seen, mend),
            };
            check.lines(last_lines(ports, slot).await)
        }
    });
    if let Some(probed) = &closely.health {
        let what = format!("health of {slot}, asked from the host");
        let seen = format!("{}: {} in {}", probed.asked, probed.seen, probed.took);
        checks.push(match (probed.ok, is_live) {
            (true, _) => Check::ok(what, seen),
            (false, _) => Check {
                state: if is_live { CheckState::Bad } else { CheckState::Warn },
                ..Check::bad(
                    what,
                    seen,
                    "`health` in lockgate.yaml says what is asked; the log above may say why",
                )
                .lines(probed.said.clone())
            },
        });
    }
    checks
}

async fn last_lines(ports: &HostPorts, slot: Slot) -> Vec<String> {
    match ports.runtime.logs(slot, LOG_LINES_MAX).await {
        Ok(lines) if lines.is_empty() => vec!["(it has written nothing)".to_owned()],
        Ok(lines) => lines.into_iter().map(|line| shortened(line, LINE_CHARS_MAX)).collect(),
        Err(error) => vec![format!("(its log cannot be read: {error})")],
    }
}
