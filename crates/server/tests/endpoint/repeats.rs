//! The same call again: at once, later, after a restart, out of time.

use lockgate_model::{DeployStatus, Digest, Release, SeenLive, Timestamp};

use crate::call::{Call, SHA};
use crate::daemon::{Daemon, NOW, WHSEC};

const TAG: &str = "sha-01234567";
const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffff";

fn body() -> String {
    format!("{{\"image_sha\":\"{SHA}\"}}")
}

fn now() -> i64 {
    NOW.parse::<jiff::Timestamp>().unwrap().as_second()
}

/// `NOW` and so many seconds, as RFC 3339.
fn at(seconds: i64) -> String {
    jiff::Timestamp::from_second(now() + seconds).unwrap().to_string()
}

fn message(id: &str, sha: &str, seconds: i64) -> Call {
    Call::post("/all", format!("{{\"service\":\"web\",\"image_sha\":\"{sha}\"}}")).sent(
        WHSEC,
        id,
        now() + seconds,
    )
}

#[tokio::test]
async fn the_same_call_twice_at_once_is_one_run() {
    let daemon = Daemon::start().await;
    daemon.scripted.holds(TAG);
    let (first, second) = (Call::deploy(body()), Call::deploy(body()));
    let release = async {
        daemon.scripted.has_begun(1).await;
        daemon.has_repeated(1).await;
        daemon.scripted.lets_go(TAG);
    };
    let (first, second, ()) = tokio::join!(first.send(&daemon), second.send(&daemon), release);
    assert_eq!((first.status, &first.body), (200, &second.body));
    assert_eq!(daemon.scripted.started().len(), 1);
}

#[tokio::test]
async fn the_same_call_after_a_restart_has_the_first_answer() {
    let daemon = Daemon::start().await;
    let by_body = Call::deploy(body()).send(&daemon).await;
    let by_id = message("msg_1", SHA, 0).send(&daemon).await;
    assert_eq!((by_body.status, by_id.status), (200, 200), "{by_body:?} {by_id:?}");
    let daemon = daemon.restarted().await;
    assert_eq!(Call::deploy(body()).send(&daemon).await.body, by_body.body);
    assert_eq!(message("msg_1", SHA, 0).send(&daemon).await.body, by_id.body);
    let place = format!("/runs/{}", by_id.told().run.unwrap());
    assert_eq!(Call::new("GET", &place).send(&daemon).await.body, by_id.body);
    assert_eq!(daemon.scripted.started().len(), 2);
    // By its id also long after, though its time is over.
    daemon.clock.goes_on(7200);
    assert_eq!(message("msg_1", SHA, 0).send(&daemon).await.body, by_id.body);
    assert_eq!(
        message("msg_1", SHA, 7200).send(&daemon).await.body,
        by_id.body,
        "sent again, and signed again"
    );
}

#[tokio::test]
async fn a_run_that_a_restart_cut_off_is_joined() {
    let daemon = Daemon::start().await;
    daemon.scripted.holds(TAG);
    let first = Call::deploy(body()).header("Prefer", "respond-async").send(&daemon).await;
    daemon.scripted.has_begun(1).await;
    let daemon = daemon.restarted().await;
    let again = Call::deploy(body()).header("Prefer", "respond-async").send(&daemon).await;
    assert_eq!(again.told().run, first.told().run, "{again:?}");
    daemon.scripted.lets_go(TAG);
    daemon.ends(first.header("location").unwrap(), 200).await;
    assert_eq!(daemon.scripted.started().len(), 1);
}

#[tokio::test]
async fn an_id_belongs_to_one_body() {
    let daemon = Daemon::start().await;
    assert_eq!(message("msg_1", SHA, 0).send(&daemon).await.status, 200);
    let other = message("msg_1", OTHER, 0).send(&daemon).await;
    assert_eq!((other.status, other.told().status), (409, DeployStatus::Differs), "{other:?}");
    assert_eq!(daemon.scripted.started().len(), 1);
}

