//! Leases in the store, among those of hosts and instead of them. On a paused clock.

use std::sync::Arc;

use lockgate_engine::{LeaseError, LeaseStore, Leases, RunFile, conformance};
use lockgate_model::{
    FailureKind, HostId, Identity, Millis, Outcome, Place, Progress, RECORD_BYTES_MAX, RunEnd, RunId,
    Timestamp,
};

use crate::common::{self, Record};

fn leases(records: &[&Arc<Record>], session: &str) -> Leases {
    let identity = Identity {
        owner: format!("user of {session}"),
        boot_id: "boot".into(),
        pid: 7,
        started: 1,
        session: session.into(),
    };
    let stores = records.iter().map(|record| (*record).clone() as Arc<dyn LeaseStore>).collect();
    Leases { stores, identity, surely_dead: Arc::new(|_| false), ttl: Millis::from_secs(15) }
}

fn file() -> RunFile {
    RunFile::of(RunId(uuid::Uuid::from_u128(1)), &common::plan(Vec::new(), Vec::new())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_fakes_keep_the_promises_of_a_lease() {
    for record in [Record::of("web1"), Record::stored()] {
        conformance::lease_store(record.as_ref(), record.as_ref()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_environment_without_hosts_is_held_in_the_store() {
    let store = Record::stored();
    let first = leases(&[&store], "one").acquire().await.unwrap();
    assert!(first.is_at_rest());
    let Err(LeaseError::Held { place, holder, .. }) = leases(&[&store], "two").acquire().await else {
        panic!("it was taken twice")
    };
    assert_eq!((place, holder.owner.as_str()), (Place::Store, "user of one"));
    assert!(store.record().holder.unwrap().host.is_none());
    // A step of a host that has no lease of its own asks the store's.
    let web1 = HostId::new("web1").unwrap();
    for host in [None, Some(&web1)] {
        first.fence.check(host).await.unwrap();
    }
    first.fence.mark(&file(), Progress::Committed, None).await.unwrap();
    first.fence.fall_silent();
    let second = leases(&[&store], "two").acquire().await.unwrap();
    for host in [None, Some(&web1)] {
        let lost = first.fence.check(host).await.unwrap_err();
        assert_eq!((lost.kind, &lost.host), (FailureKind::LeaseLost, &None), "{lost}");
    }
    assert!(!second.is_at_rest() && second.unfinished.is_empty());
    let unfinished = second.stored.unfinished.as_ref().unwrap();
    assert_eq!((unfinished.run, unfinished.progress), (file().name.run, Progress::Committed));
    let outcome = Outcome::Succeeded { warnings: Vec::new() };
    let end = RunEnd { run: unfinished.run, at: Timestamp(1), outcome };
    second.fence.finish(&end, true).await.unwrap();
    assert!(store.files.lock().unwrap().is_empty());
    let third = leases(&[&store], "three").acquire().await.unwrap();
    assert!(third.is_at_rest());
    assert_eq!(third.stored.last.unwrap(), end, "it is nobody else's word");
    assert_eq!(third.stored.quiet, Some(Millis(0)));
    assert!(store.content.lock().unwrap().as_ref().unwrap().len() <= RECORD_BYTES_MAX);
}

#[tokio::test(start_paused = true)]
async fn hosts_and_the_store_are_held_together_or_not_at_all() {
    let (web1, web2, store) = (Record::of("web1"), Record::of("web2"), Record::stored());
    let all = || leases(&[&store, &web2, &web1], "one");
    let held = all().acquire().await.unwrap();
    held.fence.mark(&file(), Progress::Forward, None).await.unwrap();
    for record in [&web1, &web2, &store] {
        assert!(record.record().holder.is_some() && record.record().unfinished.is_some());
        assert_eq!(record.files.lock().unwrap().len(), 1);
    }
    held.fence.release().await.unwrap();
    let theirs = leases(&[&store], "other").acquire().await.unwrap();
    assert!(matches!(all().acquire().await, Err(LeaseError::Held { place: Place::Store, .. })));
    assert!(web1.record().holder.is_none() && web2.record().holder.is_none(), "they were given back");
    theirs.fence.release().await.unwrap();
    let again = all().acquire().await.unwrap();
    assert_eq!(again.unfinished.keys().map(HostId::as_str).collect::<Vec<_>>(), ["web1", "web2"]);
    assert!(again.stored.unfinished.is_some());
    // A step of one host asks that host's alone; one of none asks all.
    *store.is_silent.lock().unwrap() = true;
    again.fence.check(Some(&web1.host)).await.unwrap();
    assert_eq!(again.fence.check(None).await.unwrap_err().kind, FailureKind::Unreachable);
}
