//! What is in store for one orchestrator, and for the hosts while it works.

use lockgate_model::Millis;

/// How one call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultMode {
    Unreachable,
    AnswerLost,
    /// A command that its caller gave up and that happens all the same, later.
    Late,
    NotFound,
    DiskFull,
}

impl FaultMode {
    pub const ALL: [FaultMode; 5] = [
        FaultMode::Unreachable,
        FaultMode::AnswerLost,
        FaultMode::Late,
        FaultMode::NotFound,
        FaultMode::DiskFull,
    ];
}

/// What happens in the world at some call, whoever makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The live app is killed.
    KillLive,
    /// What runs in the slot without traffic is killed.
    KillStandby,
    /// Blue and green get each other's addresses.
    AddressesAnew,
    /// The route is changed to the other slot, whatever that holds.
    RouteElsewhere,
    /// The route is gone.
    RouteGone,
    /// All images that no slot holds are removed.
    ImagesGone,
    ClockJump(i64),
    HostDown(Millis),
    /// Until the story says that it comes back.
    HostGone,
    RouterDown(Millis),
    DiskFull,
    /// The host is off for so long. `back`: its apps have a restart policy and come back with it.
    PowerLost {
        off: Millis,
        back: bool,
    },
}

/// What is in store for one orchestrator. Points are counted at its effects and journal entries (before and after
/// each), calls at all its calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BadDay {
    pub crash_at_point: Option<u64>,
    pub pause_at_call: Option<(u64, Millis)>,
    /// It is stopped in this swap of a record of its, by number, after the comparison and before it hears of the renaming.
    pub stop_at_swap: Option<(u64, Millis)>,
    pub interrupt_at_call: Option<u64>,
    pub fault_at_call: Option<(u64, FaultMode)>,
    pub faults_per_mille: u64,
    /// The journal is full from this append on.
    pub journal_full_from: Option<u64>,
    pub events: Vec<(u64, usize, Event)>,
    pub latency_millis_max: u64,
    /// A user's request arrives before a call with this chance.
    pub requests_per_mille: u64,
    /// Whoever runs on the same machine can see that a process is gone.
    pub sees_the_dead: bool,
}
