//! A client and whatever may answer it, over real sockets.

mod double;
mod tls;

use std::sync::{Arc, Once};

use double::{Asked as Request, Double, Says, http, json, stream};
use lockgate_client::{Address, Asked, Client, End, Heard, NoAnswer, Options};
use lockgate_model::{
    CommitSha, DeployStatus, Event, EventKind, Exit, Millis, RunId, ServiceName, StepId, Timestamp, Told,
};
use lockgate_signature::{Message, SigningSecret};

const SECRET: &str = "hunter2hunter2hunter2";
const NOW: Timestamp = Timestamp(1_763_683_201_500);
const LOCATION: &str = "location: /runs/00000000-0000-0000-0000-000000000007";
const DEPLOYED: &str = r#"{"run":"00000000-0000-0000-0000-000000000007","status":"deployed","release":null,"dark_ms":0,"logs":[],"error":null}"#;

fn run() -> RunId {
    RunId("00000000-0000-0000-0000-000000000007".parse().unwrap())
}

fn told(number: u32) -> Told {
    let kind = EventKind::StepStarted { step: StepId(number) };
    Told::Event(Box::new(Event { run: run(), seq: u64::from(number), at: Timestamp(0), kind }))
}

fn told_frame(number: u32) -> String {
    format!("id: {number}\nevent: told\ndata: {}\n\n", serde_json::to_string(&told(number)).unwrap())
}

fn end_frame(http: u16, answer: &str) -> String {
    format!("event: end\ndata: {{\"http\":{http},{}\n\n", &answer[1..])
}

fn answer(status: &str, message: &str) -> String {
    format!(
        r#"{{"run":null,"status":"{status}","release":null,"dark_ms":null,"logs":[],"error":{{"kind":"conflict","message":"{message}","hint":"wait"}}}}"#
    )
}

fn asked() -> Asked {
    Asked {
        service: Some(ServiceName::new("web").unwrap()),
        sha: CommitSha::new("a".repeat(40)).unwrap(),
        committed_at: Some(Timestamp(1_763_683_000_000)),
        force: false,
    }
}

fn options(url: &str) -> Options {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    Options {
        address: Address::new(url, false).unwrap(),
        secret: SigningSecret::new(SECRET).unwrap(),
        roots: None,
        limit: Millis::from_secs(60),
        wait: None,
        clock: Arc::new(|| NOW),
    }
}

/// Asks, and says what was heard.
async fn trigger(options: Options) -> (Result<End, NoAnswer>, Vec<Heard>) {
    let mut heard = Vec::new();
    let client = Client::new(options).unwrap();
    let end = client.trigger(&asked(), &mut |one| heard.push(one)).await;
    (end, heard)
}

async fn against(script: Vec<Says>) -> (Result<End, NoAnswer>, Vec<Heard>, Vec<Request>) {
    let double = Double::new(script, |_| {});
    let (end, heard) = trigger(options(&double.url())).await;
    (end, heard, double.asked())
}

fn events(heard: &[Heard]) -> Vec<Told> {
    let told = |one: &Heard| match one {
        Heard::Told(told) => Some((**told).clone()),
        Heard::Accepted(_) | Heard::Note(_) => None,
    };
    heard.iter().filter_map(told).collect()
}

fn note(heard: &Heard) -> Option<&str> {
    match heard {
        Heard::Note(text) => Some(text),
        Heard::Accepted(_) | Heard::Told(_) => None,
    }
}

fn notes(heard: &[Heard]) -> Vec<&str> {
    heard.iter().filter_map(note).collect()
}

#[tokio::test]
async fn a_call_is_signed_in_both_ways_and_followed_to_its_end() {
    let body = [": alive\n\n", &told_frame(0), &told_frame(1), &end_frame(200, DEPLOYED)].concat();
    let (end, heard, requests) = against(vec![Says::All(stream(&[LOCATION], &body))]).await;
    let end = end.unwrap();
    assert_eq!((end.http, end.answer.status, end.exit()), (200, DeployStatus::Deployed, Exit::Succeeded));
    assert_eq!(heard[0], Heard::Accepted(Some(run())));
    assert_eq!(events(&heard), [told(0), told(1)]);

    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(request.line, "POST /deploy HTTP/1.1");
    let secret = SigningSecret::new(SECRET).unwrap();
    assert_eq!(request.header("x-hub-signature-256").unwrap(), secret.sign_github(&request.body));
    let (id, time) = (request.header("webhook-id").unwrap(), request.header("webhook-timestamp").unwrap());
    assert_eq!(time, "1763683201");
    let message = Message::new(id, time).unwrap();
    assert_eq!(request.header("webhook-signature").unwrap(), secret.sign_standard(&message, &request.body));
    assert!(request.header("accept").unwrap().starts_with("text/event-stream"));
    let wanted = format!(
        r#"{{"service":"web","image_sha":"{}","committed_at":"2025-11-20T23:56:40Z","sent_at":"2025-11-21T00:00:01.5Z"}}"#,
        "a".repeat(40)
    );
    assert_eq!(String::from_utf8_lossy(&request.body), wanted);
    assert!(!format!("{request:?}").contains("hunter2"), "the secret stays here");
}

