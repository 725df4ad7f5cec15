//! Deliveries, answers and entries of the audit, as many as there are, in one transaction.
//!
//! What is known is read first and what is new is written last, each in one statement: between two of them is the way to
//! SQLite's thread and back, which takes longer than the rows.

use std::collections::HashMap;

use lockgate_engine::JournalError;
use lockgate_model::{
    ANSWER_BYTES_MAX, AuditEntry, DeliveryAnswer, Earlier, FailureKind, Incoming, Received, WebhookDelivery,
};
use lockgate_ports::{Answering, Batch, Kept};
use serde::Serialize;

use crate::audit::{self, Added, End};
use crate::connection::{Connection, Value};
use crate::deliveries::{COLUMNS, read};
use crate::error::Trouble;
use crate::record::to_json;

/// By what a delivery is known: project, endpoint and id.
type Key = (String, String, String);
/// By what one without a name is known: project, endpoint and body.
type BodyKey = (String, String, String);
/// For which service in which environment of which project.
type Place = (String, String, String);

pub(crate) async fn keep(connection: &mut Connection, batch: &Batch) -> Result<Kept, Trouble> {
    if batch.answers.iter().any(|answering| answering.answer.body.len() > ANSWER_BYTES_MAX) {
        return Err(too_large().into());
    }
    let begin = connection.dialect().begin_keeping();
    connection.run(begin).await?;
    let mut keeping = Keeping {
        known: known(connection, batch).await?,
        arrived: arrived(connection).await?,
        end: End::find(connection).await?,
        changes: Changes::default(),
    };
    let mut kept =
        Kept { received: Vec::new(), arrived: Vec::new(), answers: Vec::new(), entries: Vec::new() };
    for incoming in &batch.incoming {
        let received = keeping.receive(incoming)?;
        kept.arrived.push(keeping.known.arrived_of(&received, incoming));
        kept.received.push(received);
    }
    for answering in &batch.answers {
        kept.answers.push(keeping.answer(answering)?);
    }
    for entry in &batch.entries {
        kept.entries.push(keeping.note(entry)?);
    }
    keeping.changes.write(connection).await?;
    Ok(kept)
}

fn too_large() -> JournalError {
    JournalError::Unusable {
        kind: FailureKind::TooLarge,
        message: format!("the answer to a delivery is larger than {ANSWER_BYTES_MAX} bytes"),
        hint: "answer in fewer words".to_owned(),
    }
}

/// The number of the latest delivery that was let in.
async fn arrived(connection: &mut Connection) -> Result<i64, Trouble> {
    let sql = "SELECT CAST(MAX(seq) AS BIGINT) AS seq FROM deliveries";
    let row = connection.row(sql, &[]).await?;
    Ok(row.map(|row| row.whole_or_none("seq")).transpose()?.flatten().unwrap_or(0))
}

/// A delivery that was let in.
#[derive(Debug, Clone)]
struct Known {
    delivery: WebhookDelivery,
    answer: Option<DeliveryAnswer>,
    /// Its place in the order of arrival.
    seq: i64,
}

/// What of the batch is known.
#[derive(Debug, Default)]
struct AllKnown {
    by_id: HashMap<Key, Known>,
    /// The latest of each body.
    by_body: HashMap<BodyKey, Key>,
    /// The latest of each place.
    newest: HashMap<Place, i64>,
}

impl AllKnown {
    fn add(&mut self, known: Known) {
        if let Some(place) = place(&known.delivery) {
            let newest = self.newest.entry(place).or_insert(known.seq);
            *newest = known.seq.max(*newest);
        }
        let (key, body) = (key(&known.delivery), body_key(&known.delivery));
        let latest = self.by_body.get(&body).and_then(|latest| self.by_id.get(latest));
        if latest.is_none_or(|latest| latest.seq <= known.seq) {
            self.by_body.insert(body, key.clone());
        }
        self.by_id.insert(key, known);
    }

    fn arrived_of(&self, received: &Received, incoming: &Incoming) -> u64 {
        let key = key(received.first().unwrap_or(&incoming.delivery));
        self.by_id.get(&key).and_then(|known| u64::try_from(known.seq).ok()).unwrap_or(0)
    }

    fn earlier(&self, key: &Key) -> Option<Earlier<'_>> {
        let Known { delivery, answer, seq } = self.by_id.get(key)?;
        let newest = place(delivery).and_then(|place| self.newest.get(&place));
        let is_overtaken = newest.is_some_and(|newest| newest > seq);
        Some(Earlier { delivery, answer: answer.as_ref(), is_overtaken })
    }
}

fn key(delivery: &WebhookDelivery) -> Key {
    (delivery.project.to_string(), delivery.endpoint.clone(), delivery.id.to_string())
}

