//! What may move, and what holds it and until when: one table for each thing that decides. Times are in seconds.

use lockgate_model::{
    Digest, EnvironmentName, Evidence, Freeze, GateVerdict, Holds, Judgement, Millis, Presence, ProjectName,
    Promotable, Rejection, Release, ServiceName, Tag, Timestamp, Verdict, VerdictStamp, VerdictSubject,
};
use lockgate_plan::{Policy, SoakTime, WantedGate, promotable};

/// When all of it is asked.
const NOW: i64 = 10_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000)
}

fn environment(name: &str) -> EnvironmentName {
    EnvironmentName::new(name).unwrap()
}

fn release(tag: &str) -> Release {
    // The digit of the tag is its bytes: `v2` and `blue2` are the same.
    let digit = tag.chars().last().unwrap().to_string();
    Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new(tag).unwrap(),
        digest: Digest::new(format!("sha256:{}", digit.repeat(64))).unwrap(),
        image: None,
        commit: None,
        provenance: None,
    }
}

/// Seen live from `since` on, until `until` or now.
fn live(name: &str, tag: &str, since: i64, until: Option<i64>) -> Presence {
    Presence {
        project: ProjectName::new("shop").unwrap(),
        environment: environment(name),
        release: release(tag),
        since: at(since),
        seen_at: at(until.unwrap_or(NOW)),
        until: until.map(at),
        run: None,
    }
}

fn policy(gates: &[&str]) -> Policy {
    let wanted = |gate: &&str| WantedGate {
        gate: (*gate).to_owned(),
        environment: environment("test"),
        holds_for: None,
    };
    Policy {
        project: ProjectName::new("shop").unwrap(),
        service: ServiceName::new("web").unwrap(),
        from: environment("test"),
        to: environment("prod"),
        gates: gates.iter().map(wanted).collect(),
        soaks: Vec::new(),
        freeze: None,
        rejected: Vec::new(),
    }
}

/// A thousand seconds, which another gate than `qa` watches.
fn soak() -> Vec<SoakTime> {
    vec![SoakTime { gate: "soak".to_owned(), span: Millis::from_secs(1_000) }]
}

fn subject() -> VerdictSubject {
    VerdictSubject {
        project: ProjectName::new("shop").unwrap(),
        service: ServiceName::new("web").unwrap(),
        environment: environment("test"),
        digest: release("v2").digest,
    }
}

fn stamp(seconds: i64) -> VerdictStamp {
    VerdictStamp { at: at(seconds), by: "kim@desk".into(), run: None, holds_until: None }
}

/// What gate `qa` says about v2 in `test`.
fn says(judgement: Judgement, seconds: i64) -> Verdict {
    let ok = judgement == Judgement::Pass;
    let seen = if ok { "200" } else { "500" };
    let evidence = vec![Evidence { check: "GET /".into(), wanted: "200".into(), seen: seen.into(), ok }];
    let answer = GateVerdict { gate: "qa".into(), judgement, evidence };
    Verdict::of(subject(), answer, stamp(seconds))
}

fn waived(seconds: i64, until: Option<i64>) -> Verdict {
    let stamp = VerdictStamp { holds_until: until.map(at), ..stamp(seconds) };
    Verdict::waiver(subject(), "qa", "an exercise", stamp)
}

fn until(verdict: Verdict, seconds: i64) -> Verdict {
    Verdict { holds_until: Some(at(seconds)), ..verdict }
}

/// In a few words, times in seconds.
fn told(answer: &Promotable) -> String {
    let when = |time: Option<Timestamp>| time.map_or("-".to_owned(), |time| (time.0 / 1_000).to_string());
    match answer {
        Promotable::Nothing => "nothing".to_owned(),
        Promotable::Same { release } => format!("same {}", release.tag),
        Promotable::Ready { release, passed, until } => {
            let one = |open: &lockgate_model::Passed| {
                let why = open.waived.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                format!("{}@{}{why}", open.gate, when(Some(open.at)))
            };
            let passed: Vec<String> = passed.iter().map(one).collect();
            format!("ready {} [{}] until {}", release.tag, passed.join(", "), when(*until))
        }
        Promotable::Held { release, by, until } => {
            let one = |obstacle: &lockgate_model::Obstacle| {
                format!("{} until {}", obstacle.what, when(obstacle.until))
            };
            let by: Vec<String> = by.iter().map(one).collect();
            format!("held {} [{}] until {}", release.tag, by.join("; "), when(*until))
        }
    }
}