#[tokio::test]
async fn a_refusal_is_an_end_with_its_exit_code_and_is_not_asked_again() {
    for (line, status, exit) in [
        ("400 Bad Request", "bad_request", Exit::Usage),
        ("400 Bad Request", "image_not_pulled", Exit::Failed),
        ("401 Unauthorized", "unauthorized", Exit::Usage),
        ("404 Not Found", "not_found", Exit::Usage),
        ("409 Conflict", "superseded", Exit::Failed),
        ("422 Unprocessable Content", "gate_failed", Exit::Failed),
        ("423 Locked", "held", Exit::Held),
        ("425 Too Early", "not_yet", Exit::NotYet),
        ("429 Too Many Requests", "too_many", Exit::Held),
        ("500 Internal Server Error", "stuck", Exit::Stuck),
        ("502 Bad Gateway", "rolled_back", Exit::RolledBack),
        ("503 Service Unavailable", "stopping", Exit::Unknown),
    ] {
        let body = answer(status, "lee deploys");
        let (end, heard, requests) = against(vec![Says::All(json(line, &["retry-after: 1"], &body))]).await;
        let end = end.unwrap();
        assert_eq!((end.answer.status.as_str(), end.exit()), (status, exit));
        assert_eq!(end.answer.error.unwrap().message, "lee deploys");
        assert_eq!((heard, requests.len()), (Vec::new(), 1), "{status}");
    }
}

#[tokio::test]
async fn where_the_stream_breaks_it_goes_on_behind_the_last_event_of_the_same_run() {
    let half = told_frame(2);
    let begun = [&told_frame(0), &told_frame(1), &half[..half.len() / 2]].concat();
    let rest = [told_frame(2), end_frame(200, DEPLOYED)].concat();
    let script = vec![Says::All(stream(&[LOCATION], &begun)), Says::All(stream(&[], &rest))];
    let (end, heard, requests) = against(script).await;
    assert_eq!(end.unwrap().answer.run, Some(run()));
    assert_eq!(events(&heard), [told(0), told(1), told(2)]);
    assert_eq!(requests[1].line, "GET /runs/00000000-0000-0000-0000-000000000007 HTTP/1.1");
    assert_eq!(requests[1].header("last-event-id"), Some("1"));
    assert_eq!(requests[1].header("x-hub-signature-256"), None, "a look needs no signature");
    assert_eq!(notes(&heard).len(), 1, "{heard:?}");
}

#[tokio::test]
async fn where_the_run_cannot_be_looked_at_the_very_same_call_is_sent_again() {
    let all = [told_frame(0), told_frame(1), end_frame(200, DEPLOYED)].concat();
    let script = vec![
        Says::All(stream(&[LOCATION], &told_frame(0))),
        Says::All(http("404 Not Found", &["content-type: text/html"], "<h1>no such page</h1>")),
        Says::All(stream(&[LOCATION], &all)),
    ];
    let (end, heard, requests) = against(script).await;
    assert_eq!(end.unwrap().exit(), Exit::Succeeded);
    assert_eq!(events(&heard), [told(0), told(1)], "what was told before is passed over");
    let (first, again) = (&requests[0], &requests[2]);
    assert_eq!((&first.line, &first.body), (&again.line, &again.body));
    assert_eq!(first.header("webhook-id"), again.header("webhook-id"));
    assert_eq!(again.header("last-event-id"), Some("0"));
    assert_eq!(heard.iter().filter(|one| matches!(one, Heard::Accepted(_))).count(), 1);
}

#[tokio::test]
async fn a_load_balancer_s_page_is_no_end() {
    let page = "<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>";
    let script = vec![
        Says::All(http("502 Bad Gateway", &["content-type: text/html"], page)),
        Says::All(Vec::new()),
        Says::All(json("200 OK", &[], DEPLOYED)),
    ];
    let (end, heard, requests) = against(script).await;
    assert_eq!(end.unwrap().answer.status, DeployStatus::Deployed);
    assert!(
        notes(&heard)[0].contains("answers 502, and not as lockgate serve does: \"502 Bad Gateway nginx\"")
    );
    let ids: Vec<_> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one delivery: {ids:?}");
}

