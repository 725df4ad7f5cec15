//! What `--format json` prints, whole, as programs read it; and what a client far away sends and gets.

use std::collections::BTreeMap;

use lockgate_model::{
    Abandoned, By, DeployAnswer, Digest, Ended, EnvironmentName, Evidence, Failure, FailureKind, GateAnswer,
    Gates, HostId, HostLog, HostObserved, Intent, LeftOut, Leftover, Millis, Observed, Outcome, PastRun,
    Plan, Planned, ProjectName, Recorded, Refusal, Rejected, Rejection, Release, Report, Requester, Resumed,
    RouterObserved, RunId, ServiceName, ServiceStatus, Slot, SlotObserved, SlotState, StatusLine, Strategy,
    Tag, Timestamp, Told, TriggerLine,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const RELEASE_V1: &str = r#"{"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111","service":"web","tag":"v1"}"#;
const HOSTS: &str = r#"{"web1":{"conflicts":[],"recorded":{"active":"blue","previous":null},"releases":[],"router":{"dial":null,"stale":false,"target":"blue","unreachable":null},"slots":{"blue":{"endpoint":null,"release":V1,"started_at":5,"state":"running"}}}}"#;

/// `V1`, `V2` and `HOSTS` written out.
fn whole(text: &str) -> String {
    let v2 = RELEASE_V1.replace("\"v1\"", "\"v2\"");
    text.replace("HOSTS", HOSTS).replace("V1", RELEASE_V1).replace("V2", &v2)
}

/// Members in the order of the alphabet, as the command line prints them.
fn shown(value: &impl Serialize) -> String {
    serde_json::to_value(value).unwrap().to_string()
}

/// Somebody far away gets the same.
fn travels<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let read: T = serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap();
    assert_eq!(&read, value);
    let read: T = serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap();
    assert_eq!(&read, value);
}

fn web1() -> HostId {
    HostId::new("web1").unwrap()
}

fn run(number: u128) -> RunId {
    RunId(uuid::Uuid::from_u128(number))
}

fn release(tag: &str) -> Release {
    Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new(tag).unwrap(),
        digest: Digest::new(format!("sha256:{}", "1".repeat(64))).unwrap(),
        image: None,
        commit: None,
        provenance: None,
    }
}

fn plan() -> Plan {
    Plan {
        project: ProjectName::new("shop").unwrap(),
        service: ServiceName::new("web").unwrap(),
        environment: EnvironmentName::new("prod").unwrap(),
        strategy: Strategy::BlueGreen,
        intent: Intent::Deploy { release: release("v2"), gates: Gates::All, again: false },
        hosts: vec![web1()],
        without: Vec::new(),
        before: BTreeMap::new(),
        release: release("v2"),
        phases: Vec::new(),
    }
}

fn failure() -> Failure {
    Failure::new(FailureKind::GateFailed, "it says no").hint("look")
}

fn seen() -> HostObserved {
    let slot = SlotObserved {
        release: Some(release("v1")),
        state: SlotState::Running,
        started_at: Some(Timestamp(5)),
        restarts: 0,
        endpoint: None,
        replicas: Vec::new(),
    };
    HostObserved {
        slots: BTreeMap::from([(Slot::Blue, slot)]),
        router: RouterObserved { target: Some(Slot::Blue), ..RouterObserved::default() },
        recorded: Recorded { active: Some(Slot::Blue), previous: None },
        ..HostObserved::default()
    }
}

fn status() -> ServiceStatus {
    ServiceStatus {
        service: ServiceName::new("web").unwrap(),
        environment: EnvironmentName::new("prod").unwrap(),
        observed: Observed { hosts: BTreeMap::from([(web1(), seen())]) },
        leases: BTreeMap::new(),
        wanted: BTreeMap::new(),
        clocks: BTreeMap::new(),
        unseen: BTreeMap::new(),
    }
}

fn report(outcome: Outcome) -> Report {
    Report {
        run: Some(run(7)),
        plan: plan(),
        outcome,
        dark: BTreeMap::new(),
        recovered: None,
        rejected: None,
    }
}

