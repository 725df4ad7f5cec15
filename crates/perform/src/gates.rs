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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use lockgate_model::{
        CommandGate, EnvironmentName, GateKind, Headway, Mask, ProjectName, Secret, ServiceName, Template,
    };
    use lockgate_ports::fake::{FakeGate, NoFaults};
    use lockgate_ports::{Gates, PortError};

    use super::*;
    use crate::Subject;

    fn gate() -> Gate {
        let argv = vec![Template::new("qa").unwrap()];
        let command = CommandGate { argv, timeout: Millis(1), pass: vec![0], not_yet: vec![75] };
        Gate { name: "qa".into(), kind: GateKind::Command(command) }
    }

    fn evidence(seen: &str, ok: bool) -> Evidence {
        Evidence { check: "exit code of qa".into(), wanted: "0".into(), seen: seen.into(), ok }
    }

    /// With `hunter2` as a secret of the service, and `sw0rdfish` of this machine.
    async fn ask(
        answer: impl Fn(&GateSubject) -> Result<GateAnswer, PortError> + Send + Sync + Clone + 'static,
        faults: Arc<dyn lockgate_ports::fake::Faults>,
    ) -> Result<Seen, Failure> {
        let gates = Gates::new(move |_| {
            Arc::new(FakeGate::new(faults.clone(), Millis::from_secs(30), answer.clone()))
        });
        let (told, service) = (Secret::new("sw0rdfish"), Secret::new("hunter2"));
        let conductor = Conductor {
            subject: Subject {
                project: ProjectName::new("shop").unwrap(),
                service: ServiceName::new("web").unwrap(),
                environment: EnvironmentName::new("prod").unwrap(),
            },
            probe: crate::scene::probe(),
            hosts: BTreeMap::new(),
            gates,
            mask: Mask::of([&told, &service]),
            told: Mask::of([&told]),
        };
        conductor.ask_gate(&gate(), None, &|_| {}).await
    }

    #[tokio::test]
    async fn an_answer_is_a_step_s_success_or_failure_with_its_evidence() {
        let (good, bad) = (evidence("0", true), evidence("1", false));
        for (answer, wanted) in [
            (GateAnswer::judge(vec![good.clone()]), Ok(vec![good.clone()])),
            (
                GateAnswer::judge(vec![good.clone(), bad.clone()]),
                Err((FailureKind::GateFailed, "gate \"qa\" failed: exit code of qa: 1, wanted 0")),
            ),
            (
                GateAnswer::not_yet(vec![bad]),
                Err((FailureKind::GateNotYet, "gate \"qa\" says not yet: exit code of qa: 1, wanted 0")),
            ),
            // It could have passed, and says that it is too early.
            (
                GateAnswer::not_yet(vec![good]),
                Err((FailureKind::GateNotYet, "gate \"qa\" says not yet: it saw nothing")),
            ),
            (
                GateAnswer::judge(Vec::new()),
                Err((FailureKind::GateNotYet, "gate \"qa\" says not yet: it saw nothing")),
            ),
        ] {
            let seen = ask(move |_| Ok(answer.clone()), Arc::new(NoFaults)).await;
            let seen = seen.map_err(|failure| (failure.kind, failure.message));
            assert_eq!(seen, wanted.map_err(|(kind, message)| (kind, message.to_owned())));
        }
    }

    #[tokio::test]
    async fn no_secret_is_in_what_a_gate_that_failed_says() {
        let said = || vec!["token hunter2".to_owned(), "sw0rdfish".to_owned()];
        let answer = move |_: &GateSubject| {
            let mut one = evidence("401 for hunter2", false);
            one.check = "GET /?k=sw0rdfish".into();
            Ok(GateAnswer::judge(vec![one]).logs(said()))
        };
        let failure = ask(answer, Arc::new(NoFaults)).await.unwrap_err();
        let text = serde_json::to_string(&failure).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("sw0rdfish"), "{text}");
        assert!(text.contains("401 for ") && text.contains("token "), "{text}");
    }

    /// A driver that tells how far it is in words that hold a secret.
    struct TellsAll;

    #[async_trait::async_trait]
    impl lockgate_ports::Gate for TellsAll {
        async fn ask(&self, _: &GateSubject, told: OnHeadway<'_>) -> GateAnswer {
            told(Headway { done: 1, of: 2, seen: "GET /?k=sw0rdfish: 200".to_owned(), said: Vec::new() });
            GateAnswer::judge(vec![evidence("0", true)])
        }

        fn limit(&self) -> Millis {
            Millis::from_secs(30)
        }

        async fn check(&self, _: &str, _: &GateSubject) -> Vec<Check> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn no_secret_is_in_what_a_gate_says_on_its_way() {
        let heard = std::sync::Mutex::new(Vec::new());
        let told = Mask::of([&Secret::new("sw0rdfish")]);
        let conductor = Conductor { told, ..asking(Gates::new(|_| Arc::new(TellsAll))) };
        conductor.ask_gate(&gate(), None, &|headway| heard.lock().unwrap().push(headway)).await.unwrap();
        let wanted = Headway { done: 1, of: 2, seen: "GET /?k=***: 200".to_owned(), said: Vec::new() };
        assert_eq!(heard.into_inner().unwrap(), [wanted]);
    }

    /// A conductor without hosts and secrets.
    fn asking(gates: Gates) -> Conductor {
        Conductor {
            subject: Subject {
                project: ProjectName::new("shop").unwrap(),
                service: ServiceName::new("web").unwrap(),
                environment: EnvironmentName::new("prod").unwrap(),
            },
            probe: crate::scene::probe(),
            hosts: BTreeMap::new(),
            gates,
            mask: Mask::of([]),
            told: Mask::of([]),
        }
    }

    /// A driver that does not keep its own limit.
    struct Hangs;

    #[async_trait::async_trait]
    impl lockgate_ports::Gate for Hangs {
        async fn ask(&self, _: &GateSubject, _: OnHeadway<'_>) -> GateAnswer {
            std::future::pending().await
        }

        fn limit(&self) -> Millis {
            Millis::from_secs(30)
        }

        async fn check(&self, _: &str, _: &GateSubject) -> Vec<Check> {
            Vec::new()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_driver_that_never_answers_says_not_yet_in_time() {
        let began = tokio::time::Instant::now();
        let conductor = asking(Gates::new(|_| Arc::new(Hangs)));
        let failure = conductor.ask_gate(&gate(), None, &|_| {}).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::GateNotYet);
        assert_eq!(failure.message, "gate \"qa\" says not yet: its answer: none, wanted within 30s");
        assert_eq!(began.elapsed(), Duration::from_secs(35));
    }
}
