use std::sync::{Arc, Mutex};

use lockgate_model::{EnvironmentName, HostId, ProjectName, Secret, Tag, Template};
use lockgate_ports::fake::{
    Call, FakePorts, Fate, Faults, Machine, NoFaults, Program, SharedMachine, What, shared,
};
use uuid::Uuid;

use super::*;
use crate::scene::{release, releases, service};

const PATH: &str = "/srv/web/.lockgate/before_switch.json";

fn run_id(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

fn hook(repeat: bool) -> Hook {
    let argv = ["./migrate", "--to", "{tag}"].map(|part| Template::new(part).unwrap()).to_vec();
    Hook { argv, timeout: Millis::from_secs(60), repeat, only_warns: false }
}

fn program(takes: Millis, code: i32, says: &[&str]) -> Program {
    Program { takes, code, says: says.iter().map(|line| (*line).to_owned()).collect() }
}

/// A host with v1 in blue and the bytes of v2, and how a program behaves there.
fn host(program: Program, faults: Arc<dyn Faults>) -> (SharedMachine, HostPorts) {
    let machine = shared(Machine::new(HostId::new("web1").unwrap(), releases(&["v1", "v2"])));
    {
        let mut machine = machine.lock().unwrap();
        machine.place(Slot::Blue, &Tag::new("v1").unwrap(), true);
        machine.images.insert(release("v2").digest);
        machine.one_offs.program = program;
    }
    let ports = FakePorts::new(machine.clone(), faults).host_ports("/srv/web");
    (machine, ports)
}

fn subject() -> Subject {
    Subject {
        project: ProjectName::new("shop").unwrap(),
        service: service().clone(),
        environment: EnvironmentName::new("prod").unwrap(),
    }
}

/// What it came to in the run, and what was told meanwhile.
async fn perform(ports: &HostPorts, hook: &Hook, number: u128) -> (Result<Seen, Failure>, Vec<String>) {
    let told = Mutex::new(Vec::new());
    let hear = |headway: Headway| told.lock().unwrap().extend(headway.said);
    let (subject, release) = (subject(), release("v2"));
    let moment = HookMoment::BeforeSwitch;
    let asked =
        Asked { subject: &subject, hook, moment, slot: Slot::Green, release: &release, run: run_id(number) };
    let ended = run(ports, &asked, &hear).await;
    (ended, told.into_inner().unwrap())
}

fn begun(machine: &SharedMachine, number: u128) -> u32 {
    let id = OneOffId { run: run_id(number), moment: HookMoment::BeforeSwitch };
    machine.lock().unwrap().one_offs.begun.get(&id).copied().unwrap_or_default()
}

/// What an orchestrator that was cut off left: a mark, and perhaps the program.
fn left(machine: &SharedMachine, number: u128, is_there: bool) {
    let mut machine = machine.lock().unwrap();
    let mark = Mark { run: run_id(number), begun_at: machine.now(), code: None };
    machine.files.insert(PATH.to_owned(), bytes(&mark).unwrap());
    if is_there {
        let id = OneOffId { run: run_id(number), moment: HookMoment::BeforeSwitch };
        machine.one_offs.there.insert(id, Instant::now());
        machine.one_offs.begun.insert(id, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn it_runs_once_in_a_run_and_again_in_the_next() {
    let (machine, ports) =
        host(program(Millis(300), 0, &["applied 0001", "applied 0002"]), Arc::new(NoFaults));
    let (ended, told) = perform(&ports, &hook(false), 1).await;
    assert!(ended.unwrap().iter().all(|one| one.ok));
    assert_eq!(told, ["applied 0001", "applied 0002"]);
    assert!(machine.lock().unwrap().one_offs.there.is_empty(), "nothing is left of it");
    let (again, told) = perform(&ports, &hook(false), 1).await;
    assert!(again.is_ok() && told.is_empty(), "it is known what it came to");
    assert_eq!(begun(&machine, 1), 1);
    assert!(perform(&ports, &hook(false), 2).await.0.is_ok());
    assert_eq!(begun(&machine, 2), 1);
}

#[tokio::test(start_paused = true)]
async fn another_code_than_0_is_a_failure_with_what_it_wrote_and_no_secret() {
    let (machine, mut ports) =
        host(program(Millis(5), 3, &["cannot log in with hunter2"]), Arc::new(NoFaults));
    ports.mask = Mask::of(&[Secret::new("hunter2")]);
    let (ended, told) = perform(&ports, &hook(false), 1).await;
    let failure = ended.unwrap_err();
    assert_eq!(failure.kind, FailureKind::HookFailed);
    assert_eq!(failure.message, "before_switch `./migrate --to {tag}` ended with exit code 3");
    assert_eq!(
        (failure.logs, told),
        (vec!["cannot log in with ***".to_owned()], vec!["cannot log in with ***".to_owned()])
    );
    let (again, _) = perform(&ports, &hook(true), 1).await;
    assert_eq!(again.unwrap_err().kind, FailureKind::HookFailed, "what failed is not tried again");
    assert_eq!(begun(&machine, 1), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_too_long_is_ended() {
    let (machine, ports) = host(program(Millis::from_secs(3_600), 0, &[]), Arc::new(NoFaults));
    let start = Instant::now();
    let failure = perform(&ports, &hook(false), 1).await.0.unwrap_err();
    assert!(failure.message.ends_with("took longer than 1m and was ended"), "{failure}");
    assert!(start.elapsed() < Duration::from_secs(62), "{:?}", start.elapsed());
    assert!(machine.lock().unwrap().one_offs.there.is_empty());
}

/// Who comes after a crash looks at the world.
#[tokio::test(start_paused = true)]
async fn whoever_goes_on_waits_for_what_runs_and_begins_nothing_anew() {
    let (machine, ports) = host(program(Millis::from_secs(20), 0, &["done"]), Arc::new(NoFaults));
    left(&machine, 1, true);
    let start = Instant::now();
    let (ended, told) = perform(&ports, &hook(false), 1).await;
    assert!(ended.is_ok() && told == ["done"]);
    assert!(start.elapsed() >= Duration::from_secs(20), "it was waited for");
    assert_eq!(begun(&machine, 1), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_and_is_nowhere_is_not_begun_again_unless_it_may_be() {
    let (machine, ports) = host(program(Millis(5), 0, &[]), Arc::new(NoFaults));
    left(&machine, 1, false);
    let failure = perform(&ports, &hook(false), 1).await.0.unwrap_err();
    assert_eq!(failure.kind, FailureKind::HookFailed);
    assert!(failure.message.contains("may have run in part"), "{failure}");
    assert!(failure.hints.to_string().contains("`lockgate deploy web v2`"), "{:?}", failure.hints);
    assert_eq!(begun(&machine, 1), 0);
    assert!(perform(&ports, &hook(true), 1).await.0.is_ok());
    assert_eq!(begun(&machine, 1), 1);
}

#[tokio::test(start_paused = true)]
async fn what_another_run_left_behind_is_ended_first() {
    let (machine, ports) = host(program(Millis::from_secs(50), 0, &[]), Arc::new(NoFaults));
    left(&machine, 1, true);
    assert!(perform(&ports, &hook(false), 2).await.0.is_ok());
    let machine = machine.lock().unwrap();
    let old = OneOffId { run: run_id(1), moment: HookMoment::BeforeSwitch };
    assert!(!machine.one_offs.done.contains_key(&old), "it had no right to go on");
}

#[tokio::test(start_paused = true)]
async fn undoing_it_ends_it() {
    let (machine, ports) = host(program(Millis::from_secs(50), 0, &[]), Arc::new(NoFaults));
    left(&machine, 1, true);
    assert_eq!(end(&ports, HookMoment::AfterSwitch).await, Ok(Seen::new()));
    assert_eq!(machine.lock().unwrap().one_offs.there.len(), 1, "another hook is not meant");
    assert_eq!(end(&ports, HookMoment::BeforeSwitch).await, Ok(Seen::new()));
    assert!(machine.lock().unwrap().one_offs.there.is_empty());
}

/// Somebody else's mark appears between the look and the write.
struct Overtaken(SharedMachine);

#[async_trait]
impl Faults for Overtaken {
    async fn before(&self, call: &Call) -> Fate {
        if call.what == What::Swap {
            left(&self.0, 1, true);
        }
        Fate::Happens
    }
    async fn after(&self, _: &Call) {}
    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }
    fn happened(&self, _: &Call, _: &mut Machine) {}
}

#[tokio::test(start_paused = true)]
async fn of_two_who_go_on_with_a_run_one_begins_it() {
    let (machine, _) = host(program(Millis(5), 0, &[]), Arc::new(NoFaults));
    let faults = Arc::new(Overtaken(machine.clone()));
    let ports = FakePorts::new(machine.clone(), faults).host_ports("/srv/web");
    let failure = perform(&ports, &hook(true), 1).await.0.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Conflict);
    assert_eq!(begun(&machine, 1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_cannot_be_read_is_never_taken_for_none() {
    let (machine, ports) = host(program(Millis(5), 0, &[]), Arc::new(NoFaults));
    machine.lock().unwrap().files.insert(PATH.to_owned(), b"{\"run\":".to_vec());
    let failure = perform(&ports, &hook(true), 1).await.0.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
    assert_eq!(begun(&machine, 1), 0);
}

/// A look or two that nobody answers.
struct SilentAtFirst(Mutex<u32>);

#[async_trait]
impl Faults for SilentAtFirst {
    async fn before(&self, call: &Call) -> Fate {
        let mut left = self.0.lock().unwrap();
        if call.what == What::SeeOneOffs && !call.detail.is_empty() && *left > 0 {
            *left -= 1;
            return Fate::Fails(PortError::unreachable("the engine is being restarted"));
        }
        Fate::Happens
    }
    async fn after(&self, _: &Call) {}
    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }
    fn happened(&self, _: &Call, _: &mut Machine) {}
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_silent_for_a_moment_is_asked_again() {
    let faults = Arc::new(SilentAtFirst(Mutex::new(4)));
    let (machine, ports) = host(program(Millis::from_secs(1), 0, &["done"]), faults);
    let (ended, told) = perform(&ports, &hook(false), 1).await;
    assert!(ended.is_ok() && told == ["done"]);
    assert_eq!(begun(&machine, 1), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_only_warns_undoes_nothing() {
    let (_, ports) = host(program(Millis(5), 1, &[]), Arc::new(NoFaults));
    let warns = Hook { only_warns: true, ..hook(false) };
    let seen = perform(&ports, &warns, 1).await.0.unwrap();
    assert!(seen.iter().any(|one| !one.ok && one.seen.contains("exit code 1")), "{seen:?}");
}