#[test]
fn the_end_of_a_deployment() {
    let good = report(Outcome::Succeeded { warnings: Vec::new() });
    assert_eq!(
        shown(&good.line()),
        whole(
            r#"{"environment":"prod","event":"result","exit":0,"release":V2,"result":{"outcome":"succeeded","warnings":[]},"run":"00000000-0000-0000-0000-000000000007","service":"web","without":[]}"#
        )
    );
    let rejection = Rejection {
        release: release("v2"),
        rejected_at: Timestamp(3),
        by: "lee@laptop".into(),
        why: "it says no".into(),
    };
    let bad = Report {
        run: None,
        dark: BTreeMap::from([(web1(), Millis(1200))]),
        rejected: Some(Rejected { rejection, hosts: vec![web1()] }),
        recovered: Some((run(6), Outcome::Failed { failure: failure() })),
        ..report(Outcome::RolledBack { failure: failure() })
    };
    assert_eq!(
        shown(&bad.line()),
        whole(
            r#"{"dark_ms":{"web1":1200},"environment":"prod","event":"result","exit":3,"release":V2,"result":{"failure":{"hint":"look","kind":"gate_failed","message":"it says no"},"outcome":"rolled_back"},"run":null,"service":"web","was_rejected":{"by":"lee@laptop","digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111","hosts":["web1"],"rejected_at":3,"service":"web","tag":"v2","why":"it says no"},"without":[]}"#
        )
    );
    for one in [good, bad] {
        travels(&one);
        travels(&one.line());
    }
}

#[test]
fn a_plan() {
    let planned = Planned::new(&plan(), status().observed);
    assert_eq!(
        shown(&planned),
        whole(
            r#"{"changes":false,"observed":{"hosts":HOSTS},"plan":{"before":{},"environment":"prod","hosts":["web1"],"intent":{"again":false,"gates":"all","release":V2,"want":"deploy"},"phases":[],"project":"shop","release":V2,"service":"web","strategy":"blue-green"}}"#
        )
    );
    travels(&planned);
}

#[test]
fn a_status() {
    let line = StatusLine::of(&status(), |at| format!("@{}", at.0));
    assert_eq!(
        shown(&line),
        whole(
            r#"{"behind":{},"environment":"prod","hosts":HOSTS,"image_tag":"v1","live_since":null,"notes":"","rejected":[],"service":"web","status":"unknown","timestamp":null,"unseen":{}}"#
        )
    );
    travels(&line);
    travels(&status());
}

#[test]
fn what_was_brought_to_its_end() {
    let nothing = Resumed { ended: Vec::new(), status: status(), refusal: None };
    let lines = |resumed: &Resumed| resumed.lines().iter().map(shown).collect::<Vec<_>>();
    assert_eq!(
        lines(&nothing),
        [whole(
            r#"{"behind":{},"event":"result","exit":0,"hosts":HOSTS,"run":null,"service":"web","status":"unknown","unseen":{}}"#
        )]
    );
    let end = |number, what, outcome| Ended { run: run(number), what, outcome };
    let both = Resumed {
        ended: vec![
            end(1, Leftover::CutOff, Outcome::RolledBack { failure: failure() }),
            end(2, Leftover::Died, Outcome::Succeeded { warnings: Vec::new() }),
        ],
        refusal: Some(Box::new(Refusal::from(failure()))),
        ..nothing.clone()
    };
    assert_eq!(
        lines(&both),
        [
            whole(
                r#"{"event":"result","exit":3,"result":{"failure":{"hint":"look","kind":"gate_failed","message":"it says no"},"outcome":"rolled_back"},"run":"00000000-0000-0000-0000-000000000001","service":"web"}"#
            ),
            whole(
                r#"{"behind":{},"event":"result","exit":3,"hosts":HOSTS,"result":{"outcome":"succeeded","warnings":[]},"run":"00000000-0000-0000-0000-000000000002","service":"web","status":"rolled_back","unseen":{}}"#
            ),
        ]
    );
    for one in [nothing, both] {
        travels(&one);
        one.lines().iter().for_each(travels);
    }
}

#[test]
fn what_was_left_as_it_is() {
    let abandoned =
        Abandoned { run: Some(run(7)), release: Some(release("v2")), status: status(), hosts: vec![web1()] };
    assert_eq!(
        shown(&abandoned.line()),
        whole(
            r#"{"environment":"prod","event":"result","exit":4,"release":V2,"result":{"commands":["lockgate --env prod status web","lockgate --env prod resume web"],"hosts":HOSTS,"live":{"web1":"blue"},"outcome":"abandoned","unseen":{}},"run":"00000000-0000-0000-0000-000000000007","service":"web"}"#
        )
    );
    travels(&abandoned.line());
    travels(&Refusal::Abandoned { abandoned: Box::new(abandoned) });
}

