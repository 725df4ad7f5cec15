//! What every [`Runtime`] does alike, whatever runs the slot.

use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{Digest, FailureKind, Millis, Release, Slot, SlotState, Tag};
use tokio::time::Instant;

use crate::{Answer, CheckState, Endpoint, PortError, Runtime, RuntimeSlot};

/// How long a started slot may take until it answers.
const ANSWER_SECONDS_MAX: u64 = 60;
/// How long a started slot may take until its log has a line.
const LOG_SECONDS_MAX: u64 = 20;
/// Pause between two looks.
const LOOK_MILLIS: u64 = 10;
/// From SIGTERM to SIGKILL.
const GRACE_SECONDS: u64 = 5;

/// A runtime for one service with nothing in either slot, and what the suite needs to know of that service.
///
/// The service writes at least one log line when it starts, and answers `GET` [`RuntimeFixture::path`] with a 200
/// whose body depends on the release and on nothing else.
#[async_trait]
pub trait RuntimeFixture: Send + Sync {
    /// The driver under test.
    fn runtime(&self) -> &dyn Runtime;

    /// Two tags that exist and have different bytes.
    async fn tags(&self) -> (Tag, Tag);

    /// A tag that does not exist.
    fn missing_tag(&self) -> Tag;

    /// `GET` on a slot's endpoint, as seen from the host.
    async fn get(&self, endpoint: &Endpoint, path: &str) -> Result<Answer, PortError>;

    /// Where the body tells the release.
    fn path(&self) -> &'static str {
        "/"
    }
}

/// Runs every check, in order: each starts from what the one before left.
///
/// # Panics
/// With what was wanted and what was seen.
pub async fn suite(fixture: &dyn RuntimeFixture) {
    let (first, second) = releases(fixture).await;
    an_empty_runtime_holds_nothing(fixture).await;
    bytes_that_are_not_there_are_not_started(fixture, &first).await;
    let (one, two) = two_slots_run_beside_each_other(fixture, &first, &second).await;
    assert_ne!(
        one, two,
        "{} and {} answer the same: the suite could not tell them apart",
        first.tag, second.tag
    );
    logs_are_the_last_lines(fixture).await;
    prune_keeps_what_it_is_told_and_what_slots_hold(fixture, &first).await;
    a_replaced_slot_answers_as_the_new_release(fixture, &second, &two).await;
    a_stopped_slot_is_still_seen(fixture, &second, &two).await;
    a_stopped_slot_starts_again(fixture, &first, &one).await;
    for slot in [Slot::Blue, Slot::Green] {
        let stopped = fixture.runtime().stop(slot, Millis::from_secs(GRACE_SECONDS)).await;
        stopped.unwrap_or_else(|error| panic!("stop {slot} at the end: {error}"));
    }
}

/// Resolving is stable, tells bytes apart, and says when a tag does not exist.
async fn releases(fixture: &dyn RuntimeFixture) -> (Release, Release) {
    let runtime = fixture.runtime();
    let (first, second) = fixture.tags().await;
    let resolve = async |tag: &Tag| {
        let release = runtime.resolve(tag).await.unwrap_or_else(|error| panic!("resolve {tag}: {error}"));
        assert_eq!(&release.tag, tag, "resolve keeps the tag that was asked for");
        release
    };
    let (one, two) = (resolve(&first).await, resolve(&second).await);
    assert_eq!(resolve(&first).await.digest, one.digest, "resolving {first} twice gives one digest");
    assert_ne!(one.digest, two.digest, "{first} and {second} have different bytes, so different digests");
    let missing = fixture.missing_tag();
    match runtime.resolve(&missing).await {
        Err(error) => assert_eq!(error.kind, FailureKind::NotFound, "resolve {missing}: {error}"),
        Ok(release) => panic!("resolve {missing}: wanted NotFound, got {release}"),
    }
    (one, two)
}

async fn an_empty_runtime_holds_nothing(fixture: &dyn RuntimeFixture) {
    let runtime = fixture.runtime();
    let slots = runtime.slots().await.unwrap();
    assert!(slots.is_empty(), "the fixture starts with empty slots, saw {slots:?}");
    let bad: Vec<_> =
        runtime.check().await.into_iter().filter(|check| check.state == CheckState::Bad).collect();
    assert!(bad.is_empty(), "a host that can deploy has no bad check, saw {bad:?}");
    assert_eq!(
        runtime.conflicts().await.unwrap(),
        Vec::<String>::new(),
        "the two slots can run beside each other"
    );
    for slot in [Slot::Blue, Slot::Green] {
        assert_eq!(
            runtime.logs(slot, 10).await.unwrap(),
            Vec::<String>::new(),
            "{slot} never ran and has no logs"
        );
        runtime.stop(slot, Millis::from_secs(GRACE_SECONDS)).await.unwrap();
    }
    let slots = runtime.slots().await.unwrap();
    assert!(slots.is_empty(), "stopping what does not run changes nothing, saw {slots:?}");
}

