//! Verdicts, whole.

use lockgate_model::Verdict;
use lockgate_ports::RecordFilter;

use crate::connection::{Connection, Value};
use crate::error::Trouble;
use crate::filter::Conditions;
use crate::record::{damaged, from_json, hex, to_json};

pub(crate) async fn add(connection: &mut Connection, verdict: &Verdict) -> Result<(), Trouble> {
    let verdict = verdict.clone().bounded();
    let text = to_json(&verdict)?;
    let subject = &verdict.subject;
    let values: [Value; 7] = [
        subject.project.as_str().into(),
        subject.service.as_str().into(),
        subject.environment.as_str().into(),
        subject.digest.as_str().into(),
        verdict.at.0.into(),
        hex(&text).into(),
        text.into(),
    ];
    let sql = "INSERT INTO verdicts (project, service, environment, digest, at, id, verdict) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    connection.change(sql, &values).await?;
    Ok(())
}

pub(crate) async fn list(
    connection: &mut Connection,
    filter: &RecordFilter,
) -> Result<Vec<Verdict>, Trouble> {
    let (wanted, values) = Conditions::of_records("verdicts", filter).ending("at DESC, id", filter.limit);
    let sql =
        format!("SELECT CAST(id AS TEXT) AS id, CAST(verdict AS TEXT) AS verdict FROM verdicts {wanted}");
    let mut verdicts = Vec::new();
    for row in connection.rows(sql, &values).await? {
        let text = row.text("verdict")?;
        if hex(&text) != row.text("id")? {
            return Err(damaged("a verdict: its checksum does not match".to_owned()).into());
        }
        verdicts.push(from_json::<Verdict>(&text, "a verdict")?.bounded());
    }
    Ok(verdicts)
}
