//! The store suite.

mod calls;
mod records;

use lockgate_model::{
    ANSWER_BYTES_MAX, DeliveryAnswer, DeliveryId, Evidence, FailureKind, GateVerdict, Millis, Observation,
    Presence, Received, Release, Repeat, SeenLive, Tag, Timestamp, Verdict, VerdictStamp, VerdictSubject,
    WebhookDelivery,
};

use self::records::{ODD, answer, delivery, digest, entry, environment, project, run, service};
use crate::{AuditFilter, LookFilter, RecordFilter, Store};

/// Deliveries, sights and entries that two callers make beside each other.
const BESIDE: usize = 20;

/// Every case, one after another. `one` and `other` are two ways to the same store, in which nothing is yet.
///
/// # Panics
/// With the case, what it wanted and what it saw.
pub async fn suite(one: &dyn Store, other: &dyn Store) {
    one.look().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(one.place(), other.place());
    verdicts_come_back_newest_first_by_what_they_are_about(one, other).await;
    a_presence_lasts_until_something_else_is_seen(one, other).await;
    sights_of_two_at_once_leave_one_open_presence(one, other).await;
    looks_are_counted_with_their_gaps(one, other).await;
    a_delivery_is_the_first_for_exactly_one(one, other).await;
    the_first_answer_is_kept(one, other).await;
    the_audit_numbers_what_it_is_given(one, other).await;
    calls::suite(one, other).await;
}

fn verdict(of: &str, gate: &str, mark: &str, at: i64) -> Verdict {
    let subject = VerdictSubject {
        project: project("verdicts"),
        service: service(of),
        environment: environment("test"),
        digest: digest(mark),
    };
    let evidence = Evidence { check: "GET /".into(), wanted: "200".into(), seen: ODD.into(), ok: true };
    let stamp = VerdictStamp {
        at: Timestamp(at),
        by: "kim@desk".into(),
        run: Some(run(7)),
        holds_until: Some(Timestamp(at + 9)),
    };
    Verdict::of(subject, GateVerdict::judge(gate, vec![evidence]), stamp)
}

