//! Calls that are kept with their deliveries, many at once, and the audit's chain over all that came before.

use lockgate_model::{
    AuditChain, By, CommitSha, DeliveryAnswer, DeployCall, Incoming, Millis, Received, Repeat, Requester,
    RunId, Tag, Timestamp, WebhookDelivery,
};

use super::records::{answer, delivery, digest, entry, environment, project, run, service};
use crate::{Answering, AuditFilter, Batch, RECORDS_MAX, Store};

/// Deliveries in one batch.
const TOGETHER: u128 = 300;

pub(super) async fn suite(one: &dyn Store, other: &dyn Store) {
    a_batch_is_kept_together_in_its_order(one, other).await;
    a_batch_may_be_given_again(one, other).await;
    what_is_too_large_keeps_nothing_of_its_batch(one, other).await;
    a_body_without_a_name_is_the_same_for_a_while(one, other).await;
    what_was_not_begun_is_taken_up_again_under_its_run(one, other).await;
    what_has_made_bytes_live_is_found_by_them(one, other).await;
    who_has_had_its_turn_after_another_is_known(one, other).await;
    only_what_was_answered_long_ago_is_forgotten(one, other).await;
    all_of_the_audit_is_one_chain(one, other).await;
}

fn call(of: &str) -> DeployCall {
    DeployCall {
        endpoint: "/deploy".into(),
        id: None,
        body: digest(of),
        service: service("web"),
        environment: environment("prod"),
        tag: Tag::new(of).unwrap_or_else(|error| panic!("{error}")),
        sha: CommitSha::new("a".repeat(40)).unwrap_or_else(|error| panic!("{error}")),
        committed_at: Some(Timestamp(7)),
        sent_at: None,
        force: false,
        requester: Requester::new(By::Ci, "acme/shop 'x' \"y\" \\ ü"),
        from: "192.0.2.7".into(),
        timeout: Millis(1),
        repeated: Millis(1),
    }
}

/// In a project of its own; with `body` as the tag, too.
fn incoming(of: &str, id: &str, body: &str, number: u128) -> Incoming {
    let delivery = WebhookDelivery { project: project(of), ..delivery(id, body, number) };
    let entry = entry(of, &format!("{id} came"));
    Incoming {
        delivery: WebhookDelivery { call: Some(call(body)), ..delivery },
        same_since: None,
        only_known: false,
        entry: Some(entry),
    }
}

fn nameless(of: &str, body: &str, number: u128, since: i64) -> Incoming {
    Incoming { same_since: Some(Timestamp(since)), ..incoming(of, &format!("run {number}"), body, number) }
}

fn answering(incoming: &Incoming, answer: DeliveryAnswer) -> Answering {
    let WebhookDelivery { project, endpoint, id, .. } = incoming.delivery.clone();
    let entry = entry(project.as_str(), &format!("{id} was answered"));
    Answering { project, endpoint, id, answer, entry: Some(entry) }
}

async fn received(store: &dyn Store, incoming: &Incoming) -> Received {
    let batch = Batch { incoming: vec![incoming.clone()], ..Batch::default() };
    store.keep(&batch).await.unwrap_or_else(|error| panic!("{error}")).received.remove(0)
}

async fn answered(store: &dyn Store, incoming: &Incoming, answer: DeliveryAnswer) {
    let batch = Batch { answers: vec![answering(incoming, answer.clone())], ..Batch::default() };
    assert_eq!(store.keep(&batch).await.unwrap().answers, [Some(answer)]);
}

async fn details(store: &dyn Store, of: &str) -> Vec<String> {
    let filter = AuditFilter { project: project(of), before: None, limit: RECORDS_MAX };
    let newest_first = store.audit(&filter).await.unwrap();
    newest_first.into_iter().rev().map(|record| record.entry.detail).collect()
}

async fn open_runs(store: &dyn Store, of: &str) -> Vec<RunId> {
    let open = store.unanswered(&project(of), RECORDS_MAX).await.unwrap();
    open.into_iter().map(|delivery| delivery.run).collect()
}

