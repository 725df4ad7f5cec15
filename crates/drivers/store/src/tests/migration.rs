//! Files of older programs, and of newer ones.

use std::path::{Path, PathBuf};

use lockgate_engine::{Journal, JournalError, RunFilter};
use lockgate_model::{
    AuditBreak, AuditChain, AuditFault, Digest, Event, EventKind, Outcome, ProjectName, Timestamp,
};
use lockgate_ports::{AuditFilter, RecordFilter, Store};
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions, Connection as _};

use super::{open, raw};
use crate::{SqlStore, file};

/// Written by the program of version 1: five runs of `web` of `shop`, one of them rolled back, one a rollback, and one that was
/// killed while its gate was asked.
const VERSION_1: &[u8] = include_bytes!("journal-v1.db");

fn written(folder: &Path) -> PathBuf {
    let path = folder.join("journal.db");
    std::fs::write(&path, VERSION_1).unwrap();
    path
}

fn of_shop() -> RunFilter {
    RunFilter { project: Some(ProjectName::new("shop").unwrap()), limit: 10, ..RunFilter::default() }
}

/// A way to the file that knows nothing of versions, as a program of version 1 has it open.
async fn older(path: &Path) -> SqliteConnection {
    file::options(path).connect().await.unwrap()
}

#[tokio::test]
async fn a_file_of_version_1_is_brought_up_in_place_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let store = open(&path).await.unwrap();
    let runs = store.runs(&of_shop()).await.unwrap();
    let shown: Vec<_> = runs
        .iter()
        .map(|run| {
            let outcome = run.outcome.as_ref().map_or("unfinished", Outcome::as_str);
            (run.release.tag.as_str(), run.intent.as_str(), outcome)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("v4", "deploy", "unfinished"),
            ("v1", "rollback", "succeeded"),
            ("v3", "deploy", "rolled_back"),
            ("v2", "deploy", "succeeded"),
            ("v1", "deploy", "succeeded"),
        ]
    );
    let same_bytes = RunFilter { digest: Some(runs[4].release.digest.clone()), ..of_shop() };
    assert_eq!(store.runs(&same_bytes).await.unwrap().len(), 2);
    for run in &runs {
        assert!(store.load(run.run).await.unwrap().len() > 10, "{}", run.release.tag);
    }
    // What was cut off goes on, with a new program.
    let events = store.load(runs[0].run).await.unwrap();
    let kind = EventKind::RunEnded { outcome: Outcome::Succeeded { warnings: vec![] } };
    let end = Event { run: runs[0].run, seq: events.len() as u64, at: Timestamp(1_900_000_000_000), kind };
    store.append(&end).await.unwrap();
    assert_eq!(store.runs(&RunFilter { unfinished: true, ..of_shop() }).await.unwrap(), []);
    let presence = store.presence(&RecordFilter::all(ProjectName::new("shop").unwrap())).await.unwrap();
    assert_eq!((presence.len(), presence[0].run, presence[0].since), (1, Some(end.run), end.at));
    store.close().await.unwrap();
    assert_eq!(open(&path).await.unwrap().load(end.run).await.unwrap().last(), Some(&end));
}

#[tokio::test]
async fn a_program_of_version_1_that_has_the_file_open_goes_on_and_what_it_begins_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let mut older = older(&path).await;
    let store = open(&path).await.unwrap();
    let before = store.runs(&of_shop()).await.unwrap();
    // In that program's words, which name neither project nor digest.
    let copied = "INSERT INTO runs (run, service, environment, release, intent, owner, started_at, ended_at, outcome, \
         events, head, checksum) SELECT run, service, environment, release, intent, owner, started_at, ended_at, \
         outcome, events, head, checksum FROM runs_before";
    for sql in [
        "BEGIN IMMEDIATE",
        "CREATE TEMP TABLE runs_before AS SELECT * FROM runs WHERE outcome LIKE '%rolled_back%'",
        "DELETE FROM runs WHERE outcome LIKE '%rolled_back%'",
        copied,
        "COMMIT",
    ] {
        sqlx::raw_sql(sql).execute(&mut older).await.unwrap();
    }
    assert_eq!(store.runs(&of_shop()).await.unwrap(), before);
}

