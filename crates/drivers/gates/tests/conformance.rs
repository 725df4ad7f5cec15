//! Both kinds against real parts: an HTTP server on this machine and programs. Whatever they do, nothing bad passes.

use std::collections::BTreeMap;
use std::sync::{Arc, Once};

use async_trait::async_trait;
use lockgate_gates::{Http, Program};
use lockgate_http::HttpProber;
use lockgate_local::LocalRunner;
use lockgate_model::{
    CommandGate, EnvironmentName, GateTarget, HostId, HttpGate, Judgement, Millis, Sampling, ServiceName,
    StatusRange, Template,
};
use lockgate_ports::conformance::gate::{BAD, GateFixture, Outside, suite};
use lockgate_ports::{Gate, GateSubject, NoRouter, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const WANTED: &str = "all is well";

fn subject() -> GateSubject {
    GateSubject {
        service: ServiceName::new("web").unwrap(),
        environment: EnvironmentName::new("prod").unwrap(),
        release: None,
        routers: BTreeMap::new(),
    }
}

fn prober() -> Arc<HttpProber> {
    static TLS: Once = Once::new();
    TLS.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    Arc::new(HttpProber::new("lockgate-test/1"))
}

/// The head of an answer whose body has `length` bytes.
fn head(status: &str, length: usize) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
}

async fn answer(mut stream: TcpStream, outside: Outside) -> std::io::Result<()> {
    let mut request = [0; 4096];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    let whole = |status: &str, body: &str| head(status, body.len()) + body;
    let text = match outside {
        Outside::Well => whole("200 OK", WANTED),
        Outside::Down => return Ok(()),
        Outside::Unauthorized => whole("401 Unauthorized", WANTED),
        Outside::RateLimited => whole("429 Too Many Requests", WANTED),
        Outside::Silent => String::new(),
        Outside::Empty => head("200 OK", 0),
        // The text that is wanted is in the first half.
        Outside::Stalls | Outside::Half => head("200 OK", 1_000) + WANTED,
    };
    stream.write_all(text.as_bytes()).await?;
    if matches!(outside, Outside::Silent | Outside::Stalls) {
        std::future::pending::<()>().await;
    }
    stream.shutdown().await
}

/// A server that behaves so as long as the test runs; its base URL.
async fn serve(outside: Outside) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    if outside != Outside::Down {
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, outside));
            }
        });
    }
    format!("http://{address}")
}

fn http(target: GateTarget, sampling: Sampling) -> HttpGate {
    HttpGate {
        target,
        paths: vec!["/health".into(), "/metrics".into()],
        status: StatusRange::OK,
        body: Some(WANTED.into()),
        latency_p95: Some(Millis::from_secs(2)),
        sampling,
        timeout: Millis(400),
    }
}

const FEW: Sampling = Sampling::Count { samples: 2, interval: Millis(5) };
const SPAN: Sampling = Sampling::Span { span: Millis(200), every: Millis(50), failures: 0 };

struct Asks(Sampling);

#[async_trait]
impl GateFixture for Asks {
    async fn gate(&self, outside: Outside) -> (Arc<dyn Gate>, GateSubject) {
        let gate = http(GateTarget::Url(serve(outside).await), self.0);
        (Arc::new(Http::new(gate, prober())), subject())
    }
}

#[tokio::test]
async fn http_with_a_handful_of_looks_conforms() {
    suite(&Asks(FEW)).await;
}

#[tokio::test]
async fn http_over_a_time_conforms() {
    suite(&Asks(SPAN)).await;
}

/// Failures that are allowed are not a way around an answer that never came.
#[tokio::test]
async fn all_but_one_failure_allowed_is_still_no_pass_for_a_service_that_is_never_well() {
    let sampling = Sampling::Span { span: Millis(200), every: Millis(50), failures: 4 };
    for outside in BAD {
        let (gate, subject) = Asks(sampling).gate(outside).await;
        let answer = gate.ask(&subject, &|_| {}).await;
        assert_ne!(answer.judgement(), Judgement::Pass, "{outside:?}: {answer:?}");
    }
}