/// P5: a digest that is nowhere is not replaced by whatever its tag means now.
async fn bytes_that_are_not_there_are_not_started(fixture: &dyn RuntimeFixture, like: &Release) {
    let nowhere = Digest::new(format!("sha256:{}", "0".repeat(64))).unwrap();
    let release = Release { digest: nowhere, ..like.clone() };
    match fixture.runtime().start(Slot::Blue, &release).await {
        Err(error) => {
            assert_eq!(error.kind, FailureKind::NotFound, "start of bytes that are nowhere: {error}")
        }
        Ok(()) => panic!("start of bytes that are nowhere: wanted NotFound"),
    }
    let running: Vec<_> =
        slots(fixture).await.into_iter().filter(|s| s.state == SlotState::Running).collect();
    assert!(running.is_empty(), "nothing runs after a start that was refused, saw {running:?}");
}

async fn two_slots_run_beside_each_other(
    fixture: &dyn RuntimeFixture,
    first: &Release,
    second: &Release,
) -> (String, String) {
    let blue = start(fixture, Slot::Blue, first).await;
    let one = answer(fixture, Slot::Blue).await;
    start(fixture, Slot::Blue, first).await;
    assert_eq!(seen(fixture, Slot::Blue).await, blue, "starting what runs already does nothing");
    start(fixture, Slot::Green, second).await;
    let two = answer(fixture, Slot::Green).await;
    assert_eq!(seen(fixture, Slot::Blue).await, blue, "starting green leaves blue alone");
    assert_eq!(answer(fixture, Slot::Blue).await, one, "blue answers as before");
    (one, two)
}

async fn logs_are_the_last_lines(fixture: &dyn RuntimeFixture) {
    for slot in [Slot::Blue, Slot::Green] {
        let limit = Instant::now() + Duration::from_secs(LOG_SECONDS_MAX);
        while fixture.runtime().logs(slot, 100).await.unwrap().is_empty() {
            assert!(Instant::now() < limit, "{slot} wrote no log line within {LOG_SECONDS_MAX} s");
            look_again().await;
        }
        let lines = fixture.runtime().logs(slot, 1).await.unwrap();
        assert_eq!(lines.len(), 1, "one line was asked for, saw {lines:?}");
        assert!(!lines[0].ends_with('\n'), "a line comes without its end, saw {:?}", lines[0]);
    }
}

/// Blue runs `first`, green the other; both must survive a prune, and so must what it was told to keep.
async fn prune_keeps_what_it_is_told_and_what_slots_hold(fixture: &dyn RuntimeFixture, first: &Release) {
    let before = slots(fixture).await;
    for keep in [&[first.clone()][..], &[]] {
        fixture.runtime().prune(keep).await.unwrap_or_else(|error| panic!("prune: {error}"));
        assert_eq!(slots(fixture).await, before, "prune leaves slots alone");
    }
    for slot in [Slot::Blue, Slot::Green] {
        answer(fixture, slot).await;
    }
}

async fn a_replaced_slot_answers_as_the_new_release(
    fixture: &dyn RuntimeFixture,
    second: &Release,
    two: &str,
) {
    let green = seen(fixture, Slot::Green).await;
    start(fixture, Slot::Blue, second).await;
    assert_eq!(answer(fixture, Slot::Blue).await, two, "blue's first answer is the new release's");
    assert_eq!(seen(fixture, Slot::Green).await, green, "replacing blue leaves green alone");
    assert_eq!(answer(fixture, Slot::Green).await, two);
}

/// Blue and green both run `second`.
async fn a_stopped_slot_is_still_seen(fixture: &dyn RuntimeFixture, second: &Release, two: &str) {
    let runtime = fixture.runtime();
    let green = seen(fixture, Slot::Green).await;
    let endpoint = seen(fixture, Slot::Blue).await.endpoint.unwrap();
    for time in ["once", "twice"] {
        let stopped = runtime.stop(Slot::Blue, Millis::from_secs(GRACE_SECONDS)).await;
        stopped.unwrap_or_else(|error| panic!("stop {time}: {error}"));
        let blue = seen(fixture, Slot::Blue).await;
        assert_eq!(blue.state, SlotState::Stopped, "stopped {time}");
        let held = blue
            .release
            .unwrap_or_else(|| panic!("a stopped slot still says what it holds (stopped {time})"));
        assert!(held.same_bytes(second), "wanted {second}, saw {held}");
        assert_eq!(blue.endpoint, None, "a stopped slot has no address");
    }
    assert!(fixture.get(&endpoint, fixture.path()).await.is_err(), "{endpoint} still answers after the stop");
    let lines = runtime.logs(Slot::Blue, 10).await.unwrap();
    assert!(!lines.is_empty(), "the last run's log is still there");
    runtime.prune(&[]).await.unwrap();
    let held = seen(fixture, Slot::Blue).await.release;
    assert!(held.is_some(), "prune leaves a stopped slot's release");
    assert_eq!(seen(fixture, Slot::Green).await, green, "stopping blue leaves green alone");
    assert_eq!(answer(fixture, Slot::Green).await, two);
}

