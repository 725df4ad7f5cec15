//! Which release a rollback means. Found on the hosts alone, so that a machine that has never seen a deployment can roll
//! it back; and always one that was live, for nothing that has not passed its gates goes live by a rollback.

use lockgate_model::{Failure, FailureKind, HostObserved, Observed, Release, SlotObserved, Tag, quoted};

use crate::matching::{Here, is_known, is_ours};

/// Most releases that a refusal names.
const NAMED_MAX: usize = 10;
/// Longest image that a refusal shows, in characters.
const IMAGE_CHARS_MAX: usize = 200;
/// Fewest hex digits that name a digest.
const DIGEST_DIGITS_MIN: usize = 7;

/// The release that was live before on every host: the newest in the host's list that is not the current one, else
/// what the other slot holds, if it was live there.
///
/// # Errors
/// `NotFound` when a host has none, `Refused` when hosts disagree.
pub fn previous_release(observed: &Observed) -> Result<Release, Failure> {
    let mut found: Option<Release> = None;
    for (host, seen) in &observed.hosts {
        let current = current(seen);
        let differs = |release: &&Release| current.is_none_or(|current| !current.same_bytes(release));
        // Each host speaks for itself: where they come to different releases by it, a person names one.
        let good = |release: &&Release| differs(release) && seen.rejection(release).is_none();
        let previous = was_live_on(seen).find(good).ok_or_else(|| none_before(seen).at(host))?;
        match &found {
            Some(other) if !other.same_bytes(previous) => {
                return Err(Failure::new(
                    FailureKind::Refused,
                    format!("hosts had different releases before: {other} and {previous}"),
                )
                .at(host)
                .hint(format!(
                    "name the one to go back to: `lockgate rollback {0} {1}` or `lockgate rollback {0} {2}`",
                    other.service, other.tag, previous.tag
                )));
            }
            _ => found = Some(previous.clone()),
        }
    }
    found.ok_or_else(|| Failure::new(FailureKind::NotFound, "there is no host"))
}

/// The release that was live on some host, by its tag (the newest of that name) or its digest's first digits.
///
/// # Errors
/// `NotFound`, with those that there are; `Refused` when the name means different releases on different hosts, for one
/// host's list must not decide what the others start.
pub fn named_release(observed: &Observed, named: &str) -> Result<Release, Failure> {
    let on = |seen| known_on(seen).find(|release| is_named(named, release));
    let mut found: Option<&Release> = None;
    for (host, release) in observed.hosts.iter().filter_map(|(host, seen)| Some((host, on(seen)?))) {
        match found {
            Some(other) if !other.same_bytes(release) => {
                let message = format!("hosts know different releases as {named}: {other} and {release}");
                return Err(Failure::new(FailureKind::Refused, message).at(host).hint(format!(
                    "name the one to go back to by its digest: `lockgate rollback {} {}`",
                    other.service, other.digest
                )));
            }
            _ => found = Some(release),
        }
    }
    if let Some(release) = found {
        return Ok(release.clone());
    }
    let known = || observed.hosts.values().flat_map(known_on);
    let mut tags: Vec<&str> = Vec::new();
    for release in known() {
        if !tags.contains(&release.tag.as_str()) && tags.len() < NAMED_MAX {
            tags.push(release.tag.as_str());
        }
    }
    let those = if tags.is_empty() { "none is known yet".to_owned() } else { tags.join(", ") };
    let service = known().next().map(|release| &release.service);
    let deploy = match service.filter(|_| Tag::new(named).is_ok()) {
        Some(service) => format!("`lockgate deploy {service} {named}` brings another"),
        None => "`lockgate deploy` brings another, by its tag".to_owned(),
    };
    Err(Failure::new(FailureKind::NotFound, format!("{named} was never live here"))
        .hint(format!("releases to go back to: {those}; {deploy}")))
}

/// What was live on a host, or is.
fn known_on(seen: &HostObserved) -> impl Iterator<Item = &Release> {
    was_live_on(seen).chain(current(seen))
}

fn was_live_on(seen: &HostObserved) -> impl Iterator<Item = &Release> {
    seen.was_live().chain(was_live_beside(seen))
}

/// Whoever can write one host's list must not choose what image the others start: it is the one that the configuration
/// names, or, for one that it named before, known with that image to every host.
///
/// # Errors
/// `Refused`.
pub(crate) fn demand_own_image(
    here: Here<'_>,
    release: &Release,
    observed: &Observed,
) -> Result<(), Failure> {
    if is_ours(here, release) || observed.hosts.values().all(|seen| is_known(Some(seen), release)) {
        return Ok(());
    }
    let image = release.image.as_deref().unwrap_or("no image");
    let message = format!(
        "{release} is of {}, which is not this service's image on every host",
        quoted(image, IMAGE_CHARS_MAX)
    );
    Err(Failure::new(FailureKind::Refused, message).hint(format!(
        "if the host's list of releases is right, set `services.{}.image` to it; `lockgate deploy` brings a release of \
         the image that the configuration names",
        here.service.name
    )))
}

