//! Which release a rollback without an argument means.

use lockgate_model::{Failure, FailureKind, Observed, Release};

/// The release that was live before on every host: the newest in the host's list that is not live, else what the
/// other slot holds. Found on the hosts alone, so that a machine that has never seen a deployment can roll it back.
///
/// # Errors
/// `NotFound` when a host has none, `Refused` when hosts disagree.
pub fn previous_release(observed: &Observed) -> Result<Release, Failure> {
    let mut found: Option<Release> = None;
    for (host, seen) in &observed.hosts {
        let live = seen.live().and_then(|(_, slot)| slot.release.as_ref());
        let differs = |release: &&Release| live.is_none_or(|live| !live.same_bytes(release));
        let beside = || {
            let target = seen.router.target?;
            seen.slots.get(&target.other())?.release.as_ref().filter(differs)
        };
        let previous = seen.releases.iter().find(differs).or_else(beside).ok_or_else(|| {
            Failure::new(FailureKind::NotFound, "no earlier release is known on this host")
                .at(host)
                .hint("name one: `lockgate rollback SERVICE RELEASE`; `lockgate history` lists them")
        })?;
        match &found {
            Some(other) if !other.same_bytes(previous) => {
                return Err(Failure::new(
                    FailureKind::Refused,
                    format!("hosts had different releases before: {other} and {previous}"),
                )
                .at(host)
                .hint("name the one to go back to: `lockgate rollback SERVICE RELEASE`"));
            }
            _ => found = Some(previous.clone()),
        }
    }
    found.ok_or_else(|| Failure::new(FailureKind::NotFound, "there is no host"))
}
