//! The journal against real files: whole, damaged, cut off, full, and shared.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use lockgate_model::{
    Digest, EnvironmentName, EventKind, Evidence, Failure, FailureKind, Gates, HostId, Intent, Outcome, Plan,
    Progress, ProjectName, Release, ServiceName, Slot, StepId, Strategy, Tag, Timestamp,
};

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_engine::{Journal, JournalError, RunFilter};
use lockgate_model::{Event, RunId};

use super::{open, raw};
use crate::SqlStore;
use crate::database::Database;
use crate::{file, schema};

pub(super) fn run(number: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(number))
}

fn plan(service: &str) -> Plan {
    let service = ServiceName::new(service).unwrap();
    let release = Release {
        service: service.clone(),
        tag: Tag::new("v2").unwrap(),
        digest: Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap(),
        image: None,
        commit: None,
        provenance: None,
    };
    Plan {
        project: ProjectName::new("acme").unwrap(),
        service,
        environment: EnvironmentName::new("prod").unwrap(),
        strategy: Strategy::BlueGreen,
        intent: Intent::Deploy { release: release.clone(), gates: Gates::All, again: false },
        hosts: vec![HostId::local()],
        without: Vec::new(),
        before: BTreeMap::new(),
        release,
        phases: vec![],
    }
}

/// A whole run, with something of everything that nests.
pub(super) fn events(run: RunId, service: &str) -> Vec<Event> {
    let evidence =
        vec![Evidence { check: "GET /".into(), wanted: "200".into(), seen: "\"ü\" 500".into(), ok: false }];
    let failure = Failure::new(FailureKind::Unhealthy, "no answer")
        .at(&HostId::local())
        .slot(Slot::Green)
        .logs(vec!["line one".into()])
        .evidence(evidence.clone());
    let step = StepId(3);
    let kinds = vec![
        EventKind::RunStarted { plan: Box::new(plan(service)), owner: "lee@laptop".into(), requester: None },
        EventKind::StepStarted { step },
        EventKind::StepSucceeded { step, evidence, said: Vec::new() },
        EventKind::StepStarted { step: StepId(4) },
        EventKind::StepFailed { step: StepId(4), failure: failure.clone() },
        EventKind::UnwindStarted { cause: failure.clone() },
        EventKind::Adopted {
            owner: "kim@desk".into(),
            progress: Progress::Unwinding,
            left: Vec::new(),
            without: Vec::new(),
        },
        EventKind::UndoStarted { step },
        EventKind::UndoFailed { step, failure: failure.clone() },
        EventKind::UndoStarted { step },
        EventKind::UndoSucceeded { step },
        EventKind::RunEnded { outcome: Outcome::RolledBack { failure } },
    ];
    let at = |seq: u64| Timestamp(1_763_640_000_000 + i64::try_from(seq).unwrap());
    (0..).zip(kinds).map(|(seq, kind)| Event { run, seq, at: at(seq), kind }).collect()
}

fn any(limit: u32) -> RunFilter {
    RunFilter { limit, ..RunFilter::default() }
}

async fn append_all(journal: &SqlStore, events: &[Event]) {
    for event in events {
        journal.append(event).await.unwrap();
    }
}

/// A closed journal with one run, as one file.
async fn written(folder: &Path) -> (PathBuf, Vec<Event>) {
    let path = folder.join("journal.db");
    let journal = open(&path).await.unwrap();
    let events = events(run(1), "web");
    append_all(&journal, &events).await;
    journal.close().await.unwrap();
    assert!(!folder.join("journal.db-wal").exists());
    (path, events)
}

async fn load_from(path: &Path, id: RunId) -> Result<Vec<Event>, JournalError> {
    let journal = open(path).await?;
    let events = journal.load(id).await?;
    // What is listed must be right too, or an error.
    let listed = journal.runs(&any(10)).await?;
    assert_eq!(listed.len(), usize::from(!events.is_empty()));
    Ok(events)
}

