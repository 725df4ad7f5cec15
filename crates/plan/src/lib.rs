#![doc = include_str!("../README.md")]

mod blue_green;
mod difference;
mod former;
mod gates;
mod hooks;
mod matching;
mod promotable;
mod recipe;
mod recreate;
mod rollback;
pub mod schedule;
mod soak;
mod waves;

use lockgate_model::{
    Environment, Failure, FailureKind, HostObserved, Intent, Observed, Plan, Project, Release, Router,
    Service, Slot, Split, Strategy,
};

pub use difference::{Difference, Record, not_finished};
pub use gates::resolve as resolve_gates;
pub use matching::{Found, Here, Matched, match_run};
pub use promotable::{Policy, SoakTime, WantedGate, promotable};
pub use recipe::live_release;
pub use rollback::{is_named, named_release, previous_release};
pub use soak::{Soaked, Window, soaked};

/// The steps that take `observed` to what `intent` wants. Empty when that is what is.
///
/// # Errors
/// A [`Failure`] of kind `Refused` or `NotFound` when no safe plan exists, with what to do about it.
pub fn plan(
    project: &Project,
    service: &Service,
    environment: &Environment,
    intent: &Intent,
    observed: &Observed,
) -> Result<Plan, Failure> {
    let Some(slots) = environment.slots() else {
        return Err(Failure::new(
            FailureKind::Refused,
            format!("environment {} is only checked, never deployed to", environment.name),
        )
        .hint("give it `hosts`, a `runtime` and a `router` in lockgate.yaml, or choose another with --env"));
    };
    for host in &slots.hosts {
        let seen = observed
            .hosts
            .get(host)
            .ok_or_else(|| Failure::new(FailureKind::Unreachable, "the host was not looked at").at(host))?;
        if let Some(reason) = &seen.router.unreachable {
            let refused = match seen.router.answers {
                true => unusable(reason),
                false => router_down(&slots.router, reason),
            };
            return Err(refused.at(host));
        }
        if let (Some(split), None) = (&seen.router.shared, &seen.router.torn) {
            return Err(shared_out(split, slots.strategy, seen.router.dial.as_deref()).at(host));
        }
        if let (Some(address), Strategy::BlueGreen) = (&seen.router.direct, slots.strategy) {
            return Err(in_the_way(address, seen.router.target).at(host));
        }
        if !seen.conflicts.is_empty() {
            let said = seen.conflicts.join("; ");
            let (message, hint) = match slots.strategy.slots() {
                [_] => (
                    format!("the slot cannot run so: {said}"),
                    "change the Compose file, or `router`, as said",
                ),
                _ => (
                    format!("blue and green cannot run beside each other: {said}"),
                    "give each slot its own name and host port, or none: the router reaches the slot on its own address",
                ),
            };
            return Err(Failure::new(FailureKind::Refused, message).at(host).hint(hint));
        }
    }
    let again = matches!(intent, Intent::Deploy { again: true, .. });
    let (release, gates) = match intent {
        Intent::Deploy { release, gates, .. } => (release.clone(), *gates),
        Intent::Rollback { release: Some(release) } => (release.clone(), lockgate_model::Gates::None),
        Intent::Rollback { release: None } => {
            (rollback::previous_release(observed)?, lockgate_model::Gates::None)
        }
        Intent::TidyUp => {
            let live = recipe::live_release(observed).ok_or_else(|| {
                Failure::new(FailureKind::NotFound, "nothing is live, so nothing runs beside it")
            })?;
            (live, lockgate_model::Gates::None)
        }
    };
    if let Intent::Rollback { .. } = intent {
        rollback::demand_own_image(Here { project, service, environment }, &release, observed)?;
    }
    for host in &slots.hosts {
        refuse_to_switch(intent, &release, &observed.hosts[host]).map_err(|failure| failure.at(host))?;
    }
    let provenance = release.provenance.clone();
    let release = release.without_provenance();
    let wanted =
        recipe::Wanted { project, service, environment, slots, intent, release, provenance, gates, again };
    match slots.strategy {
        Strategy::BlueGreen => blue_green::plan(&wanted, observed),
        Strategy::Recreate => recreate::plan(&wanted, observed),
    }
}