#[tokio::test]
async fn what_is_no_daemon_is_told_as_such_at_once() {
    for (says, message) in [
        (
            http("200 OK", &["content-type: text/html"], "<html>Welcome \u{1b}[2J</html>"),
            "answers 200, and not as lockgate serve does: \"Welcome \\x1b[2J\"",
        ),
        (
            json("200 OK", &[], "{\"ok\":true}"),
            "answers 200, and not as lockgate serve does: \"{\"ok\":true}\"",
        ),
        (http("404 Not Found", &[], ""), "answers 404, and not as lockgate serve does"),
        (
            http("308 Permanent Redirect", &["location: https://evil.example/deploy"], ""),
            "redirects to \"https://evil.example/deploy\", which is not followed",
        ),
        (
            http("301 Moved Permanently", &["location: /login"], ""),
            "redirects to \"/login\", which is not followed",
        ),
    ] {
        let (end, heard, requests) = against(vec![Says::All(says)]).await;
        let Err(NoAnswer::Wrong(failure)) = end else { panic!("{end:?}") };
        assert!(failure.message.ends_with(message), "{}", failure.message);
        assert_eq!((NoAnswer::Wrong(failure).exit(), requests.len()), (Exit::Usage, 1));
        assert_eq!(heard, []);
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent_and_nothing_changed() {
    let address = Double::new(Vec::new(), |_| {}).url();
    let mut options = options(&address);
    options.limit = Millis(600);
    let (end, heard) = trigger(options).await;
    let error = end.unwrap_err();
    assert!(matches!(error, NoAnswer::Unsent(_)), "{error:?}");
    assert_eq!(error.exit(), Exit::Failed);
    assert!(notes(&heard)[0].contains("cannot connect to http://127.0.0.1:"), "{heard:?}");
}

#[tokio::test]
async fn what_has_no_end_is_given_up_and_not_gathered() {
    let head = stream(&[LOCATION], "data: ");
    let (end, _, _) = against(vec![Says::ForEver(head, vec![b'x'; 64 * 1024])]).await;
    let error = end.unwrap_err();
    let NoAnswer::Unknown { failure, run: of } = &error else { panic!("{error:?}") };
    assert!(failure.message.ends_with("has an event that is larger than anything that a daemon says"));
    assert_eq!((*of, error.exit()), (Some(run()), Exit::Unknown));

    let head =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let piece = [b"1000\r\n".as_slice(), &[b'['; 0x1000], b"\r\n"].concat();
    let (end, _, _) = against(vec![Says::ForEver(head, piece)]).await;
    assert!(matches!(end, Err(NoAnswer::Wrong(_))), "{end:?}");
}

/// The clock of this test stands still until the double has the request; then the time passes at once.
#[tokio::test]
async fn where_no_stream_comes_through_the_run_is_looked_at_again_and_again() {
    let (heard_of, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let accepted = answer("accepted", "x").replace("\"run\":null", &DEPLOYED[1..45]);
    let script = vec![
        Says::Hangs(Vec::new()),
        Says::Hangs(Vec::new()),
        Says::All(json("202 Accepted", &[LOCATION], &accepted)),
        Says::All(json("202 Accepted", &[], &accepted)),
        Says::All(json("200 OK", &[], DEPLOYED)),
    ];
    let double = Double::new(script, move |number| heard_of.send(number).unwrap());
    let passing = tokio::spawn(async move {
        while let Some(number) = requests.recv().await {
            if number < 2 {
                tokio::time::pause();
            }
        }
    });
    let mut heard = Vec::new();
    let mut options = options(&double.url());
    options.limit = Millis::from_secs(600);
    let client = Client::new(options).unwrap();
    let end = client
        .trigger(&asked(), &mut |one| {
            // It is over that the clock ran ahead: what comes next is a connection that takes its time.
            if matches!(one, Heard::Note(_)) {
                tokio::time::resume();
            }
            heard.push(one);
        })
        .await;
    passing.abort();
    assert_eq!(end.unwrap().answer.status, DeployStatus::Deployed);
    let requests = double.asked();
    assert_eq!(requests[2].header("prefer"), Some("respond-async"));
    assert_eq!(requests[2].body, requests[0].body);
    let looks: Vec<&str> = requests[3..].iter().map(|request| request.line.as_str()).collect();
    assert_eq!(looks, ["GET /runs/00000000-0000-0000-0000-000000000007 HTTP/1.1"; 2]);
    assert!(notes(&heard)[0].contains("does not answer within 60 s"), "{heard:?}");
}

#[tokio::test]
async fn with_a_time_to_wait_it_is_asked_again_when_the_daemon_says() {
    let held = answer("held", "lee@laptop deploys");
    let script = || {
        vec![
            Says::All(json("423 Locked", &["retry-after: 1"], &held)),
            Says::All(json("200 OK", &[], DEPLOYED)),
        ]
    };
    let double = Double::new(script(), |_| {});
    let (end, heard) = trigger(Options { wait: Some(Millis::from_secs(20)), ..options(&double.url()) }).await;
    assert_eq!(end.unwrap().answer.status, DeployStatus::Deployed);
    assert_eq!(notes(&heard), ["lee@laptop deploys; again in 1s"]);
    let requests = double.asked();
    assert_ne!(
        requests[0].header("webhook-id"),
        requests[1].header("webhook-id"),
        "the first has its answer"
    );

    // It would be told later than this caller waits.
    let double = Double::new(script(), |_| {});
    let (end, heard) = trigger(Options { wait: Some(Millis(100)), ..options(&double.url()) }).await;
    assert_eq!((end.unwrap().exit(), heard), (Exit::Held, Vec::new()));
}

#[tokio::test]
async fn a_call_that_a_daemon_kept_while_it_stops_is_the_same_call_behind_that() {
    let script = vec![
        Says::All(json(
            "503 Service Unavailable",
            &["retry-after: 0"],
            &answer("stopping", "this daemon stops"),
        )),
        Says::All(json("200 OK", &[], DEPLOYED)),
    ];
    let double = Double::new(script, |_| {});
    let (end, _) = trigger(Options { wait: Some(Millis::from_secs(20)), ..options(&double.url()) }).await;
    assert_eq!(end.unwrap().exit(), Exit::Succeeded);
    let requests = double.asked();
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(requests[0].body, requests[1].body);
}

/// Whoever follows at the address knows the run, so its end is heard from there, also by who does not wait.
#[tokio::test]
async fn a_run_of_a_daemon_that_stops_is_followed_at_the_one_that_comes_next() {
    let stopping = DEPLOYED.replace("deployed", "stopping");
    let script = || {
        vec![
            Says::All(stream(&[LOCATION], &[told_frame(0), end_frame(503, &stopping)].concat())),
            Says::All(json("503 Service Unavailable", &[LOCATION], &stopping)),
            Says::All(Vec::new()),
            Says::All(stream(&[], &[told_frame(1), end_frame(200, DEPLOYED)].concat())),
        ]
    };
    for wait in [None, Some(Millis::from_secs(20))] {
        let double = Double::new(script(), |_| {});
        let (end, heard) = trigger(Options { wait, ..options(&double.url()) }).await;
        assert_eq!(end.unwrap().answer.status, DeployStatus::Deployed, "{heard:?}");
        assert_eq!(events(&heard), [told(0), told(1)]);
        assert!(
            notes(&heard)[0].ends_with("stops; whoever comes next there goes on; again in 250ms"),
            "{heard:?}"
        );
        let requests = double.asked();
        let looks: Vec<&str> = requests[1..].iter().map(|request| request.line.as_str()).collect();
        assert_eq!(looks, ["GET /runs/00000000-0000-0000-0000-000000000007 HTTP/1.1"; 3]);
        assert_eq!(requests[3].header("last-event-id"), Some("0"));
    }
}

#[tokio::test]
async fn a_daemon_that_gives_up_waiting_is_asked_on_until_the_caller_s_own_limit() {
    let still = DEPLOYED.replace("deployed", "still_running");
    let script = vec![
        Says::All(stream(&[LOCATION], &[told_frame(0), end_frame(504, &still)].concat())),
        Says::All(stream(&[], &[told_frame(1), end_frame(200, DEPLOYED)].concat())),
    ];
    let (end, heard, _) = against(script).await;
    assert_eq!(end.unwrap().exit(), Exit::Succeeded);
    assert_eq!(events(&heard), [told(0), told(1)]);

    let double = Double::new(vec![Says::Hangs(stream(&[LOCATION], &told_frame(0)))], |_| {});
    let (end, _) = trigger(Options { limit: Millis(500), ..options(&double.url()) }).await;
    let error = end.unwrap_err();
    assert_eq!(error.exit(), Exit::Unknown);
    assert!(error.failure().message.ends_with("told no end within 500ms"), "{error:?}");
    let hint = format!("the run may go on: look at http://{}/runs/{}", double.address, run());
    assert_eq!(error.failure().hints.first(), Some(&hint));
}

#[tokio::test]
async fn what_a_newer_daemon_says_is_passed_over() {
    let newer =
        "id: 0\nevent: told\ndata: {\"told\":\"weather\",\"what\":1}\n\nid: 1\nevent: mood\ndata: good\n\n";
    let body = [newer, &told_frame(2), &end_frame(200, DEPLOYED)].concat();
    let (end, heard, _) = against(vec![Says::All(stream(&[LOCATION], &body))]).await;
    assert_eq!(end.unwrap().exit(), Exit::Succeeded);
    assert_eq!(events(&heard), [told(2)]);
}

#[test]
fn roots_that_are_none_are_refused() {
    for pem in [b"".as_slice(), b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        let options = Options { roots: Some(pem.to_vec()), ..options("https://127.0.0.1:1/deploy") };
        assert!(Client::new(options).is_err(), "{pem:?}");
    }
}
