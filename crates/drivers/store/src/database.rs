//! Where a store is, and how a connection to it is made.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lockgate_engine::JournalError;
use lockgate_model::{FailureKind, PostgresUrl, StateLocation};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection as _};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::{Trouble, UP, from_sqlx, is_busy, is_missing};
use crate::{file, schema};

/// Pause between two tries to open while another process makes the file.
const OPEN_PAUSE_MILLIS: u64 = 10;
/// For a connection to a server, with its login.
pub(crate) const CONNECT_SECONDS_MAX: u64 = 5;
/// For one statement, on the server: whoever waits has given up by then.
const STATEMENT_SECONDS_MAX: u64 = 10;
/// For others' locks, on the server.
const LOCK_SECONDS_MAX: u64 = 5;
/// After which the server ends a transaction that its client has left open: one that was cut off from the network holds
/// nobody up for longer.
const IDLE_SECONDS_MAX: u64 = 15;

pub(crate) enum Database {
    File {
        path: PathBuf,
        options: SqliteConnectOptions,
    },
    /// `None` when sqlx cannot read the URL.
    Server {
        url: PostgresUrl,
        options: Option<Box<PgConnectOptions>>,
    },
}

/// The options have the password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.place())
    }
}

impl Database {
    pub(crate) fn new(location: &StateLocation) -> Self {
        match location {
            StateLocation::File(path) => Database::File { path: path.clone(), options: file::options(path) },
            StateLocation::Postgres(url) => {
                Database::Server { url: url.clone(), options: server_options(url).map(Box::new) }
            }
        }
    }

    /// For people: nothing secret.
    pub(crate) fn place(&self) -> String {
        match self {
            Database::File { path, .. } => path.display().to_string(),
            Database::Server { url, .. } => url.to_string(),
        }
    }

    /// A connection to a database that has the schema.
    pub(crate) async fn connect(&self) -> Result<Connection, JournalError> {
        match self {
            Database::File { path, options } => {
                file::prepare(path)?;
                self.connect_file(options).await
            }
            Database::Server { .. } => {
                let mut connection = self.reach().await?;
                schema::bring_up(self, &mut connection).await.map_err(|trouble| trouble.told(self))?;
                Ok(connection)
            }
        }
    }

    async fn connect_file(&self, options: &SqliteConnectOptions) -> Result<Connection, JournalError> {
        let deadline = Instant::now() + Duration::from_secs(file::BUSY_SECONDS_MAX);
        loop {
            let opened = async {
                let mut connection = Connection::Sqlite(SqliteConnection::connect_with(options).await?);
                schema::bring_up(self, &mut connection).await?;
                Ok(connection)
            };
            match opened.await {
                // Turning a new file to write-ahead logging does not wait for others by itself.
                Err(Trouble::Sql(problem)) if is_busy(&problem) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(OPEN_PAUSE_MILLIS)).await;
                }
                done => return done.map_err(|trouble: Trouble| trouble.told(self)),
            }
        }
    }

    /// A connection to the server, whatever is in it.
    async fn reach(&self) -> Result<Connection, JournalError> {
        let Database::Server { options: Some(options), .. } = self else {
            return Err(JournalError::Unusable {
                kind: FailureKind::Refused,
                message: format!("{}: its URL cannot be read", self.place()),
                hint: "write `state: postgres://USER@HOST/DATABASE` into lockgate.yaml".to_owned(),
            });
        };
        let bound = Duration::from_secs(CONNECT_SECONDS_MAX);
        match tokio::time::timeout(bound, PgConnection::connect_with(options)).await {
            Ok(Ok(connection)) => Ok(Connection::Postgres(connection)),
            Ok(Err(problem)) => Err(from_sqlx(self, &problem)),
            Err(_) => Err(JournalError::Unusable {
                kind: FailureKind::Unreachable,
                message: format!("{}: no connection within {CONNECT_SECONDS_MAX} s", self.place()),
                hint: UP.to_owned(),
            }),
        }
    }

    /// Whether it can be used, as far as that can be seen without making or changing anything.
    pub(crate) async fn look(&self) -> Result<(), JournalError> {
        let path = match self {
            Database::File { path, .. } => path,
            Database::Server { .. } => return self.look_at_server().await,
        };
        file::require_own(path)
    }

    async fn look_at_server(&self) -> Result<(), JournalError> {
        let mut connection = self.reach().await?;
        let looked = match schema::require_usable(self, &mut connection).await {
            Err(Trouble::Sql(problem)) if is_missing(&problem) => {
                schema::require_room(self, &mut connection).await
            }
            looked => looked,
        };
        looked.map_err(|trouble| trouble.told(self))
    }
}

fn server_options(url: &PostgresUrl) -> Option<PgConnectOptions> {
    let read = PgConnectOptions::from_str(url.reveal()).ok()?;
    let read = match url.must_verify() {
        true => read.ssl_mode(PgSslMode::VerifyFull),
        false => read,
    };
    let read = match read.get_application_name() {
        Some(_) => read,
        None => read.application_name("lockgate"),
    };
    let millis = |seconds: u64| (seconds * 1_000).to_string();
    let read = read
        .options([
            ("search_path", schema::NAME.to_owned()),
            ("statement_timeout", millis(STATEMENT_SECONDS_MAX)),
            ("lock_timeout", millis(LOCK_SECONDS_MAX)),
            ("idle_in_transaction_session_timeout", millis(IDLE_SECONDS_MAX)),
        ])
        .disable_statement_logging();
    Some(read)
}
