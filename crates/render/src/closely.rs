//! Both slots of each host beside what files and router say, as text.

use lockgate_model::{
    HostClosely, HostId, ServiceClosely, Slot, SlotClosely, SlotObserved, SlotState, Timestamp,
};

use crate::outcome::hosts_text;
use crate::status::one_text;
use crate::{Paint, Table, escaped};

const NONE: &str = "–";

/// As [`crate::status_text`], and below each service its hosts' slots in a table: which has the traffic, which the files name,
/// what is in them. What disagrees, and what somebody should look at, is marked below. Without a line feed at the end.
#[must_use]
pub fn closely_text(all: &[ServiceClosely], time: &dyn Fn(Timestamp) -> String, paint: Paint) -> String {
    if all.is_empty() {
        return crate::status_text(&[], time, paint);
    }
    let parts: Vec<String> = all.iter().map(|one| service_text(one, time, paint)).collect();
    parts.join("\n\n")
}

fn service_text(looked: &ServiceClosely, time: &dyn Fn(Timestamp) -> String, paint: Paint) -> String {
    let mut text = one_text(&looked.status, time, paint);
    for (host, closely) in &looked.hosts {
        text.push('\n');
        text.push_str(&host_text(host, closely, looked, time, paint));
    }
    text
}

fn host_text(
    host: &HostId,
    closely: &HostClosely,
    looked: &ServiceClosely,
    time: &dyn Fn(Timestamp) -> String,
    paint: Paint,
) -> String {
    let named = |slot: Option<Slot>| slot.map_or(NONE, Slot::as_str);
    let mut text = format!(
        "  {}: active_color {}, previous_color {}, traffic {}",
        paint.bold(&hosts_text(std::slice::from_ref(host))),
        named(closely.active_color),
        named(closely.previous_color),
        named(closely.router)
    );
    let mut table = Table::new(["slot", "state", "release", "health", "since", "restarts", "exit"]).indent(4);
    for (slot, held) in &closely.slots {
        table.push(row(*slot, held, time));
    }
    text.push('\n');
    text.push_str(&table.text());
    for wrong in &closely.disagreements {
        text.push_str(&format!("\n    {} {}", paint.red("✗"), escaped(wrong)));
    }
    let (service, environment) = (&looked.status.service, &looked.status.environment);
    for (slot, held) in &closely.slots {
        if let Some(trouble) = &held.trouble {
            text.push_str(&format!("\n    {} {slot}: {}", paint.yellow("!"), escaped(trouble)));
            text.push_str(&format!("\n      `lockgate --env {environment} logs {service} --slot {slot}`"));
        }
    }
    text
}

/// Since when it runs, or when it ended.
fn row(slot: Slot, closely: &SlotClosely, time: &dyn Fn(Timestamp) -> String) -> Vec<String> {
    let none = || NONE.to_owned();
    let Some(held) = &closely.holds else {
        return vec![slot.to_string(), "empty".to_owned(), none(), none(), none(), none(), none()];
    };
    let SlotObserved { release, state, started_at, restarts, .. } = held;
    let ended = closely.ended.as_ref();
    let (state, since) = match state {
        SlotState::Running => ("running", *started_at),
        SlotState::Stopped => ("stopped", ended.and_then(|end| end.ended_at)),
    };
    let health = closely.health.as_ref();
    vec![
        slot.to_string(),
        state.to_owned(),
        release.as_ref().map_or("unknown".to_owned(), ToString::to_string),
        health.map_or_else(none, |probed| format!("{} in {}", escaped(&probed.seen), probed.took)),
        since.map_or_else(none, time),
        restarts.to_string(),
        ended.map_or_else(none, |end| end.exit_code.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{Millis, OwnEnd, Probed, ServiceStatus};

    use super::*;
    use crate::fixtures::{environment, observed, service};

    fn time(at: Timestamp) -> String {
        format!("t{}", at.0)
    }

    /// web2 has something in green that ended by itself, and a file that names it.
    fn looked() -> ServiceClosely {
        let status = ServiceStatus {
            service: service(),
            environment: environment(),
            observed: observed(),
            leases: BTreeMap::new(),
            wanted: BTreeMap::new(),
            clocks: BTreeMap::new(),
            unseen: BTreeMap::new(),
        };
        let mut hosts = BTreeMap::new();
        for (host, seen) in &status.observed.hosts {
            let mut seen = seen.clone();
            seen.recorded.active = Some(if host.as_str() == "web2" { Slot::Green } else { Slot::Blue });
            let probed = Probed {
                asked: "GET /health".into(),
                ok: true,
                seen: "200".into(),
                took: Millis(3),
                said: Vec::new(),
            };
            let slot = |slot: Slot| {
                let holds = seen.slots.get(&slot).cloned();
                let runs = holds.as_ref().map(|held| held.state == SlotState::Running);
                let ended = OwnEnd { exit_code: 3, ended_at: Some(Timestamp(9)), out_of_memory: false };
                let looked = SlotClosely {
                    ended: (runs == Some(false)).then_some(ended),
                    health: (runs == Some(true)).then(|| probed.clone()),
                    holds,
                    trouble: None,
                };
                (slot, looked.judged(slot == Slot::Blue, None, None))
            };
            let slots = BTreeMap::from([slot(Slot::Blue), slot(Slot::Green)]);
            hosts.insert(host.clone(), HostClosely::of(&seen, slots));
        }
        ServiceClosely { status, hosts }
    }

    #[test]
    fn both_slots_stand_beside_what_files_and_router_say_and_what_disagrees_is_marked() {
        insta::assert_snapshot!(closely_text(&[looked()], &time, Paint::plain()));
    }

    #[test]
    fn what_an_app_answered_steers_no_terminal() {
        let mut looked = looked();
        for closely in looked.hosts.values_mut() {
            for slot in closely.slots.values_mut() {
                slot.trouble = Some("it said \x1b[2J".into());
                if let Some(probed) = &mut slot.health {
                    probed.seen = "\x1b[31m".into();
                }
            }
        }
        assert!(!closely_text(&[looked], &time, Paint::plain()).contains('\x1b'));
    }
}
