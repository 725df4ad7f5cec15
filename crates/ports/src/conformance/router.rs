//! The router suite.
//!
//! A fixture gives a router that is set up for one service whose two slots run beside each other, and the means to be
//! a user with a slow request. The suite leaves the route as it found it.

use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{FailureKind, HoldBounds, Millis, Slot, Split};
use tokio::time::Instant;

use crate::{InFlight, PortError, Request, Route, Router, RouterAnswer, Upstream};

/// What the suite asks through the router; the app of a slot answers it at once with the slot's name as its body.
pub const ASK_PATH: &str = "/slot";

/// Longest wait for one answer.
const ASK_SECONDS_MAX: u64 = 5;
/// Longest wait for a count of requests in flight to become what it must be.
const COUNT_SECONDS_MAX: u64 = 5;
/// Pause between two looks at a count.
const COUNT_LOOK_MILLIS: u64 = 10;
/// Requests through a split route, and how many of them a quarter may be.
const SPLIT_REQUESTS: u32 = 400;
const SPLIT_GREEN: std::ops::RangeInclusive<u32> = 60..=140;
/// Switches in [`many_switches_in_a_row`].
const SWITCHES: usize = 50;

/// How long a request that must wait is seen to.
const WAITS_MILLIS: u64 = 400;
/// A hold that ends by itself while the suite waits for it.
const SHORT_HOLD_MILLIS: u64 = 500;
/// A hold that outlasts the suite, and how many requests it lets wait.
const LONG_HOLD: HoldBounds = HoldBounds { time: Millis::from_secs(60), requests_max: 2 };

/// Longest wait for the answer of a request that is held meanwhile.
const HELD_ASK_SECONDS_MAX: u64 = 40;
/// Longest wait for the place of a client that has closed its connection. It may have closed only its sending half, and
/// still wait for its answer, so a router may give it some time.
const GONE_SECONDS_MAX: u64 = 20;

/// A router with two running slots behind it.
#[async_trait]
pub trait RouterFixture: Send + Sync {
    /// The driver under test.
    fn router(&self) -> &dyn Router;

    /// The slot's release and where its app listens. Each slot has another release; the same call gives the same
    /// upstream. The app runs and answers [`ASK_PATH`] with `blue` or `green`.
    fn upstream(&self, slot: Slot) -> Upstream;

    /// Sends a request as a user would, through the router's data path, whose answer takes until
    /// [`HeldRequest::finish`]. Returns once a slot's app has begun to answer it.
    async fn hold_request(&self) -> Box<dyn HeldRequest>;
}

/// A request in flight.
#[async_trait]
pub trait HeldRequest: Send {
    /// Lets the app finish and reads the whole answer: the name of the slot that gave it, or how it was broken off.
    async fn finish(self: Box<Self>) -> Result<String, String>;
}

/// Every case, one after another, on the same router.
///
/// # Panics
/// With the case, what it wanted and what it saw.
pub async fn suite(fixture: &dyn RouterFixture) {
    let found = route(fixture, "before the first switch").await;
    a_switch_is_in_force_when_it_returns(fixture).await;
    a_switch_to_what_is_live_changes_nothing(fixture).await;
    a_stale_version_is_a_conflict_and_changes_nothing(fixture).await;
    a_slow_request_finishes_on_the_slot_that_lost_the_traffic(fixture).await;
    both_slots_drain_in_turn(fixture).await;
    many_switches_in_a_row(fixture).await;
    if fixture.router().can_hold() {
        a_held_request_goes_where_the_route_leads_when_it_is_let_go(fixture).await;
        a_hold_ends_by_itself_unless_it_is_renewed(fixture).await;
    } else {
        a_router_that_cannot_hold_says_so(fixture).await;
    }
    match fixture.router().can_split() {
        true => shares_are_what_was_set(fixture).await,
        false => a_router_that_cannot_split_says_so(fixture).await,
    }
    withdrawing_puts_back_what_was_there(fixture, &found).await;
}

