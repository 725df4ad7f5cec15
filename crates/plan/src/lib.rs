//! Pure planning: what is wanted and what is observed make a plan. No I/O, no clock, no randomness.
//!
//! The recipe ([`blue_green`]) reads as pairs of do and undo.

mod blue_green;
mod gates;
mod rollback;
mod waves;

use lockgate_model::{Environment, Failure, FailureKind, Intent, Observed, Plan, Project, Service, Strategy};

pub use blue_green::live_release;
pub use gates::resolve as resolve_gates;
pub use rollback::{named_release, previous_release};

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
    if environment.hosts.is_empty() {
        return Err(Failure::new(
            FailureKind::Refused,
            format!("environment {} is only checked, never deployed to", environment.name),
        )
        .hint("give it `hosts`, a `runtime` and a `router` in lockgate.yaml, or choose another with --env"));
    }
    for host in &environment.hosts {
        let seen = observed
            .hosts
            .get(host)
            .ok_or_else(|| Failure::new(FailureKind::Unreachable, "the host was not looked at").at(host))?;
        if let Some(reason) = &seen.router.unreachable {
            return Err(Failure::new(
                FailureKind::Unreachable,
                format!("the router cannot be asked: {reason}"),
            )
            .at(host)
            .hint("`lockgate deploy` and `resume` start a proxy of ours again; else `lockgate doctor` says what is missing"));
        }
        if !seen.conflicts.is_empty() {
            return Err(Failure::new(
                FailureKind::Refused,
                format!("blue and green cannot run beside each other: {}", seen.conflicts.join("; ")),
            )
            .at(host)
            .hint("give each slot its own name and host port, or none: the router reaches the slot on its own address"));
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
            let live = blue_green::live_release(observed).ok_or_else(|| {
                Failure::new(FailureKind::NotFound, "nothing is live, so nothing runs beside it")
            })?;
            (live, lockgate_model::Gates::None)
        }
    };
    match environment.strategy {
        Strategy::BlueGreen => blue_green::plan(
            &blue_green::Wanted { project, service, environment, intent, release, gates, again },
            observed,
        ),
    }
}
