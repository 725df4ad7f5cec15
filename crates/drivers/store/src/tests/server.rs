//! A server's bad days: gone, silent, locked, full of others, not to be believed.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use lockgate_engine::{Journal, JournalError, LeaseStore, RunFilter};
use lockgate_model::{Event, EventKind, FailureKind, Outcome, ProjectName, Timestamp};
use lockgate_ports::{AuditFilter, Store};
use rustix::process::Signal;

use super::by_url;
use super::damage::{events, run};
use super::postgres::{PASSWORD, Postgres};
use crate::SqlStore;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn store(url: &str) -> SqlStore {
    SqlStore::new(&by_url(url))
}

/// What kind of error it is, with a hint, and within its time.
async fn refused(store: &SqlStore, seconds_max: u64) -> (FailureKind, String) {
    let start = Instant::now();
    let error = store.connect().await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(seconds_max), "it took {:?}", start.elapsed());
    assert!(!error.to_string().contains(PASSWORD) && !error.hint().is_empty());
    match error {
        JournalError::Unusable { kind, message, hint } => (kind, format!("{message}\n{hint}")),
        other => panic!("{other}"),
    }
}

#[test]
fn a_server_that_was_restarted_in_the_middle_is_waited_for_and_nothing_is_lost_or_twice() {
    let Some(mut postgres) = Postgres::start() else { return };
    let runtime = runtime();
    let store = std::sync::Arc::new(store(&postgres.url("lockgate")));
    let all = events(run(1), "web");
    runtime.block_on(store.append_all(&all[..4])).unwrap();
    for (from, how) in [(4, Signal::INT), (6, Signal::QUIT)] {
        postgres.stop(how);
        // The append begins while nobody answers.
        let (appending, events) = (store.clone(), all[from..from + 2].to_vec());
        let append = runtime.spawn(async move { appending.append_all(&events).await });
        postgres.serve();
        runtime.block_on(append).unwrap().unwrap();
    }
    runtime.block_on(store.append_all(&all[8..])).unwrap();
    assert_eq!(runtime.block_on(store.load(run(1))).unwrap(), all);
}

#[test]
fn a_connection_that_broke_while_it_was_idle_is_made_anew() {
    let Some(mut postgres) = Postgres::start() else { return };
    let runtime = runtime();
    let store = store(&postgres.url("lockgate"));
    let lease = store.lease("shop/web/prod");
    let all = AuditFilter { project: ProjectName::new("shop").unwrap(), before: None, limit: 1 };
    runtime.block_on(async {
        store.audit(&all).await.unwrap();
        lease.read().await.unwrap();
    });
    postgres.stop(Signal::INT);
    let gone = runtime.block_on(store.audit(&all)).unwrap_err();
    assert_eq!(gone.kind, FailureKind::Unreachable, "{gone}");
    assert_eq!(runtime.block_on(lease.read()).unwrap_err().kind, FailureKind::Unreachable);
    postgres.serve();
    runtime.block_on(async {
        assert_eq!(store.audit(&all).await.unwrap(), []);
        lease.read().await.unwrap();
    });
    // Idle for longer than a connection is trusted, and the server is another one meanwhile.
    postgres.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lockgate'",
    );
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(store.audit(&all).await.unwrap(), []);
        lease.read().await.unwrap();
    });
}

#[test]
fn an_append_whose_answer_was_lost_is_looked_for_before_it_is_made_again() {
    let Some(postgres) = Postgres::start() else { return };
    let url = postgres.url("lockgate");
    let all = events(run(1), "web");
    runtime().block_on(async {
        let (mine, same) = (store(&url), store(&url));
        mine.append_all(&all[..2]).await.unwrap();
        // What the first try left there, as far as the second one can know.
        same.append_all(&all[2..5]).await.unwrap();
        mine.with(async |open| crate::journal::append_what_is_missing(open, &all[2..7]).await).await.unwrap();
        assert_eq!(mine.load(run(1)).await.unwrap(), all[..7]);
        let another = Event { kind: EventKind::Committed, ..all[6].clone() };
        let wrong =
            mine.with(async |open| crate::journal::append_what_is_missing(open, &[another]).await).await;
        assert!(wrong.is_err(), "another event has its place");
        mine.append_all(&all[7..]).await.unwrap();
        assert_eq!(same.load(run(1)).await.unwrap(), all);
    });
}

