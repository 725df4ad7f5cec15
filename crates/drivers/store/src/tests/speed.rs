//! How long a file and a server take to be opened and appended to: `cargo nextest run --run-ignored only -p lockgate-store speed
//! --no-capture`.

use std::time::{Duration, Instant};

use lockgate_engine::Journal;
use lockgate_model::{
    AuditEntry, By, CommitSha, DeliveryAnswer, DeliveryId, DeployCall, Digest, EnvironmentName, Incoming,
    Millis, ProjectName, Repeat, Requester, RunId, ServiceName, StateLocation, Tag, Timestamp,
    WebhookDelivery,
};
use lockgate_ports::{Answering, Batch, Store};

use super::by_url;
use super::damage::{events, run};
use super::postgres::Postgres;
use crate::SqlStore;

const ROUNDS: usize = 200;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Opening, the beginning of a run, and three events of it.
async fn time(location: &StateLocation, rounds: usize) -> [Duration; 3] {
    let (mut opened, mut begun, mut appended) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let start = Instant::now();
        let store = SqlStore::new(location);
        store.connect().await.unwrap();
        opened.push(start.elapsed());
        let all = events(run(1_000 + round as u128), "web");
        let start = Instant::now();
        store.append_all(&all[..2]).await.unwrap();
        begun.push(start.elapsed());
        let start = Instant::now();
        store.append_all(&all[2..5]).await.unwrap();
        appended.push(start.elapsed());
    }
    [median(opened), median(begun), median(appended)]
}

#[test]
#[ignore = "prints times, and asserts nothing about them"]
fn opening_and_appending() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let file = StateLocation::File(folder.path().join("journal.db"));
    runtime.block_on(time(&file, 5));
    let [opened, begun, appended] = runtime.block_on(time(&file, ROUNDS));
    println!("file:   opened {opened:?}, a run begun {begun:?}, three events {appended:?}");
    let Some(postgres) = Postgres::start() else { return };
    let server = by_url(&postgres.url("lockgate"));
    runtime.block_on(time(&server, 5));
    let [opened, begun, appended] = runtime.block_on(time(&server, ROUNDS));
    println!("server: opened {opened:?}, a run begun {begun:?}, three events {appended:?} (without fsync)");
}

/// Deliveries that are kept together where many come at once.
const TOGETHER: usize = 32;

fn incoming(number: u128) -> Incoming {
    let body = Digest::of(&number.to_be_bytes());
    let run = RunId(uuid::Uuid::from_u128(number));
    let call = DeployCall {
        endpoint: "/deploy".into(),
        id: None,
        body: body.clone(),
        service: ServiceName::new("web").unwrap(),
        environment: EnvironmentName::new("prod").unwrap(),
        tag: Tag::new("v1").unwrap(),
        sha: CommitSha::new("a".repeat(40)).unwrap(),
        committed_at: None,
        sent_at: None,
        force: false,
        requester: Requester::new(By::Ci, "acme/shop"),
        from: "192.0.2.7".into(),
        timeout: Millis(1),
        repeated: Millis(1),
    };
    let delivery = WebhookDelivery {
        project: ProjectName::new("shop").unwrap(),
        endpoint: call.endpoint.clone(),
        id: DeliveryId::new(&run.to_string()),
        body,
        at: Timestamp(5),
        run,
        call: Some(call),
    };
    let entry = entry(run);
    Incoming { delivery, same_since: Some(Timestamp(0)), only_known: false, entry: Some(entry) }
}

fn entry(run: RunId) -> AuditEntry {
    AuditEntry {
        project: ProjectName::new("shop").unwrap(),
        at: Timestamp(5),
        by: "ci acme/shop".into(),
        via: "webhook".into(),
        action: "deploy".into(),
        service: Some(ServiceName::new("web").unwrap()),
        environment: Some(EnvironmentName::new("prod").unwrap()),
        digest: None,
        run: Some(run),
        detail: "v1 (aaaaaaaa) at /deploy".into(),
        from: Some("192.0.2.7".into()),
        result: Some("accepted".into()),
        count: None,
    }
}

fn answering(incoming: &Incoming) -> Answering {
    let WebhookDelivery { project, endpoint, id, run, .. } = incoming.delivery.clone();
    let answer = DeliveryAnswer {
        status: 409,
        body: r#"{"status":"superseded"}"#.repeat(10),
        at: Timestamp(6),
        repeat: Repeat::First,
        live: None,
        settled: false,
    };
    Answering { project, endpoint, id, answer, entry: Some(entry(run)) }
}

/// Keeping one call, and many with as many answers to earlier ones, each with its entry in the audit.
async fn time_calls(store: &SqlStore, rounds: usize) -> [Duration; 2] {
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    let mut number = store.note(&entry(RunId(uuid::Uuid::nil()))).await.unwrap() as u128 * 1_000;
    let mut next = || {
        number += 1;
        incoming(number)
    };
    let mut before: Vec<Incoming> = Vec::new();
    for _ in 0..rounds {
        let one = next();
        let start = Instant::now();
        store.keep(&Batch { incoming: vec![one], ..Batch::default() }).await.unwrap();
        alone.push(start.elapsed());
        let many: Vec<Incoming> = (0..TOGETHER).map(|_| next()).collect();
        let answers = before.iter().map(answering).collect();
        let batch = Batch { incoming: many.clone(), answers, entries: Vec::new() };
        let start = Instant::now();
        store.keep(&batch).await.unwrap();
        together.push(start.elapsed());
        before = many;
    }
    [median(alone), median(together)]
}

/// What the disk alone takes for as many bytes.
fn time_fsync(folder: &std::path::Path, rounds: usize) -> Duration {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("floor")).unwrap();
    let times = (0..rounds).map(|_| {
        let start = Instant::now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        start.elapsed()
    });
    median(times.collect())
}

#[test]
#[ignore = "prints times, and asserts nothing about them"]
fn keeping_calls() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let file = SqlStore::new(&StateLocation::File(folder.path().join("journal.db")));
    let floor = time_fsync(folder.path(), ROUNDS);
    let [alone, together] = runtime.block_on(time_calls(&file, ROUNDS));
    println!(
        "file:   a write and its fsync {floor:?}, a call {alone:?}, {TOGETHER} and as many answers {together:?}"
    );
    let start = Instant::now();
    let [alone, together] = runtime.block_on(time_calls(&file, 10 * ROUNDS));
    println!("        in a file of {} calls: {alone:?}, {together:?}", 11 * ROUNDS * (TOGETHER + 1));
    println!("        so many in {:?}", start.elapsed());
    let Some(postgres) = Postgres::start() else { return };
    let server = SqlStore::new(&by_url(&postgres.url("lockgate")));
    let [alone, together] = runtime.block_on(time_calls(&server, ROUNDS));
    println!("server: a call {alone:?}, {TOGETHER} and as many answers {together:?} (without fsync)");
}
