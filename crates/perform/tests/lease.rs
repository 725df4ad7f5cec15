//! A host's record and the files of runs beside it, as this program and the one of 2026-11-26 write them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_engine::{LeaseStore, Leases, RunFile, conformance};
use lockgate_model::{
    FailureKind, Holder, HostId, Identity, LeaseRecord, Millis, Plan, PlanPlace, Progress, RECORD_BYTES_MAX,
    RunFileName, RunId,
};
use lockgate_perform::HostLease;
use lockgate_ports::FILE_BYTES_MAX;
use lockgate_ports::fake::{FakePorts, Machine, NoFaults, SharedMachine, shared};

const FOLDER: &str = "/srv/web/.lockgate";

struct Place {
    machine: SharedMachine,
    lease: Arc<HostLease>,
}

impl Place {
    fn new(record: Option<&[u8]>) -> Self {
        let mut machine = Machine::new(HostId::new("web1").unwrap(), Arc::default());
        if let Some(record) = record {
            machine.files.insert(format!("{FOLDER}/lease.json"), record.to_vec());
        }
        let machine = shared(machine);
        let ports = FakePorts::new(machine.clone(), Arc::new(NoFaults)).host_ports("/srv/web");
        Self { machine, lease: Arc::new(HostLease::new(&ports)) }
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.machine.lock().unwrap().files.clone()
    }

    fn put(&self, name: &str, content: Option<Vec<u8>>) {
        let mut machine = self.machine.lock().unwrap();
        let path = format!("{FOLDER}/{name}");
        match content {
            Some(content) => machine.files.insert(path, content),
            None => machine.files.remove(&path),
        };
    }

    fn record(&self) -> Vec<u8> {
        self.files()[&format!("{FOLDER}/lease.json")].clone()
    }

    /// By somebody for whom every other holder is gone.
    fn leases(&self, pid: u32) -> Leases {
        let (owner, boot_id) = ("kim@desk".into(), format!("boot{pid}"));
        let identity = Identity { owner, boot_id, pid, started: 1, session: "one".into() };
        let stores = vec![self.lease.clone() as Arc<dyn LeaseStore>];
        Leases { stores, identity, surely_dead: Arc::new(|_: &Holder| true), ttl: Millis::from_secs(15) }
    }
}

#[tokio::test]
async fn a_hosts_lease_keeps_the_promises_of_one() {
    let place = Place::new(None);
    let ports = FakePorts::new(place.machine.clone(), Arc::new(NoFaults)).host_ports("/srv/web");
    conformance::lease_store(place.lease.as_ref(), &HostLease::new(&ports)).await;
}

/// As it was written, read without this program's types.
fn plan_within(record: &[u8]) -> Option<Plan> {
    let record: serde_json::Value = serde_json::from_slice(record).unwrap();
    let plan = record["unfinished"].get("plan")?.clone();
    Some(serde_json::from_value(plan).unwrap())
}

#[tokio::test]
async fn records_of_the_older_program_are_read_and_written_again_as_they_are_now() {
    use Progress::{Committed, Forward, Unwinding};
    for (name, record, progress, end) in [
        ("held", include_bytes!("older/held.web1.json").as_slice(), None, None),
        ("forward", include_bytes!("older/forward.web1.json"), Some(Forward), None),
        ("unwinding", include_bytes!("older/unwinding.web1.json"), Some(Unwinding), None),
        ("committed", include_bytes!("older/committed.web1.json"), Some(Committed), None),
        ("stuck", include_bytes!("older/stuck.web1.json"), Some(Unwinding), Some("stuck")),
        ("succeeded", include_bytes!("older/succeeded.web1.json"), None, Some("succeeded")),
        ("rolled_back", include_bytes!("older/rolled_back.web1.json"), None, Some("rolled_back")),
    ] {
        let place = Place::new(Some(record));
        let (old, ..) = place.lease.read().await.unwrap();
        assert_eq!(place.record(), record, "{name}: who looks changes nothing");
        let wanted = plan_within(record);
        if let Some(begun) = &old.unfinished {
            assert_eq!(Some(place.lease.glimpse_plan(begun).await.unwrap()), wanted, "{name}");
        }

        let found = place.leases(1).acquire().await.unwrap();
        let unfinished = found.unfinished.values().next();
        assert_eq!(unfinished.map(|unfinished| unfinished.plan.clone()), wanted, "{name}");
        assert_eq!(unfinished.map(|unfinished| unfinished.progress), progress, "{name}");
        assert_eq!(found.last.values().next().map(|end| end.outcome.as_str()), end, "{name}");
        assert!(found.unread.is_empty(), "{name}");
        let now: LeaseRecord = serde_json::from_slice(&place.record()).unwrap();
        assert!(place.record().len() <= RECORD_BYTES_MAX, "{name}: {} bytes", place.record().len());
        assert_eq!(now.token, old.token + 1, "{name}");
        assert_eq!(now.is_stuck(), end == Some("stuck"), "{name}");
        let named = now.unfinished.as_ref().and_then(|begun| begun.file());
        assert_eq!(named.is_some(), progress.is_some(), "{name}");
        let runs = place.files().into_keys().filter(|path| path.contains("/run.")).collect::<Vec<_>>();
        assert_eq!(runs, named.iter().map(|name| format!("{FOLDER}/{name}")).collect::<Vec<_>>());

        // Whoever comes next finds the same.
        found.fence.release().await.unwrap();
        let next = place.leases(2).acquire().await.unwrap();
        assert_eq!(next.unfinished, found.unfinished, "{name}");
        assert_eq!(next.last, found.last, "{name}");
    }
}

