//! How long a file and a server take to be opened and appended to: `cargo nextest run --run-ignored only -p lockgate-store speed
//! --no-capture`.

use std::time::{Duration, Instant};

use lockgate_engine::Journal;
use lockgate_model::StateLocation;

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