#[tokio::test]
async fn damage_that_a_file_of_version_1_had_is_found_afterwards_too() {
    for (damage, named) in [
        ("UPDATE runs SET owner = 'kim' WHERE outcome LIKE '%rolled_back%'", "checksum"),
        (
            "DELETE FROM events WHERE seq = 0 AND run = (SELECT run FROM runs WHERE outcome LIKE '%rolled_back%')",
            "",
        ),
        ("UPDATE runs SET release = 'x' WHERE outcome LIKE '%rolled_back%'", "checksum"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let mut older = older(&path).await;
        sqlx::raw_sql(damage).execute(&mut older).await.unwrap();
        older.close().await.unwrap();
        let store = open(&path).await.unwrap();
        // Whoever deploys asks for what is unfinished.
        let unfinished = store.runs(&RunFilter { unfinished: true, ..of_shop() }).await.unwrap();
        assert_eq!(unfinished.len(), 1, "{damage}");
        match (named, store.runs(&of_shop()).await) {
            // The summary is whole; its events are not.
            ("", Ok(runs)) => {
                assert_eq!(runs.len(), 5, "{damage}");
                let error = store.load(runs[2].run).await.unwrap_err();
                assert!(error.to_string().contains("event 0: it is missing"), "{error}");
            }
            (named, listed) => {
                let error = listed.unwrap_err();
                assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
                assert!(error.to_string().contains(named), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let mut older = older(&path).await;
    // In the way of a table of version 2.
    sqlx::raw_sql("CREATE TABLE audit (seq BIGINT)").execute(&mut older).await.unwrap();
    assert!(open(&path).await.is_err());
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut older).await.unwrap();
    let columns: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM pragma_table_info('runs') WHERE name = 'project'")
            .fetch_one(&mut older)
            .await
            .unwrap();
    assert_eq!((version, columns), (1, 0));
    sqlx::raw_sql("DROP TABLE audit").execute(&mut older).await.unwrap();
    assert_eq!(open(&path).await.unwrap().runs(&of_shop()).await.unwrap().len(), 5);
}

#[tokio::test]
async fn every_digest_that_was_filled_in_is_its_releases() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path());
    let mut connection = raw(&path).await;
    let sql =
        "SELECT CAST(digest AS TEXT) AS digest, CAST(release ->> 'digest' AS TEXT) AS of_release FROM runs";
    let rows = connection.rows(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let digest = row.text("digest").unwrap();
        assert_eq!(digest, row.text("of_release").unwrap());
        Digest::new(digest).unwrap();
    }
}

/// A file of version 2 with what that program could have kept in it.
async fn of_version_2(path: &Path) -> SqliteConnection {
    file::prepare(path).unwrap();
    let mut older = older(path).await;
    let entry = |detail: &str| {
        format!(
            r#"{{"project":"shop","at":5,"by":"kim@desk","via":"cli","action":"approve","detail":"{detail}"}}"#
        )
    };
    let body = Digest::of(b"{}");
    for sql in [
        include_str!("../sql/1.sql").to_owned(),
        include_str!("../sql/2.sql").to_owned(),
        "PRAGMA user_version = 2".to_owned(),
        format!("INSERT INTO audit (seq, project, entry) VALUES (0, 'shop', '{}')", entry("first")),
        format!("INSERT INTO audit (seq, project, entry) VALUES (1, 'other', '{}')", entry("second")),
        format!(
            "INSERT INTO deliveries (project, endpoint, id, body, at, run) VALUES \
             ('shop', '/deploy', 'a', '{body}', 5, '00000000-0000-0000-0000-000000000007')"
        ),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut older).await.unwrap();
    }
    older
}

async fn checked(store: &SqlStore) -> Result<u64, AuditBreak> {
    let mut chain = AuditChain::default();
    for link in store.audit_links(0, 100).await.unwrap() {
        chain.check(&link)?;
    }
    Ok(chain.next())
}

#[tokio::test]
async fn a_file_of_version_2_gets_the_chain_of_its_audit_and_keeps_its_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut older = of_version_2(&path).await;
    let store = open(&path).await.unwrap();
    assert_eq!(checked(&store).await, Ok(2));
    let shop = ProjectName::new("shop").unwrap();
    let filter = AuditFilter { project: shop.clone(), before: None, limit: 9 };
    let listed = store.audit(&filter).await.unwrap();
    assert_eq!((listed.len(), listed[0].entry.detail.as_str()), (1, "first"));
    let open = store.unanswered(&shop, 9).await.unwrap();
    assert_eq!((open.len(), open[0].id.as_str(), &open[0].call), (1, "a", &None));
    // That program still has the file open and adds to it.
    let late = "INSERT INTO audit (seq, project, entry) SELECT 2, project, entry FROM audit WHERE seq = 0";
    sqlx::raw_sql(late).execute(&mut older).await.unwrap();
    assert_eq!(store.note(&listed[0].entry).await.unwrap(), 3);
    assert_eq!(checked(&store).await, Ok(4));
    // One that somebody has taken the hash of is not chained again by what is added.
    sqlx::raw_sql("UPDATE audit SET chain = '' WHERE seq = 1").execute(&mut older).await.unwrap();
    assert_eq!(store.note(&listed[0].entry).await.unwrap(), 4);
    assert_eq!(checked(&store).await, Err(AuditBreak { seq: 1, what: AuditFault::Unchained }));
}

#[tokio::test]
async fn whatever_is_done_to_the_audit_behind_our_back_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut older = of_version_2(&path).await;
    let store = open(&path).await.unwrap();
    let shop = ProjectName::new("shop").unwrap();
    let entry =
        store.audit(&AuditFilter { project: shop, before: None, limit: 1 }).await.unwrap().remove(0).entry;
    for _ in 0..4 {
        store.note(&entry).await.unwrap();
    }
    for (damage, undo, broken) in [
        (
            "UPDATE audit SET entry = replace(entry, 'first', 'other') WHERE seq = 3",
            "UPDATE audit SET entry = replace(entry, 'other', 'first') WHERE seq = 3",
            (3, AuditFault::Changed),
        ),
        (
            "UPDATE audit SET entry = CAST(x'ff00' AS TEXT) WHERE seq = 1",
            "UPDATE audit SET entry = replace((SELECT entry FROM audit WHERE seq = 0), 'first', 'second') WHERE seq = 1",
            (1, AuditFault::Changed),
        ),
        (
            "UPDATE audit SET seq = 9 WHERE seq = 2",
            "UPDATE audit SET seq = 2 WHERE seq = 9",
            (2, AuditFault::Missing),
        ),
        ("UPDATE audit SET project = 'x' WHERE seq = 5", "", (5, AuditFault::Changed)),
    ] {
        sqlx::raw_sql(damage).execute(&mut older).await.unwrap();
        let (seq, what) = broken;
        assert_eq!(checked(&store).await, Err(AuditBreak { seq, what }), "{damage}");
        sqlx::raw_sql(undo).execute(&mut older).await.unwrap();
    }
}