/// Green gets a quarter.
fn quarter(fixture: &dyn RouterFixture) -> Split<Upstream> {
    let [blue, green] = [Slot::Blue, Slot::Green].map(|slot| fixture.upstream(slot));
    Split::new([(blue, 75), (green, 25)]).unwrap_or_else(|error| panic!("{error}"))
}

async fn shares_are_what_was_set(fixture: &dyn RouterFixture) {
    switch(fixture, Slot::Blue).await;
    let before = route(fixture, "before a split").await;
    let split = fixture.router().set(&quarter(fixture), &before.version).await;
    split.unwrap_or_else(|error| panic!("a router that can split does; saw {error}"));
    let after = route(fixture, "after a split").await;
    let wanted = Split::new([(Slot::Blue, 75), (Slot::Green, 25)]).ok();
    assert_eq!(after.split, wanted, "the route has the new split when it is set");
    let mut green = 0;
    for _ in 0..SPLIT_REQUESTS {
        let request = Request::get(ASK_PATH, Millis::from_secs(ASK_SECONDS_MAX));
        match fixture.router().ask(&request).await {
            Ok(seen) if seen.answer.text().trim() == Slot::Green.as_str() => green += 1,
            Ok(_) => {}
            Err(error) => panic!("asking works while traffic is split; saw {error}"),
        }
    }
    assert!(SPLIT_GREEN.contains(&green), "a quarter of {SPLIT_REQUESTS} go to green; saw {green}");
    switch(fixture, Slot::Green).await;
    assert_serves(fixture, Slot::Green, "after a split").await;
}

async fn a_router_that_cannot_split_says_so(fixture: &dyn RouterFixture) {
    switch(fixture, Slot::Blue).await;
    let before = route(fixture, "before a split").await;
    let refused = fixture.router().set(&quarter(fixture), &before.version).await;
    let error = refused.err().unwrap_or_else(|| panic!("a router that cannot split refuses to"));
    assert_eq!(error.kind, FailureKind::Refused, "a router that cannot split refuses to; saw {error}");
    let shown = "blue 75 %, green 25 %";
    assert!(
        error.message.contains(shown) && !error.hints().is_empty(),
        "it says what it cannot do; saw {error}"
    );
    assert_eq!(route(fixture, "after a split").await, before, "a refused split changes nothing");
    assert_serves(fixture, Slot::Blue, "after a refused split").await;
}

async fn a_switch_is_in_force_when_it_returns(fixture: &dyn RouterFixture) {
    for slot in [Slot::Blue, Slot::Green, Slot::Blue] {
        switch(fixture, slot).await;
        assert_serves(fixture, slot, "right after the switch").await;
    }
}

async fn a_switch_to_what_is_live_changes_nothing(fixture: &dyn RouterFixture) {
    switch(fixture, Slot::Green).await;
    let before = route(fixture, "before the idempotent switch").await;
    fixture.router().set(&all_to(fixture, Slot::Green), &before.version).await.unwrap_or_else(|error| {
        panic!("a second switch to the live slot does nothing and succeeds; saw {error}")
    });
    let after = route(fixture, "after the idempotent switch").await;
    assert_eq!(before, after, "a second switch to the live slot leaves route and version as they were");
    assert_serves(fixture, Slot::Green, "after an idempotent switch").await;
}

async fn a_stale_version_is_a_conflict_and_changes_nothing(fixture: &dyn RouterFixture) {
    switch(fixture, Slot::Blue).await;
    let stale = route(fixture, "before the conflict").await.version;
    switch(fixture, Slot::Green).await;
    let before = route(fixture, "before the stale switch").await;
    assert_ne!(stale, before.version, "the version changes when the target does");

    let error = fixture.router().set(&all_to(fixture, Slot::Blue), &stale).await;
    let kind = error.as_ref().err().map(|error| error.kind);
    assert_eq!(
        kind,
        Some(FailureKind::Conflict),
        "switching from a stale version is a conflict; saw {error:?}"
    );
    let error = fixture.router().withdraw(Some("nothing-dials-this.invalid:1"), &stale).await;
    let kind = error.as_ref().err().map(|error| error.kind);
    assert_eq!(
        kind,
        Some(FailureKind::Conflict),
        "withdrawing from a stale version is a conflict; saw {error:?}"
    );

    let after = route(fixture, "after the stale switch").await;
    assert_eq!(before, after, "a refused switch changes nothing");
    assert_serves(fixture, Slot::Green, "after a refused switch").await;
}

