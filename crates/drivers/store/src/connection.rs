//! One connection to either database.
//!
//! Every selected column is an expression (a cast to the type it has): for bare columns of SQLite sqlx asks for the declared
//! type, and panics when a damaged schema gives one that is not UTF-8.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::dialect::Dialect;

/// sqlx's own `Any` takes nothing but a URL: no way to open a file with the settings that make it durable, nor to say which
/// certificates are believed.
pub(crate) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A value for a `$1` of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Whole(Option<i64>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Whole(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Value::Whole(number)
    }
}

pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn text(&self, column: &str) -> Result<String, sqlx::Error> {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }

    pub(crate) fn text_or_none(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }

    pub(crate) fn whole(&self, column: &str) -> Result<i64, sqlx::Error> {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }

    pub(crate) fn whole_or_none(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }
}

/// Binds all values to a query of either database.
macro_rules! bound {
    ($sql:expr, $values:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($sql));
        for value in $values {
            query = match value {
                Value::Text(text) => query.bind(text.as_deref()),
                Value::Whole(number) => query.bind(*number),
            };
        }
        query
    }};
}

impl Connection {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Connection::Sqlite(_) => Dialect::Sqlite,
            Connection::Postgres(_) => Dialect::Postgres,
        }
    }

    /// All SQL is put together from words of this crate; what comes from outside is in `values`.
    pub(crate) async fn rows(
        &mut self,
        sql: impl Into<String>,
        values: &[Value],
    ) -> Result<Vec<Row>, sqlx::Error> {
        let sql: String = sql.into();
        match self {
            Connection::Sqlite(connection) => {
                let rows = bound!(sql, values).fetch_all(connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Connection::Postgres(connection) => {
                let rows = bound!(sql, values).fetch_all(connection).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The first row, if there is one.
    pub(crate) async fn row(
        &mut self,
        sql: impl Into<String>,
        values: &[Value],
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// How many rows it changed.
    pub(crate) async fn change(
        &mut self,
        sql: impl Into<String>,
        values: &[Value],
    ) -> Result<u64, sqlx::Error> {
        let sql: String = sql.into();
        match self {
            Connection::Sqlite(connection) => {
                Ok(bound!(sql, values).execute(connection).await?.rows_affected())
            }
            Connection::Postgres(connection) => {
                Ok(bound!(sql, values).execute(connection).await?.rows_affected())
            }
        }
    }

    /// Several statements without values, separated by `;`.
    pub(crate) async fn run(&mut self, sql: impl Into<String>) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.into()));
        match self {
            Connection::Sqlite(connection) => sql.execute(connection).await.map(|_| ()),
            Connection::Postgres(connection) => sql.execute(connection).await.map(|_| ()),
        }
    }

    /// The statements in one transaction, with the values that each of them names; the rows that they return, together.
    ///
    /// To SQLite in one call, for each is a way to its thread and back, which takes longer than the disk. After an error the
    /// transaction is open, and the connection not to be used any more.
    pub(crate) async fn transact(
        &mut self,
        statements: &[String],
        values: &[Value],
    ) -> Result<Vec<Row>, sqlx::Error> {
        let begin = self.dialect().begin_writing();
        if let Connection::Sqlite(_) = self {
            return self.rows(format!("{begin}; {}; COMMIT", statements.join("; ")), values).await;
        }
        let mut rows = Vec::new();
        self.run(begin).await?;
        for statement in statements {
            // Prepared by its text, with as many values as it was given then.
            rows.extend(self.rows(statement, &values[..highest_named(statement)]).await?);
        }
        self.run("COMMIT").await?;
        Ok(rows)
    }

    /// Ends the open transaction with statements that each name their own value `$1`. To SQLite in one call, as
    /// [`Connection::transact`].
    pub(crate) async fn finish(&mut self, statements: Vec<(String, Value)>) -> Result<(), sqlx::Error> {
        if let Connection::Sqlite(_) = self {
            let numbered =
                (1..).zip(&statements).map(|(number, (sql, _))| sql.replace("$1", &format!("${number}")));
            let mut sql: Vec<String> = numbered.collect();
            sql.push("COMMIT".to_owned());
            let values: Vec<Value> = statements.into_iter().map(|(_, value)| value).collect();
            return self.rows(sql.join("; "), &values).await.map(|_| ());
        }
        for (sql, value) in statements {
            self.change(sql, &[value]).await?;
        }
        self.run("COMMIT").await
    }

    /// Whether a server still answers on it. A file is always there.
    pub(crate) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Connection::Sqlite(_) => Ok(()),
            Connection::Postgres(connection) => connection.ping().await,
        }
    }

    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Connection::Sqlite(connection) => connection.close().await,
            Connection::Postgres(connection) => connection.close().await,
        }
    }
}

/// The number of the last value that a statement names.
fn highest_named(statement: &str) -> usize {
    let numbers = statement.split('$').skip(1).map(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().unwrap_or(0)
    });
    numbers.max().unwrap_or(0)
}