#[test]
fn a_server_that_is_gone_or_silent_is_an_error_within_its_bound_that_says_what_to_do() {
    let runtime = runtime();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let gone = store(&format!("postgres://kim:hunter2@127.0.0.1:{port}/lockgate"));
    let (kind, text) = runtime.block_on(refused(&gone, 5));
    assert_eq!(kind, FailureKind::Unreachable);
    assert!(
        text.contains("127.0.0.1") && text.contains("lockgate status") && !text.contains("hunter2"),
        "{text}"
    );
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let (kind, text) =
        runtime.block_on(refused(&store(&format!("postgres://127.0.0.1:{port}/lockgate")), 10));
    assert_eq!(kind, FailureKind::Unreachable);
    assert!(text.contains("no connection within 5 s"), "{text}");
}

#[test]
fn what_others_hold_is_waited_for_with_a_bound() {
    let Some(postgres) = Postgres::start() else { return };
    let runtime = runtime();
    let url = postgres.url("lockgate");
    let (store, other) = (store(&url), store(&url));
    let all = events(run(1), "web");
    runtime.block_on(async {
        store.append_all(&all[..2]).await.unwrap();
        // Somebody holds the run's summary, and goes away with it.
        other
            .with(async |open| {
                open.connection.run("BEGIN; SELECT run FROM runs FOR UPDATE").await?;
                let start = Instant::now();
                let error = store.append(&all[2]).await.unwrap_err();
                assert!(
                    matches!(&error, JournalError::Unusable { kind: FailureKind::TimedOut, .. }),
                    "{error}"
                );
                assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
                open.connection.run("ROLLBACK").await?;
                Ok(())
            })
            .await
            .unwrap();
        store.append_all(&all[2..]).await.unwrap();
        assert_eq!(store.load(run(1)).await.unwrap(), all);
    });
}