async fn a_slow_request_finishes_on_the_slot_that_lost_the_traffic(fixture: &dyn RouterFixture) {
    switch(fixture, Slot::Blue).await;
    await_count(fixture, Slot::Blue, 0, "blue is idle at first").await;
    let held = fixture.hold_request().await;
    await_count(fixture, Slot::Blue, 1, "the held request is counted on the live slot").await;

    switch(fixture, Slot::Green).await;
    let counted = in_flight(fixture, Slot::Blue).await;
    assert!(total(counted) >= 1, "the slot that lost the traffic still has its request; saw {counted:?}");
    assert_serves(fixture, Slot::Green, "while blue drains").await;
    let counted = in_flight(fixture, Slot::Blue).await;
    assert!(total(counted) >= 1, "new requests elsewhere change nothing on blue; saw {counted:?}");

    let body = held.finish().await.unwrap_or_else(|how| panic!("the held request must finish, but: {how}"));
    assert_eq!(body.trim(), "blue", "a request finishes on the slot that it began on");
    await_count(fixture, Slot::Blue, 0, "blue has drained").await;
}

/// The count must survive in both directions, and over a switch there and back.
async fn both_slots_drain_in_turn(fixture: &dyn RouterFixture) {
    switch(fixture, Slot::Green).await;
    let on_green = fixture.hold_request().await;
    switch(fixture, Slot::Blue).await;
    let on_blue = fixture.hold_request().await;
    await_count(fixture, Slot::Green, 1, "green has one").await;
    await_count(fixture, Slot::Blue, 1, "blue has one").await;
    switch(fixture, Slot::Green).await;
    await_count(fixture, Slot::Blue, 1, "blue still has one").await;
    assert_eq!(on_green.finish().await.as_deref().map(str::trim), Ok("green"));
    await_count(fixture, Slot::Green, 0, "green has none any more").await;
    await_count(fixture, Slot::Blue, 1, "blue is not touched by green's drain").await;
    assert_eq!(on_blue.finish().await.as_deref().map(str::trim), Ok("blue"));
    await_count(fixture, Slot::Blue, 0, "blue has none any more").await;
}

async fn many_switches_in_a_row(fixture: &dyn RouterFixture) {
    for turn in 0..SWITCHES {
        let slot = [Slot::Blue, Slot::Green][turn % 2];
        switch(fixture, slot).await;
        assert_serves(fixture, slot, &format!("after switch {turn}")).await;
    }
}

async fn a_held_request_goes_where_the_route_leads_when_it_is_let_go(fixture: &dyn RouterFixture) {
    switch(fixture, Slot::Blue).await;
    await_count(fixture, Slot::Blue, 0, "blue is idle at first").await;
    let before = route(fixture, "before the hold").await;
    hold(fixture, LONG_HOLD).await;
    let held = route(fixture, "while it is held").await;
    assert_eq!(held, Route { held: true, ..before }, "a hold shows and changes nothing else");

    let mut asked = std::pin::pin!(ask(fixture));
    assert!(waits(&mut asked).await, "a request waits while the route is held");
    assert_eq!(total(in_flight(fixture, Slot::Blue).await), 0, "one that waits is not in flight");
    switch(fixture, Slot::Green).await;
    assert!(route(fixture, "after a switch").await.held, "a switch leaves the hold");
    assert!(waits(&mut asked).await, "a switch lets nothing go");
    let_go(fixture).await;
    assert_answers(asked.await, Slot::Green, "that was let go");
    assert!(!route(fixture, "after it was let go").await.held, "nothing is held any more");
    assert_serves(fixture, Slot::Green, "after it was let go").await;
    let_go(fixture).await;
    assert_serves(fixture, Slot::Green, "after it was let go twice").await;
}

