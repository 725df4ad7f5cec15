//! What every [`LeaseStore`] and every [`Journal`](crate::Journal) promises, as suites that each of them runs.

mod journal;

pub use journal::journal;

use lockgate_model::{
    Begun, Checksum, EnvironmentName, Failure, FailureKind, Gates, Identity, Intent, LeaseRecord, Millis,
    Place, Plan, PlanPlace, Progress, ProjectName, Release, RunFileName, RunId, ServiceName, Strategy,
};

use crate::{LeaseStore, RunFile};

/// Swaps of each of two callers beside each other.
const SWAPS: u64 = 40;
/// How often one of them may lose against the other.
const ATTEMPTS_MAX: u64 = 10_000;

/// `one` and `other` are two ways to the same record, which is not there yet.
///
/// # Panics
/// When a promise is broken.
pub async fn lease_store(one: &dyn LeaseStore, other: &dyn LeaseStore) {
    assert_eq!(one.place(), other.place());
    records_are_swapped(one, other).await;
    nothing_is_lost_between_two(one, other).await;
    plans_are_kept(one, other).await;
}

async fn records_are_swapped(one: &dyn LeaseStore, other: &dyn LeaseStore) {
    let (record, version, began) = one.read().await.unwrap();
    assert_eq!((record, version.is_none()), (LeaseRecord::default(), true), "there is none yet");
    let first = held(one.place(), 1);
    assert!(one.swap(None, &first).await.unwrap(), "where none was");
    assert!(!one.swap(None, &held(one.place(), 9)).await.unwrap(), "where one is");
    assert!(!other.swap(Some(b"{}"), &held(one.place(), 9)).await.unwrap(), "another version");
    let (seen, version, now) = other.read().await.unwrap();
    assert_eq!(seen, first, "what one wrote the other reads");
    assert!(now >= began, "the place's clock goes on");
    let (token, holder, _) = other.glance().await.unwrap();
    assert_eq!((token, holder), (1, first.holder.clone()));
    let second = LeaseRecord { token: 2, holder: None, ..first };
    assert!(other.swap(version.as_deref(), &second).await.unwrap());
    assert!(!one.swap(version.as_deref(), &held(one.place(), 9)).await.unwrap(), "an old version");
    for store in [one, other] {
        assert_eq!(store.read().await.unwrap().0, second);
        let (token, holder, _) = store.glance().await.unwrap();
        assert_eq!((token, holder), (2, None));
    }
}

async fn nothing_is_lost_between_two(one: &dyn LeaseStore, other: &dyn LeaseStore) {
    let before = one.read().await.unwrap().0.token;
    tokio::join!(rise(one), rise(other));
    assert_eq!(other.read().await.unwrap().0.token, before + 2 * SWAPS);
}

/// Adds one to the token, again and again.
pub async fn rise(store: &dyn LeaseStore) {
    let mut risen = 0;
    for _ in 0..ATTEMPTS_MAX {
        if risen == SWAPS {
            return;
        }
        let (mut record, version, _) = store.read().await.unwrap();
        record.token += 1;
        risen += u64::from(store.swap(version.as_deref(), &record).await.unwrap());
    }
    panic!("it loses for ever");
}

async fn plans_are_kept(one: &dyn LeaseStore, other: &dyn LeaseStore) {
    let file = |number| RunFile::of(RunId(uuid::Uuid::from_u128(number)), &plan()).unwrap();
    let (first, second) = (file(1), file(2));
    assert_eq!(other.plan(&first.name).await.unwrap_err().kind, FailureKind::NotFound);
    assert_eq!(one.files().await.unwrap(), []);
    for kept in [&first, &second, &first] {
        one.keep(kept).await.unwrap();
    }
    assert_eq!(other.plan(&first.name).await.unwrap(), plan());
    let mut files = other.files().await.unwrap();
    files.sort();
    assert_eq!(files, [first.name.clone(), second.name.clone()]);
    for _ in 0..2 {
        other.forget(&first.name).await.unwrap();
        assert_eq!(one.files().await.unwrap(), std::slice::from_ref(&second.name));
    }
    let another = RunFileName { run: first.name.run, checksum: Checksum::of(b"another") };
    one.keep(&RunFile { name: another.clone(), content: second.content.clone() }).await.unwrap();
    let damaged = other.plan(&another).await.unwrap_err();
    assert_eq!(damaged.kind, FailureKind::Other, "{damaged}");
    one.forget(&another).await.unwrap();
    one.forget(&second.name).await.unwrap();
    let (record, version, _) = one.read().await.unwrap();
    let begun = Begun {
        run: first.name.run,
        plan: PlanPlace::Beside(first.name.checksum.clone()),
        progress: Progress::Unwinding,
        cause: Some(Failure::new(FailureKind::Unhealthy, "it does not answer")),
    };
    let record = LeaseRecord { unfinished: Some(begun), ..record };
    assert!(one.swap(version.as_deref(), &record).await.unwrap());
    assert_eq!(other.read().await.unwrap().0, record);
}

fn held(place: &Place, token: u64) -> LeaseRecord {
    let identity = Identity {
        owner: "kim@desk".into(),
        boot_id: "boot".into(),
        pid: 7,
        started: 1,
        session: "one".into(),
    };
    let holder = identity.holder(place, lockgate_model::Timestamp(5), Millis::from_secs(15));
    LeaseRecord { token, holder: Some(holder), ..LeaseRecord::default() }
}

fn plan() -> Plan {
    let release = Release {
        service: ServiceName::new("web").unwrap(),
        tag: "v1".parse().unwrap(),
        digest: format!("sha256:{}", "1".repeat(64)).parse().unwrap(),
        image: None,
        commit: None,
        provenance: None,
    };
    Plan {
        project: ProjectName::new("p").unwrap(),
        service: release.service.clone(),
        environment: EnvironmentName::new("prod").unwrap(),
        strategy: Strategy::BlueGreen,
        intent: Intent::Deploy { release: release.clone(), gates: Gates::All, again: false },
        hosts: Vec::new(),
        without: Vec::new(),
        before: std::collections::BTreeMap::new(),
        release,
        phases: Vec::new(),
    }
}
