//! What a host knows of a service's releases: since when each is live, and which were rejected. CI runners have no other
//! memory.

use serde::{Deserialize, Serialize};

use crate::{Failure, FailureKind, OWNER_CHARS_MAX, Release, TOLD_CHARS_MAX, Timestamp, quoted};

/// Most releases that a host remembers to have been live.
pub const RELEASES_MAX: usize = 50;
/// Most rejected releases that a host remembers; of more the oldest are forgotten.
pub const REJECTED_MAX: usize = 50;

/// One host's list of releases, which it keeps beside the lease. All times are by the host's own clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Releases {
    /// Newest first, at most [`RELEASES_MAX`]. The first is live, or was last.
    #[serde(default)]
    pub live: Vec<WasLive>,
    /// What has the traffic and has not passed its gates yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Tried>,
    /// Newest first, at most [`REJECTED_MAX`], each release once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejection>,
}

/// A release that was live, or is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WasLive {
    /// What was live. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub release: Release,
    /// Since it was first seen live through the router, right behind the switch. The same release deployed again keeps it.
    /// `None` where that was not written down: by an older program, or when it was live without Lockgate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_since: Option<Timestamp>,
    /// When its successor went live. `None` for what is live, and where that was not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_until: Option<Timestamp>,
}

impl From<Release> for WasLive {
    /// It is not known when.
    fn from(release: Release) -> Self {
        Self { release, live_since: None, live_until: None }
    }
}

/// A release that has the traffic and has still to pass its gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Which one. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub release: Release,
    /// When it was first seen live through the router, by the host's clock.
    pub since: Timestamp,
}

/// A release that was taken back because it is bad. It does not come back by itself; a person may deploy it, and its
/// success ends the rejection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rejection {
    /// Which one. In JSON its fields stand beside the others.
    #[serde(flatten)]
    pub release: Release,
    /// When, by the host's clock.
    pub rejected_at: Timestamp,
    /// `user@machine`.
    pub by: String,
    /// In brief, at most [`TOLD_CHARS_MAX`] characters, without log lines and evidence.
    pub why: String,
}

/// Who takes a release back, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Because {
    /// `user@machine`.
    pub by: String,
    /// Why the run turned back; `None` for a run that goes forward.
    pub cause: Option<Failure>,
}

/// Whether a run that turned back for this reason shows that its release is bad. The release was tried by then: its slot was
/// started. What says nothing of the release (a person's Ctrl-C, a host that cannot be reached, a full disk, somebody else's
/// change) lets it come back.
#[must_use]
pub fn condemns(cause: &Failure) -> bool {
    match cause.kind {
        // It did not become healthy, does not answer through the router, or died before the run was settled.
        FailureKind::Unhealthy => true,
        FailureKind::GateFailed => true,
        // Users have seen it, and nobody could say that it is good: asked again by itself it would come and go for ever.
        FailureKind::GateNotYet => true,
        // It may be the database's fault as well.
        FailureKind::HookFailed => false,
        FailureKind::NotFound
        | FailureKind::Unauthorized
        | FailureKind::Unreachable
        | FailureKind::TimedOut
        | FailureKind::Conflict
        | FailureKind::LeaseLost
        | FailureKind::Cancelled
        | FailureKind::DiskFull
        | FailureKind::TooLarge
        | FailureKind::Refused
        | FailureKind::Other => false,
    }
}

impl Rejection {
    /// Of `release`, which is taken back; `instead` is what a person went back to from it. `None` where nothing is said
    /// against it.
    #[must_use]
    pub fn of(
        release: &Release,
        instead: Option<&Release>,
        because: &Because,
        now: Timestamp,
    ) -> Option<Self> {
        let why = match (&because.cause, instead) {
            (Some(cause), _) if condemns(cause) => match &cause.host {
                Some(host) if !host.is_local() => format!("{cause} (on {host})"),
                _ => cause.to_string(),
            },
            (Some(_), _) | (None, None) => return None,
            (None, Some(instead)) => format!("rolled back to {instead}"),
        };
        let (by, why) = (quoted(&because.by, OWNER_CHARS_MAX), quoted(&why, TOLD_CHARS_MAX));
        Some(Self { release: release.clone(), rejected_at: now, by, why })
    }

