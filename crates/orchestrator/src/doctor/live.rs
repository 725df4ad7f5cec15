//! That what should be live is: otherwise all else may be well and users see nothing.

use lockgate_model::{
    Environment, HostId, HostObserved, Progress, Router, Service, ServiceStatus, SlotState, Timestamp,
    deploy_again, live_text, not_running,
};
use lockgate_ports::Check;

use crate::Site;

/// What the check is about.
const LIVE: &str = "live release";

/// `status` is of this host.
pub(super) fn check(site: &Site, host: &HostId, status: &ServiceStatus) -> Check {
    let unseen = status.unseen.get(host);
    match (status.observed.hosts.get(host), unseen) {
        // What could not be read might say that something was live.
        (Some(seen), Some(missing)) if seen.is_new() => {
            Check::warn(LIVE, missing.to_string(), "mend what is said above first")
        }
        (Some(seen), _) => {
            live_check(&site.service, &site.environment, seen, status.clocks.get(host).copied())
        }
        (None, Some(failure)) => Check::warn(LIVE, failure.to_string(), "mend what is said above first"),
        (None, None) => Check::warn(LIVE, "it could not be seen", "mend what is said above first"),
    }
}

/// That no run was left unfinished on the host; `None` where none was. The next deployment brings one to its end first.
pub(super) fn unfinished(site: &Site, host: &HostId, status: &ServiceStatus) -> Option<Check> {
    let lease = status.leases.get(host).filter(|lease| lease.holder.is_none())?;
    let begun = lease.unfinished.as_ref()?;
    let of = status.wanted.get(host).map(|release| format!(" of {release}")).unwrap_or_default();
    let how = match begun.progress {
        Progress::Forward => "before it was settled",
        Progress::Unwinding => "on its way back",
        Progress::Committed => "with only tidying up left",
    };
    let resume = format!("`lockgate --env {} resume {}`", site.environment.name, site.service.name);
    Some(Check::warn(
        "unfinished run",
        format!("run {}{of} was left unfinished, {how}", begun.run),
        format!("{resume} finishes or undoes it; so does the next deployment, first"),
    ))
}

fn live_check(
    service: &Service,
    environment: &Environment,
    seen: &HostObserved,
    now: Option<Timestamp>,
) -> Check {
    if let Some((slot, live)) = seen.live() {
        if live.is_restarting(now) {
            let told = format!("{}, {}", live_text(seen), live.restarts_text());
            return Check::bad(
                LIVE,
                told,
                format!("see why: `lockgate logs {} --slot {slot}`", service.name),
            );
        }
        if seen.router.stale {
            let dial = seen.router.dial.as_deref().unwrap_or("nothing");
            let told = format!("{}, but the router dials {dial}, where {slot} is not", live_text(seen));
            let deploy = deploy_again(&service.name, &environment.name, seen);
            return Check::bad(LIVE, told, format!("mend the route: {deploy}"));
        }
        if let Some((running, all)) = live.counted().filter(|_| live.is_short()) {
            let told = format!("{}, {running} of its {all} containers run", live_text(seen));
            return Check::bad(
                LIVE,
                told,
                format!(
                    "see why: `lockgate logs {} --slot {slot}`; `lockgate --env {} deploy {} TAG --again` starts all of them anew",
                    service.name, environment.name, service.name
                ),
            );
        }
        if let Some(unhealthy) = &seen.unhealthy {
            return Check::bad(
                LIVE,
                format!("{}: {slot} {unhealthy}", live_text(seen)),
                format!("see why: `lockgate logs {} --slot {slot}`", service.name),
            );
        }
        if let Some(address) = &seen.router.direct {
            return Check::warn(
                LIVE,
                format!("{}, which users reach at {address} without the router", live_text(seen)),
                "the next deployment stops it and starts the router there; nothing answers in between, and for how long is told",
            );
        }
        return Check::ok(LIVE, live_text(seen));
    }
    let Some(slot) = seen.should_be_live().filter(|_| seen.is_dark()) else {
        return Check::ok(LIVE, "none yet");
    };
    let elsewhere = seen.router.target.zip(seen.recorded.active);
    let elsewhere = elsewhere.filter(|(target, active)| target != active && !seen.router.absent);
    let told = match (&seen.router.unreachable, elsewhere) {
        (Some(reason), _) => format!("{slot} should be live: {reason}"),
        (None, None) if seen.gone().is_some() => {
            format!("{slot} should be live, {}", not_running(seen, slot))
        }
        (None, None) => format!("{slot} should be live: it does not run"),
        (None, Some((target, active))) => {
            let held = seen.slots.get(&active).filter(|held| held.state == SlotState::Running);
            let beside = match held.map(|held| &held.release) {
                Some(Some(release)) => format!("{active}, recorded as active, runs {release}"),
                Some(None) => format!("{active}, recorded as active, runs"),
                None => format!("{active}, recorded as active, does not run either"),
            };
            format!("the traffic goes to {target}, which does not run; {beside}")
        }
    };
    let deploy = deploy_again(&service.name, &environment.name, seen);
    // A proxy of ours is started by it, another router is not.
    let is_theirs =
        environment.slots().is_some_and(|slots| matches!(slots.router, Router::Caddy(_) | Router::Nginx(_)));
    Check::bad(
        LIVE,
        told,
        match seen.router.unreachable.is_some() && is_theirs {
            true => format!("start the router; if it does not come back then: {deploy}"),
            false => format!("bring it back: {deploy}"),
        },
    )
}
