//! What a caller may wait for, and how each end is told.

use std::time::Duration;

use lockgate_model::{DeployStatus, Failure, FailureKind, Millis, Outcome, Refusal, Stuck, Told, WhoIsLive};
use lockgate_orchestrator::fake::Ending;
use lockgate_server::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::call::{Call, SHA};
use crate::daemon::{Daemon, WHSEC};

const TAG: &str = "sha-01234567";

fn body() -> String {
    format!("{{\"image_sha\":\"{SHA}\"}}")
}

fn all() -> Call {
    Call::post("/all", format!("{{\"service\":\"web\",\"image_sha\":\"{SHA}\"}}")).signed(WHSEC)
}

#[tokio::test]
async fn a_caller_that_waits_is_told_the_end() {
    let daemon = Daemon::start().await;
    let answer = Call::deploy(body()).send(&daemon).await;
    let told = answer.told();
    assert_eq!((answer.status, told.status), (200, DeployStatus::Deployed), "{answer:?}");
    assert_eq!(told.run, Some(daemon.scripted.runs()[0]));
    assert_eq!(told.release.unwrap().tag.as_str(), TAG);
    let want = &daemon.scripted.started()[0];
    assert_eq!((want.service.as_str(), want.environment.as_ref().unwrap().as_str()), ("web", "prod"));
    assert_eq!(daemon.scripted.requesters()[0].to_string(), "ci signed call to /deploy");
    // An older client's call is the same one.
    let body = format!(
        "{{\"service_name\":\"web\",\"image\":\"registry.example.com/acme/web:{TAG}\",\"commit_sha\":\"{SHA}\",\
         \"container_name\":\"shop-web\",\"healthcheck_url\":\"https://shop.example.com/health\"}}"
    );
    let answer = Call::deploy(body).send(&daemon).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn every_end_has_its_status() {
    let daemon = Daemon::start().await;
    let failure = |kind| Failure::new(kind, "why it failed").hint("what to do");
    let failed = |kind| Ending::Run(Outcome::Failed { failure: failure(kind) });
    let stuck = Stuck {
        failure: failure(FailureKind::Unhealthy),
        undo_failures: vec![failure(FailureKind::Other)],
        seen: WhoIsLive::default(),
        commands: vec!["lockgate status web".into()],
    };
    let refused = |refusal| Ending::Refused(Box::new(refusal));
    let table = [
        (Ending::LiveAlready, 200, "live_already", None),
        (
            refused(Refusal::NoImage { failure: failure(FailureKind::NotFound) }),
            400,
            "image_not_pulled",
            None,
        ),
        (failed(FailureKind::GateFailed), 422, "gate_failed", None),
        (failed(FailureKind::GateNotYet), 425, "not_yet", Some("60")),
        (failed(FailureKind::Unreachable), 502, "failed", None),
        (
            Ending::Run(Outcome::RolledBack { failure: failure(FailureKind::Unhealthy) }),
            502,
            "rolled_back",
            None,
        ),
        (Ending::Run(Outcome::Stuck(stuck)), 500, "stuck", None),
        (refused(Refusal::Busy { failure: failure(FailureKind::Conflict) }), 423, "held", Some("15")),
    ];
    for (number, (ending, status, word, retry)) in table.into_iter().enumerate() {
        let sha = format!("{number:08x}{}", &SHA[8..]);
        daemon.scripted.ends(&format!("sha-{number:08x}"), ending);
        let answer = Call::deploy(format!("{{\"image_sha\":\"{sha}\"}}")).send(&daemon).await;
        assert_eq!((answer.status, answer.told().status.as_str()), (status, word), "{answer:?}");
        assert_eq!(answer.header("retry-after"), retry, "{answer:?}");
        assert_eq!(answer.told().error.is_some(), status != 200, "{answer:?}");
        // Whoever looks at the run later is told the same.
        let place = format!("/runs/{}", answer.told().run.unwrap());
        let later = Call::new("GET", &place).send(&daemon).await;
        assert_eq!((later.status, later.told()), (status, answer.told()), "{later:?}");
    }
}

#[tokio::test]
async fn a_caller_that_prefers_so_is_answered_at_once() {
    let daemon = Daemon::start().await;
    daemon.scripted.holds(TAG);
    let answer = Call::deploy(body()).header("Prefer", "respond-async").send(&daemon).await;
    let place = format!("/runs/{}", answer.told().run.unwrap());
    assert_eq!((answer.status, answer.told().status), (202, DeployStatus::Accepted), "{answer:?}");
    assert_eq!(answer.header("location"), Some(place.as_str()));
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    let now = Call::new("GET", &place).send(&daemon).await;
    assert_eq!((now.status, now.header("location")), (202, Some(place.as_str())), "{now:?}");
    daemon.scripted.lets_go(TAG);
    let end = daemon.ends(&place, 200).await;
    assert_eq!(end.told().status, DeployStatus::Deployed);
    let head = Call::new("HEAD", &place).header("Accept", "text/event-stream").send(&daemon).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let unknown = Call::new("GET", "/runs/01936b6e-3c00-7000-8000-000000000000").send(&daemon).await;
    assert_eq!((unknown.status, unknown.told().status), (404, DeployStatus::NotFound), "{unknown:?}");
}

#[tokio::test]
async fn what_takes_longer_than_the_endpoint_waits_goes_on() {
    let daemon = Daemon::start().await;
    daemon.scripted.holds(SHA);
    let answer = all().send(&daemon).await;
    let place = format!("/runs/{}", answer.told().run.unwrap());
    assert_eq!((answer.status, answer.told().status), (504, DeployStatus::StillRunning), "{answer:?}");
    assert_eq!(answer.header("location"), Some(place.as_str()));
    assert_eq!(Call::new("GET", &place).send(&daemon).await.status, 202);
    daemon.scripted.lets_go(SHA);
    daemon.ends(&place, 200).await;
    assert_eq!(daemon.scripted.started().len(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_nothing() {
    let daemon = Daemon::start().await;
    daemon.scripted.holds(TAG);
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all(&Call::deploy(body()).bytes()).await.unwrap();
    daemon.scripted.has_begun(1).await;
    drop(stream);
    let place = format!("/runs/{}", daemon.scripted.runs()[0]);
    assert_eq!(Call::new("GET", &place).send(&daemon).await.status, 202);
    daemon.scripted.lets_go(TAG);
    daemon.ends(&place, 200).await;
}

#[tokio::test]
async fn a_daemon_that_stops_says_so_to_whoever_waits_and_the_next_one_goes_on() {
    let daemon = Daemon::start().await;
    daemon.scripted.holds(TAG);
    let waits = Call::deploy(body());
    let stop = async {
        daemon.scripted.has_begun(1).await;
        daemon.leaves().await;
    };
    let (answer, ()) = tokio::join!(waits.send(&daemon), stop);
    assert_eq!((answer.status, answer.told().status), (503, DeployStatus::Stopping), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("5"), "{answer:?}");
    let place = answer.header("location").unwrap().to_owned();
    let late = Call::deploy(format!("{{\"image_sha\":\"{}\"}}", "e".repeat(40))).send(&daemon).await;
    assert_eq!((late.status, late.told().run), (503, None), "{late:?}");
    let daemon = daemon.restarted().await;
    daemon.scripted.lets_go(TAG);
    let end = daemon.ends(&place, 200).await;
    assert_eq!(waits.send(&daemon).await.told(), end.told(), "the same call again is told its end");
    assert_eq!(daemon.scripted.started().len(), 1);
}

/// `id`, `event` and `data` of each event.
fn events(text: &str) -> Vec<(Option<u64>, String, serde_json::Value)> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && *block != ":");
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    blocks
        .map(|block| {
            let data = field(block, "data").unwrap_or_else(|| panic!("{block}"));
            let id = field(block, "id").map(|id| id.parse().unwrap());
            (id, field(block, "event").unwrap(), serde_json::from_str(&data).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_stream_tells_what_happens_and_ends_with_the_result() {
    let daemon = Daemon::start().await;
    let waiting = Told::Waiting { owner: "lee@laptop".into(), up_to: Millis(5) };
    daemon.scripted.tells(TAG, vec![Told::Missed(3), waiting]);
    let answer = Call::deploy(body()).header("Accept", "text/event-stream").send(&daemon).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/event-stream")),
        "{answer:?}"
    );
    let place = answer.header("location").unwrap().to_owned();
    let told = events(&answer.body);
    let numbers: Vec<u64> = told.iter().filter_map(|(id, ..)| *id).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
    assert!(told.iter().any(|(_, _, data)| data["told"] == "event"), "{told:?}");
    let (id, event, end) = told.last().unwrap();
    assert_eq!(
        (id, event.as_str(), &end["http"], &end["status"]),
        (&None, "end", &200.into(), &"deployed".into())
    );
    assert_eq!(place, format!("/runs/{}", end["run"].as_str().unwrap()));

    // Whoever comes back is told what comes behind the last that they heard.
    let again = Call::new("GET", &place).header("Accept", "text/event-stream");
    let whole = events(&again.send(&daemon).await.body);
    assert_eq!(whole.last().unwrap().2["status"], "deployed");
    let last = whole.iter().filter_map(|(id, ..)| *id).max().unwrap();
    let rest = again.clone().header("Last-Event-ID", &(last - 1).to_string()).send(&daemon).await;
    let rest = events(&rest.body);
    assert_eq!(rest.iter().filter_map(|(id, ..)| *id).collect::<Vec<_>>(), [last], "{rest:?}");
    assert_eq!(rest.last().unwrap().1, "end");
    for odd in ["x", "-1", "99999999999999999999"] {
        assert_eq!(again.clone().header("Last-Event-ID", odd).send(&daemon).await.status, 400, "{odd}");
    }
}

#[tokio::test]
async fn a_failure_at_the_end_of_a_stream_says_what_it_would_have_been() {
    let daemon = Daemon::start().await;
    let failure = Failure::new(FailureKind::GateNotYet, "it is <b>night</b>");
    daemon.scripted.ends(TAG, Ending::Run(Outcome::Failed { failure }));
    let answer = Call::deploy(body()).header("Accept", "text/event-stream").send(&daemon).await;
    assert!(!answer.body.contains('<'), "{answer:?}");
    let told = events(&answer.body);
    let end = &told.last().unwrap().2;
    assert_eq!((&end["http"], &end["retry_after"]), (&425.into(), &60.into()), "{end}");
    // What is refused before there is a run is no stream.
    let refused = Call::deploy("{}").header("Accept", "text/event-stream").send(&daemon).await;
    assert_eq!((refused.status, refused.header("content-type")), (400, Some("application/json")));
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives_and_ends_at_its_limit() {
    let bounds = Bounds { keep_alive: Millis(50), look_millis_max: Millis(700), ..Bounds::default() };
    let daemon = Daemon::bounded(bounds).await;
    daemon.scripted.holds(SHA);
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    stream.write_all(&all().header("Accept", "text/event-stream").bytes()).await.unwrap();
    let mut text = String::new();
    let read = async {
        let mut chunk = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            text.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
    assert!(text.matches("\r\n:\n\n").count() >= 3, "{text}");
    assert!(text.contains("event: end\ndata: {\"http\":504"), "{text}");
    let place = format!("/runs/{}", daemon.scripted.runs()[0]);
    let look = Call::new("GET", &place).header("Accept", "text/event-stream").send(&daemon).await;
    assert_eq!(events(&look.body).last().unwrap().2["http"], 504);
}

#[tokio::test]
async fn a_hundred_calls_at_once_for_one_service_are_all_answered_and_few_are_done() {
    let daemon = Daemon::start().await;
    let first = "aaaaaaaa".repeat(5);
    daemon.scripted.holds("sha-aaaaaaaa");
    let begun = Call::deploy(format!("{{\"image_sha\":\"{first}\"}}")).header("Prefer", "respond-async");
    let place = begun.send(&daemon).await.header("location").unwrap().to_owned();
    daemon.scripted.has_begun(1).await;
    let sends = (1..=100).map(|number| {
        let sha = format!("{number:08x}").repeat(5);
        let call = Call::deploy(format!("{{\"image_sha\":\"{sha}\"}}"));
        let daemon = &daemon;
        async move { call.send(daemon).await }
    });
    let all = futures_util::future::join_all(sends);
    let release = async {
        // All but the one that waits are answered while the first one still runs.
        daemon.has_waiting(1, 99).await;
        daemon.scripted.lets_go("sha-aaaaaaaa");
    };
    let (answers, ()) = tokio::join!(all, release);
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 99, "{statuses:?}");
    for answer in answers.iter().filter(|answer| answer.status == 409) {
        assert_eq!(answer.told().status, DeployStatus::Superseded, "{answer:?}");
    }
    assert_eq!(daemon.scripted.started().len(), 2, "the one that ran and the newest of the hundred");
    daemon.ends(&place, 200).await;
}

#[tokio::test]
async fn whoever_asks_for_runs_that_are_not_there_keeps_no_call_out() {
    let daemon = Daemon::start().await;
    let looks = (0..200_u128).map(|number| {
        let call = Call::new("GET", &format!("/runs/{}", uuid::Uuid::from_u128(number + (7 << 76))));
        let daemon = &daemon;
        async move { call.send(daemon).await.status }
    });
    let call = Call::deploy(body());
    let (looked, called) = tokio::join!(futures_util::future::join_all(looks), call.send(&daemon));
    assert!(looked.iter().all(|status| *status == 404), "{looked:?}");
    assert_eq!(called.status, 200, "{called:?}");
}