fn body_key(delivery: &WebhookDelivery) -> BodyKey {
    (delivery.project.to_string(), delivery.endpoint.clone(), delivery.body.to_string())
}

fn place(delivery: &WebhookDelivery) -> Option<Place> {
    let call = delivery.call.as_ref()?;
    Some((delivery.project.to_string(), call.service.to_string(), call.environment.to_string()))
}

/// A transaction that is under way.
struct Keeping {
    known: AllKnown,
    arrived: i64,
    end: End,
    changes: Changes,
}

impl Keeping {
    fn receive(&mut self, incoming: &Incoming) -> Result<Received, Trouble> {
        let (key, body) = (key(&incoming.delivery), body_key(&incoming.delivery));
        let by_body = self.known.by_body.get(&body).and_then(|latest| self.known.earlier(latest));
        let received = Received::judge(incoming, self.known.earlier(&key), by_body);
        match &received {
            Received::First if !self.known.by_id.contains_key(&key) => {
                self.let_in(incoming, &incoming.delivery)?;
            }
            Received::Anew { first } => {
                self.changes.anew.push(KeyRow::of(&key));
                self.let_in(incoming, first)?;
            }
            Received::First
            | Received::Again { .. }
            | Received::Differs { .. }
            | Received::Overtaken { .. }
            | Received::Unknown => {}
        }
        Ok(received)
    }

    fn let_in(&mut self, incoming: &Incoming, delivery: &WebhookDelivery) -> Result<(), Trouble> {
        self.arrived += 1;
        self.changes.deliveries.push(DeliveryRow::of(delivery, self.arrived)?);
        self.known.add(Known { delivery: delivery.clone(), answer: None, seq: self.arrived });
        if let Some(entry) = &incoming.entry {
            let is_anew = delivery.run != incoming.delivery.run;
            let run = if is_anew { Some(delivery.run) } else { entry.run };
            self.note(&AuditEntry { run, ..entry.clone() })?;
        }
        Ok(())
    }

    fn answer(&mut self, answering: &Answering) -> Result<Option<DeliveryAnswer>, Trouble> {
        let Answering { project, endpoint, id, answer, entry } = answering;
        let key = (project.to_string(), endpoint.clone(), id.to_string());
        let Some(known) = self.known.by_id.get_mut(&key) else { return Ok(None) };
        if let Some(first) = &known.answer {
            return Ok(Some(first.clone()));
        }
        known.answer = Some(answer.clone());
        self.changes.answers.push(AnswerRow::of(&key, answer)?);
        if let Some(entry) = entry {
            self.note(entry)?;
        }
        Ok(Some(answer.clone()))
    }

    fn note(&mut self, entry: &AuditEntry) -> Result<u64, Trouble> {
        let added = self.end.add(entry)?;
        let seq = added.seq();
        self.changes.entries.push(added);
        Ok(seq)
    }
}

/// A key as it goes into a statement.
#[derive(Debug, Serialize)]
struct KeyRow {
    project: String,
    endpoint: String,
    id: String,
}

impl KeyRow {
    fn of((project, endpoint, id): &Key) -> Self {
        Self { project: project.clone(), endpoint: endpoint.clone(), id: id.clone() }
    }
}

/// A delivery as it goes into a statement.
#[derive(Debug, Serialize)]
struct DeliveryRow {
    #[serde(flatten)]
    key: KeyRow,
    body: String,
    at: i64,
    run: String,
    seq: i64,
    service: Option<String>,
    environment: Option<String>,
    call: Option<String>,
}

impl DeliveryRow {
    fn of(delivery: &WebhookDelivery, seq: i64) -> Result<Self, Trouble> {
        let call = delivery.call.as_ref();
        Ok(Self {
            key: KeyRow::of(&key(delivery)),
            body: delivery.body.to_string(),
            at: delivery.at.0,
            run: delivery.run.to_string(),
            seq,
            service: call.map(|call| call.service.to_string()),
            environment: call.map(|call| call.environment.to_string()),
            call: call.map(to_json).transpose()?,
        })
    }
}

/// An answer as it goes into a statement.
#[derive(Debug, Serialize)]
struct AnswerRow {
    #[serde(flatten)]
    key: KeyRow,
    answer: String,
    digest: Option<String>,
    settled: i64,
}

impl AnswerRow {
    fn of(key: &Key, answer: &DeliveryAnswer) -> Result<Self, Trouble> {
        let digest = answer.live.as_ref().map(ToString::to_string);
        let settled = i64::from(answer.settled);
        Ok(Self { key: KeyRow::of(key), answer: to_json(answer)?, digest, settled })
    }
}