/// Blue holds `second`, stopped; green runs it.
async fn a_stopped_slot_starts_again(fixture: &dyn RuntimeFixture, first: &Release, one: &str) {
    let green = seen(fixture, Slot::Green).await;
    let held = seen(fixture, Slot::Blue).await.release.unwrap();
    start(fixture, Slot::Blue, &held).await;
    assert_eq!(answer(fixture, Slot::Blue).await, answer(fixture, Slot::Green).await);
    stop(fixture, Slot::Blue).await;
    start(fixture, Slot::Blue, first).await;
    assert_eq!(answer(fixture, Slot::Blue).await, one, "an older release comes back");
    assert_eq!(seen(fixture, Slot::Green).await, green, "green was never touched");
}

async fn stop(fixture: &dyn RuntimeFixture, slot: Slot) {
    let stopped = fixture.runtime().stop(slot, Millis::from_secs(GRACE_SECONDS)).await;
    stopped.unwrap_or_else(|error| panic!("stop {slot}: {error}"));
}

/// Fetches and starts, then checks what is seen.
async fn start(fixture: &dyn RuntimeFixture, slot: Slot, release: &Release) -> RuntimeSlot {
    let runtime = fixture.runtime();
    runtime.fetch(release).await.unwrap_or_else(|error| panic!("fetch {release}: {error}"));
    runtime.start(slot, release).await.unwrap_or_else(|error| panic!("start {release} in {slot}: {error}"));
    let now = seen(fixture, slot).await;
    assert_eq!(now.state, SlotState::Running, "{slot} runs once started");
    let held = now.release.as_ref().unwrap_or_else(|| panic!("{slot} says what it runs"));
    assert!(held.same_bytes(release), "{slot}: wanted {release}, saw {held}");
    assert_eq!(held.tag, release.tag, "{slot} remembers the tag that was asked for");
    assert!(now.started_at.is_some(), "{slot} says when it was started");
    assert!(now.endpoint.is_some(), "{slot} says where it answers");
    let of_first = now.replicas.iter().find(|one| one.runs()).and_then(|one| one.endpoint.clone());
    assert_eq!(of_first, now.endpoint, "{slot} says where each of its replicas answers");
    now
}

/// All slots, in order.
async fn slots(fixture: &dyn RuntimeFixture) -> Vec<RuntimeSlot> {
    let mut slots = fixture.runtime().slots().await.unwrap_or_else(|error| panic!("slots: {error}"));
    slots.sort_by_key(|seen| seen.slot);
    assert!(slots.windows(2).all(|pair| pair[0].slot != pair[1].slot), "a slot is seen once, saw {slots:?}");
    slots
}

async fn seen(fixture: &dyn RuntimeFixture, slot: Slot) -> RuntimeSlot {
    let all = slots(fixture).await;
    all.iter()
        .find(|seen| seen.slot == slot)
        .cloned()
        .unwrap_or_else(|| panic!("{slot} is not among {all:?}"))
}

/// The body of the slot's first 200.
async fn answer(fixture: &dyn RuntimeFixture, slot: Slot) -> String {
    let limit = Instant::now() + Duration::from_secs(ANSWER_SECONDS_MAX);
    loop {
        let endpoint = seen(fixture, slot).await.endpoint;
        let last = match &endpoint {
            Some(endpoint) => match fixture.get(endpoint, fixture.path()).await {
                Ok(answer) if answer.status == 200 => return answer.text(),
                Ok(answer) => format!("status {} from {endpoint}", answer.status),
                Err(error) => error.to_string(),
            },
            None => "no endpoint".to_owned(),
        };
        if Instant::now() >= limit {
            let logs = fixture.runtime().logs(slot, 20).await.unwrap_or_default();
            let findings = fixture.runtime().diagnose(slot, None).await;
            panic!("{slot} gave no 200 within {ANSWER_SECONDS_MAX} s: {last}; {findings:?}; logs {logs:#?}");
        }
        look_again().await;
    }
}

async fn look_again() {
    tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
}
