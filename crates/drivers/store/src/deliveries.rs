//! Deliveries of webhooks: each has one effect (P9).

use lockgate_engine::JournalError;
use lockgate_model::FailureKind;
use lockgate_model::{
    ANSWER_BYTES_MAX, DeliveryAnswer, DeliveryId, InvalidName, ProjectName, Received, Timestamp,
    WebhookDelivery,
};

use crate::connection::{Connection, Row, Value};
use crate::error::Trouble;
use crate::filter::Conditions;
use crate::record::{damaged, from_json, to_json};

const COLUMNS: &str = "CAST(project AS TEXT) AS project, CAST(endpoint AS TEXT) AS endpoint, CAST(id AS TEXT) AS id, \
     CAST(body AS TEXT) AS body, CAST(at AS BIGINT) AS at, CAST(run AS TEXT) AS run, CAST(answer AS TEXT) AS answer";

type Known = (WebhookDelivery, Option<DeliveryAnswer>);

pub(crate) async fn receive(
    connection: &mut Connection,
    delivery: &WebhookDelivery,
) -> Result<Received, Trouble> {
    let WebhookDelivery { project, endpoint, id, body, at, run } = delivery;
    let values: [Value; 6] = [
        project.as_str().into(),
        endpoint.as_str().into(),
        id.as_str().into(),
        body.as_str().into(),
        at.0.into(),
        run.to_string().into(),
    ];
    // Of several at once the database lets one in.
    let sql = "INSERT INTO deliveries (project, endpoint, id, body, at, run) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT DO NOTHING";
    if connection.change(sql, &values).await? == 1 {
        return Ok(Received::First);
    }
    let (first, answer) = known(connection, project, endpoint, id).await?.ok_or_else(|| gone(id))?;
    Ok(match (first.body == *body, first.run == *run) {
        (false, _) => Received::Differs { first },
        // An earlier try of this very call, whose answer was lost.
        (true, true) if answer.is_none() => Received::First,
        (true, _) => Received::Again { first, answer },
    })
}

pub(crate) async fn answer(
    connection: &mut Connection,
    project: &ProjectName,
    endpoint: &str,
    id: &DeliveryId,
    answer: &DeliveryAnswer,
) -> Result<DeliveryAnswer, Trouble> {
    if answer.body.len() > ANSWER_BYTES_MAX {
        return Err(JournalError::Unusable {
            kind: FailureKind::TooLarge,
            message: format!("the answer to a delivery is larger than {ANSWER_BYTES_MAX} bytes"),
            hint: "answer in fewer words".to_owned(),
        }
        .into());
    }
    let values: [Value; 4] =
        [project.as_str().into(), endpoint.into(), id.as_str().into(), to_json(answer)?.into()];
    let sql = "UPDATE deliveries SET answer = $4 WHERE project = $1 AND endpoint = $2 AND id = $3 AND answer IS NULL";
    connection.change(sql, &values).await?;
    let (_, kept) = known(connection, project, endpoint, id).await?.ok_or_else(|| gone(id))?;
    Ok(kept.ok_or_else(|| damaged(format!("the delivery {id}: its answer is missing")))?)
}

fn gone(id: &DeliveryId) -> JournalError {
    JournalError::Unusable {
        kind: FailureKind::NotFound,
        message: format!("the delivery {id} is not known"),
        hint: "let it be sent again".to_owned(),
    }
}

async fn known(
    connection: &mut Connection,
    project: &ProjectName,
    endpoint: &str,
    id: &DeliveryId,
) -> Result<Option<Known>, Trouble> {
    let sql = format!("SELECT {COLUMNS} FROM deliveries WHERE project = $1 AND endpoint = $2 AND id = $3");
    let values: [Value; 3] = [project.as_str().into(), endpoint.into(), id.as_str().into()];
    connection.row(sql, &values).await?.as_ref().map(read).transpose()
}

pub(crate) async fn list(
    connection: &mut Connection,
    project: &ProjectName,
    limit: u32,
) -> Result<Vec<Known>, Trouble> {
    let (wanted, values) = Conditions::on("deliveries")
        .and("project =", Some(project.as_str()))
        .ending("at DESC, id DESC", limit);
    let rows = connection.rows(format!("SELECT {COLUMNS} FROM deliveries {wanted}"), &values).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Known, Trouble> {
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
    };
    let answer = row.text_or_none("answer")?.map(|text| from_json(&text, &place)).transpose()?;
    Ok((delivery, answer))
}
