//! What is live on a host, in a few words: the same wherever it is told.

use crate::{EnvironmentName, HostObserved, ServiceName, Slot, push_escaped};

/// What is live on the host: `v1 (1f3a5b7c9d0e) in blue`.
#[must_use]
pub fn live_text(seen: &HostObserved) -> String {
    if seen.router.unreachable.is_some() {
        return "not known".to_owned();
    }
    match (seen.live(), seen.router.target, &seen.router.dial) {
        (Some((slot, live)), ..) => {
            let release = live.release.as_ref().map_or("unknown release".to_owned(), ToString::to_string);
            let how = match &seen.unhealthy {
                None => "",
                Some(unhealthy) if unhealthy.starting => ", starting",
                Some(_) => ", unhealthy",
            };
            format!("{release} in {slot}{how}")
        }
        (None, Some(slot), _) => format!("{slot}, {}", not_running(seen, slot)),
        (None, None, Some(dial)) => quoted_dial(dial),
        (None, None, None) => "nothing".to_owned(),
    }
}

/// What to type where users should see a release and see none.
#[must_use]
pub fn deploy_again(service: &ServiceName, environment: &EnvironmentName, seen: &HostObserved) -> String {
    let tag = seen.last_live().map_or("TAG", |release| release.tag.as_str());
    format!("`lockgate --env {environment} deploy {service} {tag}`")
}

/// A slot in which nothing was ever started by this project may well serve for another one. One that is recorded as active
/// had what went live last, so that was taken away by somebody else: `docker rm`, say.
#[must_use]
pub fn not_running(seen: &HostObserved, slot: Slot) -> String {
    match seen.gone() {
        _ if seen.slots.contains_key(&slot) => "which does not run".to_owned(),
        Some((from, release)) if from == slot => {
            format!("which holds nothing any more: {release} was live there and has been removed")
        }
        _ => "which holds nothing of this project's".to_owned(),
    }
}

/// What a router dials is its own text.
fn quoted_dial(dial: &str) -> String {
    let mut shown = String::with_capacity(dial.len());
    dial.chars().for_each(|character| push_escaped(&mut shown, character));
    shown
}
