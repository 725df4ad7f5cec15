//! The gate suite: whatever happens to what a gate asks, it never passes without having seen that all is well (P6).
//!
//! A fixture makes one gate and lets what it asks behave badly.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{Evidence, Headway, Judgement};

use crate::{Gate, GateAnswer, GateSubject};

/// How much longer than its limit a gate may take: a loaded machine is slow.
const MOMENT: Duration = Duration::from_secs(5);

/// What happens to what a gate asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// All is well, and the gate should pass.
    Well,
    /// Nobody is there.
    Down,
    /// It does not know who asks (401).
    Unauthorized,
    /// It was asked too often (429).
    RateLimited,
    /// It says nothing at all, for longer than is waited for.
    Silent,
    /// It begins to answer, and the rest does not come.
    Stalls,
    /// An answer with nothing in it.
    Empty,
    /// An answer that breaks off in the middle.
    Half,
}

/// All of them, but the good one.
pub const BAD: [Outside; 7] = [
    Outside::Down,
    Outside::Unauthorized,
    Outside::RateLimited,
    Outside::Silent,
    Outside::Stalls,
    Outside::Empty,
    Outside::Half,
];

/// A gate and what it looks at, made for each case.
#[async_trait]
pub trait GateFixture: Send + Sync {
    /// The gate under test, and what it is asked about, while what it asks behaves so. Within two seconds or so a gate
    /// here gives up.
    async fn gate(&self, outside: Outside) -> (Arc<dyn Gate>, GateSubject);
}

/// Every case, one after another.
///
/// # Panics
/// With the case, what it wanted and what it saw.
pub async fn suite(fixture: &dyn GateFixture) {
    it_passes_with_evidence_when_all_is_well(fixture).await;
    nothing_that_goes_wrong_ends_in_a_pass(fixture).await;
    its_headway_rises(fixture).await;
    it_may_be_broken_off(fixture).await;
}

/// As [`Gate::ask`], which must end in time.
async fn ask(fixture: &dyn GateFixture, outside: Outside) -> GateAnswer {
    let (gate, subject) = fixture.gate(outside).await;
    let limit = gate.limit().duration() + MOMENT;
    let asked = tokio::time::timeout(limit, gate.ask(&subject, &|_| {})).await;
    asked.unwrap_or_else(|_| panic!("{outside:?}: no answer within {limit:?}"))
}

async fn it_passes_with_evidence_when_all_is_well(fixture: &dyn GateFixture) {
    for _ in 0..2 {
        let (judgement, evidence, _) = ask(fixture, Outside::Well).await.into_parts();
        assert_eq!(judgement, Judgement::Pass, "{evidence:#?}");
        assert!(!evidence.is_empty() && evidence.iter().all(|one| one.ok), "{evidence:#?}");
    }
}

async fn nothing_that_goes_wrong_ends_in_a_pass(fixture: &dyn GateFixture) {
    for outside in BAD {
        let (judgement, evidence, _) = ask(fixture, outside).await.into_parts();
        assert_ne!(judgement, Judgement::Pass, "{outside:?}: {evidence:#?}");
        let bad: Vec<&Evidence> = evidence.iter().filter(|one| !one.ok).collect();
        assert!(!bad.is_empty(), "{outside:?}: it says {judgement:?} and not why: {evidence:#?}");
        let says = bad.iter().all(|one| !one.check.is_empty() && !one.seen.is_empty());
        assert!(says, "{outside:?}: {bad:#?}");
    }
}

async fn its_headway_rises(fixture: &dyn GateFixture) {
    let (gate, subject) = fixture.gate(Outside::Well).await;
    let told: Mutex<Vec<Headway>> = Mutex::default();
    let keep = |headway| told.lock().unwrap_or_else(PoisonError::into_inner).push(headway);
    gate.ask(&subject, &keep).await;
    let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(told.iter().all(|one| one.done <= one.of && !one.seen.contains('\n')), "{told:?}");
    assert!(told.windows(2).all(|two| two[0].done <= two[1].done && two[0].of == two[1].of), "{told:?}");
}

/// Ctrl-C comes while it waits.
async fn it_may_be_broken_off(fixture: &dyn GateFixture) {
    let (gate, subject) = fixture.gate(Outside::Silent).await;
    let moment = Duration::from_millis(50);
    assert!(tokio::time::timeout(moment, gate.ask(&subject, &|_| {})).await.is_err(), "nobody answered");
    let (judgement, ..) = ask(fixture, Outside::Well).await.into_parts();
    assert_eq!(judgement, Judgement::Pass);
}