    /// As people are told of it: both texts come from a host, so they are [quoted] and bounded.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.by = quoted(&self.by, OWNER_CHARS_MAX);
        self.why = quoted(&self.why, TOLD_CHARS_MAX);
        self
    }
}

impl Releases {
    /// Within its bounds, for a list that a host has.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.live.truncate(RELEASES_MAX);
        self.rejected.truncate(REJECTED_MAX);
        for one in &mut self.live {
            told(&mut one.release);
        }
        if let Some(tried) = &mut self.tried {
            told(&mut tried.release);
        }
        for one in &mut self.rejected {
            told(&mut one.release);
        }
        self
    }

    /// The traffic goes to the release `now`. One that is being tried already keeps its time.
    pub fn try_out(&mut self, release: &Release, now: Timestamp) {
        if !self.tried.as_ref().is_some_and(|tried| tried.release.same_bytes(release)) {
            self.tried = Some(Tried { release: release.clone(), since: now });
        }
    }

    /// The release has passed its gates: it is live since it was tried, or since `now`, and not rejected any more.
    pub fn went_live(&mut self, release: &Release, now: Timestamp) {
        self.rejected.retain(|rejection| !rejection.release.same_bytes(release));
        let release = &self.with_known_provenance(release);
        let tried = self.tried.take_if(|tried| tried.release.same_bytes(release)).map(|tried| tried.since);
        let mut since = tried.unwrap_or(now);
        if let Some(former) = self.live.first_mut() {
            if former.release == *release {
                former.live_since.get_or_insert(since);
                former.live_until = None;
                return;
            }
            former.live_until = Some(since);
            // It was noticed only after its successor had gone live, or the clock was set back.
            former.live_since.take_if(|began| *began > since);
            if former.release.same_bytes(release) {
                // Only its name changes, from now on.
                former.live_until = Some(now);
                since = former.live_since.unwrap_or(since);
            }
        }
        // The same bytes under another tag stay: `rollback` takes that name too.
        self.live.retain(|known| !(known.release.same_bytes(release) && known.release.tag == release.tag));
        self.live.insert(0, WasLive { release: release.clone(), live_since: Some(since), live_until: None });
        self.live.truncate(RELEASES_MAX);
    }

    /// The release as it is wanted now, with what is known of where its bytes come from.
    fn with_known_provenance(&self, release: &Release) -> Release {
        let same = |known: &&WasLive| known.release.same_bytes(release) && known.release.tag == release.tag;
        let known = || self.live.iter().find(same).and_then(|known| known.release.provenance.clone());
        Release { provenance: release.provenance.clone().or_else(known), ..release.clone() }
    }

    /// The release is not tried any more; `rejection` is what is said against it, if anything.
    pub fn take_back(&mut self, release: &Release, rejection: Option<Rejection>) {
        self.tried.take_if(|tried| tried.release.same_bytes(release));
        if let Some(rejection) = rejection {
            self.rejected.retain(|known| !known.release.same_bytes(release));
            self.rejected.insert(0, rejection);
            self.rejected.truncate(REJECTED_MAX);
        }
    }
}

