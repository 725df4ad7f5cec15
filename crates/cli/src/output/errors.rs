//! Every kind of error, whole: as people read it and as programs do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lockgate_model::{
    Digest, EnvironmentName, Evidence, FailureKind, Gates, Holder, HostId, Intent, Millis, Outcome, Place,
    Plan, ProjectName, Release, RunId, ServiceName, Slot, Strategy, Stuck, Tag, Timestamp, WhoIsLive,
};

use super::*;
use lockgate_model::Failure;

fn host() -> HostId {
    HostId::new("web1").unwrap()
}

fn failure(kind: FailureKind, message: &str, hint: &str) -> Failure {
    Failure::new(kind, message).hint(hint)
}

fn unhealthy() -> Failure {
    let seen = Evidence {
        check: "GET /health".into(),
        wanted: "200-299".into(),
        seen: "503: no database".into(),
        ok: false,
    };
    failure(
        FailureKind::Unhealthy,
        "green does not answer its health check within 60s",
        "look at the database",
    )
    .hint("`lockgate logs web --slot green` shows more")
    .at(&host())
    .slot(Slot::Green)
    .evidence(vec![seen])
    .logs(vec!["starting".into(), "\u{1b}[31mcannot open database\u{1b}[0m".into()])
}

fn plan() -> Plan {
    let release = Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new("v2").unwrap(),
        digest: Digest::new(format!("sha256:{}", "1f3a".repeat(16))).unwrap(),
        image: Some("ghcr.io/acme/web".into()),
        commit: None,
        provenance: None,
    };
    Plan {
        project: ProjectName::new("acme").unwrap(),
        service: release.service.clone(),
        environment: EnvironmentName::new("prod").unwrap(),
        strategy: Strategy::BlueGreen,
        intent: Intent::Deploy { release: release.clone(), gates: Gates::All, again: false },
        hosts: vec![host()],
        without: Vec::new(),
        before: BTreeMap::new(),
        release,
        phases: Vec::new(),
    }
}

fn stuck() -> Outcome {
    Outcome::Stuck(Stuck {
        failure: failure(FailureKind::GateFailed, "smoke: 1 of 2 checks failed", "see what it asks"),
        undo_failures: vec![
            failure(FailureKind::Unreachable, "caddy does not answer", "is caddy running?").at(&host()),
        ],
        seen: WhoIsLive { live: BTreeMap::from([(host(), Slot::Blue)]), silent: BTreeSet::new() },
        commands: vec!["lockgate status web".into(), "lockgate resume web".into()],
    })
}

fn held() -> Refusal {
    let holder = Holder {
        owner: "kim@desk".into(),
        boot_id: String::new(),
        pid: 4242,
        started: 0,
        session: String::new(),
        host: None,
        since: Timestamp(1_763_640_000_000),
        renewed_at: Timestamp(1_763_640_005_000),
        ttl: Millis::from_secs(30),
    };
    Refusal::Held {
        failure: failure(
            FailureKind::Conflict,
            "kim@desk (pid 4242) holds the lease on web1, last heartbeat 5s ago",
            "wait until it is done",
        ),
        place: Place::Host(host()),
        holder: Box::new(holder),
        age: Millis::from_secs(5),
    }
}

fn refusals() -> Vec<Refusal> {
    let run = RunId(uuid::Uuid::from_u128(7));
    vec![
        Refusal::usage("there is no service \"wbe\"", "there are: web"),
        Refusal::Failed { failure: unhealthy() },
        held(),
        Refusal::Busy {
            failure: failure(
                FailureKind::Conflict,
                "another `lockgate run-schedule` is at work here (process 4242)",
                "it ends by itself",
            ),
        },
        Refusal::LeaseLost {
            failure: failure(
                FailureKind::LeaseLost,
                "the lease on web1 is kim@desk's now",
                "see `lockgate status`",
            ),
        },
        Refusal::Journal {
            failure: failure(
                FailureKind::DiskFull,
                "the journal cannot grow: no space left on device",
                "free space",
            ),
        },
        Refusal::Illegal {
            failure: Failure::new(
                FailureKind::Other,
                "event 4 (committed) cannot follow: a step is not done",
            ),
        },
        Refusal::Midway {
            failure: failure(FailureKind::Other, "the run was left in the middle", "type `lockgate resume`"),
        },
        Refusal::Stuck { run, outcome: Box::new(stuck()), plan: Box::new(plan()) },
        Refusal::CutOff { failure: Failure::new(FailureKind::Other, "the session ended without a word") },
    ]
}

fn misconfigured() -> CliError {
    let text =
        "project: acme\nservices:\n  web: { image: acme/web, port: 70000, helth: / }\nenvironmens: {}\n";
    lockgate_config::parse(text, "lockgate.yaml", Path::new("/srv"), &|_| None).unwrap_err().into()
}

fn errors() -> Vec<CliError> {
    refusals().into_iter().map(CliError::from).chain([misconfigured()]).collect()
}

#[test]
fn every_error_says_its_kind_what_happened_and_what_to_do() {
    let texts: Vec<String> = errors()
        .iter()
        .map(|error| format!("# exit {}\n{}", error.exit().code(), error_text(error, Paint::plain())))
        .collect();
    insta::assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn every_error_is_one_object_for_programs() {
    let lines: Vec<String> = errors().iter().map(|error| error_json(error).unwrap().to_string()).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
