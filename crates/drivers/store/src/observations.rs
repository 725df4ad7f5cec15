//! What our own prober saw.

use lockgate_model::{InvalidName, Millis, Observation, ProjectName, Tally, Timestamp};
use lockgate_ports::LookFilter;
use serde::Serialize;

use crate::connection::{Connection, Row, Value};
use crate::error::Trouble;
use crate::filter::Conditions;
use crate::record::{damaged, to_json};

/// A row as it goes into the statement.
#[derive(Serialize)]
struct Look<'a> {
    project: &'a str,
    service: &'a str,
    environment: &'a str,
    at: i64,
    probe: &'a str,
    seen_by: &'a str,
    digest: &'a str,
    ok: i64,
    latency: Option<u64>,
    seen: &'a str,
}

/// All of them in one statement.
pub(crate) async fn add(connection: &mut Connection, looks: &[Observation]) -> Result<(), Trouble> {
    let looks: Vec<Observation> = looks.iter().cloned().map(Observation::bounded).collect();
    let rows: Vec<Look<'_>> = looks
        .iter()
        .map(|look| Look {
            project: look.project.as_str(),
            service: look.service.as_str(),
            environment: look.environment.as_str(),
            at: look.at.0,
            probe: &look.probe,
            seen_by: &look.by,
            digest: look.digest.as_ref().map_or("", |digest| digest.as_str()),
            ok: i64::from(look.ok),
            latency: look.latency.map(|latency| latency.0),
            seen: &look.seen,
        })
        .collect();
    let text = |name: &str| format!("value ->> '{name}'");
    let whole = |name: &str| format!("CAST(value ->> '{name}' AS BIGINT)");
    let columns = [
        text("project"),
        text("service"),
        text("environment"),
        whole("at"),
        text("probe"),
        text("seen_by"),
        text("digest"),
        whole("ok"),
        whole("latency"),
        text("seen"),
    ];
    let sql = format!(
        "INSERT INTO observations (project, service, environment, at, probe, seen_by, digest, ok, latency, seen) \
         SELECT {} FROM {} WHERE 1 = 1 ON CONFLICT DO NOTHING",
        columns.join(", "),
        connection.dialect().each(1)
    );
    connection.change(sql, &[to_json(&rows)?.into()]).await?;
    Ok(())
}

pub(crate) async fn list(
    connection: &mut Connection,
    filter: &LookFilter,
    limit: u32,
) -> Result<Vec<Observation>, Trouble> {
    let (wanted, values) =
        Conditions::of_looks("observations", filter).ending("at DESC, probe DESC, seen_by DESC", limit);
    let sql = format!(
        "SELECT CAST(project AS TEXT) AS project, CAST(service AS TEXT) AS service, \
         CAST(environment AS TEXT) AS environment, CAST(at AS BIGINT) AS at, CAST(probe AS TEXT) AS probe, \
         CAST(seen_by AS TEXT) AS seen_by, CAST(digest AS TEXT) AS digest, CAST(ok AS BIGINT) AS ok, \
         CAST(latency AS BIGINT) AS latency, CAST(seen AS TEXT) AS seen FROM observations {wanted}"
    );
    connection.rows(sql, &values).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Observation, Trouble> {
    let name = |problem: InvalidName| damaged(format!("an observation: {problem}"));
    let digest = row.text("digest")?;
    let latency = row.whole_or_none("latency")?.map(u64::try_from).transpose();
    let look = Observation {
        project: row.text("project")?.parse().map_err(name)?,
        service: row.text("service")?.parse().map_err(name)?,
        environment: row.text("environment")?.parse().map_err(name)?,
        digest: (!digest.is_empty()).then(|| digest.parse()).transpose().map_err(name)?,
        probe: row.text("probe")?,
        at: Timestamp(row.whole("at")?),
        by: row.text("seen_by")?,
        ok: row.whole("ok")? == 1,
        latency: latency
            .map_err(|_| damaged("an observation: it took less than no time".to_owned()))?
            .map(Millis),
        seen: row.text("seen")?,
    };
    Ok(look.bounded())
}

pub(crate) async fn tally(connection: &mut Connection, filter: &LookFilter) -> Result<Tally, Trouble> {
    let (wanted, values) = Conditions::of_looks("observations", filter).wanted();
    let sql = format!(
        "SELECT CAST(COUNT(*) AS BIGINT) AS looks, CAST(SUM(1 - ok) AS BIGINT) AS failures, \
         CAST(MIN(at) AS BIGINT) AS first, CAST(MAX(at) AS BIGINT) AS last, CAST(MAX(gap) AS BIGINT) AS gap \
         FROM (SELECT at, ok, at - LAG(at) OVER (ORDER BY at) AS gap FROM observations {wanted}) AS looks"
    );
    let Some(row) = connection.row(sql, &values).await? else { return Ok(Tally::default()) };
    let count = |number: Option<i64>| {
        u64::try_from(number.unwrap_or(0)).map_err(|_| damaged("observations do not add up".to_owned()))
    };
    Ok(Tally {
        looks: count(row.whole_or_none("looks")?)?,
        failures: count(row.whole_or_none("failures")?)?,
        first: row.whole_or_none("first")?.map(Timestamp),
        last: row.whole_or_none("last")?.map(Timestamp),
        longest_gap: Millis(count(row.whole_or_none("gap")?)?),
    })
}

pub(crate) async fn forget(
    connection: &mut Connection,
    project: &ProjectName,
    before: Timestamp,
) -> Result<u64, Trouble> {
    let values: [Value; 2] = [project.as_str().into(), before.0.into()];
    Ok(connection.change("DELETE FROM observations WHERE project = $1 AND at < $2", &values).await?)
}