/// Whoever can write the list can write anything into it.
fn told(release: &mut Release) {
    if let Some(provenance) = release.provenance.take() {
        release.provenance = Some(Box::new(provenance.told()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, HostId, ServiceName, Tag};

    fn release(tag: &str, digit: char) -> Release {
        let digest = Digest::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap();
        let service = ServiceName::new("web").unwrap();
        Release { service, tag: Tag::new(tag).unwrap(), digest, image: None, commit: None, provenance: None }
    }

    fn because(cause: Option<Failure>) -> Because {
        Because { by: "kim@desk".into(), cause }
    }

    /// Tag, since and until of each.
    fn times(releases: &Releases) -> Vec<(&str, Option<i64>, Option<i64>)> {
        let millis = |at: Option<Timestamp>| at.map(|at| at.0);
        let time = |one: &'_ WasLive| (millis(one.live_since), millis(one.live_until));
        releases.live.iter().map(|one| (one.release.tag.as_str(), time(one).0, time(one).1)).collect()
    }

    #[test]
    fn what_says_that_a_release_is_bad_and_what_says_nothing_of_it() {
        for (kind, bad) in [
            (FailureKind::Unhealthy, true),
            (FailureKind::GateFailed, true),
            (FailureKind::GateNotYet, true),
            (FailureKind::HookFailed, false),
            (FailureKind::Cancelled, false),
            (FailureKind::Unreachable, false),
            (FailureKind::TimedOut, false),
            (FailureKind::LeaseLost, false),
            (FailureKind::Conflict, false),
            (FailureKind::DiskFull, false),
            (FailureKind::TooLarge, false),
            (FailureKind::NotFound, false),
            (FailureKind::Unauthorized, false),
            (FailureKind::Refused, false),
            (FailureKind::Other, false),
        ] {
            let cause = Failure::new(kind, "x");
            assert_eq!(condemns(&cause), bad, "{kind:?}");
            let rejection = Rejection::of(&release("v2", '2'), None, &because(Some(cause)), Timestamp(7));
            assert_eq!(rejection.is_some(), bad, "{kind:?}");
        }
        assert_eq!(Rejection::of(&release("v2", '2'), None, &because(None), Timestamp(7)), None);
    }

    #[test]
    fn a_rejection_says_who_and_in_brief_why() {
        let (v1, v2) = (release("v1", '1'), release("v2", '2'));
        let cause = Failure::new(FailureKind::Unhealthy, format!("`rm`\n\u{1b}[2J{}", "é".repeat(9_000)))
            .hint("look")
            .at(&HostId::new("web2").unwrap())
            .logs(vec!["TOKEN=hunter2".into()]);
        let rejection = Rejection::of(&v2, None, &because(Some(cause)), Timestamp(7)).unwrap();
        assert!(rejection.why.starts_with("unhealthy: 'rm'\\n\\x1b[2Jé"), "{}", rejection.why);
        assert_eq!(rejection.why.chars().count(), TOLD_CHARS_MAX + 1);
        assert_eq!((rejection.by.as_str(), rejection.rejected_at), ("kim@desk", Timestamp(7)));
        let short = Failure::new(FailureKind::GateFailed, "smoke").at(&HostId::new("web2").unwrap());
        let rejection = Rejection::of(&v2, None, &because(Some(short)), Timestamp(7)).unwrap();
        assert_eq!(rejection.why, "gate failed: smoke (on web2)");
        let rejection = Rejection::of(&v2, Some(&v1), &because(None), Timestamp(7)).unwrap();
        assert_eq!(rejection.why, "rolled back to v1 (111111111111)");
    }

    #[test]
    fn a_release_is_live_since_it_was_tried_and_until_its_successor_was() {
        let mut known = Releases::default();
        for (tag, digit, switched, passed) in [("v1", '1', 10, 15), ("v2", '2', 20, 29)] {
            known.try_out(&release(tag, digit), Timestamp(switched));
            known.try_out(&release(tag, digit), Timestamp(switched + 3));
            known.went_live(&release(tag, digit), Timestamp(passed));
        }
        assert_eq!(times(&known), [("v2", Some(20), None), ("v1", Some(10), Some(20))]);
        assert_eq!(known.tried, None);
        // Deployed again, and under another name.
        known.try_out(&release("v2", '2'), Timestamp(40));
        known.went_live(&release("v2", '2'), Timestamp(45));
        assert_eq!(times(&known)[0], ("v2", Some(20), None));
        known.went_live(&release("latest", '2'), Timestamp(50));
        assert_eq!(
            times(&known),
            [("latest", Some(20), None), ("v2", Some(20), Some(50)), ("v1", Some(10), Some(20))]
        );
    }

    #[test]
    fn what_was_tried_and_taken_back_leaves_no_time_behind() {
        let (v1, v2) = (release("v1", '1'), release("v2", '2'));
        let mut known = Releases { live: vec![v1.clone().into()], ..Releases::default() };
        known.try_out(&v2, Timestamp(20));
        known.take_back(&v2, None);
        assert_eq!(known, Releases { live: vec![v1.into()], ..Releases::default() });
        known.try_out(&v2, Timestamp(30));
        known.went_live(&v2, Timestamp(31));
        assert_eq!(times(&known), [("v2", Some(30), None), ("v1", None, Some(30))]);
    }

    #[test]
    fn where_a_release_comes_from_is_remembered_when_it_is_deployed_again_by_its_tag() {
        let subject = |text: &str| crate::Provenance { subject: Some(text.into()), ..Default::default() };
        let shipped = Release { provenance: Some(Box::new(subject("Say hello"))), ..release("v1", '1') };
        let mut known = Releases::default();
        known.went_live(&shipped, Timestamp(10));
        known.went_live(&release("v1", '1'), Timestamp(20));
        assert_eq!(times(&known), [("v1", Some(10), None)]);
        assert_eq!(known.live[0].release, shipped);
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Releases>(&text).unwrap(), known);
        // As a host without it has it, and as somebody forged it.
        let old = text.replace(",\"provenance\":{\"subject\":\"Say hello\"}", "");
        assert_eq!(serde_json::from_str::<Releases>(&old).unwrap().live[0].release, release("v1", '1'));
        let forged = text.replace("Say hello", "\\u001b[2J`x`");
        let read = serde_json::from_str::<Releases>(&forged).unwrap().bounded();
        assert_eq!(read.live[0].release.provenance.as_deref(), Some(&subject("\\x1b[2J'x'")));
    }

    /// The live release was not on the list, and is noticed when its successor has passed its gates.
    #[test]
    fn of_what_was_noticed_too_late_it_is_not_known_when_it_began() {
        let mut known = Releases::default();
        known.try_out(&release("v1", '1'), Timestamp(20));
        known.went_live(&release("v0", '0'), Timestamp(30));
        known.went_live(&release("v1", '1'), Timestamp(30));
        assert_eq!(times(&known), [("v1", Some(20), None), ("v0", None, Some(20))]);
    }

    #[test]
    fn success_ends_a_rejection_and_each_is_kept_once_within_a_bound() {
        let mut known = Releases::default();
        let reject = |known: &mut Releases, number: usize, at: i64| {
            let mut bad = release(&format!("v{number}"), '0');
            bad.digest = Digest::new(format!("sha256:{number:064x}")).unwrap();
            let cause = Failure::new(FailureKind::GateFailed, "smoke");
            let rejection = Rejection::of(&bad, None, &because(Some(cause)), Timestamp(at));
            known.take_back(&bad, rejection);
            bad
        };
        let bad = reject(&mut known, 1, 1);
        reject(&mut known, 1, 2);
        assert_eq!(known.rejected.len(), 1);
        assert_eq!(known.rejected[0].rejected_at, Timestamp(2));
        known.went_live(&bad, Timestamp(3));
        assert_eq!(known.rejected, []);
        for number in 0..REJECTED_MAX + 2 {
            reject(&mut known, number, 4);
        }
        assert_eq!(known.rejected.len(), REJECTED_MAX);
        assert_eq!(known.rejected[0].release.tag.as_str(), format!("v{}", REJECTED_MAX + 1));
    }
}