/// By its tag, or by the beginning of its digest or of its commit, which is what a tag often is.
#[must_use]
pub fn is_named(named: &str, release: &Release) -> bool {
    release.tag.as_str() == named || names_digest(named, release) || names_commit(named, release)
}

/// As git and `ship` shorten it.
fn names_commit(named: &str, release: &Release) -> bool {
    let is_short = named.len() >= DIGEST_DIGITS_MIN && named.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_short && release.commit.as_deref().is_some_and(|commit| commit.starts_with(named))
}

/// `sha256:1f3a…` or its hex digits alone.
fn names_digest(named: &str, release: &Release) -> bool {
    let hex = named.strip_prefix("sha256:").unwrap_or(named);
    let digest = release.digest.as_str();
    hex.len() >= DIGEST_DIGITS_MIN && digest.strip_prefix("sha256:").unwrap_or(digest).starts_with(hex)
}

/// The release that should have the traffic, whether it runs or has died. Where its slot is empty by now it is the last
/// that went live.
fn current(seen: &HostObserved) -> Option<&Release> {
    match seen.should_be_live().and_then(|slot| seen.slots.get(&slot)) {
        Some(held) => held.release.as_ref(),
        None => seen.was_live().next(),
    }
}

/// What another slot holds, if the host's files say that it had the traffic. A release that failed in it since was
/// started after the live one, and is never gone back to without its name.
fn was_live_beside(seen: &HostObserved) -> Option<&Release> {
    let target = seen.router.target?;
    let before = seen.recorded.previous.filter(|slot| *slot != target)?;
    let beside = seen.slots.get(&before)?;
    let since = |slot: Option<&SlotObserved>| slot.and_then(|slot| slot.started_at);
    let tried_since = match (since(seen.slots.get(&target)), since(Some(beside))) {
        (Some(live), Some(beside)) => beside > live,
        _ => false,
    };
    beside.release.as_ref().filter(|_| !tried_since)
}