/// Its programs stand for clients of an API: each ends, or does not, as such a one does.
struct Runs(tempfile::TempDir);

#[async_trait]
impl GateFixture for Runs {
    async fn gate(&self, outside: Outside) -> (Arc<dyn Gate>, GateSubject) {
        let argv: &[&str] = match outside {
            Outside::Well => &["sh", "-c", "echo all is well"],
            Outside::Down => &["./is-not-there"],
            Outside::Unauthorized => &["sh", "-c", "echo 401 >&2; exit 22"],
            Outside::RateLimited => &["sh", "-c", "echo 429 >&2; exit 75"],
            Outside::Silent => &["sleep", "60"],
            Outside::Stalls => &["sh", "-c", "echo all is; exec sleep 60"],
            Outside::Empty => &["false"],
            Outside::Half => &["sh", "-c", "echo all is; kill -9 $$"],
        };
        let gate = CommandGate {
            argv: argv.iter().map(|part| Template::new(*part).unwrap()).collect(),
            timeout: Millis(500),
            pass: vec![0],
            not_yet: vec![75],
        };
        let runner = Arc::new(LocalRunner { cwd: self.0.path().to_owned() });
        (Arc::new(Program::new(gate, runner)), subject())
    }
}

#[tokio::test]
async fn a_program_conforms() {
    suite(&Runs(tempfile::tempdir().unwrap())).await;
}

#[tokio::test]
async fn what_a_program_wrote_is_beside_the_evidence_and_75_is_not_yet() {
    let runs = Runs(tempfile::tempdir().unwrap());
    for (outside, judgement, line) in
        [(Outside::Unauthorized, Judgement::Fail, "401"), (Outside::RateLimited, Judgement::NotYet, "429")]
    {
        let (gate, subject) = runs.gate(outside).await;
        let (answered, evidence, logs) = gate.ask(&subject, &|_| {}).await.into_parts();
        assert_eq!((answered, logs), (judgement, vec![line.to_owned()]));
        assert_eq!((evidence[0].check.as_str(), evidence[0].wanted.as_str()), ("exit code of sh", "0"));
    }
}

#[tokio::test]
async fn a_program_that_asks_for_what_is_not_known_does_not_pass() {
    let gate = CommandGate {
        argv: vec![Template::new("echo").unwrap(), Template::new("{tag}").unwrap()],
        timeout: Millis(500),
        pass: vec![0],
        not_yet: vec![75],
    };
    let gate = Program::new(gate, Arc::new(LocalRunner { cwd: "/".into() }));
    let (judgement, evidence, _) = gate.ask(&subject(), &|_| {}).await.into_parts();
    assert_eq!(judgement, Judgement::Fail);
    assert_eq!(evidence[0].seen, "the placeholder {tag} has no value here");
}

/// A gate that names hosts gets an answer for each of them, or does not pass.
#[tokio::test]
async fn a_host_that_is_not_there_to_ask_is_not_left_out_silently() {
    let (web1, web2) = (HostId::new("web1").unwrap(), HostId::new("web2").unwrap());
    let mut subject = subject();
    let router: Arc<dyn Router> = Arc::new(NoRouter);
    subject.routers.insert(web1.clone(), router);
    for sampling in [FEW, SPAN] {
        let target = GateTarget::Hosts(vec![web1.clone(), web2.clone()]);
        let gate = Http::new(http(target, sampling), prober());
        let (judgement, evidence, _) = gate.ask(&subject, &|_| {}).await.into_parts();
        assert_eq!(judgement, Judgement::Fail);
        let about_web2: Vec<_> = evidence.iter().filter(|one| one.check.contains("on web2")).collect();
        assert_eq!(about_web2.len(), 4, "{evidence:#?}");
        assert!(about_web2.iter().all(|one| !one.ok), "{evidence:#?}");
    }
}