async fn a_batch_is_kept_together_in_its_order(one: &dyn Store, other: &dyn Store) {
    assert_eq!(
        one.keep(&Batch::default()).await.unwrap(),
        crate::Kept { received: Vec::new(), arrived: Vec::new(), answers: Vec::new(), entries: Vec::new() }
    );
    // Their ids sort otherwise than they came, and all came at once.
    let mut all: Vec<Incoming> = (0..TOGETHER)
        .map(|number| incoming("together", &format!("{:03}", TOGETHER - number), "v1", number))
        .collect();
    all.iter_mut().for_each(|incoming| incoming.delivery.at = Timestamp(5));
    // The same twice in one batch, and one with another body.
    all.push(incoming("together", "001", "v1", 900));
    all.push(incoming("together", "002", "v2", 901));
    let gone = incoming("together", "gone", "v1", 902);
    let answers = vec![
        answering(&all[0], answer(200, "a", 6)),
        answering(&all[0], answer(500, "b", 7)),
        answering(&gone, answer(200, "c", 8)),
    ];
    let entries = vec![entry("together", "alone"), entry("another", "elsewhere")];
    let kept = one.keep(&Batch { incoming: all.clone(), answers, entries }).await.unwrap();
    let (first, rest) = kept.received.split_at(TOGETHER as usize);
    assert!(first.iter().all(|received| *received == Received::First), "{first:?}");
    let at = |index: usize| all[index].delivery.clone();
    let (last, before) = (TOGETHER as usize - 1, TOGETHER as usize - 2);
    assert_eq!(rest[0], Received::Again { first: at(last), answer: None });
    assert_eq!(rest[1], Received::Differs { first: at(before) });
    let answer = answer(200, "a", 6);
    assert_eq!(kept.answers, [Some(answer.clone()), Some(answer.clone()), None]);
    assert_eq!(kept.entries[1], kept.entries[0] + 1);
    assert!(kept.arrived[0] > 0 && kept.arrived[..=last].windows(2).all(|two| two[0] + 1 == two[1]));
    assert_eq!(kept.arrived[last + 1..], [kept.arrived[last], kept.arrived[before]]);
    let runs: Vec<RunId> = (1..TOGETHER).map(run).collect();
    assert_eq!(open_runs(other, "together").await, runs, "in order of arrival, but for what was answered");
    let limited = other.unanswered(&project("together"), 2).await.unwrap();
    assert_eq!(limited, [at(1), at(2)], "whole, the oldest first");
    assert_eq!(other.delivery_of(&project("together"), run(0)).await.unwrap(), Some((at(0), Some(answer))));
    assert_eq!(other.delivery_of(&project("together"), run(3)).await.unwrap(), Some((at(3), None)));
    assert_eq!(other.delivery_of(&project("another"), run(3)).await.unwrap(), None);
    assert_eq!(other.delivery_of(&project("together"), run(900)).await.unwrap(), None);
    let mut wanted: Vec<String> =
        all[..=last].iter().map(|one| format!("{} came", one.delivery.id)).collect();
    wanted.extend([format!("{TOGETHER} was answered"), "alone".to_owned()]);
    assert_eq!(details(other, "together").await, wanted);
}

async fn a_batch_may_be_given_again(one: &dyn Store, other: &dyn Store) {
    let (first, second) = (incoming("again", "a", "v1", 1), nameless("again", "v2", 2, 0));
    let batch = Batch { incoming: vec![first.clone(), second.clone()], ..Batch::default() };
    for store in [one, other] {
        assert_eq!(store.keep(&batch).await.unwrap().received, [Received::First, Received::First]);
    }
    let answers = Batch { answers: vec![answering(&first, answer(200, "a", 3))], ..Batch::default() };
    for store in [other, one] {
        assert_eq!(store.keep(&answers).await.unwrap().answers, [Some(answer(200, "a", 3))]);
    }
    assert_eq!(details(one, "again").await, ["a came", "run 2 came", "a was answered"]);
}