#[tokio::test]
async fn events_come_back_as_they_were_appended_from_this_and_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/journal.db");
    let journal = open(&path).await.unwrap();
    let (first, second) = (events(run(1), "web"), events(run(2), "api"));
    for (one, other) in first.iter().zip(&second) {
        journal.append(one).await.unwrap();
        journal.append(other).await.unwrap();
    }
    assert_eq!(journal.load(run(1)).await.unwrap(), first);
    drop(journal);
    let journal = open(&path).await.unwrap();
    assert_eq!(journal.load(run(2)).await.unwrap(), second);
    assert_eq!(journal.load(run(3)).await.unwrap(), []);
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_service_and_environment_with_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path().join("journal.db")).await.unwrap();
    for (number, service) in [(1, "web"), (2, "api"), (3, "web")] {
        let mut all = events(run(number), service);
        all.iter_mut().for_each(|event| event.at.0 += 1_000 * i64::try_from(number).unwrap());
        // The last run is still going on.
        append_all(&journal, &all[..if number == 3 { 3 } else { all.len() }]).await;
    }
    let listed = journal.runs(&any(10)).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.run).collect::<Vec<_>>(), [run(3), run(2), run(1)]);
    assert_eq!((listed[0].ended_at, &listed[0].outcome), (None, &None));
    assert_eq!(listed[2].outcome.as_ref().unwrap().as_str(), "rolled_back");
    assert_eq!(listed[2].ended_at, Some(Timestamp(1_763_640_001_011)));
    assert_eq!((listed[2].intent.as_str(), listed[2].owner.as_str()), ("deploy", "lee@laptop"));
    let web = RunFilter { service: Some(ServiceName::new("web").unwrap()), ..any(1) };
    assert_eq!(journal.runs(&web).await.unwrap()[0].run, run(3));
    let unfinished = journal.runs(&RunFilter { unfinished: true, ..any(10) }).await.unwrap();
    assert_eq!(unfinished.iter().map(|one| one.run).collect::<Vec<_>>(), [run(3)]);
    let test = RunFilter { environment: Some(EnvironmentName::new("test").unwrap()), ..any(10) };
    assert!(journal.runs(&test).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_event_out_of_order_is_refused_and_the_journal_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path().join("journal.db")).await.unwrap();
    let events = events(run(1), "web");
    for wrong in [&events[1], &events[5]] {
        assert!(matches!(journal.append(wrong).await, Err(JournalError::Other { .. })));
    }
    append_all(&journal, &events[..2]).await;
    for wrong in [&events[0], &events[1], &events[3]] {
        assert!(matches!(journal.append(wrong).await, Err(JournalError::Other { .. })));
    }
    append_all(&journal, &events[2..]).await;
    assert_eq!(journal.load(run(1)).await.unwrap(), events);
}

#[tokio::test]
async fn what_another_process_appended_in_between_is_neither_overwritten_nor_forked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let (one, other) = (open(&path).await.unwrap(), open(&path).await.unwrap());
    let events = events(run(1), "web");
    one.append_all(&events[..2]).await.unwrap();
    other.append_all(&events[2..4]).await.unwrap();
    assert!(matches!(one.append(&events[2]).await, Err(JournalError::Other { .. })));
    one.append_all(&events[4..]).await.unwrap();
    assert!(matches!(other.append(&events[4]).await, Err(JournalError::Other { .. })));
    for journal in [&one, &other] {
        assert_eq!(journal.load(run(1)).await.unwrap(), events);
    }
}

#[tokio::test]
async fn file_and_folder_are_for_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/deep/journal.db");
    let journal = open(&path).await.unwrap();
    append_all(&journal, &events(run(1), "web")).await;
    let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        assert_eq!(mode(&format!("state/deep/{file}")), 0o600, "{file}");
    }
    assert_eq!((mode("state"), mode("state/deep")), (0o700, 0o700));
    journal.close().await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    open(&path).await.unwrap();
    assert_eq!(mode("state/deep/journal.db"), 0o600);
}

#[tokio::test]
async fn a_journal_that_is_a_link_is_refused_and_what_it_leads_to_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    std::fs::write(&target, "").unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o644)).unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        let path = folder.path().join(name);
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let error = open(folder.path().join("journal.db")).await.unwrap_err();
        assert!(error.to_string().contains("is a symbolic link"), "{error}");
        assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_open_one_new_file_at_once_and_append_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let tasks: Vec<_> = (1..=8)
        .map(|number| {
            let path = path.clone();
            tokio::spawn(async move {
                let journal = open(&path).await.unwrap();
                append_all(&journal, &events(run(number), "web")).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let journal = open(&path).await.unwrap();
    for number in 1..=8 {
        assert_eq!(journal.load(run(number)).await.unwrap().len(), 12);
    }
}

#[tokio::test]
async fn an_append_whose_caller_goes_away_leaves_a_usable_journal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path().join("journal.db")).await.unwrap();
    let events = events(run(1), "web");
    let mut next = 0;
    for polls in 0..200 {
        // Polls the append so many times and drops it wherever it is then.
        let mut append = journal.append(&events[next]);
        for _ in 0..polls {
            if futures_poll(&mut append).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(append);
        let loaded = journal.load(run(1)).await.unwrap();
        assert_eq!(loaded, events[..loaded.len()], "after {polls} polls");
        next = loaded.len();
        if next == events.len() {
            return;
        }
    }
    append_all(&journal, &events[next..]).await;
    assert_eq!(journal.load(run(1)).await.unwrap(), events);
}

/// Polls once; true when it is ready.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_ready())
    })
    .await
}

