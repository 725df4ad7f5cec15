//! Deliveries of webhooks: each has one effect (P9). Reading them; `keep.rs` writes.

use lockgate_model::{
    DeliveryAnswer, DeliveryId, Digest, EnvironmentName, InvalidName, ProjectName, RunId, ServiceName,
    Timestamp, WebhookDelivery,
};
use lockgate_ports::RECORDS_MAX;

use crate::connection::{Connection, Row, Value};
use crate::error::Trouble;
use crate::filter::Conditions;
use crate::record::{damaged, from_json};

/// What [`read`] reads.
pub(crate) const COLUMNS: &str = "CAST(deliveries.project AS TEXT) AS project, \
     CAST(deliveries.endpoint AS TEXT) AS endpoint, CAST(deliveries.id AS TEXT) AS id, \
     CAST(deliveries.body AS TEXT) AS body, CAST(deliveries.at AS BIGINT) AS at, \
     CAST(deliveries.run AS TEXT) AS run, CAST(deliveries.call AS TEXT) AS call, \
     CAST(deliveries.answer AS TEXT) AS answer, CAST(deliveries.seq AS BIGINT) AS seq";

/// Of so many calls for the same bytes one says when their commit was made, or it is not known.
const MADE_LIVE_MAX: u32 = 100;

/// A delivery with its answer, if it has one.
pub(crate) type Pair = (WebhookDelivery, Option<DeliveryAnswer>);

pub(crate) async fn list(
    connection: &mut Connection,
    project: &ProjectName,
    limit: u32,
) -> Result<Vec<Pair>, Trouble> {
    let (wanted, values) = Conditions::on("deliveries")
        .and("project =", Some(project.as_str()))
        .ending("deliveries.at DESC, deliveries.id DESC", limit);
    let rows = connection.rows(format!("SELECT {COLUMNS} FROM deliveries {wanted}"), &values).await?;
    rows.iter().map(read).collect()
}

pub(crate) async fn unanswered(
    connection: &mut Connection,
    project: &ProjectName,
    limit: u32,
) -> Result<Vec<WebhookDelivery>, Trouble> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE project = $1 AND answer IS NULL ORDER BY deliveries.seq, deliveries.at, deliveries.id LIMIT $2"
    );
    let values: [Value; 2] = [project.as_str().into(), i64::from(limit.min(RECORDS_MAX)).into()];
    let rows = connection.rows(sql, &values).await?;
    rows.iter().map(|row| read(row).map(|(delivery, _)| delivery)).collect()
}

pub(crate) async fn of_run(
    connection: &mut Connection,
    project: &ProjectName,
    run: RunId,
) -> Result<Option<Pair>, Trouble> {
    let sql = format!("SELECT {COLUMNS} FROM deliveries WHERE run = $1 AND project = $2 LIMIT 1");
    let values: [Value; 2] = [run.to_string().into(), project.as_str().into()];
    connection.row(sql, &values).await?.as_ref().map(read).transpose()
}

pub(crate) async fn made_live(
    connection: &mut Connection,
    project: &ProjectName,
    service: &ServiceName,
    environment: &EnvironmentName,
    digest: &Digest,
) -> Result<Option<WebhookDelivery>, Trouble> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE project = $1 AND service = $2 AND environment = $3 \
         AND digest = $4 AND digest IS NOT NULL ORDER BY deliveries.seq DESC LIMIT {MADE_LIVE_MAX}"
    );
    let values: [Value; 4] = [
        project.as_str().into(),
        service.as_str().into(),
        environment.as_str().into(),
        digest.as_str().into(),
    ];
    let rows = connection.rows(sql, &values).await?;
    let made = rows.iter().map(|row| read(row).map(|(delivery, _)| delivery));
    let mut made = made.collect::<Result<Vec<_>, _>>()?;
    let at = made.iter().position(WebhookDelivery::says_when_committed).unwrap_or(0);
    Ok((at < made.len()).then(|| made.swap_remove(at)))
}

pub(crate) async fn settled_after(
    connection: &mut Connection,
    project: &ProjectName,
    run: RunId,
) -> Result<Option<RunId>, Trouble> {
    let sql = "SELECT CAST(later.run AS TEXT) AS run FROM deliveries AS asked JOIN deliveries AS later \
               ON later.project = asked.project AND later.service = asked.service \
               AND later.environment = asked.environment AND later.seq > asked.seq AND later.settled = 1 \
               WHERE asked.run = $1 AND asked.project = $2 ORDER BY later.seq DESC LIMIT 1";
    let values: [Value; 2] = [run.to_string().into(), project.as_str().into()];
    let Some(row) = connection.row(sql, &values).await? else { return Ok(None) };
    let later = row.text("run")?.parse().map_err(|_| damaged("a delivery's run has no id".to_owned()))?;
    Ok(Some(later))
}

pub(crate) async fn forget(
    connection: &mut Connection,
    project: &ProjectName,
    before: Timestamp,
) -> Result<u64, Trouble> {
    let sql = "DELETE FROM deliveries WHERE project = $1 AND at < $2 AND answer IS NOT NULL";
    let values: [Value; 2] = [project.as_str().into(), before.0.into()];
    Ok(connection.change(sql, &values).await?)
}

pub(crate) fn read(row: &Row) -> Result<Pair, Trouble> {
    let id = row.text("id")?;
    let place = format!("the delivery {}", lockgate_model::quoted(&id, lockgate_model::TOLD_CHARS_MAX));
    let name = |problem: InvalidName| damaged(format!("{place}: {problem}"));
    let delivery = WebhookDelivery {
        project: row.text("project")?.parse().map_err(name)?,
        endpoint: row.text("endpoint")?,
        id: DeliveryId::new(&id),
        body: row.text("body")?.parse().map_err(name)?,
        at: Timestamp(row.whole("at")?),
        run: row.text("run")?.parse().map_err(|_| damaged(format!("{place}: its run has no id")))?,
        call: row.text_or_none("call")?.map(|text| from_json(&text, &place)).transpose()?,
    };
    let answer = row.text_or_none("answer")?.map(|text| from_json(&text, &place)).transpose()?;
    Ok((delivery, answer))
}