async fn what_is_too_large_keeps_nothing_of_its_batch(one: &dyn Store, other: &dyn Store) {
    let first = incoming("large", "a", "v1", 1);
    let large = answer(200, &"x".repeat(lockgate_model::ANSWER_BYTES_MAX + 1), 3);
    let batch = Batch {
        incoming: vec![first.clone()],
        answers: vec![answering(&first, large)],
        entries: vec![entry("large", "")],
    };
    let error = one.keep(&batch).await.unwrap_err();
    assert_eq!(error.kind, lockgate_model::FailureKind::TooLarge, "{error}");
    assert_eq!((details(other, "large").await.len(), open_runs(other, "large").await.len()), (0, 0));
}

async fn a_body_without_a_name_is_the_same_for_a_while(one: &dyn Store, other: &dyn Store) {
    let first = nameless("bodies", "v1", 10, 0);
    assert_eq!(received(one, &first).await, Received::First);
    let same = |answer| Received::Again { first: first.delivery.clone(), answer };
    assert_eq!(received(other, &nameless("bodies", "v1", 11, 10)).await, same(None));
    let done = answer(200, "a", 3);
    answered(one, &first, done.clone()).await;
    assert_eq!(received(other, &nameless("bodies", "v1", 12, 10)).await, same(Some(done.clone())));
    let stale = Incoming { only_known: true, ..nameless("bodies", "v9", 13, 0) };
    assert_eq!(received(other, &stale).await, Received::Unknown);
    // For another service, and for another project.
    let mut api = nameless("bodies", "v2", 14, 0);
    api.delivery.call.iter_mut().for_each(|call| call.service = service("api"));
    assert_eq!(received(one, &api).await, Received::First);
    assert_eq!(received(one, &nameless("bodies2", "v1", 15, 0)).await, Received::First);
    assert_eq!(received(other, &nameless("bodies", "v1", 16, 10)).await, same(Some(done)));
    assert_eq!(received(one, &nameless("bodies", "v3", 17, 0)).await, Received::First);
    let overtaken = Received::Overtaken { first: first.delivery.clone() };
    assert_eq!(received(other, &nameless("bodies", "v1", 18, 10)).await, overtaken);
    assert_eq!(received(other, &nameless("bodies", "v1", 19, 11)).await, Received::First, "long ago");
    assert_eq!(open_runs(other, "bodies").await, [run(14), run(17), run(19)]);
}

async fn what_was_not_begun_is_taken_up_again_under_its_run(one: &dyn Store, other: &dyn Store) {
    let (first, second) = (incoming("anew", "a", "v1", 1), incoming("anew", "b", "v2", 2));
    assert_eq!(received(one, &first).await, Received::First);
    assert_eq!(received(one, &second).await, Received::First);
    answered(one, &first, DeliveryAnswer { repeat: Repeat::Anew, live: None, ..answer(423, "held", 3) })
        .await;
    let again = incoming("anew", "a", "v1", 9);
    let anew = WebhookDelivery { run: run(1), ..again.delivery.clone() };
    assert_eq!(received(other, &again).await, Received::Anew { first: anew.clone() });
    assert_eq!(open_runs(one, "anew").await, [run(2), run(1)], "it has come just now");
    assert_eq!(one.delivery_of(&project("anew"), run(1)).await.unwrap(), Some((anew, None)));
    let filter = AuditFilter { project: project("anew"), before: None, limit: 1 };
    assert_eq!(one.audit(&filter).await.unwrap()[0].entry.detail, "a came");
    answered(other, &first, answer(200, "a", 12)).await;
}