#[tokio::test]
async fn a_changed_swapped_or_missing_record_is_an_error_that_names_run_and_event() {
    let cases = [
        ("UPDATE events SET kind = replace(kind, '500', '200') WHERE seq = 2", "event 2 (step_succeeded)"),
        ("UPDATE events SET at = at + 1 WHERE seq = 5", "event 5 (unwind_started)"),
        ("UPDATE events SET checksum = 'x' WHERE seq = 4", "event 4 (step_failed)"),
        ("DELETE FROM events WHERE seq = 6", "event 6: it is missing"),
        ("DELETE FROM events WHERE seq = 11", "event 11: it is missing"),
        ("DELETE FROM events", "event 0: it is missing"),
        ("DELETE FROM runs", "its summary is missing"),
        ("UPDATE runs SET owner = 'kim'", "the checksum of its summary"),
        ("UPDATE runs SET project = 'other'", "the checksum of its summary"),
        ("UPDATE runs SET digest = ''", "the checksum of its summary"),
        (
            "UPDATE events SET kind = (SELECT kind FROM events AS other WHERE other.seq = 1) WHERE seq = 3",
            "event 3 (step_started)",
        ),
        ("DROP TABLE events", "no such table"),
        ("UPDATE events SET at = 'noon' WHERE seq = 7", "event 7"),
    ];
    for (damage, named) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = written(folder.path()).await;
        let mut connection = raw(&path).await;
        connection.run(damage).await.unwrap();
        connection.close().await.unwrap();
        let journal = open(&path).await.unwrap();
        let error = journal.load(run(1)).await.unwrap_err();
        assert!(
            matches!(&error, JournalError::Damaged { message } if message.contains(named)),
            "{damage}: {error}"
        );
        assert!(error.hint().contains("lockgate resume"));
    }
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_an_error_or_harmless_but_never_another_history() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = written(folder.path()).await;
    let whole = std::fs::read(&path).unwrap();
    let (mut found, mut harmless) = (0, 0);
    // The header byte by byte, the rest in strides that meet every kind of byte.
    for offset in (0..100).chain((100..whole.len()).step_by(23)) {
        let copy = folder.path().join(format!("{offset}.db"));
        let mut bytes = whole.clone();
        bytes[offset] ^= 1 << (offset % 8);
        std::fs::write(&copy, bytes).unwrap();
        let start = Instant::now();
        let loaded = load_from(&copy, run(1)).await;
        assert!(start.elapsed() < Duration::from_secs(5), "byte {offset} hangs");
        match loaded {
            Ok(loaded) => {
                assert_eq!(loaded, events, "byte {offset} changed the history");
                harmless += 1;
            }
            Err(_) => found += 1,
        }
    }
    assert!(found > 100 && harmless > 100, "{found} found, {harmless} harmless");
}

