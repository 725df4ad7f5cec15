//! Releases that go live by themselves: which tag is the newest, whether it is time, and what speaks against it. Who may be
//! wrong about a release is careful: what is live, newer, rejected or failed before is left as it is.

use std::cmp::Ordering;

use lockgate_model::{
    Environment, FailedBefore, FailureKind, HostObserved, Millis, Observed, Outcome, Pick, Project, Rejected,
    Release, Remembered, Schedule, Service, TOLD_CHARS_MAX, Tag, Timestamp, Zone, quoted,
};
use semver::Version;

/// A tag that is a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    pub tag: Tag,
    pub version: Version,
}

/// By version, its build included, so that of two builds of one version the later is newer; of two tags of one and the same
/// (`1.2.3` and `v1.2.3`) the one with the `v`, which is as good as the other.
impl Ord for Versioned {
    fn cmp(&self, other: &Self) -> Ordering {
        self.version.cmp(&other.version).then_with(|| self.tag.cmp(&other.tag))
    }
}

impl PartialOrd for Versioned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The version that a tag is: `v1.2.3`, `1.2.3`, `1.2.3-rc.1`, and `1.2.3_20261126` for the version `1.2.3+20261126`, for a
/// tag has no `+` and others write it so, too. `None` for what is no whole version (`latest`, `v1`, `1.2`, `sha-0a1b2c3d`).
#[must_use]
pub fn version_of(tag: &Tag) -> Option<Versioned> {
    let text = tag.as_str();
    let bare = text.strip_prefix('v').unwrap_or(text);
    let version = Version::parse(&bare.replacen('_', "+", 1)).ok()?;
    Some(Versioned { tag: tag.clone(), version })
}

/// The tag that a schedule would deploy. `None` when none counts.
#[must_use]
pub fn newest(schedule: &Schedule, tags: &[Tag]) -> Option<Versioned> {
    match schedule.deploy {
        Pick::LatestSemver => {
            let versions = tags.iter().filter_map(version_of);
            versions.filter(|one| schedule.pre_releases || one.version.pre.is_empty()).max()
        }
        // It has no tags to choose from.
        Pick::Promoted => None,
    }
}

/// Whether it is time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// For this tick.
    Now { tick: Timestamp },
    /// Nobody was there at this tick, and it is longer ago than is made up for.
    Missed { tick: Timestamp },
    /// Not before this; `None` when there is no tick any more.
    Later { next: Option<Timestamp> },
}

/// Whether it is time at `now`, by the clock of the machine that remembers; `here` is its zone. Of several ticks that nobody
/// handled only the last counts. A tick of before there was anything to remember is made up for like any other, and never
/// told as missed.
#[must_use]
pub fn due(schedule: &Schedule, here: &Zone, remembered: &Remembered, now: Timestamp) -> Due {
    let zone = schedule.zone(here);
    let next = schedule.next_after(here, now);
    // It was handled before it came: the clock has been set back since, by more than one tick. What it says now counts.
    let handled = remembered.tick.filter(|tick| next.is_none_or(|next| *tick <= next));
    // A tick is due at its very moment, and as long after as is made up for.
    let back = Millis(schedule.catch_up.0.saturating_add(1));
    let is_new = |tick: &Timestamp| handled.is_none_or(|handled| *tick > handled);
    if let Some(tick) = schedule.cron.last_within(zone, now, back).filter(is_new) {
        return Due::Now { tick };
    }
    let missed = handled.and_then(|_| schedule.cron.last_by(zone, now)).filter(is_new);
    missed.map_or(Due::Later { next }, |tick| Due::Missed { tick })
}

/// What is to be done about the newest release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    Deploy,
    /// All hosts have it live.
    Live,
    Older {
        live: Release,
    },
    Rejected(Rejected),
    FailedBefore(FailedBefore),
}

