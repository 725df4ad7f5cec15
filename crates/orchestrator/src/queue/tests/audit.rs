//! What the audit has of calls.

use lockgate_model::AuditChain;

use super::*;
use crate::queue::RefusedCall;

/// Result, by whom, from where, how many, and what of it.
async fn shown(world: &World) -> Vec<String> {
    let records = world.audit().await;
    let line = |record: AuditRecord| {
        let entry = record.entry;
        let (result, from) = (entry.result.unwrap_or_default(), entry.from.unwrap_or_default());
        let count = entry.count.map(|count| format!(" ×{count}")).unwrap_or_default();
        format!("{result}{count} | {} | {from} | {}", entry.by, entry.detail)
    };
    records.into_iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn every_call_is_in_it_with_who_from_where_what_and_its_result() {
    let world = World::new();
    let queue = world.daemon().await;
    let ticket = accepted(&queue, named("v1", "a")).await;
    answer(&ticket).await;
    accepted(&queue, named("v1", "a")).await;
    refused(&queue, named("v2", "a")).await;
    soon(queue.leave()).await;
    let lines = shown(&world).await;
    let digest = Digest::of(b"v1");
    assert_eq!(
        lines,
        [
            "accepted | ci acme/shop#17 | 192.0.2.7 | v1 (abcdef01) at /deploy, as a".to_owned(),
            format!("deployed | ci acme/shop#17 | 192.0.2.7 | v1 ({})", digest.short()),
            format!("repeated | ci acme/shop#17 | 192.0.2.7 | at /deploy: it is run {}", ticket.run),
            "differs | ci acme/shop#17 | 192.0.2.7 | at /deploy: the id a was used before, for another body"
                .to_owned(),
        ]
    );
    let records = world.audit().await;
    assert!(records[..2].iter().all(|record| record.entry.run == Some(ticket.run)));
    assert_eq!(records[1].entry.digest, Some(digest));
    let mut chain = AuditChain::default();
    for link in world.store.audit_links(0, 100).await.unwrap() {
        chain.check(&link).unwrap();
    }
    assert_eq!(chain.next(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refused_calls_is_a_few_entries_a_second() {
    let world = World::new();
    let queue = world.daemon().await;
    let flood = |from: String| RefusedCall {
        from,
        endpoint: Some("/deploy".into()),
        status: DeployStatus::Unauthorized,
        service: None,
        environment: None,
        detail: "no signature".into(),
    };
    for _ in 0..3 {
        for _ in 0..10_000 {
            queue.note(flood("192.0.2.66".into()));
        }
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    let lines = shown(&world).await;
    let wanted = "unauthorized ×10000 | unknown | 192.0.2.66 | at /deploy: no signature";
    assert_eq!(lines, [wanted; 3]);
    for number in 0..10_000 {
        queue.note(flood(format!("2001:db8::{number:x}")));
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let lines = shown(&world).await;
    assert_eq!(lines.len(), 3 + 50 + 1, "{lines:?}");
    assert!(lines.last().unwrap().starts_with("refused ×9950 | unknown | several | "), "{lines:?}");
    assert_eq!(queue.counts().refused.get(&DeployStatus::Unauthorized), Some(&40_000));
}
