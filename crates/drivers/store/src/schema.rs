//! The schema's versions: what is there is brought up to this program's, in place and in one transaction; a newer one is
//! refused. `sqlx::migrate!` would cost a table, two queries and a lock at every start of a command.

use lockgate_engine::JournalError;
use lockgate_model::FailureKind;

use crate::audit;
use crate::backfill;
use crate::connection::Connection;
use crate::database::Database;
use crate::dialect::Dialect;
use crate::error::{Trouble, is_missing, newer};

/// Each brings the schema of the version before to the next one, the first an empty database to version 1.
const STEPS: [&str; 3] = [include_str!("sql/1.sql"), include_str!("sql/2.sql"), include_str!("sql/3.sql")];
/// The version that this program reads and writes.
pub(crate) const VERSION: i64 = 3;
/// PostgreSQL's schema for our tables, so that a database can be shared with others.
pub(crate) const NAME: &str = "lockgate";
/// Who makes or changes the schema holds this lock of the database. The number is ours by habit only.
const MIGRATION_LOCK: i64 = 0x6c6f_636b_6761_7465;
/// Longest wait in PostgreSQL for another one that brings the schema up, and for one step of it.
const MIGRATE_SECONDS_MAX: u64 = 120;

/// Of a file: SQLite's `user_version`. Of a server: the row of a table; what must hold for a session is asked and set in the
/// same statement.
const SERVER_VERSION: &str = "SELECT CAST(version AS BIGINT) AS version, \
     CAST(current_setting('server_encoding') AS TEXT) AS encoding, \
     CAST(set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' \
     ELSE current_setting('synchronous_commit') END, false) AS TEXT) AS durable FROM lockgate.schema_version";

/// Brings the schema to [`VERSION`].
pub(crate) async fn bring_up(database: &Database, connection: &mut Connection) -> Result<(), Trouble> {
    let found = match version(database, connection).await {
        Err(Trouble::Sql(problem)) if is_missing(&problem) => 0,
        found => found?,
    };
    require_known(database, found)?;
    if found == VERSION {
        return Ok(());
    }
    begin(connection).await?;
    // Another process may have been first.
    let found = version(database, connection).await?;
    require_known(database, found)?;
    for (version, step) in (1..).zip(STEPS) {
        if version > found {
            connection.run(connection.dialect().schema(step)).await?;
        }
    }
    if found > 0 {
        backfill::fill_in(connection).await?;
        audit::chain_the_unchained(connection).await?;
    }
    match connection {
        Connection::Sqlite(_) => connection.run(format!("PRAGMA user_version = {VERSION}")).await?,
        Connection::Postgres(_) => {
            connection.run(format!("UPDATE lockgate.schema_version SET version = {VERSION}")).await?;
        }
    }
    connection.run("COMMIT").await?;
    // What must hold for the session was set in a transaction that may have been cut off.
    version(database, connection).await.map(|_| ())
}

/// Whether what is there may be used: it is not newer.
pub(crate) async fn require_usable(database: &Database, connection: &mut Connection) -> Result<(), Trouble> {
    let found = version(database, connection).await?;
    require_known(database, found)?;
    Ok(())
}

/// Whether a database without our schema can get it.
pub(crate) async fn require_room(database: &Database, connection: &mut Connection) -> Result<(), Trouble> {
    let sql = "SELECT CAST(has_database_privilege(current_database(), 'CREATE') AS TEXT) AS may";
    let may = connection.row(sql, &[]).await?.map(|row| row.text("may")).transpose()?;
    if may.as_deref() == Some("true") {
        return Ok(());
    }
    Err(Trouble::Told(JournalError::Unusable {
        kind: FailureKind::Unauthorized,
        message: format!("{}: the user may not make the schema {NAME} in it", database.place()),
        hint: "let the user make it: `GRANT CREATE ON DATABASE … TO …`".to_owned(),
    }))
}

fn require_known(database: &Database, found: i64) -> Result<(), JournalError> {
    match found <= VERSION {
        true => Ok(()),
        false => Err(newer(&database.place(), found, VERSION)),
    }
}

/// 0 of a new file. An error that [is about something missing](is_missing) of a server without our schema.
async fn version(database: &Database, connection: &mut Connection) -> Result<i64, Trouble> {
    let missing =
        || JournalError::Damaged { message: format!("{}: its version is missing", database.place()) };
    if connection.dialect() == Dialect::Sqlite {
        let row = connection.row("PRAGMA user_version", &[]).await?.ok_or_else(missing)?;
        return Ok(row.whole("user_version")?);
    }
    let row = connection.row(SERVER_VERSION, &[]).await?.ok_or_else(missing)?;
    let encoding = row.text("encoding")?;
    if encoding != "UTF8" {
        return Err(Trouble::Told(JournalError::Unusable {
            kind: FailureKind::Refused,
            message: format!("{}: the database's encoding is {encoding}", database.place()),
            hint: "make another one: `createdb --encoding UTF8 --template template0 DATABASE`".to_owned(),
        }));
    }
    Ok(row.whole("version")?)
}

/// Begins the transaction in which the schema is changed; nobody else does that until its end.
async fn begin(connection: &mut Connection) -> Result<(), Trouble> {
    connection.run(connection.dialect().begin_writing()).await?;
    if connection.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let millis = MIGRATE_SECONDS_MAX * 1_000;
    connection
        .run(format!(
            "SET LOCAL statement_timeout = {millis}; SET LOCAL lock_timeout = {millis}; \
             SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
        ))
        .await?;
    // Also when the schema is there, `CREATE … IF NOT EXISTS` asks whether the user could make it.
    let sql = "SELECT CAST(to_regclass('lockgate.schema_version') IS NOT NULL AS TEXT) AS there, \
               CAST(to_regnamespace('lockgate') IS NOT NULL AS TEXT) AS room";
    let found = connection.row(sql, &[]).await?;
    let is = |column: &str| found.as_ref().map(|row| row.text(column)).transpose();
    if is("room")?.as_deref() != Some("true") {
        connection.run(format!("CREATE SCHEMA {NAME}")).await?;
    }
    if is("there")?.as_deref() != Some("true") {
        connection
            .run(
                "CREATE TABLE lockgate.schema_version (version BIGINT NOT NULL); \
                 INSERT INTO lockgate.schema_version (version) VALUES (0)",
            )
            .await?;
    }
    Ok(())
}