#[tokio::test]
async fn a_cut_off_file_is_an_error_or_a_new_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = written(folder.path()).await;
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(997).chain([1, 99, 100, 512, 4096, 8192, whole.len() - 1]) {
        let copy = folder.path().join(format!("{length}.db"));
        std::fs::write(&copy, &whole[..length]).unwrap();
        match load_from(&copy, run(1)).await {
            Ok(loaded) if length == 0 => assert_eq!(loaded, []),
            Ok(loaded) => assert_eq!(loaded, events, "cut at {length}"),
            Err(error) => assert!(matches!(error, JournalError::Damaged { .. }), "cut at {length}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_cut_off_or_damaged_write_ahead_log_gives_a_clean_earlier_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path).await.unwrap();
    let wal = folder.path().join("journal.db-wal");
    // The schema, which is one transaction.
    let made = usize::try_from(std::fs::metadata(&wal).unwrap().len()).unwrap();
    let events = events(run(1), "web");
    append_all(&journal, &events).await;
    // As a power loss leaves them: neither closed nor put into the file.
    let main = std::fs::read(&path).unwrap();
    let log = std::fs::read(wal).unwrap();
    let mut lengths = Vec::new();
    let places = |step: usize| (0..made).step_by(16 * step).chain((made..=log.len()).step_by(step));
    let cut = places(1_031).map(|length| log[..length].to_vec());
    let flipped = places(3_001).filter(|offset| *offset < log.len()).map(|offset| {
        let mut bytes = log.clone();
        bytes[offset] ^= 0x10;
        bytes
    });
    for (index, bytes) in cut.chain([log.clone()]).chain(flipped).enumerate() {
        let copy = folder.path().join(format!("{index}.db"));
        std::fs::write(&copy, &main).unwrap();
        std::fs::write(folder.path().join(format!("{index}.db-wal")), bytes).unwrap();
        let loaded = load_from(&copy, run(1)).await.unwrap();
        assert_eq!(loaded, events[..loaded.len()]);
        // And it goes on from there.
        let journal = open(&copy).await.unwrap();
        append_all(&journal, &events[loaded.len()..]).await;
        assert_eq!(journal.load(run(1)).await.unwrap(), events);
        lengths.push(loaded.len());
    }
    assert!(lengths.contains(&0) && lengths.contains(&5) && lengths.contains(&12), "{lengths:?}");
}

#[tokio::test]
async fn what_is_no_journal_is_damaged_and_a_newer_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    std::fs::write(&path, "this is a text file, and a rather long one at that. ".repeat(100)).unwrap();
    assert!(matches!(open(&path).await, Err(JournalError::Damaged { .. })));
    let path = folder.path().join("newer.db");
    open(&path).await.unwrap().close().await.unwrap();
    let mut connection = raw(&path).await;
    connection.run(format!("PRAGMA user_version = {}", schema::VERSION + 1)).await.unwrap();
    connection.close().await.unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(&error, JournalError::Unusable { message, .. } if message.contains("newer")), "{error}");
    assert!(error.hint().contains("install the newest lockgate"), "{}", error.hint());
    let error = open("/proc/journal.db").await.unwrap_err();
    assert!(matches!(error, JournalError::Other { .. }), "{error}");
}

/// An event too large for what room there is.
fn large(seq: u64) -> Event {
    let logs = vec!["x".repeat(10_000)];
    let failure = Failure::new(FailureKind::Other, "much").logs(logs);
    Event { run: run(1), seq, at: Timestamp(0), kind: EventKind::StepFailed { step: StepId(0), failure } }
}

/// Appends until it is full; then what was appended is there and nothing else.
async fn fill(journal: &SqlStore) -> Vec<Event> {
    let mut kept = vec![events(run(1), "web").remove(0)];
    journal.append(&kept[0]).await.unwrap();
    loop {
        let next = large(kept.len() as u64);
        match journal.append(&next).await {
            Ok(()) => kept.push(next),
            Err(error) => {
                assert!(matches!(error, JournalError::Full { .. }), "{error}");
                assert!(error.hint().contains("free space"));
                return kept;
            }
        }
        assert!(kept.len() < 1_000, "never full");
    }
}

#[tokio::test]
async fn a_file_that_cannot_grow_is_full_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let small = file::options(&path).pragma("max_page_count", "40");
    let database = Database::File { path: path.clone(), options: Box::new(small) };
    let journal = SqlStore { database: database.into(), open: Default::default(), away: Default::default() };
    let mut kept = fill(&journal).await;
    assert_eq!(journal.load(run(1)).await.unwrap(), kept);
    drop(journal);
    let journal = open(&path).await.unwrap();
    let next = large(kept.len() as u64);
    journal.append(&next).await.unwrap();
    kept.push(next);
    assert_eq!(journal.load(run(1)).await.unwrap(), kept);
}

/// A small file system of its own, where this machine allows that.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k,mode=755", "tmpfs"])
            .arg(folder.path())
            .output();
        if mount.is_ok_and(|mount| mount.status.success()) {
            return Some(Self(folder));
        }
        assert!(std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_none(), "no tmpfs can be mounted");
        eprintln!("skipped: no tmpfs can be mounted here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_full_and_loses_nothing() {
    let Some(disk) = SmallDisk::new() else { return };
    let path = disk.0.path().join("journal.db");
    let journal = open(&path).await.unwrap();
    let kept = fill(&journal).await;
    assert!(kept.len() > 5, "{}", kept.len());
    assert_eq!(journal.load(run(1)).await.unwrap(), kept);
}

#[tokio::test]
async fn opening_and_appending_are_quick() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let start = Instant::now();
    open(&path).await.unwrap().close().await.unwrap();
    let made = start.elapsed();
    let start = Instant::now();
    let journal = open(&path).await.unwrap();
    let opened = start.elapsed();
    let events = events(run(1), "web");
    let start = Instant::now();
    append_all(&journal, &events).await;
    let appended = start.elapsed() / 12;
    eprintln!("made and closed {made:?}, opened {opened:?}, one append {appended:?}");
    // Far above what it takes on an idle machine (about 2 ms), so that it only fails when something is wrong.
    assert!(opened.as_millis() < 250, "{opened:?}");
}