fn plan() -> Plan {
    plan_within(include_bytes!("older/forward.web1.json")).unwrap()
}

fn file(run: u128) -> RunFile {
    RunFile::of(RunId(uuid(run)), &plan()).unwrap()
}

fn uuid(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

#[tokio::test]
async fn a_run_is_beside_its_record_until_it_has_ended() {
    let place = Place::new(None);
    let held = place.leases(1).acquire().await.unwrap();
    let run = file(1);
    held.fence.mark(&run, Progress::Forward, None).await.unwrap();
    let path = format!("{FOLDER}/{}", run.name);
    assert_eq!(place.files()[&path], run.content);
    let record: LeaseRecord = serde_json::from_slice(&place.record()).unwrap();
    let begun = record.unfinished.unwrap();
    assert_eq!(begun.plan, PlanPlace::Beside(run.name.checksum.clone()));
    assert_eq!(place.lease.plan(&run.name).await.unwrap(), plan());
    assert_eq!(place.lease.glimpse_plan(&begun).await.unwrap(), plan());
    held.fence.unmark().await.unwrap();
    assert!(!place.files().contains_key(&path));
}

#[tokio::test]
async fn a_run_file_that_is_not_what_its_record_names_is_an_error_that_says_so() {
    let whole = file(1);
    let other = file(2);
    // Well-formed, and as its name tells, but about another run.
    let swapped = RunFileName { run: RunId(uuid(3)), checksum: other.name.checksum.clone() };
    let large = vec![b' '; FILE_BYTES_MAX + 1];
    for (name, content, kind, says) in [
        (&whole.name, None, FailureKind::NotFound, "is missing"),
        (&whole.name, Some(Vec::new()), FailureKind::Other, "is not what was written there"),
        (
            &whole.name,
            Some(whole.content[..500].to_vec()),
            FailureKind::Other,
            "is not what was written there",
        ),
        (&whole.name, Some(other.content.clone()), FailureKind::Other, "is not what was written there"),
        (&swapped, Some(other.content.clone()), FailureKind::Other, "is about the run 00000000"),
        (&whole.name, Some(large), FailureKind::Other, "is not what was written there"),
    ] {
        let place = Place::new(None);
        let held = place.leases(1).acquire().await.unwrap();
        held.fence
            .mark(&RunFile { name: name.clone(), content: Vec::new() }, Progress::Forward, None)
            .await
            .unwrap();
        held.fence.release().await.unwrap();
        place.put(&name.to_string(), content);
        let found = place.leases(2).acquire().await.unwrap();
        assert!(found.unfinished.is_empty(), "{says}");
        let failure = found.unread.into_values().next().unwrap().failure;
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(says) && failure.message.contains(&name.to_string()), "{failure}");
        let record: LeaseRecord = serde_json::from_slice(&place.record()).unwrap();
        assert!(record.unfinished.is_some(), "{says}");
    }
}

#[tokio::test]
async fn files_that_no_record_names_are_swept_and_nothing_else_is() {
    let place = Place::new(None);
    let names: Vec<RunFileName> = (10..40).map(|run| file(run).name).collect();
    for name in &names {
        place.put(&name.to_string(), Some(b"left".to_vec()));
    }
    let others = ["releases.json", "run.json", "run.1.json", "run..json", "running.json"];
    for other in others {
        place.put(other, Some(b"somebody's".to_vec()));
    }
    let held = place.leases(1).acquire().await.unwrap();
    let count = || place.files().into_keys().filter(|path| path.ends_with(".json")).count();
    let before = count();
    let run = file(1);
    held.fence.mark(&run, Progress::Forward, None).await.unwrap();
    assert_eq!(count(), before + 1 - 16, "a bounded number at a time");
    held.fence.unmark().await.unwrap();
    held.fence.mark(&run, Progress::Forward, None).await.unwrap();
    held.fence.mark(&run, Progress::Committed, None).await.unwrap();
    let left: Vec<String> = place.files().into_keys().filter(|path| path.contains("/run")).collect();
    let mut wanted: Vec<String> = others[1..].iter().map(|name| format!("{FOLDER}/{name}")).collect();
    wanted.push(format!("{FOLDER}/{}", run.name));
    wanted.sort();
    assert_eq!(left, wanted);
}