#[tokio::test]
async fn a_time_that_is_not_now_is_refused() {
    let daemon = Daemon::start().await;
    let sent = |at: &str, more: &str| format!("{{\"image_sha\":\"{SHA}\",\"sent_at\":\"{at}\"{more}}}");
    for seconds in [-3600, -301, 301, 3600, 86_400 * 365] {
        let answer = Call::deploy(sent(&at(seconds), "")).send(&daemon).await;
        assert_eq!(
            (answer.status, answer.told().status),
            (400, DeployStatus::BadRequest),
            "{seconds}: {answer:?}"
        );
        let answer = message(&format!("msg_{seconds}"), SHA, seconds).send(&daemon).await;
        assert_eq!(
            (answer.status, answer.told().status),
            (400, DeployStatus::BadRequest),
            "{seconds}: {answer:?}"
        );
    }
    for overflowing in ["9999-12-31T23:59:59Z", "-009999-01-01T00:00:00Z", "0000-01-01T00:00:00Z"] {
        let answer = Call::deploy(sent(overflowing, "")).send(&daemon).await;
        assert_eq!(answer.status, 400, "{overflowing}: {answer:?}");
    }
    for seconds in [0, 999_999_999_999] {
        let answer = message(&format!("msg_at_{seconds}"), SHA, seconds - now()).send(&daemon).await;
        assert_eq!(answer.status, 400, "{seconds}: {answer:?}");
    }
    // A fresh header does not make an old body fresh, and the other way round.
    let stale_body = format!("{{\"service\":\"web\",\"image_sha\":\"{SHA}\",\"sent_at\":\"{}\"}}", at(-3600));
    let answer = Call::post("/all", stale_body).sent(WHSEC, "msg_fresh", now()).send(&daemon).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let fresh_body = format!("{{\"service\":\"web\",\"image_sha\":\"{SHA}\",\"sent_at\":\"{}\"}}", at(0));
    let answer = Call::post("/all", fresh_body).sent(WHSEC, "msg_stale", now() - 3600).send(&daemon).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(daemon.scripted.started(), []);
    for seconds in [-290, 290] {
        let answer = Call::deploy(sent(&at(seconds), "")).send(&daemon).await;
        assert_eq!(answer.status, 200, "{seconds}: {answer:?}");
    }
}

#[tokio::test]
async fn the_same_body_is_another_call_after_its_window_or_by_force() {
    let daemon = Daemon::start().await;
    let first = Call::deploy(body()).send(&daemon).await.told();
    assert_eq!(Call::deploy(body()).send(&daemon).await.told().run, first.run);
    let forced = format!("{{\"image_sha\":\"{SHA}\",\"force\":true,\"sent_at\":\"{}\"}}", at(1));
    let by_force = Call::deploy(forced.clone()).send(&daemon).await.told();
    assert_ne!(by_force.run, first.run);
    assert_eq!(Call::deploy(forced).send(&daemon).await.told().run, by_force.run, "force is said once");
    daemon.clock.goes_on(601);
    let later = Call::deploy(body()).send(&daemon).await.told();
    assert_ne!(later.run, first.run);
    // Another commit was deployed since: the same body would take it back.
    let other = Call::deploy(format!("{{\"image_sha\":\"{OTHER}\"}}")).send(&daemon).await;
    assert_eq!(other.status, 200);
    let again = Call::deploy(body()).send(&daemon).await;
    assert_eq!((again.status, again.told().status), (409, DeployStatus::Repeated), "{again:?}");
}

#[tokio::test]
async fn an_older_commit_is_refused_unless_by_force() {
    let daemon = Daemon::start().await;
    let call = |sha: &str, committed: i64, more: &str| {
        let (sent, committed) = (at(0), at(committed));
        Call::deploy(format!(
            "{{\"image_sha\":\"{sha}\",\"sent_at\":\"{sent}\",\"committed_at\":\"{committed}\"{more}}}"
        ))
    };
    assert_eq!(call(OTHER, -100, "").send(&daemon).await.status, 200);
    // What is live is what somebody has seen, and not what was answered.
    let tag = "sha-ffffffff";
    let release = Release {
        service: "web".parse().unwrap(),
        tag: tag.parse().unwrap(),
        digest: Digest::of(tag.as_bytes()),
        image: None,
        commit: None,
        provenance: None,
    };
    let seen = SeenLive {
        project: "shop".parse().unwrap(),
        environment: "prod".parse().unwrap(),
        release,
        at: Timestamp(now() * 1000),
        run: None,
    };
    daemon.store.saw_live(&seen).await.unwrap();
    let older = call(SHA, -200, "").send(&daemon).await;
    assert_eq!((older.status, older.told().status), (409, DeployStatus::Older), "{older:?}");
    let forced = call(SHA, -200, ",\"force\":true").send(&daemon).await;
    assert_eq!((forced.status, forced.told().status), (200, DeployStatus::Deployed), "{forced:?}");
}
