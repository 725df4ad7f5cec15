//! Under tokio's paused clock: minutes pass at once, and every look has its exact time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{
    EnvironmentName, Evidence, GateTarget, Headway, HttpGate, Judgement, Millis, Sampling, ServiceName,
    StatusRange,
};
use lockgate_ports::{Answer, Gate, GateAnswer, GateSubject, PortError, Prober, Request};
use tokio::time::Instant;

use crate::Http;

/// Answers each request by its number from 0: after how long, and what.
struct Scripted<F> {
    script: F,
    asked: AtomicU32,
}

#[async_trait]
impl<F> Prober for Scripted<F>
where
    F: Fn(u32) -> (u64, u16) + Send + Sync,
{
    async fn send(&self, request: &Request) -> Result<Answer, PortError> {
        let (millis, status) = (self.script)(self.asked.fetch_add(1, Ordering::Relaxed));
        let took = Duration::from_millis(millis);
        if took > request.timeout.duration() {
            tokio::time::sleep(request.timeout.duration()).await;
            return Err(PortError::timed_out("no whole answer"));
        }
        tokio::time::sleep(took).await;
        Ok(Answer { status, headers: Vec::new(), body: Vec::new(), elapsed: took })
    }
}

fn gate(sampling: Sampling, latency_p95: Option<Millis>) -> HttpGate {
    HttpGate {
        target: GateTarget::Url("https://shop.example".into()),
        paths: vec!["/health".into()],
        status: StatusRange::OK,
        body: None,
        latency_p95,
        sampling,
        timeout: Millis::from_secs(5),
    }
}

fn minute(failures: u32) -> Sampling {
    Sampling::Span { span: Millis::from_secs(60), every: Millis::from_secs(2), failures }
}

fn subject() -> GateSubject {
    GateSubject {
        service: ServiceName::new("web").unwrap(),
        environment: EnvironmentName::new("prod").unwrap(),
        release: None,
        routers: BTreeMap::new(),
    }
}

/// One line for each piece of evidence.
fn told(answer: GateAnswer) -> (Judgement, Vec<String>) {
    let (judgement, evidence, _) = answer.into_parts();
    let line = |one: Evidence| {
        format!("{} {}: {} (wanted {})", if one.ok { "✓" } else { "✗" }, one.check, one.seen, one.wanted)
    };
    (judgement, evidence.into_iter().map(line).collect())
}