/// Whether `release`, whose tag is `newest`, goes live by itself.
#[must_use]
pub fn judge(newest: &Versioned, release: &Release, observed: &Observed, remembered: &Remembered) -> Judged {
    let live = |seen: &'_ HostObserved| seen.live().and_then(|(_, slot)| slot.release.clone());
    let all: Vec<Option<Release>> = observed.hosts.values().map(live).collect();
    let has_it = |live: &Option<Release>| live.as_ref().is_some_and(|live| live.same_bytes(release));
    if !all.is_empty() && all.iter().all(has_it) {
        return Judged::Live;
    }
    let is_newer = |live: &Release| version_of(&live.tag).is_some_and(|live| live.version > newest.version);
    if let Some(live) = all.into_iter().flatten().find(|live| !live.same_bytes(release) && is_newer(live)) {
        return Judged::Older { live };
    }
    if let Some(rejected) = observed.rejected(release) {
        return Judged::Rejected(rejected);
    }
    let failed = remembered.failed.as_ref().filter(|failed| failed.release.same_bytes(release));
    failed.map_or(Judged::Deploy, |failed| Judged::FailedBefore(failed.clone()))
}

/// What is remembered of a run's release: `Some` when it failed by its own fault, so that it would fail again. What the world
/// did (a registry or a host that does not answer, a full disk, somebody else's change, a person's Ctrl-C, a gate that
/// says *not yet* before anything is touched) lets it be tried again at the next tick.
#[must_use]
pub fn own_fault(release: &Release, outcome: &Outcome, at: Timestamp) -> Option<FailedBefore> {
    let failure = match outcome {
        Outcome::Succeeded { .. } => return None,
        Outcome::Failed { failure } | Outcome::RolledBack { failure } => failure,
        Outcome::Stuck(stuck) => &stuck.failure,
    };
    let was_seen = !matches!(outcome, Outcome::Failed { .. });
    let is_own = match failure.kind {
        FailureKind::Unhealthy | FailureKind::GateFailed => true,
        // By itself it would run again and again.
        FailureKind::HookFailed => true,
        // After the switch users have seen it, and nobody could say that it is good; before, it is only too early.
        FailureKind::GateNotYet => was_seen,
        // Nobody can say what it was; it came up when this release was brought up.
        FailureKind::Other => true,
        FailureKind::NotFound
        | FailureKind::Unauthorized
        | FailureKind::Unreachable
        | FailureKind::TimedOut
        | FailureKind::Conflict
        | FailureKind::LeaseLost
        | FailureKind::Cancelled
        | FailureKind::DiskFull
        | FailureKind::TooLarge
        | FailureKind::Refused => false,
    };
    is_own.then(|| FailedBefore {
        release: release.clone(),
        failed_at: at,
        why: quoted(&failure.to_string(), TOLD_CHARS_MAX),
    })
}