fn none_before(seen: &HostObserved) -> Failure {
    let live = current(seen);
    let rejected = was_live_on(seen)
        .filter(|release| live.is_none_or(|live| !live.same_bytes(release)))
        .find_map(|release| Some((release, seen.rejection(release)?)));
    if let Some((release, rejection)) = rejected {
        let message = format!("{release}, which was live before, was rejected: {}", rejection.why);
        return Failure::new(FailureKind::NotFound, message).hint(format!(
            "`lockgate rollback {} {}` goes back to it all the same",
            release.service, release.tag
        ));
    }
    let held = seen.slots.iter().find_map(|(slot, held)| {
        Some((slot, held.release.as_ref()?))
            .filter(|(_, release)| live.is_none_or(|live| !live.same_bytes(release)))
    });
    let message = match held {
        Some((slot, release)) => {
            format!("no earlier release is known on this host: {slot} holds {release}, which was never live")
        }
        None => "no earlier release is known on this host".to_owned(),
    };
    let service = live.or(held.map(|(_, release)| release)).map(|release| &release.service);
    let of = service.map_or_else(|| "lockgate history".to_owned(), |name| format!("lockgate history {name}"));
    Failure::new(FailureKind::NotFound, message).hint(format!(
        "`{of}` lists what was deployed from here; `lockgate deploy` brings any release, by its tag"
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{Digest, HostId, Recorded, RouterObserved, ServiceName, Slot, SlotState, Timestamp};

    use super::*;

    fn release(tag: &str, digit: char) -> Release {
        Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new(tag).unwrap(),
            digest: Digest::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        }
    }

    fn slot(release: Release, state: SlotState, started_at: i64) -> SlotObserved {
        SlotObserved {
            release: Some(release),
            state,
            started_at: Some(Timestamp(started_at)),
            restarts: 0,
            endpoint: None,
            replicas: Vec::new(),
        }
    }

    /// v1 is live in blue since 100; green holds v2, which was started at `started_at`.
    fn host(previous: Option<Slot>, started_at: i64) -> HostObserved {
        HostObserved {
            slots: BTreeMap::from([
                (Slot::Blue, slot(release("v1", '1'), SlotState::Running, 100)),
                (Slot::Green, slot(release("v2", '2'), SlotState::Stopped, started_at)),
            ]),
            router: RouterObserved { target: Some(Slot::Blue), ..RouterObserved::default() },
            recorded: Recorded { active: Some(Slot::Blue), previous },
            ..HostObserved::default()
        }
    }

    fn previous(host: HostObserved) -> Result<Release, Failure> {
        previous_release(&Observed { hosts: BTreeMap::from([(HostId::new("web1").unwrap(), host)]) })
    }

    #[test]
    fn what_the_other_slot_holds_is_gone_back_to_when_it_was_live() {
        assert_eq!(previous(host(Some(Slot::Green), 50)), Ok(release("v2", '2')));
    }

    #[test]
    fn a_release_that_failed_in_the_other_slot_is_not_gone_back_to() {
        for failed in [host(None, 200), host(Some(Slot::Green), 200)] {
            let refused = previous(failed).unwrap_err();
            assert_eq!(refused.kind, FailureKind::NotFound);
            assert!(refused.message.contains("green holds v2"), "{refused}");
            assert!(refused.message.contains("never live"), "{refused}");
            assert!(refused.hints.to_string().contains("`lockgate history web`"), "{refused:?}");
        }
    }

    #[test]
    fn a_first_deployment_that_failed_is_not_gone_back_to_though_the_router_points_at_the_empty_slot() {
        let mut failed = host(None, 200);
        failed.slots.remove(&Slot::Blue);
        assert!(previous(failed).unwrap_err().message.contains("green holds v2"));
    }

    #[test]
    fn the_hosts_list_comes_before_what_the_other_slot_holds() {
        let mut seen = host(None, 200);
        seen.releases = vec![release("v1", '1').into(), release("v0", '0').into()];
        assert_eq!(previous(seen), Ok(release("v0", '0')));
    }

    /// v2 went live after v1 and has died; its slot still holds it.
    fn died() -> HostObserved {
        let mut seen = host(Some(Slot::Green), 50);
        seen.slots.insert(Slot::Blue, slot(release("v2", '2'), SlotState::Stopped, 100));
        seen.slots.insert(Slot::Green, slot(release("v1", '1'), SlotState::Stopped, 50));
        seen.releases = vec![release("v2", '2').into(), release("v1", '1').into()];
        seen
    }

    #[test]
    fn a_live_release_that_has_died_is_not_what_was_before() {
        assert_eq!(previous(died()), Ok(release("v1", '1')));
        let mut removed = died();
        removed.slots.remove(&Slot::Blue);
        assert_eq!(previous(removed.clone()), Ok(release("v1", '1')));
        removed.router.target = None;
        assert_eq!(previous(removed), Ok(release("v1", '1')));
    }

    #[test]
    fn hosts_agree_on_what_was_before_though_the_live_release_has_died_on_one() {
        let mut lives = died();
        lives.slots.insert(Slot::Blue, slot(release("v2", '2'), SlotState::Running, 100));
        let hosts = [("web1", lives), ("web2", died())].map(|(id, seen)| (HostId::new(id).unwrap(), seen));
        assert_eq!(previous_release(&Observed { hosts: BTreeMap::from(hosts) }), Ok(release("v1", '1')));
    }

    #[test]
    fn only_a_release_that_was_live_can_be_named() {
        let observed = Observed { hosts: BTreeMap::from([(HostId::new("web1").unwrap(), died())]) };
        assert_eq!(named_release(&observed, "v1"), Ok(release("v1", '1')));
        assert_eq!(named_release(&observed, "sha256:2222222"), Ok(release("v2", '2')));
        for named in ["v99", "222222", "sha256:3333333"] {
            let refused = named_release(&observed, named).unwrap_err();
            assert_eq!(refused.kind, FailureKind::NotFound, "{named}");
            assert!(refused.hints.to_string().contains("v2, v1"), "{refused:?}");
        }
        let hint = |named: &str| named_release(&observed, named).unwrap_err().hints.to_string();
        assert!(hint("v99").contains("`lockgate deploy web v99`"), "{}", hint("v99"));
        assert!(!hint("sha256:3333333").contains("deploy web sha256:"), "{}", hint("sha256:3333333"));
    }

    #[test]
    fn hosts_that_disagree_are_refused_with_what_to_type() {
        let hosts = [("web1", "v0", '0'), ("web2", "v7", '7')].map(|(id, tag, digit)| {
            let releases = vec![release("v1", '1').into(), release(tag, digit).into()];
            (HostId::new(id).unwrap(), HostObserved { releases, ..host(None, 50) })
        });
        let refused = previous_release(&Observed { hosts: BTreeMap::from(hosts) }).unwrap_err();
        let hint = refused.hints.to_string();
        assert!(hint.contains("`lockgate rollback web v0` or `lockgate rollback web v7`"), "{refused:?}");
    }

    #[test]
    fn without_anything_beside_it_is_said_that_none_is_known() {
        let mut alone = host(None, 200);
        alone.slots.remove(&Slot::Green);
        let refused = previous(alone).unwrap_err();
        assert_eq!(refused.message, "no earlier release is known on this host");
    }

    #[test]
    fn a_name_that_means_different_releases_on_different_hosts_is_refused() {
        let host = |name: &str, digit| {
            let mut seen = host(Some(Slot::Green), 50);
            seen.releases = vec![release("v7", digit).into()];
            (HostId::new(name).unwrap(), seen)
        };
        let named = |digits: [char; 2], named: &str| {
            let hosts = BTreeMap::from([host("web1", digits[0]), host("web2", digits[1])]);
            named_release(&Observed { hosts }, named)
        };
        assert_eq!(named(['7', '7'], "v7"), Ok(release("v7", '7')));
        let refused = named(['7', '8'], "v7").unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(refused.message.starts_with("hosts know different releases as v7: "), "{refused}");
        assert!(refused.hints.to_string().ends_with(&format!("rollback web sha256:{}`", "7".repeat(64))));
        assert_eq!(named(['7', '8'], "sha256:7777777"), Ok(release("v7", '7')), "a digest says which");
    }
}