async fn what_has_made_bytes_live_is_found_by_them(one: &dyn Store, other: &dyn Store) {
    let mut all: Vec<Incoming> =
        (1..=5).map(|number| incoming("live", &format!("{}", 9 - number), "v1", number)).collect();
    // Somebody has called by hand, who knows no times.
    all[4].delivery.call = Some(DeployCall { committed_at: None, ..call("v1") });
    for (number, incoming) in (1..).zip(&all) {
        assert_eq!(received(one, incoming).await, Received::First);
        let live = match number {
            1 | 2 | 5 => Some(digest("v1")),
            3 => Some(digest("v2")),
            _ => None,
        };
        answered(one, incoming, DeliveryAnswer { live, ..answer(200, "", number) }).await;
    }
    let made = async |of: &str, mark: &str| {
        let found =
            other.made_live(&project("live"), &service(of), &environment("prod"), &digest(mark)).await;
        found.unwrap().map(|delivery| delivery.run)
    };
    assert_eq!(made("web", "v1").await, Some(run(2)), "the latest that says when its commit was made");
    assert_eq!(made("web", "v2").await, Some(run(3)));
    assert_eq!((made("web", "v3").await, made("api", "v1").await), (None, None));
}

async fn who_has_had_its_turn_after_another_is_known(one: &dyn Store, other: &dyn Store) {
    let all: Vec<Incoming> =
        (1..=4).map(|number| incoming("turns", &(9 - number).to_string(), "v1", number)).collect();
    for incoming in &all {
        received(one, incoming).await;
    }
    let after = async |number| other.settled_after(&project("turns"), run(number)).await.unwrap();
    answered(one, &all[3], DeliveryAnswer { settled: false, ..answer(409, "", 9) }).await;
    assert_eq!(after(1).await, None);
    answered(one, &all[2], answer(200, "", 9)).await;
    answered(one, &all[1], answer(502, "", 9)).await;
    assert_eq!((after(1).await, after(2).await), (Some(run(3)), Some(run(3))), "the latest");
    assert_eq!((after(3).await, after(4).await, after(77).await), (None, None, None));
}

async fn only_what_was_answered_long_ago_is_forgotten(one: &dyn Store, other: &dyn Store) {
    let all: Vec<Incoming> =
        (1..=4).map(|number| incoming("old", &number.to_string(), "v1", number)).collect();
    for incoming in &all {
        received(one, incoming).await;
    }
    for incoming in [&all[0], &all[2], &all[3]] {
        answered(one, incoming, answer(200, "", 9)).await;
    }
    assert_eq!(other.forget_deliveries(&project("old"), Timestamp(4)).await.unwrap(), 2);
    assert_eq!(other.forget_deliveries(&project("old"), Timestamp(4)).await.unwrap(), 0);
    let left = one.deliveries(&project("old"), 9).await.unwrap();
    let left: Vec<RunId> = left.into_iter().map(|(delivery, _)| delivery.run).collect();
    assert_eq!(left, [run(4), run(2)]);
    assert_eq!(received(one, &all[0]).await, Received::First);
}

async fn all_of_the_audit_is_one_chain(one: &dyn Store, other: &dyn Store) {
    let mut chain = AuditChain::default();
    loop {
        let links = one.audit_links(chain.next(), 100).await.unwrap();
        for link in &links {
            chain.check(link).unwrap_or_else(|broken| panic!("{broken:?}: {link:?}"));
        }
        if links.is_empty() {
            break;
        }
    }
    let last = chain.last().unwrap_or_else(|| panic!("there are entries")).clone();
    let number = other.note(&entry("audit", "one more")).await.unwrap();
    assert_eq!(number, last.seq + 1);
    let links = one.audit_links(number, 100).await.unwrap();
    assert_eq!(links.len(), 1);
    chain.check(&links[0]).unwrap_or_else(|broken| panic!("{broken:?}"));
    let filter = AuditFilter { project: project("audit"), before: None, limit: 1 };
    assert_eq!(one.audit(&filter).await.unwrap()[0].hash, links[0].hash);
    assert_eq!(one.audit_links(number + 1, 100).await.unwrap(), []);
}
