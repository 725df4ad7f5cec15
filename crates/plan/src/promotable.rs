//! What may move from one environment to the next, or what holds it and until when.
//!
//! Only a pass with evidence that still holds opens a gate, and of one gate only the newest answer about these very bytes
//! counts: a re-check that fails revokes the pass before it, also when its own time is over. Whatever is doubtful holds: an
//! answer without evidence, one from the future, a time in which nobody looked (P6).

use lockgate_model::{
    EnvironmentName, Freeze, Holds, Judgement, Millis, Obstacle, Passed, Presence, ProjectName, Promotable,
    Rejection, Release, ServiceName, Timestamp, Verdict, VerdictSubject,
};

/// How far ahead of the clock here an answer may be dated and still be believed.
const AHEAD_SECONDS_MAX: u64 = 60;

/// What is wanted of a promotion of one service.
#[derive(Debug, Clone)]
pub struct Policy {
    pub project: ProjectName,
    pub service: ServiceName,
    /// The source.
    pub from: EnvironmentName,
    /// The target.
    pub to: EnvironmentName,
    /// Gates that must be open, in the order of the configuration.
    pub gates: Vec<WantedGate>,
    /// How long the release must have been live in the source without a failure: the longest counts. Empty: it need only be live
    /// there.
    pub soaks: Vec<SoakTime>,
    /// Of the target.
    pub freeze: Option<Freeze>,
    /// What was taken back in the target.
    pub rejected: Vec<Rejection>,
}

/// A gate that must be open.
#[derive(Debug, Clone)]
pub struct WantedGate {
    pub gate: String,
    /// In which environment it looked at the release.
    pub environment: EnvironmentName,
    /// How long an answer holds at most, whatever it says itself. `None`: as it says.
    pub holds_for: Option<Millis>,
}

/// A time that a release must have been live in the source.
#[derive(Debug, Clone)]
pub struct SoakTime {
    /// The gate that watches meanwhile: where that is waived, no time is asked for either.
    pub gate: String,
    pub span: Millis,
}

/// What may move at `now`, by all that is known. Verdicts and presence of others than the policy is about do not count;
/// their order says nothing.
#[must_use]
pub fn promotable(
    verdicts: &[Verdict],
    presence: &[Presence],
    policy: &Policy,
    now: Timestamp,
) -> Promotable {
    let Some(source) = live_in(presence, policy, &policy.from) else { return Promotable::Nothing };
    let release = source.release.clone();
    if live_in(presence, policy, &policy.to).is_some_and(|target| target.release.same_bytes(&release)) {
        return Promotable::Same { release };
    }
    let asked = Asked { verdicts, policy, release: &release, now };
    let (mut passed, mut by) = (Vec::new(), Vec::new());
    for wanted in &policy.gates {
        match asked.gate(wanted) {
            Ok(open) => passed.push(open),
            Err(obstacle) => by.push(obstacle),
        }
    }
    by.extend(asked.soak(source, presence));
    by.extend(frozen(policy, now));
    by.extend(rejected(policy, &release));
    if by.is_empty() {
        let until = passed.iter().filter_map(|open| open.until).min();
        return Promotable::Ready { release, passed, until };
    }
    // As long as one needs somebody, waiting does not help.
    let until = by.iter().map(|obstacle| obstacle.until).try_fold(now, |last, until| Some(last.max(until?)));
    Promotable::Held { release, by, until }
}

/// What is live there as far as anybody has seen.
fn live_in<'p>(
    presence: &'p [Presence],
    policy: &Policy,
    environment: &EnvironmentName,
) -> Option<&'p Presence> {
    of(presence, policy, environment).filter(|one| one.is_open()).max_by_key(|one| one.since)
}

fn of<'p>(
    presence: &'p [Presence],
    policy: &Policy,
    environment: &EnvironmentName,
) -> impl Iterator<Item = &'p Presence> {
    presence.iter().filter(move |one| {
        one.project == policy.project
            && one.release.service == policy.service
            && one.environment == *environment
    })
}

fn frozen(policy: &Policy, now: Timestamp) -> Option<Obstacle> {
    let freeze = policy.freeze.as_ref()?;
    let is_over = freeze.until.is_some_and(|until| until <= now);
    (!is_over).then(|| Obstacle { what: Holds::Frozen { why: freeze.why.clone() }, until: freeze.until })
}

fn rejected(policy: &Policy, release: &Release) -> Option<Obstacle> {
    let rejection = policy.rejected.iter().find(|one| one.release.same_bytes(release))?;
    let (at, by, why) = (rejection.rejected_at, rejection.by.clone(), rejection.why.clone());
    Some(Obstacle { what: Holds::Rejected { at, by, why }, until: None })
}

/// What gates have said about one release.
struct Asked<'a> {
    verdicts: &'a [Verdict],
    policy: &'a Policy,
    release: &'a Release,
    now: Timestamp,
}

impl<'a> Asked<'a> {
    /// All verdicts about these bytes there, waivers included.
    fn about(&self, environment: &EnvironmentName) -> impl Iterator<Item = &'a Verdict> + use<'a> {
        let subject = VerdictSubject {
            project: self.policy.project.clone(),
            service: self.policy.service.clone(),
            environment: environment.clone(),
            digest: self.release.digest.clone(),
        };
        self.verdicts.iter().filter(move |verdict| verdict.subject == subject)
    }

    fn is_ahead(&self, verdict: &Verdict) -> bool {
        verdict.at > self.now.plus(Millis::from_secs(AHEAD_SECONDS_MAX))
    }

