//! `lockgate audit`, without a daemon: what a store has, and whether it is as it was written.

use std::path::Path;

use lockgate_model::{AuditEntry, ProjectName, StateLocation, Timestamp};
use lockgate_ports::Store;
use lockgate_store::SqlStore;
use sqlx::{ConnectOptions, Connection};

use crate::support::project::{Project, Setup};

fn entry(project: &str, number: i64) -> AuditEntry {
    AuditEntry {
        project: ProjectName::new(project).unwrap(),
        at: Timestamp(1_763_640_000_000 + number * 1_000),
        by: "ci acme/shop#17".into(),
        via: "webhook".into(),
        action: "deploy".into(),
        service: None,
        environment: None,
        digest: None,
        run: None,
        detail: format!("number {number}"),
        from: Some("192.0.2.7".into()),
        result: Some("deployed".into()),
        count: None,
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn write(path: &Path, project: &str, numbers: std::ops::Range<i64>) {
    block_on(async {
        let store = SqlStore::new(&StateLocation::File(path.to_owned()));
        for number in numbers {
            store.note(&entry(project, number)).await.unwrap();
        }
        store.close().await.unwrap();
    });
}

fn tamper(path: &Path, sql: &'static str) {
    block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn the_audit_is_read_and_checked_without_a_daemon() {
    let project = Project::with(&Setup::default());
    let path = project.path("m1/.lockgate/journal.db");
    project
        .run("audit")
        .expect(0)
        .says(&["there is no entry in the audit", "by hand is in `lockgate history`"]);
    project.run("audit --help").expect(0).says(&["Signed calls to `lockgate serve`", "is in `history`"]);
    project.run("audit verify").expect(0).says(&["there is no entry in the audit"]);
    assert!(!path.exists(), "looking makes nothing");
    write(&path, "shop", 0..5);
    write(&path, "another", 5..6);
    let listed = project.run("audit -n 2 --format json").expect(0).lines();
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0]["seq"].as_u64(), listed[0]["detail"].as_str()), (Some(4), Some("number 4")));
    let older = project.run("audit -n 2 --before 3 --format json").expect(0).lines();
    assert_eq!((older[0]["seq"].as_u64(), older[1]["seq"].as_u64()), (Some(2), Some(1)));
    project.run("audit -n 2").expect(0).says(&["number 4", "192.0.2.7", "`--before 3`"]);

    let verified = project.run("audit verify --format json").expect(0).lines().remove(0);
    assert_eq!(
        (verified["whole"].as_bool(), verified["entries"].as_u64()),
        (Some(true), Some(6)),
        "of all projects"
    );
    let kept = format!("{}:{}", verified["last"]["seq"], verified["last"]["hash"].as_str().unwrap());
    project
        .run(&format!("audit verify --kept {kept}"))
        .expect(0)
        .says(&["6 entries are as they were", &kept]);
    project.run("audit verify --kept 5").expect(2).says(&["NUMBER:HASH"]);

    tamper(&path, "DELETE FROM audit WHERE seq = 5");
    project.run("audit verify").expect(0).says(&["5 entries", "not known is whether"]);
    project.run(&format!("audit verify --kept {kept}")).expect(1).says(&["entry 5", "cut off"]);
    tamper(&path, "UPDATE audit SET entry = replace(entry, 'number 3', 'number 9') WHERE seq = 3");
    project.run("audit verify").expect(1).says(&["entry 3 of the audit: it was changed", "the 3 before it"]);
    tamper(&path, "DELETE FROM audit WHERE seq = 1");
    let broken = project.run("audit verify --format json").expect(1).lines().remove(0);
    assert_eq!(broken["broken"], serde_json::json!({ "seq": 1, "what": "missing" }));
    assert_eq!(broken["exit"], 1);
}