/// What is written, in this order.
#[derive(Debug, Default)]
struct Changes {
    /// Those that are let in again: what is kept of them gives way.
    anew: Vec<KeyRow>,
    deliveries: Vec<DeliveryRow>,
    answers: Vec<AnswerRow>,
    entries: Vec<Added>,
}

impl Changes {
    async fn write(&self, connection: &mut Connection) -> Result<(), Trouble> {
        let each = connection.dialect().each(1);
        let mut statements: Vec<(String, Value)> = Vec::new();
        if !self.anew.is_empty() {
            let sql = format!(
                "DELETE FROM deliveries WHERE (project, endpoint, id) IN (SELECT item.value ->> 'project', \
                 item.value ->> 'endpoint', item.value ->> 'id' FROM {each})"
            );
            statements.push((sql, to_json(&self.anew)?.into()));
        }
        if !self.deliveries.is_empty() {
            let sql = format!(
                "INSERT INTO deliveries (project, endpoint, id, body, at, run, seq, service, environment, call) \
                 SELECT item.value ->> 'project', item.value ->> 'endpoint', item.value ->> 'id', \
                 item.value ->> 'body', CAST(item.value ->> 'at' AS BIGINT), item.value ->> 'run', \
                 CAST(item.value ->> 'seq' AS BIGINT), item.value ->> 'service', item.value ->> 'environment', \
                 item.value ->> 'call' FROM {each}"
            );
            statements.push((sql, to_json(&self.deliveries)?.into()));
        }
        if !self.answers.is_empty() {
            let sql = format!(
                "UPDATE deliveries SET answer = item.value ->> 'answer', digest = item.value ->> 'digest', \
                 settled = CAST(item.value ->> 'settled' AS BIGINT) \
                 FROM {each} WHERE deliveries.project = item.value ->> 'project' \
                 AND deliveries.endpoint = item.value ->> 'endpoint' AND deliveries.id = item.value ->> 'id'"
            );
            statements.push((sql, to_json(&self.answers)?.into()));
        }
        if !self.entries.is_empty() {
            statements.push((audit::insert(connection), to_json(&self.entries)?.into()));
        }
        connection.finish(statements).await?;
        Ok(())
    }
}

/// All that is known of what the batch is about.
async fn known(connection: &mut Connection, batch: &Batch) -> Result<AllKnown, Trouble> {
    let mut known = AllKnown::default();
    let incoming = batch.incoming.iter().map(|incoming| KeyRow::of(&key(&incoming.delivery)));
    let answers = batch.answers.iter().map(|Answering { project, endpoint, id, .. }| KeyRow {
        project: project.to_string(),
        endpoint: endpoint.clone(),
        id: id.to_string(),
    });
    let keys: Vec<KeyRow> = incoming.chain(answers).collect();
    let each = connection.dialect().each(1);
    if !keys.is_empty() {
        // The order of the two is the order in which SQLite takes them.
        let sql = format!(
            "SELECT {COLUMNS} FROM {each} CROSS JOIN deliveries WHERE deliveries.project = item.value ->> 'project' \
             AND deliveries.endpoint = item.value ->> 'endpoint' AND deliveries.id = item.value ->> 'id'"
        );
        for row in connection.rows(sql, &[to_json(&keys)?.into()]).await? {
            let (delivery, answer) = read(&row)?;
            known.add(Known { delivery, answer, seq: row.whole("seq")? });
        }
    }
    let nameless: Vec<DeliveryRow> = batch
        .incoming
        .iter()
        .filter(|incoming| incoming.same_since.is_some())
        .map(|incoming| DeliveryRow::of(&incoming.delivery, 0))
        .collect::<Result<_, _>>()?;
    if !nameless.is_empty() {
        // By its number alone it is found at once; what an older program kept has none.
        let sql = format!(
            "SELECT {COLUMNS}, CAST((SELECT MAX(newest.seq) FROM deliveries AS newest \
             WHERE newest.project = deliveries.project AND newest.service = deliveries.service \
             AND newest.environment = deliveries.environment) AS BIGINT) AS newest \
             FROM (SELECT (SELECT MAX(latest.seq) FROM deliveries AS latest \
             WHERE latest.project = item.value ->> 'project' AND latest.endpoint = item.value ->> 'endpoint' \
             AND latest.body = item.value ->> 'body') AS seq FROM {each}) AS wanted \
             CROSS JOIN deliveries WHERE deliveries.seq = wanted.seq AND deliveries.seq > 0"
        );
        for row in connection.rows(sql, &[to_json(&nameless)?.into()]).await? {
            let (delivery, answer) = read(&row)?;
            if let (Some(place), Some(newest)) = (place(&delivery), row.whole_or_none("newest")?) {
                known.newest.insert(place, newest);
            }
            known.add(Known { delivery, answer, seq: row.whole("seq")? });
        }
    }
    Ok(known)
}