/// What stands against a switch, where the plan would make one. Going back is never refused because of what it cuts.
fn refuse_to_switch(intent: &Intent, release: &Release, seen: &HostObserved) -> Result<(), Failure> {
    let live = seen.live().and_then(|(slot, live)| Some((slot, live.release.as_ref()?)));
    let deploys = matches!(intent, Intent::Deploy { .. });
    let stays = matches!(intent, Intent::Deploy { again: false, .. })
        && live.is_some_and(|(_, live)| live.same_bytes(release));
    match (&seen.router.torn, &seen.router.cuts) {
        (Some(how), _) if !stays => Err(torn(how, live)),
        (_, Some(cuts)) if deploys && !stays && seen.live().is_some() => {
            Err(Failure::new(FailureKind::Refused, cuts.clone())
                .hint("`lockgate rollback` goes back all the same"))
        }
        _ => Ok(()),
    }
}

/// The slot that a plan would start in has traffic.
fn torn(how: &str, live: Option<(Slot, &Release)>) -> Failure {
    let message = format!("parts of the router send the service's requests to different slots: {how}");
    let failure = Failure::new(FailureKind::Refused, message);
    match live {
        Some((slot, release)) => failure.hint(format!(
            "`lockgate resume` sends all of it to {slot}, where {} is live; then run the command again",
            release.tag
        )),
        None => {
            failure.hint("have all of them send to the slot that is live, in the router's own configuration")
        }
    }
}

/// No recipe of today goes on from there.
fn shared_out(split: &Split, strategy: Strategy, dial: Option<&str>) -> Failure {
    let message = format!(
        "the router splits the traffic ({split}), and `strategy: {strategy}` needs one slot that has all of it"
    );
    let now = dial.map(|dial| format!(" (it dials {dial})")).unwrap_or_default();
    Failure::new(FailureKind::Refused, message).hint(format!(
        "have the router send all of it to the slot whose release is to stay, and name that one alone in its \
         configuration{now}; then run the command again"
    ))
}

/// The router could not listen, for both slots run at the switch.
fn in_the_way(address: &str, slot: Option<Slot>) -> Failure {
    let slot = slot.unwrap_or(Slot::Blue);
    let message = format!(
        "{slot} publishes {address} itself, where the router is to listen, and blue/green keeps it running until the new \
         release has the traffic"
    );
    Failure::new(FailureKind::Refused, message).slot(slot).hint(
        "have the router listen on another address (`router.builtin.listen`), and send users there once the deployment is \
         through; or stop the container by hand first, from when on nothing answers until the deployment is through",
    )
}

/// It runs, so nobody is to start it: what it lacks is in the reason, with what to do.
fn unusable(reason: &str) -> Failure {
    Failure::new(FailureKind::Refused, format!("the router cannot be used as it is: {reason}"))
        .hint("`lockgate doctor` says what it wants")
}

/// A proxy of ours is started again by what changes something, another router by whoever runs it.
fn router_down(router: &Router, reason: &str) -> Failure {
    let hint = match router {
        Router::Builtin(_) => "`lockgate resume` starts the proxy again, and so does `lockgate deploy`",
        Router::None => "`lockgate doctor` says what is missing",
        Router::Caddy(_) => "start Caddy on that host; `lockgate doctor` says what is missing",
        Router::Nginx(_) => "start nginx on that host; `lockgate doctor` says what is missing",
    };
    Failure::new(FailureKind::Unreachable, format!("the router cannot be asked: {reason}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use lockgate_model::{BuiltinRouter, CaddyRouter, Template};

    use super::*;

    #[test]
    fn a_router_that_answered_is_not_to_be_started() {
        let refused = unusable("not found: Caddy has no route for the service");
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(!refused.hints.to_string().contains("start"), "{refused:?}");
        assert!(refused.message.ends_with("Caddy has no route for the service"), "{refused}");
    }

    #[test]
    fn a_router_that_is_down_is_refused_with_what_starts_it() {
        let ours = Router::Builtin(BuiltinRouter::on("127.0.0.1:8080"));
        let theirs = Router::Caddy(CaddyRouter {
            switch: None,
            active_color: None,
            config: None,
            admin: "http://127.0.0.1:2019".into(),
            id: None,
            dial: Template::new("web-{slot}:5000").unwrap(),
            ask: None,
            snippet: None,
        });
        let hint = |router: &Router| router_down(router, "connection refused").hints.to_string();
        assert!(hint(&ours).contains("`lockgate resume` starts the proxy"), "{}", hint(&ours));
        // To a Caddy that is down `deploy` would only say this again.
        assert!(hint(&theirs).contains("start Caddy"), "{}", hint(&theirs));
        assert!(!hint(&theirs).contains("lockgate deploy"), "{}", hint(&theirs));
    }
}
