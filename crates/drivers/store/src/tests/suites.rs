//! One suite for both.

use lockgate_engine::conformance;
use lockgate_model::StateLocation;

use super::by_url;
use super::postgres::Postgres;
use crate::SqlStore;

async fn passes(location: &StateLocation) {
    let (one, other) = (SqlStore::new(location), SqlStore::new(location));
    conformance::journal(&one, &other).await;
    lockgate_ports::conformance::store::suite(&one, &other).await;
    conformance::lease_store(&one.lease("shop/web/prod"), &other.lease("shop/web/prod")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_the_promises_of_journal_store_and_lease() {
    let folder = tempfile::tempdir().unwrap();
    passes(&StateLocation::File(folder.path().join("state/journal.db"))).await;
}

#[test]
fn postgresql_keeps_the_promises_of_journal_store_and_lease() {
    let Some(postgres) = Postgres::start() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(passes(&by_url(&postgres.url("lockgate"))));
}