async fn a_hold_ends_by_itself_unless_it_is_renewed(fixture: &dyn RouterFixture) {
    let short = HoldBounds { time: Millis(SHORT_HOLD_MILLIS), ..LONG_HOLD };
    switch(fixture, Slot::Blue).await;
    let begun = Instant::now();
    hold(fixture, short).await;
    assert_answers(ask(fixture).await, Slot::Blue, "that nobody lets go");
    let took = begun.elapsed();
    assert!(took >= short.time.duration(), "it waits as long as the hold lasts; saw {took:?}");
    assert!(!route(fixture, "after the hold's time").await.held, "a hold ends by itself");

    hold(fixture, short).await;
    hold(fixture, LONG_HOLD).await;
    tokio::time::sleep(short.time.duration()).await;
    assert!(route(fixture, "after the first hold's time").await.held, "holding again renews the hold");
    let mut asked = std::pin::pin!(ask(fixture));
    assert!(waits(&mut asked).await, "a request waits while the hold is renewed");
    let_go(fixture).await;
    assert_answers(asked.await, Slot::Blue, "that was let go");
}

async fn a_router_that_cannot_hold_says_so(fixture: &dyn RouterFixture) {
    for refused in [fixture.router().hold(&LONG_HOLD).await, fixture.router().let_go().await] {
        let kind = refused.as_ref().err().map(|error| error.kind);
        assert_eq!(kind, Some(FailureKind::Refused), "a router that cannot hold refuses to; saw {refused:?}");
    }
}

/// What a hold may cost, for a router whose waiting requests are real ones. To be run beside [`suite`].
///
/// # Panics
/// With the case, what it wanted and what it saw.
pub async fn holding_within_bounds(fixture: &dyn RouterFixture) {
    assert!(fixture.router().can_hold(), "this is for routers that can hold");
    switch(fixture, Slot::Blue).await;
    hold(fixture, LONG_HOLD).await;
    let (mut first, mut second) = (Box::pin(ask(fixture)), Box::pin(ask(fixture)));
    assert!(waits(&mut first).await && waits(&mut second).await, "as many wait as the bounds allow");
    assert_refuses(ask(fixture).await, "beyond the bound");
    drop(second);
    let deadline = Instant::now() + Duration::from_secs(GONE_SECONDS_MAX);
    let third = loop {
        let mut third = Box::pin(ask(fixture));
        if waits(&mut third).await {
            break third;
        }
        assert!(Instant::now() < deadline, "a client that goes away frees its place");
        tokio::time::sleep(Duration::from_millis(WAITS_MILLIS)).await;
    };
    // The first has waited longer than this, while the hold goes on.
    hold(fixture, HoldBounds { time: Millis(2 * WAITS_MILLIS), ..LONG_HOLD }).await;
    assert_refuses(first.await, "whose own time is over");
    let_go(fixture).await;
    // It came later than the first, so it may have been let go or not.
    third.await.unwrap_or_else(|error| panic!("whoever waits is answered; saw {error}"));
    assert_serves(fixture, Slot::Blue, "after the hold").await;
}

async fn hold(fixture: &dyn RouterFixture, bounds: HoldBounds) {
    if let Err(error) = fixture.router().hold(&bounds).await {
        panic!("holding works; saw {error} ({})", error.hints());
    }
}

async fn let_go(fixture: &dyn RouterFixture) {
    if let Err(error) = fixture.router().let_go().await {
        panic!("letting go works; saw {error} ({})", error.hints());
    }
}

async fn ask(fixture: &dyn RouterFixture) -> Result<RouterAnswer, PortError> {
    let request = Request::get(ASK_PATH, Millis::from_secs(HELD_ASK_SECONDS_MAX));
    fixture.router().ask(&request).await
}

/// Whether a request has no answer for a while.
async fn waits<A: Future + Unpin>(asked: &mut A) -> bool {
    tokio::time::timeout(Duration::from_millis(WAITS_MILLIS), asked).await.is_err()
}

