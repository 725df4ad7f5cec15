//! The journal on its bad days: full disk, damage, no permission. The world is not touched, or put back.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::double::{Double, Manner};
use crate::support::load::{Load, User};
use crate::support::project::{Project, Setup, Waits};
use crate::support::skipped;

/// A file system of half a MiB; unmounted when dropped.
struct Tiny(PathBuf);

impl Tiny {
    /// `None` when this user may not mount.
    fn mount(path: &Path) -> Option<Tiny> {
        std::fs::create_dir_all(path).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k,mode=755", "tmpfs"])
            .arg(path)
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Tiny(path.to_owned())),
            _ => {
                skipped("a file system cannot be mounted here, so the disk is never full");
                None
            }
        }
    }

    fn fill(&self) {
        let error = std::fs::write(self.0.join("fill"), vec![0_u8; 1024 * 1024]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("fill")).unwrap();
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}

/// Fills `<folder>` and passes.
fn filling_gate(project: &Project, folder: &Path) {
    let fill = folder.join("fill");
    project.script("gate", &format!("#!/bin/sh\ncat /dev/zero > {}\nexit 0\n", fill.display()));
}

#[test]
fn a_full_disk_under_the_journal_stops_a_deployment_before_it_begins() {
    let hook = Double::start(Manner::Answers("204 No Content", ""));
    let end = format!("notify:\n  - webhook: {{ url: \"http://{}/hook\" }}\n", hook.address);
    let project = Project::with(&Setup { end, ..Setup::default() });
    project.deploy("v1");
    let folder = project.path("m2/.lockgate");
    let Some(tiny) = Tiny::mount(&folder) else { return };
    tiny.fill();
    project.run_on("m2", "deploy web v2").expect(1).says(&["journal.db", "hint"]);
    let told = hook.bodies();
    assert!(told[2..].iter().any(|one| one.contains("\"failed\"") && one.contains("v2")), "{told:#?}");
    project.expect_settled("v1");
    tiny.free();
    project.run_on("m2", "deploy web v2").expect(0);
    project.expect_settled("v2");
}

#[test]
fn a_disk_that_becomes_full_while_journaling_turns_the_run_back() {
    for (moment, code) in [("before", 1), ("after", 3)] {
        let gate = "[{ name: fill, command: \"ROOT/gate\" }]".to_owned();
        let setup = match moment {
            "before" => Setup { before: gate, ..Setup::default() },
            _ => Setup { after: gate, ..Setup::default() },
        };
        let project = Project::with(&setup);
        project.script("gate", "#!/bin/sh\nexit 0\n");
        project.deploy("v1");
        let folder = project.path("m2/.lockgate");
        let Some(tiny) = Tiny::mount(&folder) else { return };
        filling_gate(&project, &folder);
        let load = Load::start(project.port, &[User::Get]);
        let ran = project.run_on("m2", "deploy web v2");
        assert_eq!(ran.code, Some(code), "filled {moment} the switch:\n{ran}");
        // It was undone, so there is nothing to resume.
        assert!(!ran.stderr.contains("run `lockgate resume`"), "{ran}");
        ran.says(&["free space on the disk that holds the journal, then run the same command again"]);
        load.expect_no_failure();
        project.expect_settled("v1");
        tiny.free();
        project.script("gate", "#!/bin/sh\nexit 0\n");
        project.run_on("m2", "deploy web v2").expect(0);
        project.expect_settled("v2");
        let history = project.run_on("m2", "history").expect(0).stdout;
        assert!(!history.contains("unfinished"), "{history}");
    }
}

#[test]
fn a_full_disk_under_the_hosts_state_changes_nothing_and_is_resumed_when_there_is_room() {
    let project = Project::with(&Setup {
        after: "[{ name: fill, command: \"ROOT/gate\" }]".into(),
        ..Setup::default()
    });
    let folder = project.path("host/prod/web");
    let Some(tiny) = Tiny::mount(&folder) else { return };
    project.script("gate", "#!/bin/sh\nexit 0\n");
    project.deploy("v1");
    tiny.fill();
    project.run("doctor").expect(1).says(&[
        "no space left on the disk that holds",
        "no space left on its disk",
        "df -h",
    ]);
    project.run("deploy web v2").expect(1).says(&["hint"]);
    project.expect_live("v1");
    tiny.free();

    filling_gate(&project, &folder);
    let load = Load::start(project.port, &[User::Get]);
    let ran = project.run("deploy web v2");
    // The record of the run cannot be renewed any more, but the lease is still its own.
    assert!(matches!(ran.code, Some(0 | 1 | 3)), "{ran}");
    assert_eq!(project.ask("/").release(), if ran.code == Some(0) { "v2" } else { "v1" });
    // That it is over could not be written down there, and is not said either.
    let status = project.run("status web");
    assert!(status.code == Some(0) || status.stdout.contains("lockgate resume"), "{status}");
    tiny.free();
    project.script("gate", "#!/bin/sh\nexit 0\n");
    project.run("deploy web v2").expect(0);
    load.expect_no_failure();
    project.expect_settled("v2");
}