/// What the gate answers, and after how long.
async fn ask(
    gate: HttpGate,
    script: impl Fn(u32) -> (u64, u16) + Send + Sync + 'static,
) -> (Judgement, Vec<String>, Duration) {
    let prober = Arc::new(Scripted { script, asked: AtomicU32::new(0) });
    let (http, began) = (Http::new(gate, prober), Instant::now());
    let (judgement, lines) = told(http.ask(&subject(), &|_| {}).await);
    (judgement, lines, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_minute_without_failures_passes_and_one_too_many_ends_it_at_once() {
    let health = "GET https://shop.example/health";
    type Script = fn(u32) -> (u64, u16);
    let cases: [(&str, u32, Script, Judgement, String, u64); 6] = [
        (
            "all good",
            0,
            |_| (10, 200),
            Judgement::Pass,
            format!("✓ {health}: 31 good answers (wanted 2xx, 31 times in 1m)"),
            60_010,
        ),
        (
            "the sixth is bad",
            0,
            |number| (10, if number == 5 { 500 } else { 200 }),
            Judgement::Fail,
            format!("✗ {health}: 5 good answers, 1 failure (500) (wanted 2xx, 31 times in 1m)"),
            10_010,
        ),
        (
            "one bad is allowed",
            1,
            |number| (10, if number == 5 { 500 } else { 200 }),
            Judgement::Pass,
            format!(
                "✓ {health}: 30 good answers, 1 failure (500) (wanted 2xx, 31 times in 1m, at most 1 failure)"
            ),
            60_010,
        ),
        (
            "the third bad one is one too many of two",
            2,
            |number| (10, if number % 2 == 1 { 503 } else { 200 }),
            Judgement::Fail,
            format!(
                "✗ {health}: 3 good answers, 3 failures (503) (wanted 2xx, 31 times in 1m, at most 2 failures)"
            ),
            10_010,
        ),
        (
            "nobody answers",
            0,
            |_| (9_000, 200),
            Judgement::Fail,
            format!(
                "✗ {health}: 0 good answers, 1 failure (timed out: no whole answer) (wanted 2xx, 31 times in 1m)"
            ),
            5_000,
        ),
        (
            "answers take longer than the time between two looks",
            0,
            |_| (4_500, 200),
            Judgement::Pass,
            format!("✓ {health}: 31 good answers (wanted 2xx, 31 times in 1m)"),
            64_500,
        ),
    ];
    for (what, failures, script, judgement, line, millis) in cases {
        let seen = ask(gate(minute(failures), None), script).await;
        assert_eq!(seen, (judgement, vec![line], Duration::from_millis(millis)), "{what}");
    }
}

/// Of 31 answers one may be slower than the 95th percentile.
#[tokio::test(start_paused = true)]
async fn the_percentile_is_over_all_looks_and_ends_it_when_it_cannot_hold_any_more() {
    let slow = |slow: &'static [u32]| move |number| (if slow.contains(&number) { 900 } else { 40 }, 200);
    let limit = Some(Millis(500));
    let (judgement, lines, took) = ask(gate(minute(0), limit), slow(&[3])).await;
    assert_eq!((judgement, took.as_millis()), (Judgement::Pass, 60_040));
    assert_eq!(lines[1], "✓ p95 latency of GET https://shop.example/health: 40.0ms (wanted at most 500ms)");
    let (judgement, lines, took) = ask(gate(minute(0), limit), slow(&[3, 7])).await;
    assert_eq!((judgement, took.as_millis()), (Judgement::Fail, 14_900));
    assert_eq!(
        lines,
        [
            "✓ GET https://shop.example/health: 8 good answers (wanted 2xx, 31 times in 1m)",
            "✗ p95 latency of GET https://shop.example/health: 900.0ms (wanted at most 500ms)"
        ]
    );
}

/// A laptop that slept, a machine that was busy. What nobody looked at is neither good nor bad.
#[tokio::test(start_paused = true)]
async fn looks_that_were_not_made_in_their_time_are_no_data() {
    for (slept, judgement, line, millis) in [
        (5, Judgement::Pass, "✓ GET https://shop.example/health: 31 good answers", 63_510..63_520),
        (
            40,
            Judgement::NotYet,
            "✗ GET https://shop.example/health: 19 good answers, 12 looks missing",
            75_000..75_020,
        ),
    ] {
        let prober = Arc::new(Scripted { script: |_| (10, 200), asked: AtomicU32::new(0) });
        let (http, began) = (Http::new(gate(minute(0), None), prober), Instant::now());
        let (asked, ()) = tokio::join!(async { told(http.ask(&subject(), &|_| {}).await) }, async {
            tokio::time::sleep(Duration::from_millis(20_500)).await;
            tokio::time::advance(Duration::from_secs(slept)).await;
        });
        assert_eq!(asked, (judgement, vec![format!("{line} (wanted 2xx, 31 times in 1m)")]), "{slept}");
        let took = began.elapsed().as_millis();
        assert!(millis.contains(&took), "{slept}: {took}");
    }
}

/// However many failures are allowed, a service that answers nothing gets no pass out of looks that could not be made.
#[tokio::test(start_paused = true)]
async fn looks_that_wait_are_bounded_and_those_that_were_not_made_do_not_pass() {
    let sampling = Sampling::Span { span: Millis::from_secs(10), every: Millis(100), failures: 100 };
    let (judgement, lines, took) = ask(gate(sampling, None), |_| (9_000, 200)).await;
    assert_eq!(judgement, Judgement::NotYet);
    assert_eq!(
        lines,
        [
            "✗ GET https://shop.example/health: 0 good answers, 24 failures (timed out: no whole answer), 77 looks \
             missing (wanted 2xx, 101 times in 10s, at most 100 failures)"
        ]
    );
    assert!(took <= gate(sampling, None).limit().duration(), "{took:?}");
}

/// Several paths: the other's looks that were not made any more say nothing against it.
#[tokio::test(start_paused = true)]
async fn one_bad_path_ends_the_looking_at_all_of_them() {
    let mut both = gate(minute(0), None);
    both.paths.push("/metrics?key=hunter2".into());
    // Both are asked at once: the odd numbers are the second path's.
    let seen = ask(both, |number| (10, if number == 7 { 404 } else { 200 })).await;
    let (health, metrics) = (
        "✓ GET https://shop.example/health: 4 good answers (wanted 2xx, 31 times in 1m)",
        "✗ GET https://shop.example/metrics?…: 3 good answers, 1 failure (404) (wanted 2xx, 31 times in 1m)",
    );
    assert_eq!(seen, (Judgement::Fail, vec![health.into(), metrics.into()], Duration::from_millis(6_010)));
}

#[tokio::test(start_paused = true)]
async fn it_says_how_far_it_is_about_once_a_second() {
    let sampling = Sampling::Span { span: Millis::from_secs(3), every: Millis(250), failures: 1 };
    let script = |number| (10, if number == 6 { 500 } else { 200 });
    let prober = Arc::new(Scripted { script, asked: AtomicU32::new(0) });
    let heard: Mutex<Vec<Headway>> = Mutex::default();
    let http = Http::new(gate(sampling, None), prober);
    http.ask(&subject(), &|headway| heard.lock().unwrap().push(headway)).await;
    let says = |one: &Headway| format!("{} of {}, {}", one.done, one.of, one.seen);
    let heard: Vec<String> = heard.into_inner().unwrap().iter().map(says).collect();
    assert_eq!(heard, ["5 of 13, no failures", "9 of 13, 1 failure", "13 of 13, 1 failure"]);
}

/// Ctrl-C: the step's future is dropped.
#[tokio::test(start_paused = true)]
async fn nothing_is_asked_any_more_once_it_is_broken_off() {
    let prober = Arc::new(Scripted { script: |_| (10, 200), asked: AtomicU32::new(0) });
    let http = Http::new(gate(minute(0), None), prober.clone());
    let moment = Duration::from_secs(7);
    assert!(tokio::time::timeout(moment, http.ask(&subject(), &|_| {})).await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(prober.asked.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_nowhere_to_look_it_is_not_yet() {
    let nowhere = HttpGate { target: GateTarget::Here, ..gate(minute(0), None) };
    assert_eq!(ask(nowhere, |_| (10, 200)).await.0, Judgement::NotYet);
}