/// The services of the project that have a schedule in these environments, in the file's order of environments.
pub fn scheduled<'p>(
    project: &'p Project,
    environments: impl Fn(&Environment) -> bool + 'p,
) -> impl Iterator<Item = (&'p Environment, &'p Service, &'p Schedule)> {
    let chosen = project.environments.iter().filter(move |environment| environments(environment));
    chosen.flat_map(move |environment| {
        let of = move |(name, schedule)| Some((environment, project.services.get(name)?, schedule));
        environment.schedules.iter().filter_map(of)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{
        Cron, Digest, Failure, HostId, Rejection, RouterObserved, ServiceName, Slot, SlotObserved, SlotState,
        Stuck, WhoIsLive,
    };

    use super::*;

    fn tag(text: &str) -> Tag {
        Tag::new(text).unwrap()
    }

    fn schedule(cron: &str) -> Schedule {
        Schedule {
            cron: Cron::new(cron).unwrap(),
            zone: Some(Zone::utc()),
            deploy: Pick::LatestSemver,
            pre_releases: false,
            catch_up: Millis::from_secs(3600),
        }
    }

    #[test]
    fn the_newest_tag_is_the_highest_version_and_what_is_no_version_does_not_count() {
        // (tags, without pre-releases, with them)
        let table: &[(&[&str], Option<&str>, Option<&str>)] = &[
            (&[], None, None),
            (&["latest", "main", "sha-0a1b2c3d", "v1", "1.2", "20261126", "v1.2.3.4", "01.2.3"], None, None),
            (&["v1.2.3"], Some("v1.2.3"), Some("v1.2.3")),
            (&["1.2.3", "1.10.0", "1.9.9"], Some("1.10.0"), Some("1.10.0")),
            // A `V`, two `v` and words are none.
            (&["v1.0.0", "V9.0.0", "vv9.0.0", "release-9.0.0"], Some("v1.0.0"), Some("v1.0.0")),
            (&["v1.2.3", "2.0.0", "v1.9.0"], Some("2.0.0"), Some("2.0.0")),
            (&["v2.0.0-rc.1", "v1.9.0"], Some("v1.9.0"), Some("v2.0.0-rc.1")),
            (&["v2.0.0-rc.1", "v2.0.0-rc.10", "v2.0.0-rc.9"], None, Some("v2.0.0-rc.10")),
            (&["v2.0.0-rc.1", "v2.0.0"], Some("v2.0.0"), Some("v2.0.0")),
            (&["v2.0.0-alpha", "v2.0.0-beta", "v2.0.0-1"], None, Some("v2.0.0-beta")),
            // Build metadata: a later build is newer, any build than none, and never newer than the next version.
            (&["1.2.3_20261126", "1.2.3_20261201", "1.2.3"], Some("1.2.3_20261201"), Some("1.2.3_20261201")),
            (&["1.2.3_9", "1.2.3_10", "1.2.4"], Some("1.2.4"), Some("1.2.4")),
            (&["1.2.3-rc.1_9", "1.2.2"], Some("1.2.2"), Some("1.2.3-rc.1_9")),
            // One version under two names.
            (&["v1.2.3", "1.2.3"], Some("v1.2.3"), Some("v1.2.3")),
            (&["1.2.3", "v1.2.3"], Some("v1.2.3"), Some("v1.2.3")),
            (&["99999999999999999999.0.0", "1.0.0"], Some("1.0.0"), Some("1.0.0")),
        ];
        for (tags, stable, any) in table {
            let tags: Vec<Tag> = tags.iter().map(|text| tag(text)).collect();
            for (pre_releases, wanted) in [(false, stable), (true, any)] {
                let schedule = Schedule { pre_releases, ..schedule("0 5 * * *") };
                let found = newest(&schedule, &tags).map(|one| one.tag.to_string());
                assert_eq!(found.as_deref(), *wanted, "{tags:?}, pre_releases: {pre_releases}");
            }
        }
    }

    fn at(text: &str) -> Timestamp {
        // Days of November 2026, which began at this time.
        let (day, clock) = text.split_once(' ').unwrap();
        let [hour, minute, second] =
            clock.split(':').map(|part| part.parse::<i64>().unwrap()).collect::<Vec<_>>()[..]
        else {
            panic!("{text}")
        };
        let day: i64 = day.parse().unwrap();
        Timestamp(1_793_491_200_000 + ((((day - 1) * 24 + hour) * 60 + minute) * 60 + second) * 1000)
    }

    #[test]
    fn a_tick_is_handled_once_and_made_up_for_within_its_bound() {
        let (now, missed) = (|tick| Due::Now { tick: at(tick) }, |tick| Due::Missed { tick: at(tick) });
        let later = |next| Due::Later { next: Some(at(next)) };
        let table = [
            // (what, cron, handled, now, wanted)
            ("at its moment", "0 5 * * *", Some("25 05:00:00"), "26 05:00:00", now("26 05:00:00")),
            ("called by cron", "0 5 * * *", Some("25 05:00:00"), "26 05:00:01", now("26 05:00:00")),
            ("a second before", "0 5 * * *", Some("25 05:00:00"), "26 04:59:59", later("26 05:00:00")),
            ("it was handled", "0 5 * * *", Some("26 05:00:00"), "26 05:00:02", later("27 05:00:00")),
            ("an hour late", "0 5 * * *", Some("25 05:00:00"), "26 06:00:00", now("26 05:00:00")),
            ("more than that", "0 5 * * *", Some("25 05:00:00"), "26 06:00:01", missed("26 05:00:00")),
            ("two days off", "0 5 * * *", Some("23 05:00:00"), "26 04:00:00", missed("25 05:00:00")),
            ("and back in time", "0 5 * * *", Some("23 05:00:00"), "26 05:30:00", now("26 05:00:00")),
            ("nothing remembered", "0 5 * * *", None, "26 05:00:30", now("26 05:00:00")),
            ("nor was it time", "0 5 * * *", None, "26 14:00:00", later("27 05:00:00")),
            ("of several the last", "*/5 * * * *", Some("26 05:00:00"), "26 05:17:00", now("26 05:15:00")),
            ("the clock steps back", "* * * * *", Some("26 05:00:00"), "26 04:59:59", later("26 05:00:00")),
            ("it was a year ahead", "0 5 * * *", Some("400 05:00:00"), "26 05:00:01", now("26 05:00:00")),
        ];
        for (what, cron, handled, clock, wanted) in table {
            let remembered = Remembered { tick: handled.map(at), ..Remembered::default() };
            assert_eq!(due(&schedule(cron), &Zone::utc(), &remembered, at(clock)), wanted, "{what}");
        }
        let past = Schedule { catch_up: Millis::from_secs(60), ..schedule("0 5 * * *") };
        let remembered = Remembered { tick: Some(at("25 05:00:00")), ..Remembered::default() };
        assert_eq!(due(&past, &Zone::utc(), &remembered, at("26 05:01:00")), now("26 05:00:00"));
        assert_eq!(due(&past, &Zone::utc(), &remembered, at("26 05:01:01")), missed("26 05:00:00"));
    }

    fn release(text: &str, digit: char) -> Release {
        Release {
            service: ServiceName::new("web").unwrap(),
            tag: tag(text),
            digest: Digest::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        }
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "say so")
    }

    /// Hosts that have these live, and the releases that the first of them rejected.
    fn observed(live: &[Option<Release>], rejected: &[Release]) -> Observed {
        let host = |live: &Option<Release>| {
            let slot = SlotObserved {
                release: live.clone(),
                state: SlotState::Running,
                started_at: None,
                restarts: 0,
                endpoint: None,
                replicas: Vec::new(),
            };
            HostObserved {
                slots: live.iter().map(|_| (Slot::Blue, slot.clone())).collect(),
                router: RouterObserved { target: Some(Slot::Blue), ..RouterObserved::default() },
                ..HostObserved::default()
            }
        };
        let names = (1..).map(|number| HostId::new(format!("web{number}")).unwrap());
        let mut hosts: BTreeMap<_, _> = names.zip(live.iter().map(host)).collect();
        if let Some(first) = hosts.values_mut().next() {
            let rejection = |release: &Release| Rejection {
                release: release.clone(),
                rejected_at: Timestamp(1),
                by: "kim@desk".into(),
                why: "gate failed".into(),
            };
            first.rejected = rejected.iter().map(rejection).collect();
        }
        Observed { hosts }
    }

    #[test]
    fn what_is_live_newer_rejected_or_failed_before_does_not_go_live_by_itself() {
        let (v1, v2, v3) = (release("v1.0.0", '1'), release("v2.0.0", '2'), release("v3.0.0", '3'));
        let moved = release("v2.0.0", '9');
        let hotfix = release("hotfix", '8');
        let failed = |release: &Release| FailedBefore {
            release: release.clone(),
            failed_at: Timestamp(5),
            why: "x".into(),
        };
        let is = |judged: &Judged| match judged {
            Judged::Deploy => "deploy",
            Judged::Live => "live",
            Judged::Older { .. } => "older",
            Judged::Rejected(_) => "rejected",
            Judged::FailedBefore(_) => "failed before",
        };
        let some = |release: &Release| Some(release.clone());
        // (what, live on each host, rejected, failed before, wanted); the newest is v2.
        type Row<'r> = (&'r str, &'r [Option<Release>], &'r [Release], Option<&'r Release>, &'r str);
        let table: &[Row<'_>] = &[
            ("an older one is live", &[some(&v1)], &[], None, "deploy"),
            ("nothing is live", &[None], &[], None, "deploy"),
            ("it is live", &[some(&v2)], &[], None, "live"),
            ("its bytes are live under another tag", &[some(&release("latest", '2'))], &[], None, "live"),
            ("one of two hosts has it", &[some(&v2), some(&v1)], &[], None, "deploy"),
            ("one of two hosts has nothing", &[some(&v2), None], &[], None, "deploy"),
            ("a newer one is live", &[some(&v3)], &[], None, "older"),
            ("a newer one is live on one host", &[some(&v1), some(&v3)], &[], None, "older"),
            ("a pre-release of the next is live", &[some(&release("v2.0.1-rc.1", '4'))], &[], None, "older"),
            ("its own pre-release is live", &[some(&release("v2.0.0-rc.1", '4'))], &[], None, "deploy"),
            ("what is live is no version", &[some(&hotfix)], &[], None, "deploy"),
            ("its tag was moved", &[some(&moved)], &[], None, "deploy"),
            ("it was rejected", &[some(&v1)], std::slice::from_ref(&v2), None, "rejected"),
            (
                "other bytes of the tag were rejected",
                &[some(&v1)],
                std::slice::from_ref(&moved),
                None,
                "deploy",
            ),
            ("it was rejected and is live again", &[some(&v2)], std::slice::from_ref(&v2), None, "live"),
            ("it failed before", &[some(&v1)], &[], Some(&v2), "failed before"),
            ("other bytes of the tag failed before", &[some(&v1)], &[], Some(&moved), "deploy"),
            ("it failed, and a person brought it live", &[some(&v2)], &[], Some(&v2), "live"),
        ];
        let newest = version_of(&v2.tag).unwrap();
        for (what, live, rejected, failed_before, wanted) in table {
            let remembered = Remembered { failed: failed_before.map(failed), ..Remembered::default() };
            let judged = judge(&newest, &v2, &observed(live, rejected), &remembered);
            assert_eq!(is(&judged), *wanted, "{what}");
        }
    }

    #[test]
    fn a_failure_of_the_release_is_remembered_and_one_of_the_world_is_not() {
        let v2 = release("v2.0.0", '2');
        let stuck = |kind| {
            Outcome::Stuck(Stuck {
                failure: failure(kind),
                undo_failures: Vec::new(),
                seen: WhoIsLive::default(),
                commands: Vec::new(),
            })
        };
        let failed = |kind| Outcome::Failed { failure: failure(kind) };
        let rolled_back = |kind| Outcome::RolledBack { failure: failure(kind) };
        let table = [
            (Outcome::Succeeded { warnings: vec![failure(FailureKind::Other)] }, false),
            (failed(FailureKind::GateFailed), true),
            (failed(FailureKind::Unhealthy), true),
            (failed(FailureKind::Other), true),
            (failed(FailureKind::HookFailed), true),
            (failed(FailureKind::GateNotYet), false),
            (failed(FailureKind::Unreachable), false),
            (failed(FailureKind::TimedOut), false),
            (failed(FailureKind::NotFound), false),
            (failed(FailureKind::Unauthorized), false),
            (failed(FailureKind::DiskFull), false),
            (failed(FailureKind::Cancelled), false),
            (failed(FailureKind::Conflict), false),
            (failed(FailureKind::LeaseLost), false),
            (failed(FailureKind::Refused), false),
            (failed(FailureKind::TooLarge), false),
            (rolled_back(FailureKind::GateFailed), true),
            (rolled_back(FailureKind::GateNotYet), true),
            (rolled_back(FailureKind::Unhealthy), true),
            (rolled_back(FailureKind::Unreachable), false),
            (stuck(FailureKind::GateFailed), true),
            (stuck(FailureKind::Unreachable), false),
        ];
        for (outcome, is_own) in table {
            let remembered = own_fault(&v2, &outcome, Timestamp(7));
            assert_eq!(remembered.is_some(), is_own, "{outcome:?}");
            if let Some(failed) = remembered {
                assert_eq!((&failed.release, failed.failed_at), (&v2, Timestamp(7)));
                assert!(failed.why.ends_with(": say so"), "{}", failed.why);
            }
        }
    }
}
