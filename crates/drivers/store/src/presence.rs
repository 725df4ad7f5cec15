//! What is live where, from when to when.

use lockgate_engine::JournalError;
use lockgate_model::{
    EnvironmentName, EventKind, Outcome, Presence, ProjectName, Release, SeenLive, ServiceName, Timestamp,
};
use lockgate_ports::RecordFilter;

use crate::connection::{Connection, Row, Value};
use crate::error::Trouble;
use crate::filter::Conditions;
use crate::record::{RunRow, damaged, from_json, to_json};

/// Whether a run's release is live from this event on.
pub(crate) fn goes_live(kind: &EventKind) -> bool {
    matches!(kind, EventKind::RunEnded { outcome: Outcome::Succeeded { .. } })
}

/// What a run that has succeeded changes, in the transaction that says so: only if its summary was written, which has the
/// values 1 and 8. `values` gets what the statements need.
pub(crate) fn of_run(run: &RunRow, values: &mut Vec<Value>) -> [String; 3] {
    let first = values.len() + 1;
    let texts = [&run.project, &run.service, &run.environment, &run.digest, &run.release];
    values.extend(texts.map(|text| text.as_str().into()));
    values.extend([run.ended_at.into(), run.run.as_str().into()]);
    statements(first, " AND EXISTS (SELECT 1 FROM runs WHERE runs.run = $1 AND runs.checksum = $8)")
}

/// With seven values from `$first` on: project, service, environment, digest, release, time, run. Each does nothing where
/// another one is right, so that nothing need be read between them.
fn statements(first: usize, guard: &str) -> [String; 3] {
    let [project, service, environment, digest, release, at, run] =
        [0, 1, 2, 3, 4, 5, 6].map(|offset| format!("${}", first + offset));
    let place = format!("project = {project} AND service = {service} AND environment = {environment}");
    [
        format!(
            "UPDATE presence SET seen_at = {at} WHERE {place} AND until IS NULL AND digest = {digest} \
             AND seen_at < {at}{guard}"
        ),
        format!(
            "UPDATE presence SET until = {at} WHERE {place} AND until IS NULL AND digest <> {digest} \
             AND seen_at < {at}{guard}"
        ),
        format!(
            "INSERT INTO presence (project, service, environment, since, seen_at, digest, release, run) \
             SELECT {project}, {service}, {environment}, {at}, {at}, {digest}, {release}, {run} \
             WHERE NOT EXISTS (SELECT 1 FROM presence WHERE {place} \
             AND (until IS NULL OR since >= {at} OR until > {at})){guard} ON CONFLICT DO NOTHING"
        ),
    ]
}

pub(crate) async fn saw_live(connection: &mut Connection, seen: &SeenLive) -> Result<(), Trouble> {
    let SeenLive { project, environment, release, at, run } = seen;
    let values: [Value; 7] = [
        project.as_str().into(),
        release.service.as_str().into(),
        environment.as_str().into(),
        release.digest.as_str().into(),
        to_json(release)?.into(),
        at.0.into(),
        run.map(|run| run.to_string()).into(),
    ];
    connection.transact(&statements(1, ""), &values).await?;
    Ok(())
}

pub(crate) async fn saw_nothing_live(
    connection: &mut Connection,
    project: &ProjectName,
    service: &ServiceName,
    environment: &EnvironmentName,
    at: Timestamp,
) -> Result<(), Trouble> {
    let values: [Value; 4] =
        [project.as_str().into(), service.as_str().into(), environment.as_str().into(), at.0.into()];
    let sql = "UPDATE presence SET until = $4 WHERE project = $1 AND service = $2 AND environment = $3 \
               AND until IS NULL AND seen_at < $4";
    connection.change(sql, &values).await?;
    Ok(())
}

pub(crate) async fn list(
    connection: &mut Connection,
    filter: &RecordFilter,
) -> Result<Vec<Presence>, Trouble> {
    let (wanted, values) =
        Conditions::of_records("presence", filter).ending("since DESC, service", filter.limit);
    let sql = format!(
        "SELECT CAST(project AS TEXT) AS project, CAST(environment AS TEXT) AS environment, \
         CAST(release AS TEXT) AS release, CAST(since AS BIGINT) AS since, CAST(seen_at AS BIGINT) AS seen_at, \
         CAST(until AS BIGINT) AS until, CAST(run AS TEXT) AS run FROM presence {wanted}"
    );
    let rows = connection.rows(sql, &values).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Presence, Trouble> {
    let release: Release = from_json(&row.text("release")?, "a presence")?;
    let name = |problem: lockgate_model::InvalidName| damaged(format!("a presence: {problem}"));
    let run = row.text_or_none("run")?.map(|run| run.parse()).transpose();
    Ok(Presence {
        project: row.text("project")?.parse().map_err(name)?,
        environment: row.text("environment")?.parse().map_err(name)?,
        release,
        since: Timestamp(row.whole("since")?),
        seen_at: Timestamp(row.whole("seen_at")?),
        until: row.whole_or_none("until")?.map(Timestamp),
        run: run.map_err(|_| -> JournalError { damaged("a presence: its run has no id".to_owned()) })?,
    })
}
