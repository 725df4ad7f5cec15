//! Asking gates: each kind by its driver, within a bounded time, and what it answers as a step's success or failure (P6).

use std::time::Duration;

use lockgate_model::{Evidence, Failure, FailureKind, Gate, Judgement, Millis, Release, Seen};
use lockgate_ports::{Check, GateAnswer, GateSubject, OnHeadway};

use crate::Conductor;

/// How much longer than its own limit a driver is waited for.
const LATE_SECONDS_MAX: u64 = 5;

/// # Errors
/// `GateFailed` or `GateNotYet`, with the evidence.
pub(crate) async fn ask(
    conductor: &Conductor,
    gate: &Gate,
    release: Option<&Release>,
    told: OnHeadway<'_>,
) -> Result<Seen, Failure> {
    let driver = conductor.gates.of(&gate.kind);
    let (limit, subject) = (driver.limit(), subject(conductor, release));
    let patience = limit.duration().saturating_add(Duration::from_secs(LATE_SECONDS_MAX));
    let answer = match tokio::time::timeout(patience, driver.ask(&subject, told)).await {
        Ok(answer) => answer,
        Err(_) => too_late(limit),
    };
    let (judgement, evidence, logs) = answer.into_parts();
    let (kind, says) = match judgement {
        Judgement::Pass => return Ok(evidence),
        Judgement::Fail => (FailureKind::GateFailed, "failed"),
        Judgement::NotYet => (FailureKind::GateNotYet, "says not yet"),
    };
    let evidence: Vec<Evidence> = evidence.into_iter().map(|one| masked(conductor, one)).collect();
    let because = evidence.iter().find(|one| !one.ok).map_or("it saw nothing".to_owned(), |one| {
        format!("{}: {}, wanted {}", one.check, one.seen, one.wanted)
    });
    Err(Failure::new(kind, format!("gate {:?} {says}: {because}", gate.name))
        .evidence(evidence)
        .logs(conductor.mask.hide_all(logs)))
}

/// Nobody is waited for for ever, and who does not answer has not passed.
fn too_late(limit: Millis) -> GateAnswer {
    GateAnswer::not_yet(vec![Evidence {
        check: "its answer".into(),
        wanted: format!("within {limit}"),
        seen: "none".into(),
        ok: false,
    }])
}

/// What is not ok may be an error in the words of a program or a server.
fn masked(conductor: &Conductor, one: Evidence) -> Evidence {
    if one.ok { one } else { Evidence { seen: conductor.mask.hide(one.seen), ..one } }
}

fn subject(conductor: &Conductor, release: Option<&Release>) -> GateSubject {
    GateSubject {
        service: conductor.subject.service.clone(),
        environment: conductor.subject.environment.clone(),
        release: release.cloned(),
        routers: conductor.hosts.iter().map(|(host, ports)| (host.clone(), ports.router.clone())).collect(),
    }
}

/// What gates will need of this machine, gate by gate.
pub(crate) async fn check(conductor: &Conductor, gates: &[Gate]) -> Vec<Check> {
    let subject = subject(conductor, None);
    let mut checks = Vec::new();
    for gate in gates {
        let driver = conductor.gates.of(&gate.kind);
        checks.extend(driver.check(&format!("gate {}", gate.name), &subject).await);
    }
    checks
}
