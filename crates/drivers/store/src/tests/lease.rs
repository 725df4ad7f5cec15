use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lockgate_engine::{LeaseError, Leases, conformance};
use lockgate_model::{Identity, Millis};

use lockgate_engine::LeaseStore;
use lockgate_model::{FailureKind, LeaseRecord, StateLocation};

use crate::{SqlStore, StoreLease};

/// Which file another process of this program is to change.
const FILE: &str = "LOCKGATE_TEST_LEASES";

struct Folder {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn folder() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store/leases.db");
    Folder { _folder: folder, path }
}

fn store(path: impl Into<PathBuf>) -> SqlStore {
    SqlStore::new(&StateLocation::File(path.into()))
}

async fn lease(place: &Folder) -> StoreLease {
    let lease = store(&place.path).lease("shop/web/prod");
    lease.read().await.unwrap();
    lease
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_promises_of_a_lease() {
    let place = folder();
    conformance::lease_store(&lease(&place).await, &lease(&place).await).await;
}

/// Not a test: what the other process does.
#[tokio::test]
#[ignore = "the other process of the test below"]
async fn other() {
    let path = std::env::var(FILE).unwrap();
    conformance::rise(&store(path).lease("shop/web/prod")).await;
}

#[tokio::test]
async fn two_processes_lose_nothing_of_each_other() {
    let place = folder();
    let other = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["tests::lease::other", "--exact", "--ignored"]).env(FILE, &place.path);
        command.spawn().unwrap()
    };
    let mut others = [other(), other()];
    for one in &mut others {
        assert!(one.wait().unwrap().success());
    }
    let here = lease(&place).await;
    let risen = here.read().await.unwrap().0.token;
    conformance::rise(&here).await;
    let each = here.read().await.unwrap().0.token - risen;
    assert_eq!(risen, 2 * each, "each rose as often");
}

#[tokio::test]
async fn leases_of_other_names_in_the_file_are_others() {
    let place = folder();
    let (web, api) = (lease(&place).await, store(&place.path).lease("shop/api/prod"));
    let record = LeaseRecord { token: 7, ..LeaseRecord::default() };
    assert!(web.swap(None, &record).await.unwrap());
    assert_eq!(api.read().await.unwrap().0.token, 0);
    assert!(api.swap(None, &record).await.unwrap());
}

#[tokio::test]
async fn a_record_that_does_not_parse_is_never_a_free_lease() {
    let place = folder();
    let lease = lease(&place).await;
    lease
        .with(async |connection| {
            let sql = "INSERT INTO leases (name, record) VALUES ('shop/web/prod', '{\"token\":')";
            connection.run(sql).await
        })
        .await
        .unwrap();
    let failure = lease.read().await.unwrap_err();
    assert!(
        failure.message.contains("shop/web/prod") && failure.message.contains("does not parse"),
        "{failure}"
    );
    assert!(!failure.hints.is_empty());
}

/// The clock of a lease says how long ago a heartbeat was.
#[tokio::test]
async fn its_clock_is_the_machines() {
    let place = folder();
    let lease = lease(&place).await;
    let file = std::fs::metadata(&place.path).unwrap().modified().unwrap();
    let made = file.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let (_, _, now) = lease.read().await.unwrap();
    let now = u128::try_from(now.0).unwrap();
    assert!(now.abs_diff(made) < 60_000, "{now} {made}");
}

fn leases(store: Arc<dyn LeaseStore>, session: &str) -> Leases {
    let identity = Identity {
        owner: "kim@desk".into(),
        boot_id: "boot".into(),
        pid: 7,
        started: 1,
        session: session.into(),
    };
    Leases { stores: vec![store], identity, surely_dead: Arc::new(|_| false), ttl: Millis::from_secs(15) }
}

#[tokio::test]
async fn one_session_at_a_time_holds_it() {
    let place = folder();
    let (one, two) = (Arc::new(lease(&place).await), Arc::new(lease(&place).await));
    let first = leases(one, "one").acquire().await.unwrap();
    first.fence.check(None).await.unwrap();
    let other = leases(two, "two");
    let watching = tokio::time::timeout(Duration::from_secs(1), other.acquire()).await;
    assert!(!matches!(watching, Ok(Ok(_))), "it was taken twice");
    first.fence.release().await.unwrap();
    let second = other.acquire().await.unwrap();
    second.fence.check(None).await.unwrap();
    let lost = first.fence.check(None).await.unwrap_err();
    assert_eq!(lost.kind, FailureKind::LeaseLost);
    let error = LeaseError::Host(lost);
    assert!(error.to_string().contains("was taken over by"), "{error}");
}

#[tokio::test]
async fn what_is_not_ours_is_refused() {
    let place = folder();
    drop(lease(&place).await);
    let folder = place.path.parent().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder, open).unwrap();
    let failure = store(&place.path).lease("x").read().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    assert!(failure.hints.to_string().contains("chmod go-w"));
}
