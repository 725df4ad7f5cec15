//! Wrong answers of the release itself are gone back from in a moment; all else is waited for.

use std::sync::Arc;

use lockgate_model::{Release, Template};
use lockgate_ports::PortError;
use lockgate_ports::fake::SharedMachine;

use super::*;
use crate::scene::{Odd, answer, probe, release, switched};

/// Asks for v2 in green. `answers` are told how long it has been asked.
async fn ask(
    verify: Option<&str>,
    patient: bool,
    answers: impl Fn(Duration) -> Result<RouterAnswer, PortError> + Send + Sync + 'static,
) -> (Result<Seen, Failure>, Duration) {
    let (_, ports) = switched();
    ask_through(ports, verify, patient, answers).await
}

async fn ask_through(
    mut ports: HostPorts,
    verify: Option<&str>,
    patient: bool,
    answers: impl Fn(Duration) -> Result<RouterAnswer, PortError> + Send + Sync + 'static,
) -> (Result<Seen, Failure>, Duration) {
    let start = Instant::now();
    let asked = Box::new(move || answers(start.elapsed()));
    ports.router = Arc::new(Odd { asked: Some(asked), ..Odd::new(ports.router) });
    let body = verify.map(|body| Verify {
        path: "/version".into(),
        body: Some(Template::new(body).unwrap()),
        header: None,
    });
    let (release, probe): (Release, Probe) = (release("v2"), probe());
    let asked = Asked { slot: Slot::Green, release: &release, verify: body.as_ref(), probe: &probe, patient };
    let settled = super::verify(&ports, asked).await;
    (settled, start.elapsed())
}

const GREEN: Option<Slot> = Some(Slot::Green);
/// Pauses and looks beside what is waited for.
const SLACK: Duration = Duration::from_millis(500);

#[track_caller]
fn gave_up(asked: (Result<Seen, Failure>, Duration), after: Duration, said: &str) {
    let (settled, elapsed) = asked;
    let failure = settled.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unhealthy);
    assert!(failure.message.contains(said), "{failure}");
    assert!(elapsed >= after && elapsed < after + SLACK, "{elapsed:?}: {failure}");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_answers_wrongly_by_its_name_three_times_is_given_up() {
    for (status, body) in [(500, "v2"), (200, "v3"), (503, "v2"), (404, "none")] {
        let asked = ask(Some("{tag}"), false, move |_| answer(status, body, GREEN)).await;
        let logs = asked.0.as_ref().unwrap_err().logs.clone();
        assert_eq!(
            logs,
            [format!("(its answer) {body}"), "started v2 in green".to_owned()],
            "its answer and its log are told"
        );
        gave_up(asked, Duration::from_millis(200), "v2 answers wrongly through odd: GET /version: ");
    }
    let asked = ask(None, false, |_| answer(500, "", GREEN)).await;
    gave_up(asked, Duration::from_millis(200), "the answer was 500, wanted 2xx, 3 times in a row");
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_is_not_given_up() {
    let hiccup = |since: Duration| answer(if since.as_millis() < 150 { 500 } else { 200 }, "v2", GREEN);
    let (settled, elapsed) = ask(Some("{tag}"), false, hiccup).await;
    settled.unwrap();
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
}

/// Two slow answers are as good as three.
#[tokio::test(start_paused = true)]
async fn wrong_answers_for_a_second_are_enough() {
    let mut misses = Misses::default();
    misses.note();
    assert!(!misses.count());
    tokio::time::advance(Duration::from_millis(1_000)).await;
    misses.note();
    assert!(misses.count() && misses.in_a_row() == 2);
}

#[tokio::test(start_paused = true)]
async fn the_release_before_it_is_waited_for() {
    for slow in [false, true] {
        let old = move |since: Duration| match slow || since < Duration::from_secs(8) {
            true => answer(500, "v1", Some(Slot::Blue)),
            false => answer(200, "v2", GREEN),
        };
        let (settled, elapsed) = ask(Some("{tag}"), false, old).await;
        assert_eq!(settled.is_ok(), !slow, "{settled:?}");
        assert!(elapsed >= Duration::from_secs(8), "{elapsed:?}");
    }
    // The router labels its answers, and has another release's label still.
    let labelled = |_| {
        let label = Some(release("v1").digest.to_string());
        answer(500, "v1", GREEN).map(|answer| RouterAnswer { release: label.clone(), ..answer })
    };
    gave_up(
        ask(None, false, labelled).await,
        Duration::from_secs(VERIFY_SECONDS_MAX),
        "does not answer through",
    );
    // Nothing names it, but it says so itself.
    gave_up(
        ask(Some("I am {tag}"), false, |_| answer(200, "I am v1", None)).await,
        Duration::from_secs(VERIFY_SECONDS_MAX),
        "does not contain",
    );
}

#[tokio::test(start_paused = true)]
async fn silence_is_waited_for() {
    let silent = |since: Duration| match since < Duration::from_secs(8) {
        true => Err(PortError::unreachable("connection refused")),
        false => answer(200, "", GREEN),
    };
    ask(None, false, silent).await.0.unwrap();
    gave_up(
        ask(None, false, |_| Err(PortError::unreachable("connection refused"))).await,
        Duration::from_secs(VERIFY_SECONDS_MAX),
        "does not answer through odd",
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_signed_has_a_second() {
    for (verify, status, body) in [(None, 500, ""), (Some("{tag}"), 200, "an error page")] {
        let asked = ask(verify, false, move |_| answer(status, body, None)).await;
        gave_up(asked, Duration::from_millis(1_000), "v2 answers wrongly through odd");
    }
}

/// As after a change that somebody else made: what is answered is not the release's.
#[tokio::test(start_paused = true)]
async fn an_unsigned_answer_is_waited_for_while_the_router_does_not_dial_the_slot() {
    let (machine, ports) = switched();
    machine.lock().unwrap().point_at(None, None);
    let asked = ask_through(ports, None, false, |_| answer(404, "no route", None)).await;
    gave_up(asked, Duration::from_secs(VERIFY_SECONDS_MAX), "does not answer through odd");
}

fn make_sick(machine: &SharedMachine, slot: Slot) {
    machine.lock().unwrap().slots.get_mut(&slot).unwrap().behaviour.healthy_after = None;
}

/// A 503 that nobody signed is the router's word or the slot's: the slot is asked.
#[tokio::test(start_paused = true)]
async fn a_slot_that_answers_as_a_gateway_does_is_asked_itself() {
    let (machine, ports) = switched();
    make_sick(&machine, Slot::Green);
    let asked = ask_through(ports, None, false, |_| answer(503, "", None)).await;
    gave_up(asked, Duration::from_millis(1_000), "and at 10.0.0.2:5000 as well");
    let (_, ports) = switched();
    let asked = ask_through(ports, None, false, |_| answer(502, "", None)).await;
    gave_up(asked, Duration::from_millis(1_000), "does not reach it");
}

/// In an undo nothing better is left: an app that was just started may need its time.
#[tokio::test(start_paused = true)]
async fn where_there_is_nothing_to_go_back_to_wrong_answers_are_waited_for() {
    for (named, status) in [(GREEN, 500), (None, 500), (GREEN, 503)] {
        let late = move |since: Duration| match since < Duration::from_secs(5) {
            true => answer(status, "", named),
            false => answer(200, "v2", GREEN),
        };
        let (settled, elapsed) = ask(Some("{tag}"), true, late).await;
        settled.unwrap();
        assert!(elapsed >= Duration::from_secs(5), "{elapsed:?}");
    }
}