fn asked(verdicts: &[Verdict], presence: &[Presence], policy: &Policy) -> String {
    told(&promotable(verdicts, presence, policy, at(NOW)))
}

#[test]
fn what_is_live_in_the_source_moves_and_what_the_target_has_does_not() {
    for (presence, wanted) in [
        (vec![], "nothing"),
        (vec![live("test", "v2", 1, Some(2))], "nothing"),
        (vec![live("prod", "v2", 1, None)], "nothing"),
        (vec![live("test", "v2", 1, None)], "ready v2 [] until -"),
        (vec![live("test", "v2", 1, None), live("prod", "v1", 1, None)], "ready v2 [] until -"),
        (vec![live("test", "v2", 1, None), live("prod", "v2", 1, Some(2))], "ready v2 [] until -"),
        // The same bytes under another tag.
        (vec![live("test", "v2", 1, None), live("prod", "blue2", 1, None)], "same v2"),
        // Two that are open: the later one is what is live now.
        (vec![live("test", "v2", 5, None), live("test", "v1", 1, None)], "ready v2 [] until -"),
    ] {
        assert_eq!(asked(&[], &presence, &policy(&[])), wanted, "{presence:?}");
    }
    let mut others = [live("test", "v2", 1, None), live("test", "v2", 1, None)];
    others[0].project = ProjectName::new("blog").unwrap();
    others[1].release.service = ServiceName::new("api").unwrap();
    assert_eq!(asked(&[], &others, &policy(&[])), "nothing", "of others");
}

#[test]
fn of_one_gate_the_newest_answer_about_these_bytes_counts_and_only_a_pass_that_holds_opens_it() {
    use Judgement::{Fail, NotYet, Pass};
    let because = "GET /: 500, wanted 200";
    let failed = format!("held v2 [gate \"qa\" failed: {because} until -] until -");
    let not_yet = format!("held v2 [gate \"qa\" says not yet: {because} until -] until -");
    let unasked = "held v2 [gate \"qa\" was not asked about this release until -] until -".to_owned();
    let expired = "held v2 [what gate \"qa\" answered does not hold any more until -] until -".to_owned();
    let unfounded =
        "held v2 [gate \"qa\" is said to have passed by kim@desk, without evidence until -] until -";
    let ready = "ready v2 [qa@500] until -".to_owned();
    let elsewhere = |change: fn(&mut VerdictSubject)| {
        let mut verdict = says(Pass, 900);
        change(&mut verdict.subject);
        verdict
    };
    let empty = Verdict { evidence: Vec::new(), ..says(Pass, 900) };
    let belied = Verdict { judgement: Pass, ..says(Fail, 900) };
    for (what, verdicts, wanted) in [
        ("missing", vec![], unasked.clone()),
        ("passed", vec![says(Pass, 500)], ready.clone()),
        ("failed", vec![says(Fail, 500)], failed.clone()),
        ("could not look", vec![says(NotYet, 500)], not_yet.clone()),
        ("a re-check that failed revokes the pass", vec![says(Pass, 500), says(Fail, 600)], failed.clone()),
        ("whatever their order", vec![says(Fail, 600), says(Pass, 500)], failed.clone()),
        ("one that could not look, too", vec![says(Pass, 500), says(NotYet, 600)], not_yet),
        ("a later pass mends it", vec![says(Fail, 400), says(Pass, 500)], ready.clone()),
        ("of two at one time the worse", vec![says(Fail, 500), says(Pass, 500)], failed.clone()),
        ("it holds no more", vec![until(says(Pass, 500), NOW)], expired.clone()),
        ("it holds still", vec![until(says(Pass, 500), NOW + 1)], "ready v2 [qa@500] until 10001".into()),
        (
            "an answer that is over does not bring back the one before it",
            vec![says(Pass, 500), until(says(Fail, 600), 700)],
            expired.clone(),
        ),
        ("a pass without evidence", vec![says(Pass, 500), empty], unfounded.into()),
        ("a pass whose evidence is not ok", vec![says(Pass, 500), belied], unfounded.into()),
        ("of another digest", vec![elsewhere(|one| one.digest = release("v3").digest)], unasked.clone()),
        (
            "of another environment",
            vec![elsewhere(|one| one.environment = environment("prod"))],
            unasked.clone(),
        ),
        (
            "of another service",
            vec![elsewhere(|one| one.service = ServiceName::new("api").unwrap())],
            unasked.clone(),
        ),
        (
            "of another project",
            vec![elsewhere(|one| one.project = ProjectName::new("blog").unwrap())],
            unasked.clone(),
        ),
        ("of another gate", vec![Verdict { gate: "scan".into(), ..says(Pass, 500) }], unasked),
    ] {
        let presence = [live("test", "v2", 1, None)];
        assert_eq!(asked(&verdicts, &presence, &policy(&["qa"])), wanted, "{what}");
    }
}

