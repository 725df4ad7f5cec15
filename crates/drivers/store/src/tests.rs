//! Both databases against their suites; a file's bad days, and a server's.

mod damage;
mod lease;
mod listing;
mod migration;
#[path = "../../../../tests/support/postgres.rs"]
mod postgres;
mod server;
mod speed;
mod suites;

use std::path::{Path, PathBuf};

use lockgate_engine::JournalError;
use lockgate_model::{PostgresUrl, StateLocation};

use crate::SqlStore;
use crate::connection::Connection;
use crate::database::Database;

/// A store in a file, connected.
async fn open(path: impl Into<PathBuf>) -> Result<SqlStore, JournalError> {
    let store = SqlStore::new(&StateLocation::File(path.into()));
    store.connect().await?;
    Ok(store)
}

/// A way to the file beside the store's own, which has the schema.
async fn raw(path: &Path) -> Connection {
    Database::new(&StateLocation::File(path.to_owned())).connect().await.unwrap()
}

fn by_url(url: &str) -> StateLocation {
    StateLocation::Postgres(PostgresUrl::new(url).unwrap())
}
