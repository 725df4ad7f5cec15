//! Who did what: rows that are added, never changed or removed, each chained to the one before it.

use lockgate_engine::JournalError;
use lockgate_model::{AuditEntry, AuditLink, AuditRecord};
use lockgate_ports::{AuditFilter, RECORDS_MAX};
use serde::Serialize;

use crate::connection::{Connection, Row, Value};
use crate::error::Trouble;
use crate::filter::Conditions;
use crate::record::{damaged, from_json, to_json};

/// Entries that are chained at once.
const PAGE: u32 = 500;

/// Where the audit ends, while nobody else adds to it.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// The number of the next entry.
    next: u64,
    /// The hash of the last one.
    hash: String,
}

/// A row as it goes into a statement.
#[derive(Debug, Serialize)]
pub(crate) struct Added {
    seq: u64,
    project: String,
    entry: String,
    chain: String,
}

impl End {
    /// Within a transaction in which nobody else adds. What a program of version 2 has added, which had the database open when
    /// the schema was brought up, is chained first.
    pub(crate) async fn find(connection: &mut Connection) -> Result<Self, Trouble> {
        let end = Self::look(connection).await?;
        if end.next == 0 || !end.hash.is_empty() {
            return Ok(end);
        }
        chain_the_unchained(connection).await?;
        Self::look(connection).await
    }

    async fn look(connection: &mut Connection) -> Result<Self, Trouble> {
        let sql = "SELECT CAST(seq AS BIGINT) AS seq, CAST(chain AS TEXT) AS chain FROM audit \
                   ORDER BY audit.seq DESC LIMIT 1";
        Ok(match connection.row(sql, &[]).await? {
            None => Self { next: 0, hash: String::new() },
            Some(row) => Self { next: number(row.whole("seq")?)? + 1, hash: row.text("chain")? },
        })
    }

    /// The row that is added for an entry; the end is behind it then.
    pub(crate) fn add(&mut self, entry: &AuditEntry) -> Result<Added, Trouble> {
        let entry = entry.clone().bounded();
        let link = AuditLink {
            seq: self.next,
            project: entry.project.to_string(),
            entry: to_json(&entry)?,
            hash: String::new(),
        };
        Ok(self.chain(link))
    }

    fn chain(&mut self, link: AuditLink) -> Added {
        let chain = link.hash_behind(&self.hash);
        (self.next, self.hash) = (link.seq + 1, chain.clone());
        Added { seq: link.seq, project: link.project, entry: link.entry, chain }
    }
}

impl Added {
    /// Its number.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
}

/// Adds the rows in the value `$1`.
pub(crate) fn insert(connection: &Connection) -> String {
    format!(
        "INSERT INTO audit (seq, project, entry, chain) SELECT CAST(item.value ->> 'seq' AS BIGINT), \
         item.value ->> 'project', item.value ->> 'entry', item.value ->> 'chain' FROM {}",
        connection.dialect().each(1)
    )
}

/// Gives their hashes to the entries behind the last one that has one. One without between others that have them stays as it
/// is: nobody of ours wrote that.
pub(crate) async fn chain_the_unchained(connection: &mut Connection) -> Result<(), Trouble> {
    let sql = "SELECT CAST(seq AS BIGINT) AS seq, CAST(chain AS TEXT) AS chain FROM audit \
               WHERE chain <> '' ORDER BY audit.seq DESC LIMIT 1";
    let mut end = match connection.row(sql, &[]).await? {
        None => End { next: 0, hash: String::new() },
        Some(row) => End { next: number(row.whole("seq")?)? + 1, hash: row.text("chain")? },
    };
    let sql = format!(
        "UPDATE audit SET chain = item.value ->> 'chain' FROM {} \
         WHERE audit.seq = CAST(item.value ->> 'seq' AS BIGINT)",
        connection.dialect().each(1)
    );
    loop {
        let links = links(connection, end.next, PAGE).await?;
        if links.is_empty() {
            return Ok(());
        }
        let rows: Vec<Added> = links.into_iter().map(|link| end.chain(link)).collect();
        connection.change(sql.clone(), &[to_json(&rows)?.into()]).await?;
    }
}

/// As they are kept, from a number on.
pub(crate) async fn links(
    connection: &mut Connection,
    from: u64,
    limit: u32,
) -> Result<Vec<AuditLink>, Trouble> {
    let sql = "SELECT CAST(seq AS BIGINT) AS seq, CAST(project AS TEXT) AS project, \
               CAST(entry AS TEXT) AS entry, CAST(chain AS TEXT) AS chain FROM audit \
               WHERE seq >= $1 ORDER BY audit.seq LIMIT $2";
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let values: [Value; 2] = [from.into(), i64::from(limit.min(RECORDS_MAX)).into()];
    connection.rows(sql, &values).await?.iter().map(link).collect()
}

/// A text that is none is what its hash does not match.
fn link(row: &Row) -> Result<AuditLink, Trouble> {
    Ok(AuditLink {
        seq: number(row.whole("seq")?)?,
        project: row.text("project").unwrap_or_default(),
        entry: row.text("entry").unwrap_or_default(),
        hash: row.text("chain").unwrap_or_default(),
    })
}

pub(crate) async fn list(
    connection: &mut Connection,
    filter: &AuditFilter,
) -> Result<Vec<AuditRecord>, Trouble> {
    let before = filter.before.map(|before| i64::try_from(before).unwrap_or(i64::MAX));
    let (wanted, values) = Conditions::on("audit")
        .and("project =", Some(filter.project.as_str()))
        .and("seq <", before)
        .ending("audit.seq DESC", filter.limit);
    let sql = format!(
        "SELECT CAST(seq AS BIGINT) AS seq, CAST(entry AS TEXT) AS entry, CAST(chain AS TEXT) AS chain \
         FROM audit {wanted}"
    );
    let mut records = Vec::new();
    for row in connection.rows(sql, &values).await? {
        let (seq, hash) = (number(row.whole("seq")?)?, row.text("chain")?);
        let entry: AuditEntry = from_json(&row.text("entry")?, &format!("entry {seq} of the audit"))?;
        records.push(AuditRecord { seq, hash, entry: entry.bounded() });
    }
    Ok(records)
}

fn number(seq: i64) -> Result<u64, JournalError> {
    u64::try_from(seq).map_err(|_| damaged(format!("entry {seq} of the audit has no such number")))
}