#[test]
fn how_long_an_answer_holds_is_bounded_by_the_policy_too() {
    for (holds_for, said, wanted) in [
        (9_000, None, "held v2 [what gate \"qa\" answered does not hold any more until -] until -"),
        (9_501, None, "ready v2 [qa@500] until 10001"),
        (9_900, Some(10_200), "ready v2 [qa@500] until 10200"),
        (9_900, Some(99_000), "ready v2 [qa@500] until 10400"),
    ] {
        let mut policy = policy(&["qa"]);
        policy.gates[0].holds_for = Some(Millis::from_secs(holds_for));
        let verdict = Verdict { holds_until: said.map(at), ..says(Judgement::Pass, 500) };
        assert_eq!(
            asked(&[verdict], &[live("test", "v2", 1, None)], &policy),
            wanted,
            "{holds_for} {said:?}"
        );
    }
}

/// The clock of a CI runner is an hour ahead, or ours is behind.
#[test]
fn an_answer_from_the_future_opens_nothing_and_hides_nothing() {
    use Judgement::{Fail, Pass};
    let ahead =
        "held v2 [the answer of gate \"qa\" is from the future: the clock here or that of kim@desk is wrong";
    let failed = "held v2 [gate \"qa\" failed: GET /: 500, wanted 200 until -] until -";
    for (what, verdicts, wanted) in [
        ("a little", vec![says(Pass, NOW + 60)], "ready v2 [qa@10060] until -".to_owned()),
        ("too much", vec![says(Pass, NOW + 61)], format!("{ahead} until 10061] until 10061")),
        ("it hides no failure", vec![says(Fail, 500), says(Pass, NOW + 3_600)], failed.to_owned()),
        (
            "nor a pass",
            vec![says(Pass, 500), says(Pass, NOW + 3_600)],
            "ready v2 [qa@500] until -".to_owned(),
        ),
        ("a failure is believed", vec![says(Pass, 500), says(Fail, NOW + 3_600)], failed.to_owned()),
        ("a waiver is not", vec![waived(NOW + 3_600, None), says(Fail, 500)], failed.to_owned()),
    ] {
        let presence = [live("test", "v2", 1, None)];
        assert_eq!(asked(&verdicts, &presence, &policy(&["qa"])), wanted, "{what}");
    }
}