#[test]
fn logins_databases_and_rights_that_are_wrong_are_told_apart() {
    let Some(postgres) = Postgres::start_with_tls() else { return };
    let runtime = runtime();
    let with = |user: &str, database: &str| {
        store(&format!("postgres://{user}@127.0.0.1:{}/{database}?sslmode=disable", postgres.port()))
    };
    let right = format!("lockgate:{}", PASSWORD.replace('/', "%2F").replace('@', "%40"));
    runtime.block_on(with(&right, "lockgate").connect()).unwrap();
    for (user, database, wanted, word) in [
        ("lockgate:hunter2", "lockgate", FailureKind::Unauthorized, "pg_hba.conf"),
        (right.as_str(), "nowhere", FailureKind::NotFound, "createdb"),
    ] {
        let (kind, text) = runtime.block_on(refused(&with(user, database), 5));
        assert_eq!(kind, wanted, "{text}");
        assert!(text.contains(word) && !text.contains("hunter2"), "{text}");
    }
    // Somebody who may log in and no more.
    postgres.psql("postgres", "CREATE ROLE guest LOGIN PASSWORD 'guest'");
    postgres.psql("postgres", "CREATE DATABASE closed");
    let guest = with("guest:guest", "closed");
    let looked = runtime.block_on(guest.look()).unwrap_err();
    assert!(looked.hint().contains("GRANT CREATE"), "{looked}: {}", looked.hint());
    assert_eq!(runtime.block_on(refused(&guest, 5)).0, FailureKind::Unauthorized);
    // A look makes nothing.
    runtime.block_on(with(&right, "closed").look()).unwrap();
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'lockgate'";
    assert_eq!(postgres.psql("closed", schemas), "0");
    // One that only reads.
    postgres.psql("postgres", "ALTER ROLE guest SET default_transaction_read_only = on");
    postgres.psql("postgres", "GRANT CREATE ON DATABASE closed TO guest");
    assert_eq!(runtime.block_on(refused(&guest, 5)).0, FailureKind::Refused);
    postgres.psql(
        "postgres",
        "CREATE DATABASE latin ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    let (kind, text) = runtime.block_on(refused(&with(&right, "latin"), 5));
    assert_eq!(kind, FailureKind::Refused);
    assert!(text.contains("SQL_ASCII") && text.contains("createdb --encoding UTF8"), "{text}");
}

#[test]
fn a_certificate_is_believed_only_when_it_is_for_this_server_and_of_an_authority_that_is() {
    let Some(postgres) = Postgres::start_with_tls() else { return };
    let runtime = runtime();
    let user = format!("lockgate:{}", PASSWORD.replace('/', "%2F").replace('@', "%40"));
    let authority = postgres.authority().display().to_string();
    let with = |host: &str, more: &str| {
        store(&format!("postgres://{user}@{host}:{}/lockgate?{more}", postgres.port()))
    };
    runtime
        .block_on(with("localhost", &format!("sslmode=verify-full&sslrootcert={authority}")).connect())
        .unwrap();
    runtime
        .block_on(with("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={authority}")).connect())
        .unwrap();
    for (host, more) in [
        // The machine's own authorities do not know it.
        ("localhost", "sslmode=verify-full".to_owned()),
        // It is for another name.
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={authority}")),
        ("localhost", "sslmode=verify-full&sslrootcert=/nowhere.pem".to_owned()),
    ] {
        let error = runtime.block_on(with(host, &more).connect()).unwrap_err();
        assert!(
            matches!(&error, JournalError::Unusable { kind: FailureKind::Unreachable, .. }),
            "{more}: {error}"
        );
        assert!(error.hint().contains("sslrootcert"), "{error}: {}", error.hint());
        assert!(!error.to_string().contains(PASSWORD));
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let Some(postgres) = Postgres::start() else { return };
    let runtime = runtime();
    let url = postgres.url("lockgate");
    runtime.block_on(store(&url).connect()).unwrap();
    let newer = (crate::schema::VERSION + 1).to_string();
    postgres.psql("lockgate", &format!("UPDATE lockgate.schema_version SET version = {newer}"));
    for error in [
        runtime.block_on(store(&url).connect()).unwrap_err(),
        runtime.block_on(store(&url).look()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("a newer lockgate"), "{error}");
        assert!(error.hint().contains("install the newest lockgate"), "{}", error.hint());
    }
    assert_eq!(postgres.psql("lockgate", "SELECT version FROM lockgate.schema_version"), newer);
}

#[test]
fn many_make_the_schema_of_one_database_at_once() {
    let Some(postgres) = Postgres::start() else { return };
    let url = postgres.url("lockgate");
    runtime().block_on(async {
        let tasks: Vec<_> = (1..=8)
            .map(|number| {
                let store = store(&url);
                tokio::spawn(async move { store.append_all(&events(run(number), "web")).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let listed = store(&url).runs(&RunFilter { limit: 100, ..RunFilter::default() }).await.unwrap();
        assert_eq!(listed.len(), 8);
    });
    assert_eq!(postgres.psql("lockgate", "SHOW search_path"), "\"$user\", public");
    assert_eq!(postgres.psql("lockgate", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
}

#[test]
fn what_changed_behind_our_back_is_named_and_the_lease_is_kept_apart() {
    let Some(postgres) = Postgres::start() else { return };
    let url = postgres.url("lockgate");
    let runtime = runtime();
    let store = store(&url);
    let all = events(run(1), "web");
    runtime.block_on(store.append_all(&all)).unwrap();
    for (damage, named) in [
        ("UPDATE lockgate.runs SET owner = 'kim'", "the checksum of its summary"),
        ("UPDATE lockgate.runs SET owner = 'lee@laptop', project = 'x'", "the checksum of its summary"),
        (
            "UPDATE lockgate.runs SET project = 'acme'; DELETE FROM lockgate.events WHERE seq = 3",
            "event 3: it is missing",
        ),
    ] {
        postgres.psql("lockgate", damage);
        let error = runtime.block_on(store.load(run(1))).unwrap_err();
        assert!(matches!(&error, JournalError::Damaged { message } if message.contains(named)), "{error}");
    }
    let end = EventKind::RunEnded { outcome: Outcome::Succeeded { warnings: vec![] } };
    let late = Event { run: run(1), seq: 12, at: Timestamp(1), kind: end };
    runtime.block_on(store.append(&late)).unwrap();
    postgres.psql("lockgate", "DROP TABLE lockgate.events");
    let error = runtime.block_on(store.load(run(1))).unwrap_err();
    assert!(
        matches!(&error, JournalError::Damaged { .. }) && error.hint().contains("ALTER SCHEMA"),
        "{error}"
    );
    runtime.block_on(store.lease("shop/web/prod").read()).unwrap();
}