#[test]
fn a_damaged_journal_is_said_and_nothing_is_done() {
    let project = Project::new();
    project.deploy("v1");
    let path = project.path("m1/.lockgate/journal.db");
    let damages: [(&str, &[u8]); 2] = [("cut off", b"SQLite"), ("garbage", &[0x5a; 8192])];
    for (what, content) in damages {
        for name in ["journal.db-wal", "journal.db-shm"] {
            drop(std::fs::remove_file(path.with_file_name(name)));
        }
        std::fs::write(&path, content).unwrap();
        for command in ["deploy web v2", "resume", "history"] {
            let ran = project.run(command).expect(1);
            assert!(ran.stderr.contains("journal.db") && ran.stderr.contains("hint"), "{what}:\n{ran}");
        }
        // What is live is asked of the host, not of the journal.
        project.expect_settled("v1");
    }
    std::fs::remove_file(&path).unwrap();
    project.deploy("v2");
    project.expect_settled("v2");
}

/// Changes rows of a journal as no program of ours would.
fn tamper(path: &Path, sql: &'static str) {
    use sqlx::{Connection, Executor};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let changed = runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut journal = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let changed = journal.execute(sql).await.unwrap().rows_affected();
        journal.close().await.unwrap();
        changed
    });
    assert!(changed > 0, "{sql} changed nothing");
}

/// One digit of one event.
const ONE_EVENT: &str = "UPDATE events SET kind = replace(kind, '\"steps\":[', '\"steps\":[7') WHERE seq = 1 \
     AND run = (SELECT max(run) FROM runs) AND kind LIKE '%intended%'";
const ONE_RUN: &str =
    "UPDATE runs SET owner = 'x' || substr(owner, 2) WHERE run = (SELECT min(run) FROM runs)";

#[test]
fn one_damaged_record_of_a_run_that_has_ended_is_said_where_it_matters_and_stops_no_rollback() {
    let project = Project::new();
    project.deploy("v1");
    let path = project.path("m1/.lockgate/journal.db");
    // Nothing but this run's own replay would read it, and that is over.
    tamper(&path, ONE_EVENT);
    project.run("history").expect(0).says(&["succeeded"]);
    project.deploy("v2");
    project.expect_settled("v2");

    // What is over keeps nobody from anything; only who asks for it is told.
    tamper(&path, ONE_RUN);
    let load = Load::start(project.port, &[User::Get]);
    let refused = |project: &Project| {
        project.run("history").expect(1).says(&["journal", "checksum", "does not match", "hint"]);
    };
    refused(&project);
    project.run("resume").expect(0);
    project.deploy("v1");
    project.run("rollback web").expect(0);
    project.expect_settled("v2");
    refused(&project);
    std::fs::rename(&path, path.with_extension("damaged")).unwrap();
    project.deploy("v1");
    project.run("history").expect(0).says(&["succeeded"]);
    load.expect_no_failure();
    project.expect_settled("v1");
}

#[test]
fn a_damaged_record_of_a_run_that_was_killed_does_not_keep_it_from_its_end() {
    let project = Project::waiting(Waits::AfterSwitch);
    let load = Load::start(project.port, &[User::Get]);
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    running.signal(rustix::process::Signal::KILL);
    drop(running);
    project.open_gate();
    let path = project.path("m1/.lockgate/journal.db");
    tamper(&path, ONE_EVENT);
    project.run("resume").expect(1).says(&["journal", "checksum", "does not match", "hint"]);
    // What the gates had not passed is left as it was, and the hosts know what is to be done.
    assert_eq!(project.ask("/").release(), "v2");
    std::fs::rename(&path, path.with_extension("damaged")).unwrap();
    project.run("resume").expect(0);
    load.expect_no_failure();
    project.expect_settled("v2");
}

#[test]
fn a_state_folder_that_cannot_be_made_is_said() {
    let project = Project::new();
    std::fs::write(project.path("m1/.lockgate"), "a file").unwrap();
    project.run("deploy web v1").expect(1).says(&[".lockgate", "hint"]);
    assert!(project.apps().is_empty());

    let project = Project::new();
    std::fs::write(project.path("host"), "a file").unwrap();
    project.run("deploy web v1").expect(1).says(&["host", "error"]);
    project.run("doctor").expect(1);
    assert!(project.apps().is_empty());
}

#[test]
fn a_damaged_lease_record_is_never_taken_for_a_free_one() {
    let project = Project::new();
    project.deploy("v1");
    let path = project.path("host/prod/web/.lockgate/lease.json");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    project.run("deploy web v2").expect(1).says(&["lease.json", "hint"]);
    project.run("status").expect(1).says(&["lease.json", "v1 ("]);
    assert_eq!(project.ask("/").release(), "v1");
    std::fs::write(&path, &good).unwrap();
    project.deploy("v2");
    project.expect_settled("v2");
}

#[test]
fn what_was_refused_before_it_began_is_no_run_and_history_says_who_knows_of_it() {
    let project = Project::new();
    project.run("deploy web v9").expect(1).says(&["v9"]);
    project.run("history").expect(0).says(&[
        "no run is in this folder's journal",
        "what was refused before it began is no run; of signed calls `lockgate audit` has it",
    ]);
    project.run("history --help").expect(0).says(&["What was refused before it began", "`lockgate audit`"]);
}