#[test]
fn a_waiver_opens_its_gate_for_its_time_whatever_the_gate_says() {
    use Judgement::{Fail, Pass};
    let failed = "held v2 [gate \"qa\" failed: GET /: 500, wanted 200 until -] until -";
    let opened = "ready v2 [qa@600 (an exercise)] until -";
    for (what, verdicts, wanted) in [
        ("nobody asked it", vec![waived(600, None)], opened),
        ("it failed", vec![says(Fail, 500), waived(600, None)], opened),
        ("it fails later", vec![waived(600, None), says(Fail, 700)], opened),
        (
            "for its time",
            vec![says(Fail, 500), waived(600, Some(NOW + 5))],
            "ready v2 [qa@600 (an exercise)] until 10005",
        ),
        ("its time is over", vec![says(Fail, 500), waived(600, Some(NOW))], failed),
        (
            "a later one that is over ends an earlier one",
            vec![says(Fail, 500), waived(550, None), waived(600, Some(700))],
            failed,
        ),
        ("a pass needs none", vec![says(Pass, 500), waived(600, Some(700))], "ready v2 [qa@500] until -"),
    ] {
        let presence = [live("test", "v2", 1, None)];
        assert_eq!(asked(&verdicts, &presence, &policy(&["qa"])), wanted, "{what}");
    }
}

#[test]
fn a_soak_is_a_time_without_a_break_and_without_a_failure_that_somebody_watched() {
    use Judgement::{Fail, NotYet, Pass};
    let soaking = |until: i64| format!("held v2 [it is not live for 16m40s yet until {until}] until {until}");
    let after = |until: i64| {
        format!(
            "held v2 [it is not live for 16m40s yet since gate \"qa\" failed until {until}] until {until}"
        )
    };
    let unseen = "held v2 [nobody has looked whether it was live for 16m40s until -] until -".to_owned();
    let ready = "ready v2 [] until -".to_owned();
    let last_seen = |since: i64, seen: i64| Presence { seen_at: at(seen), ..live("test", "v2", since, None) };
    let failed_elsewhere = |change: fn(&mut VerdictSubject)| {
        let mut verdict = says(Fail, 9_900);
        change(&mut verdict.subject);
        verdict
    };
    for (what, presence, verdicts, wanted) in [
        ("long enough", vec![live("test", "v2", 9_000, None)], vec![], ready.clone()),
        ("not long enough", vec![live("test", "v2", 9_001, None)], vec![], soaking(10_001)),
        ("since later than now", vec![live("test", "v2", 12_000, None)], vec![], soaking(13_000)),
        (
            "the same bytes under another tag, without a gap",
            vec![live("test", "v2", 9_500, None), live("test", "blue2", 8_000, Some(9_500))],
            vec![],
            ready.clone(),
        ),
        (
            "with a gap",
            vec![live("test", "v2", 9_500, None), live("test", "v2", 8_000, Some(9_400))],
            vec![],
            soaking(10_500),
        ),
        (
            "something else in between",
            vec![
                live("test", "v2", 9_500, None),
                live("test", "v3", 9_400, Some(9_500)),
                live("test", "v2", 8_000, Some(9_400)),
            ],
            vec![],
            soaking(10_500),
        ),
        ("last seen in time", vec![last_seen(8_000, 9_000)], vec![], ready.clone()),
        ("nobody looked since", vec![last_seen(8_000, 8_999)], vec![], unseen.clone()),
        ("a gate failed", vec![live("test", "v2", 1, None)], vec![says(Fail, 9_100)], after(10_100)),
        (
            "and passed again: the soak begins anew all the same",
            vec![live("test", "v2", 1, None)],
            vec![says(Fail, 9_100), says(Pass, 9_200)],
            after(10_100),
        ),
        ("long ago", vec![live("test", "v2", 1, None)], vec![says(Fail, 9_000)], ready.clone()),
        (
            "before it went live this time",
            vec![live("test", "v2", 8_000, None)],
            vec![says(Fail, 7_999)],
            ready.clone(),
        ),
        (
            "a failure, and nobody looked long enough behind it",
            vec![last_seen(1, 9_900)],
            vec![says(Fail, 8_950)],
            unseen,
        ),
        (
            "one that could not look",
            vec![live("test", "v2", 1, None)],
            vec![says(NotYet, 9_900)],
            ready.clone(),
        ),
        (
            "a gate that is waived",
            vec![live("test", "v2", 1, None)],
            vec![says(Fail, 9_900), waived(9_950, None)],
            ready.clone(),
        ),
        (
            "of other bytes",
            vec![live("test", "v2", 1, None)],
            vec![failed_elsewhere(|one| one.digest = release("v1").digest)],
            ready.clone(),
        ),
        (
            "in another environment",
            vec![live("test", "v2", 1, None)],
            vec![failed_elsewhere(|one| one.environment = environment("prod"))],
            ready,
        ),
    ] {
        let policy = Policy { soaks: soak(), ..policy(&[]) };
        assert_eq!(asked(&verdicts, &presence, &policy), wanted, "{what}");
    }
}