async fn verdicts_come_back_newest_first_by_what_they_are_about(one: &dyn Store, other: &dyn Store) {
    let old = verdict("web", "http", "v1", 1);
    let new = verdict("web", "http", "v1", 5);
    let same_time = verdict("web", "scan", "v2", 5);
    let elsewhere = verdict("api", "http", "v1", 3);
    let waiver = Verdict::waiver(
        old.subject.clone(),
        "scan",
        ODD,
        VerdictStamp { at: Timestamp(9), by: "lee@laptop".into(), run: None, holds_until: None },
    );
    // One that was given twice is one, and what is too large is cut.
    let large = Verdict { gate: "x".repeat(10_000), at: Timestamp(0), ..old.clone() };
    for given in [&old, &new, &same_time, &elsewhere, &waiver, &new, &large] {
        one.add_verdict(given).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let all = RecordFilter::all(project("verdicts"));
    let times = |verdicts: &[Verdict]| verdicts.iter().map(|one| one.at.0).collect::<Vec<_>>();
    let listed = other.verdicts(&all).await.unwrap();
    assert_eq!(times(&listed), [9, 5, 5, 3, 1, 0]);
    assert_eq!(listed[0], waiver);
    assert!(listed.contains(&new) && listed.contains(&same_time) && listed.contains(&large.bounded()));
    let of = RecordFilter {
        service: Some(service("web")),
        environment: Some(environment("test")),
        digest: Some(digest("v1")),
        ..all.clone()
    };
    assert_eq!(times(&other.verdicts(&of).await.unwrap()), [9, 5, 1, 0]);
    assert_eq!(times(&other.verdicts(&RecordFilter { limit: 1, ..of }).await.unwrap()), [9]);
    let of = RecordFilter { environment: Some(environment("prod")), ..all };
    assert_eq!(other.verdicts(&of).await.unwrap(), []);
    assert_eq!(other.verdicts(&RecordFilter::all(project("another"))).await.unwrap(), []);
}

fn seen(of: &str, mark: &str, at: i64) -> SeenLive {
    let release = Release {
        service: service(of),
        tag: Tag::new(mark).unwrap_or_else(|error| panic!("{error}")),
        digest: digest(mark),
        image: Some("ghcr.io/acme/web".into()),
        commit: None,
        provenance: None,
    };
    SeenLive {
        project: project("presence"),
        environment: environment("prod"),
        release,
        at: Timestamp(at),
        run: None,
    }
}

/// Tag, since, last seen, until.
fn shown(presence: &[Presence]) -> Vec<(String, i64, i64, Option<i64>)> {
    let times = |one: &Presence| (one.since.0, one.seen_at.0, one.until.map(|until| until.0));
    let row = |one: &Presence| {
        let (since, seen_at, until) = times(one);
        (one.release.tag.to_string(), since, seen_at, until)
    };
    presence.iter().map(row).collect()
}

async fn a_presence_lasts_until_something_else_is_seen(one: &dyn Store, other: &dyn Store) {
    let sights = [
        SeenLive { run: Some(run(1)), ..seen("web", "v1", 100) },
        seen("web", "v1", 150),
        // Late, and said twice.
        seen("web", "v1", 120),
        seen("web", "v1", 150),
        SeenLive { run: Some(run(2)), ..seen("web", "v2", 200) },
        // From before: what was seen since then counts.
        seen("web", "v3", 150),
        seen("web", "v3", 200),
        seen("api", "v9", 10),
    ];
    for sight in &sights {
        one.saw_live(sight).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let of = RecordFilter { service: Some(service("web")), ..RecordFilter::all(project("presence")) };
    let listed = other.presence(&of).await.unwrap();
    assert_eq!(shown(&listed), [("v2".into(), 200, 200, None), ("v1".into(), 100, 150, Some(200))]);
    assert_eq!((listed[0].run, listed[1].run), (Some(run(2)), Some(run(1))));
    assert_eq!(listed[1].release, sights[0].release);
    let gone = |at| {
        other.saw_nothing_live(&of.project, &sights[0].release.service, &sights[0].environment, Timestamp(at))
    };
    for at in [200, 300, 310] {
        gone(at).await.unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(shown(&one.presence(&of).await.unwrap())[0], ("v2".into(), 200, 200, Some(300)));
    one.saw_live(&seen("web", "v1", 250)).await.unwrap();
    one.saw_live(&seen("web", "v1", 300)).await.unwrap();
    let listed = shown(&other.presence(&of).await.unwrap());
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0], ("v1".into(), 300, 300, None));
    let of = RecordFilter { digest: Some(digest("v9")), ..RecordFilter::all(project("presence")) };
    assert_eq!(shown(&other.presence(&of).await.unwrap()), [("v9".into(), 10, 10, None)]);
    let newest = RecordFilter { limit: 2, ..RecordFilter::all(project("presence")) };
    assert_eq!(other.presence(&newest).await.unwrap().len(), 2);
}

async fn sights_of_two_at_once_leave_one_open_presence(one: &dyn Store, other: &dyn Store) {
    let see = async |store: &dyn Store, offset: i64| {
        for number in 0..i64::try_from(BESIDE).unwrap_or(i64::MAX) {
            let mark = format!("v{}", number % 3);
            store.saw_live(&seen("busy", &mark, 1_000 + 2 * number + offset)).await.unwrap();
        }
    };
    tokio::join!(see(one, 0), see(other, 1));
    let of = RecordFilter { service: Some(service("busy")), ..RecordFilter::all(project("presence")) };
    let listed = one.presence(&of).await.unwrap();
    assert_eq!(listed.iter().filter(|presence| presence.is_open()).count(), 1, "{listed:?}");
    assert!(listed[0].is_open());
    for pair in listed.windows(2) {
        let ended = pair[1].until.unwrap_or_else(|| panic!("{pair:?}"));
        assert!(ended <= pair[0].since && pair[1].since < ended, "{pair:?}");
    }
}

fn look(probe: &str, mark: Option<&str>, at: i64, ok: bool) -> Observation {
    Observation {
        project: project("looks"),
        service: service("web"),
        environment: environment("test"),
        digest: mark.map(digest),
        probe: probe.into(),
        at: Timestamp(at),
        by: "monitor@m1".into(),
        ok,
        latency: ok.then_some(Millis(12)),
        seen: "200".into(),
    }
}

async fn looks_are_counted_with_their_gaps(one: &dyn Store, other: &dyn Store) {
    let of = LookFilter {
        project: project("looks"),
        service: service("web"),
        environment: environment("test"),
        digest: None,
        probe: None,
        from: Timestamp(0),
        to: Timestamp(1_000),
    };
    assert_eq!(one.tally(&of).await.unwrap(), lockgate_model::Tally::default(), "nobody looked");
    one.observe(&[]).await.unwrap();
    let odd = Observation { seen: ODD.into(), ..look("GET /", None, 60, false) };
    let looks = [
        look("GET /", Some("v1"), 10, true),
        look("GET /health", Some("v1"), 10, true),
        look("GET /", Some("v1"), 20, true),
        odd.clone(),
        look("GET /", Some("v2"), 1_000, false),
    ];
    one.observe(&looks).await.unwrap_or_else(|error| panic!("{error}"));
    // Said again, and otherwise.
    one.observe(&[look("GET /", Some("v1"), 10, false), looks[2].clone()]).await.unwrap();
    let tally = other.tally(&of).await.unwrap();
    assert_eq!((tally.looks, tally.failures, tally.longest_gap), (4, 1, Millis(40)));
    assert_eq!((tally.first, tally.last), (Some(Timestamp(10)), Some(Timestamp(60))));
    let tally = other.tally(&LookFilter { digest: Some(digest("v1")), ..of.clone() }).await.unwrap();
    assert_eq!((tally.looks, tally.failures, tally.longest_gap), (3, 0, Millis(10)));
    let health = LookFilter { probe: Some("GET /health".into()), ..of.clone() };
    assert_eq!(other.tally(&health).await.unwrap().looks, 1);
    let later = LookFilter { from: Timestamp(20), to: Timestamp(1_001), ..of.clone() };
    let listed = other.observations(&later, 2).await.unwrap();
    assert_eq!(listed, [looks[4].clone(), odd.bounded()]);
    assert_eq!(one.forget_observations(&of.project, Timestamp(20)).await.unwrap(), 2);
    assert_eq!(one.forget_observations(&project("another"), Timestamp(20_000)).await.unwrap(), 0);
    assert_eq!(other.tally(&of).await.unwrap().looks, 2);
}

async fn a_delivery_is_the_first_for_exactly_one(one: &dyn Store, other: &dyn Store) {
    let first = delivery("a", "{}", 1);
    assert_eq!(one.receive(&first).await.unwrap(), Received::First);
    assert_eq!(other.receive(&first).await.unwrap(), Received::First, "it was this very one");
    let again = delivery("a", "{}", 2);
    assert_eq!(other.receive(&again).await.unwrap(), Received::Again { first: first.clone(), answer: None });
    let differs = delivery("a", "{ }", 3);
    assert_eq!(other.receive(&differs).await.unwrap(), Received::Differs { first: first.clone() });
    for elsewhere in [
        WebhookDelivery { endpoint: "/other".into(), ..again.clone() },
        WebhookDelivery { project: project("hooks2"), ..again.clone() },
    ] {
        assert_eq!(one.receive(&elsewhere).await.unwrap(), Received::First);
    }
    for number in 0..BESIDE {
        let (number, id) = (100 + number as u128, format!("beside {number}"));
        let (mine, theirs) = (delivery(&id, "x", 2 * number), delivery(&id, "x", 2 * number + 1));
        let (mine, theirs) = tokio::join!(one.receive(&mine), other.receive(&theirs));
        let firsts = [mine.unwrap(), theirs.unwrap()];
        assert_eq!(firsts.iter().filter(|one| **one == Received::First).count(), 1, "{firsts:?}");
    }
}

async fn the_first_answer_is_kept(one: &dyn Store, other: &dyn Store) {
    let first = delivery("answered", "{}", 50);
    let unknown = DeliveryId::new("unknown");
    let answer = answer(202, &ODD.replace('\0', ""), 3);
    let error = one.answer(&first.project, &first.endpoint, &unknown, &answer).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound, "{error}");
    assert_eq!(one.receive(&first).await.unwrap(), Received::First);
    let large = DeliveryAnswer { body: "x".repeat(ANSWER_BYTES_MAX + 1), ..answer.clone() };
    let error = one.answer(&first.project, &first.endpoint, &first.id, &large).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::TooLarge, "{error}");
    let later = DeliveryAnswer { repeat: Repeat::Anew, live: None, ..records::answer(500, "", 4) };
    for (store, given) in [(one, &answer), (other, &later), (one, &answer)] {
        let kept = store.answer(&first.project, &first.endpoint, &first.id, given).await.unwrap();
        assert_eq!(kept, answer);
    }
    for known in [first.clone(), delivery("answered", "{}", 51)] {
        let again = Received::Again { first: first.clone(), answer: Some(answer.clone()) };
        assert_eq!(other.receive(&known).await.unwrap(), again);
    }
    let listed = other.deliveries(&first.project, 10_000).await.unwrap();
    let found = listed.iter().find(|(delivery, _)| delivery.id == first.id);
    assert_eq!(found, Some(&(first, Some(answer))));
    assert!(listed.windows(2).all(|pair| pair[0].0.at >= pair[1].0.at));
    assert_eq!(other.deliveries(&project("hooks"), 3).await.unwrap().len(), 3);
}

async fn the_audit_numbers_what_it_is_given(one: &dyn Store, other: &dyn Store) {
    let first = one.note(&entry("audit", ODD)).await.unwrap();
    // The same again is another one.
    assert_eq!(other.note(&entry("audit", ODD)).await.unwrap(), first + 1);
    assert_eq!(one.note(&entry("another", "")).await.unwrap(), first + 2);
    let add = async |store: &dyn Store| {
        for number in 0..BESIDE {
            store.note(&entry("audit", &number.to_string())).await.unwrap();
        }
    };
    tokio::join!(add(one), add(other));
    let of = AuditFilter { project: project("audit"), before: None, limit: 1_000 };
    let all = other.audit(&of).await.unwrap();
    assert_eq!(all.len(), 2 * BESIDE + 2);
    assert!(all.windows(2).all(|pair| pair[0].seq > pair[1].seq));
    assert_eq!(all.last().map(|record| record.entry.clone()), Some(entry("audit", ODD).bounded()));
    let page = other.audit(&AuditFilter { before: Some(all[4].seq), limit: 3, ..of }).await.unwrap();
    assert_eq!(page, all[5..8]);
}