#[test]
fn what_gates_answer() {
    let evidence = Evidence { check: "GET /".into(), wanted: "200".into(), seen: "200".into(), ok: true };
    let passes = GateAnswer::new("smoke", Ok(vec![evidence]));
    assert_eq!(
        shown(&passes),
        r#"{"evidence":[{"check":"GET /","ok":true,"seen":"200","wanted":"200"}],"gate":"smoke","judgement":"pass"}"#
    );
    let not_yet = GateAnswer::new("soak", Err(Failure::new(FailureKind::GateNotYet, "1h more")));
    assert_eq!(
        shown(&not_yet),
        r#"{"failure":{"kind":"gate_not_yet","message":"1h more"},"gate":"soak","judgement":"not_yet"}"#
    );
    travels(&passes);
    travels(&not_yet);
}

#[test]
fn a_run_of_the_past() {
    let past = PastRun {
        run: run(7),
        project: ProjectName::new("shop").unwrap(),
        service: ServiceName::new("web").unwrap(),
        environment: EnvironmentName::new("prod").unwrap(),
        release: release("v1"),
        intent: "deploy".into(),
        owner: "kim@desk".into(),
        requester: None,
        started_at: Timestamp(1),
        ended_at: Some(Timestamp(2)),
        outcome: Some(Outcome::Succeeded { warnings: Vec::new() }),
        rejected: false,
        left_out: Vec::new(),
    };
    assert_eq!(
        shown(&past),
        whole(
            r#"{"ended_at":2,"environment":"prod","intent":"deploy","outcome":{"outcome":"succeeded","warnings":[]},"owner":"kim@desk","project":"shop","rejected":false,"release":V1,"run":"00000000-0000-0000-0000-000000000007","service":"web","started_at":1}"#
        )
    );
    let left_out = LeftOut { run: run(7), hosts: vec![web1()], by: "lee@laptop".into(), at: Timestamp(3) };
    let asked = PastRun {
        requester: Some(Requester::new(By::Agent, "claude for kim").why("fix #12")),
        ended_at: None,
        outcome: None,
        left_out: vec![left_out],
        ..past.clone()
    };
    assert_eq!(
        shown(&asked),
        whole(
            r#"{"ended_at":null,"environment":"prod","intent":"deploy","left_out":[{"at":3,"by":"lee@laptop","hosts":["web1"],"run":"00000000-0000-0000-0000-000000000007"}],"outcome":null,"owner":"kim@desk","project":"shop","rejected":false,"release":V1,"requester":{"by":"agent","name":"claude for kim","why":"fix #12"},"run":"00000000-0000-0000-0000-000000000007","service":"web","started_at":1}"#
        )
    );
    travels(&past);
    travels(&asked);
}

#[test]
fn a_log_and_an_error() {
    let log = HostLog {
        host: web1(),
        slot: Some(Slot::Green),
        because: None,
        lines: vec!["ready".into()],
        failure: None,
    };
    assert_eq!(shown(&log.lines()[0]), r#"{"host":"web1","line":"ready","slot":"green"}"#);
    let stuck = Refusal::Stuck {
        run: run(7),
        outcome: Box::new(Outcome::Failed { failure: failure() }),
        plan: Box::new(plan()),
    };
    assert_eq!(
        shown(&stuck.line()),
        r#"{"event":"error","exit":4,"outcome":{"failure":{"hint":"look","kind":"gate_failed","message":"it says no"},"outcome":"failed"}}"#
    );
    travels(&log);
    travels(&stuck);
    travels(&stuck.line());
}

#[test]
fn what_is_told_on_the_way() {
    let waiting = Told::Waiting { owner: "lee@laptop".into(), up_to: Millis(15_000) };
    assert_eq!(shown(&waiting), r#"{"told":"waiting","what":{"owner":"lee@laptop","up_to":15000}}"#);
    assert_eq!(shown(&Told::Leaving), r#"{"told":"leaving"}"#);
    for told in [waiting, Told::Leaving, Told::Missed(3)] {
        travels(&told);
    }
}

#[test]
fn what_a_daemon_answered() {
    let outcome = Outcome::Succeeded { warnings: Vec::new() };
    let answer = DeployAnswer::of_outcome(run(7), &release("v2"), &outcome, false);
    let line = TriggerLine::new(200, DeployAnswer { retry_after: None, ..answer });
    travels(&line);
    let digest = "1".repeat(64);
    assert_eq!(
        shown(&line),
        format!(
            r#"{{"dark_ms":null,"error":null,"event":"answer","exit":0,"http":200,"logs":[],"release":{{"digest":"sha256:{digest}","tag":"v2"}},"run":"00000000-0000-0000-0000-000000000007","status":"deployed"}}"#
        )
    );
}