#[test]
fn a_frozen_environment_and_a_rejected_release_hold() {
    let freeze = |until: Option<i64>| Some(Freeze { until: until.map(at), why: "the sale".into() });
    let rejected = |tag: &str| {
        vec![Rejection {
            release: release(tag),
            rejected_at: at(5),
            by: "lee@laptop".into(),
            why: "gate failed: smoke".into(),
        }]
    };
    for (freeze, rejected, wanted) in [
        (freeze(None), vec![], "held v2 [the environment is frozen: the sale until -] until -"),
        (
            freeze(Some(NOW + 1)),
            vec![],
            "held v2 [the environment is frozen: the sale until 10001] until 10001",
        ),
        (freeze(Some(NOW)), vec![], "ready v2 [] until -"),
        (None, rejected("v1"), "ready v2 [] until -"),
        (
            None,
            rejected("blue2"),
            "held v2 [it was rejected by lee@laptop: gate failed: smoke until -] until -",
        ),
    ] {
        let policy = Policy { freeze, rejected, ..policy(&[]) };
        assert_eq!(asked(&[], &[live("test", "v2", 1, None)], &policy), wanted);
    }
}

/// All that holds is told at once; waiting helps only where nothing needs somebody.
#[test]
fn everything_that_holds_is_told_and_until_when_all_of_it_is_over() {
    let freeze = Freeze { until: Some(at(NOW + 300)), why: "the sale".into() };
    let policy = Policy { soaks: soak(), freeze: Some(freeze), ..policy(&["qa", "scan"]) };
    let presence = [live("test", "v2", 9_500, None)];
    let scanned = Verdict { gate: "scan".into(), ..says(Judgement::Pass, 9_600) };
    let verdicts = [says(Judgement::Pass, 9_600), scanned];
    let waits = "it is not live for 16m40s yet until 10500; the environment is frozen: the sale until 10300";
    assert_eq!(asked(&verdicts, &presence, &policy), format!("held v2 [{waits}] until 10500"));
    assert_eq!(
        asked(&verdicts[..1], &presence, &policy),
        format!("held v2 [gate \"scan\" was not asked about this release until -; {waits}] until -")
    );
}

#[test]
fn an_answer_is_json_that_reads_back() {
    let presence = [live("test", "v2", 9_500, None)];
    let policy = Policy { soaks: soak(), ..policy(&["qa"]) };
    let held = promotable(&[says(Judgement::Fail, 9_600)], &presence, &policy, at(NOW));
    let text = serde_json::to_string(&held).unwrap();
    assert_eq!(serde_json::from_str::<Promotable>(&text).unwrap(), held);
    let Promotable::Held { by, .. } = held else { panic!("{held:?}") };
    assert!(matches!(by[0].what, Holds::Failed { .. }) && text.contains(r#""promotable":"held""#), "{text}");
    let passed = promotable(&[says(Judgement::Pass, 9_600)], &presence, &self::policy(&["qa"]), at(NOW));
    let text = serde_json::to_string(&passed).unwrap();
    assert_eq!(serde_json::from_str::<Promotable>(&text).unwrap(), passed);
}
