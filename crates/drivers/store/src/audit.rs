//! Who did what: rows that are added, never changed or removed.

use lockgate_engine::JournalError;
use lockgate_model::{AuditEntry, AuditRecord, FailureKind};
use lockgate_ports::AuditFilter;

use crate::connection::{Connection, Value};
use crate::error::Trouble;
use crate::filter::Conditions;
use crate::record::{damaged, from_json, to_json};

/// How often a number is asked for while others take the same one.
const NUMBER_TRIES_MAX: u32 = 100;

pub(crate) async fn add(connection: &mut Connection, entry: &AuditEntry) -> Result<u64, Trouble> {
    let entry = entry.clone().bounded();
    let values: [Value; 2] = [entry.project.as_str().into(), to_json(&entry)?.into()];
    let sql = "INSERT INTO audit (seq, project, entry) \
               SELECT COALESCE(MAX(seq), -1) + 1, $1, $2 FROM audit WHERE 1 = 1 \
               ON CONFLICT DO NOTHING RETURNING CAST(seq AS BIGINT) AS seq";
    for _ in 0..NUMBER_TRIES_MAX {
        if let Some(row) = connection.row(sql, &values).await? {
            return Ok(number(row.whole("seq")?)?);
        }
    }
    Err(JournalError::Unusable {
        kind: FailureKind::Conflict,
        message: "others add to the audit all the time".to_owned(),
        hint: "try again".to_owned(),
    }
    .into())
}

pub(crate) async fn list(
    connection: &mut Connection,
    filter: &AuditFilter,
) -> Result<Vec<AuditRecord>, Trouble> {
    let before = filter.before.map(|before| i64::try_from(before).unwrap_or(i64::MAX));
    let (wanted, values) = Conditions::on("audit")
        .and("project =", Some(filter.project.as_str()))
        .and("seq <", before)
        .ending("seq DESC", filter.limit);
    let sql = format!("SELECT CAST(seq AS BIGINT) AS seq, CAST(entry AS TEXT) AS entry FROM audit {wanted}");
    let mut records = Vec::new();
    for row in connection.rows(sql, &values).await? {
        let seq = number(row.whole("seq")?)?;
        let entry: AuditEntry = from_json(&row.text("entry")?, &format!("entry {seq} of the audit"))?;
        records.push(AuditRecord { seq, entry: entry.bounded() });
    }
    Ok(records)
}

fn number(seq: i64) -> Result<u64, JournalError> {
    u64::try_from(seq).map_err(|_| damaged(format!("entry {seq} of the audit has no such number")))
}