    /// # Errors
    /// What keeps it shut.
    fn gate(&self, wanted: &WantedGate) -> Result<Passed, Obstacle> {
        if let Some(waiver) = self.waiver(&wanted.environment, &wanted.gate) {
            return Ok(passed(waiver, waiver.holds_until));
        }
        let answers =
            || self.about(&wanted.environment).filter(|one| one.gate == wanted.gate && one.waived.is_none());
        // A pass from the future opens nothing, and hides nothing that was said before it. What holds is believed also then.
        let newest =
            answers().filter(|one| !(one.is_pass() && self.is_ahead(one))).max_by_key(|one| weight(one));
        let Some(newest) = newest else {
            let ahead = answers().min_by_key(|one| one.at);
            return Err(ahead.map_or_else(|| unasked(wanted), ahead_of_now));
        };
        let until = [newest.holds_until, wanted.holds_for.map(|span| newest.at.plus(span))];
        let until = until.into_iter().flatten().min();
        match until {
            Some(over_since) if over_since <= self.now => {
                let what = Holds::Expired { gate: newest.gate.clone(), at: newest.at, over_since };
                Err(Obstacle { what, until: None })
            }
            _ if newest.is_pass() => Ok(passed(newest, until)),
            _ => Err(shut(newest)),
        }
    }

    /// The newest word of a person that this gate need not pass, as long as it holds.
    fn waiver(&self, environment: &EnvironmentName, gate: &str) -> Option<&'a Verdict> {
        let waivers = self.about(environment).filter(|one| one.gate == gate && one.waived.is_some());
        let newest = waivers.filter(|one| !self.is_ahead(one)).max_by_key(|one| one.at)?;
        (!newest.has_expired(self.now)).then_some(newest)
    }

    /// Since when the release is live in the source without a break and without a gate that failed there.
    fn soak(&self, source: &Presence, presence: &[Presence]) -> Option<Obstacle> {
        let asks = |soak: &&SoakTime| self.waiver(&self.policy.from, &soak.gate).is_none();
        let wanted = self.policy.soaks.iter().filter(asks).map(|soak| soak.span).max()?;
        let began = unbroken_since(source, of(presence, self.policy, &self.policy.from));
        let is_failure = |one: &&Verdict| {
            one.judgement == Judgement::Fail
                && one.waived.is_none()
                && one.at >= began
                && self.waiver(&self.policy.from, &one.gate).is_none()
        };
        let failure = self.about(&self.policy.from).filter(is_failure).max_by_key(|one| one.at);
        let since = failure.map_or(began, |failure| failure.at);
        let over = since.plus(wanted);
        // What is said to have been seen later than now was not.
        let seen_at = source.seen_at.min(self.now);
        if self.now < over {
            let after_failure_of = failure.map(|failure| failure.gate.clone());
            let what = Holds::Soaking { since, wanted, after_failure_of };
            return Some(Obstacle { what, until: Some(over) });
        }
        (seen_at < over).then_some(Obstacle { what: Holds::Unseen { since, wanted, seen_at }, until: None })
    }
}

/// Of one gate's answers the later one counts, and of two at the same time the worse.
fn weight(verdict: &Verdict) -> (Timestamp, u8) {
    let badness = match verdict.judgement {
        Judgement::Pass if verdict.is_pass() => 0,
        Judgement::Pass => 1,
        Judgement::NotYet => 2,
        Judgement::Fail => 3,
    };
    (verdict.at, badness)
}

/// The same bytes under another tag, without a gap, are live all the while.
fn unbroken_since<'p>(source: &Presence, all: impl Iterator<Item = &'p Presence>) -> Timestamp {
    let mut earlier: Vec<&Presence> = all.filter(|one| one.since < source.since).collect();
    earlier.sort_by_key(|one| std::cmp::Reverse(one.since));
    let mut since = source.since;
    for one in earlier {
        if one.until != Some(since) || !one.release.same_bytes(&source.release) {
            break;
        }
        since = one.since;
    }
    since
}

fn passed(verdict: &Verdict, until: Option<Timestamp>) -> Passed {
    Passed {
        gate: verdict.gate.clone(),
        at: verdict.at,
        by: verdict.by.clone(),
        until,
        waived: verdict.waived.clone(),
    }
}

fn unasked(wanted: &WantedGate) -> Obstacle {
    Obstacle { what: Holds::Unasked { gate: wanted.gate.clone() }, until: None }
}

/// It is believed once the clock here is there.
fn ahead_of_now(verdict: &Verdict) -> Obstacle {
    let (gate, at, by) = (verdict.gate.clone(), verdict.at, verdict.by.clone());
    Obstacle { what: Holds::Ahead { gate, at, by }, until: Some(at) }
}

/// A newest answer that is no pass.
fn shut(verdict: &Verdict) -> Obstacle {
    let (gate, at, by) = (verdict.gate.clone(), verdict.at, verdict.by.clone());
    let bad = verdict.evidence.iter().find(|one| !one.ok);
    let because = bad.map_or_else(
        || "it saw nothing".to_owned(),
        |one| format!("{}: {}, wanted {}", one.check, one.seen, one.wanted),
    );
    let what = match verdict.judgement {
        Judgement::Fail => Holds::Failed { gate, at, by, because },
        Judgement::NotYet => Holds::NotYet { gate, at, by, because },
        Judgement::Pass => Holds::Unfounded { gate, at, by },
    };
    // A failure that says itself until when it holds: a soak's, which looks back only so far.
    Obstacle { what, until: verdict.holds_until }
}