fn assert_answers(seen: Result<RouterAnswer, PortError>, slot: Slot, which: &str) {
    let seen = seen.unwrap_or_else(|error| panic!("a request {which} is answered; saw {error}"));
    let seen = (seen.answer.status, seen.answer.text());
    assert_eq!((seen.0, seen.1.trim()), (200, slot.as_str()), "{slot} answers a request {which}");
}

fn assert_refuses(seen: Result<RouterAnswer, PortError>, which: &str) {
    let answer = seen.unwrap_or_else(|error| panic!("a request {which} is answered; saw {error}")).answer;
    assert_eq!(answer.status, 503, "a request {which} is refused; body {:?}", answer.text());
    assert!(answer.header("retry-after").is_some(), "a request {which} is told when to come again");
}

async fn withdrawing_puts_back_what_was_there(fixture: &dyn RouterFixture, found: &Route) {
    switch(fixture, Slot::Green).await;
    let live = route(fixture, "before withdrawing").await;
    fixture
        .router()
        .withdraw(found.dial.as_deref(), &live.version)
        .await
        .unwrap_or_else(|error| panic!("withdrawing to {:?} works; saw {error}", found.dial));
    let after = route(fixture, "after withdrawing").await;
    assert_eq!(after.split, found.split, "withdrawing puts the split back");
    assert_eq!(after.dial, found.dial, "withdrawing puts back what was dialled");
}

async fn route(fixture: &dyn RouterFixture, when: &str) -> Route {
    match fixture.router().route().await {
        Ok(route) => route,
        Err(error) => panic!("the route can be read {when}; saw {error} ({})", error.hints()),
    }
}

fn all_to(fixture: &dyn RouterFixture, slot: Slot) -> Split<Upstream> {
    Split::all_to(fixture.upstream(slot))
}

async fn switch(fixture: &dyn RouterFixture, slot: Slot) {
    let version = route(fixture, "before a switch").await.version;
    if let Err(error) = fixture.router().set(&all_to(fixture, slot), &version).await {
        panic!("switching to {slot} works; saw {error} ({})", error.hints());
    }
    let route = route(fixture, "after a switch").await;
    assert_eq!(route.split, Some(Split::all_to(slot)), "the route has the new split when the switch returns");
    assert!(route.dial.is_some(), "a route that has a target says what it dials");
}

async fn assert_serves(fixture: &dyn RouterFixture, slot: Slot, when: &str) {
    let request = Request::get(ASK_PATH, Millis::from_secs(ASK_SECONDS_MAX));
    let seen = match fixture.router().ask(&request).await {
        Ok(seen) => seen,
        Err(error) => panic!("asking through the router works {when}; saw {error} ({})", error.hints()),
    };
    assert_eq!(seen.answer.status, 200, "{slot} answers {when}; body {:?}", seen.answer.text());
    assert_eq!(seen.answer.text().trim(), slot.as_str(), "{slot} answers {when}");
    if let Some(said) = seen.slot {
        assert_eq!(said, slot, "the router names the slot that answered {when}");
    }
    if let Some(said) = seen.release {
        let digest = fixture.upstream(slot).release.digest.as_str().to_owned();
        assert_eq!(said, digest, "the router names the release that answered {when}");
    }
}

async fn in_flight(fixture: &dyn RouterFixture, slot: Slot) -> InFlight {
    match fixture.router().in_flight(slot).await {
        Ok(count) => count,
        Err(error) => panic!("requests in flight on {slot} can be counted; saw {error} ({})", error.hints()),
    }
}

fn total(count: InFlight) -> u64 {
    count.requests + count.upgraded
}

/// Waits until the slot has exactly `wanted` requests in flight: a count may be too high for a moment after an answer.
async fn await_count(fixture: &dyn RouterFixture, slot: Slot, wanted: u64, why: &str) {
    let deadline = Instant::now() + Duration::from_secs(COUNT_SECONDS_MAX);
    loop {
        let seen = in_flight(fixture, slot).await;
        if total(seen) == wanted {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{why}: {slot} has {wanted} in flight within {COUNT_SECONDS_MAX} s; saw {seen:?}"
        );
        tokio::time::sleep(Duration::from_millis(COUNT_LOOK_MILLIS)).await;
    }
}
