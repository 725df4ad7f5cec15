//! What happens to a call on its way.

use std::fmt;

use async_trait::async_trait;
use lockgate_model::{HostId, Millis, Slot};

use crate::PortError;
use crate::fake::Machine;

/// One call to a fake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `None` for what is asked of this machine: probers, command runners, notifiers, registries.
    pub host: Option<HostId>,
    /// What is asked for.
    pub what: What,
    /// The path, tag, program or URL that it is about; may be empty.
    pub detail: String,
    /// It happens after its caller has been told that it timed out.
    pub late: bool,
}

/// What a call asks for: one for each method of the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `Host::exec`, `Host::exec_lines`.
    Exec,
    /// `Host::read`, `Host::read_own`, `Host::names`.
    Read,
    /// `Host::write`, `Host::write_own`, `Host::upload`.
    Write,
    /// `Host::remove`.
    Remove,
    /// `Host::swap`.
    Swap,
    /// `Host::connect`.
    Connect,
    /// `Host::disk_free_mib`.
    DiskFree,
    /// `Runtime::resolve`, `Registry::resolve`.
    Resolve,
    /// `Runtime::slots`.
    Slots,
    /// `Runtime::conflicts`.
    Conflicts,
    /// `Runtime::fetch`.
    Fetch,
    /// `Runtime::start`.
    Start(Slot),
    /// `Runtime::stop`.
    Stop(Slot),
    /// `OneOffs::begin`; its detail is the moment and the run.
    BeginOneOff,
    /// `OneOffs::seen`, `OneOffs::follow`.
    SeeOneOffs,
    /// `OneOffs::end`.
    EndOneOff,
    /// `Runtime::logs`.
    Logs(Slot),
    /// `Runtime::diagnose`.
    Diagnose(Slot),
    /// `Runtime::prune`.
    Prune,
    /// `Router::route`.
    Route,
    /// `Router::set`: the slot that gets all of it.
    Switch(Slot),
    /// `Router::withdraw`.
    Withdraw,
    /// `Router::hold`.
    Hold,
    /// `Router::let_go`.
    LetGo,
    /// `Router::in_flight`.
    InFlight(Slot),
    /// `Router::ask`.
    Ask,
    /// `check` of any port.
    Check,
    /// A prober's request, or a gate's look.
    Probe,
    /// A gate's program.
    Command,
    /// `Notifier::send`.
    Notify,
    /// `Registry::tags`.
    Tags,
    /// `Registry::manifest`.
    Manifest,
    /// `Registry::put_manifest`.
    PutManifest,
    /// `Registry::blob_exists`.
    BlobExists,
}

impl What {
    /// True when it changes a host.
    #[must_use]
    pub fn is_effect(self) -> bool {
        matches!(
            self,
            What::Write
                | What::Remove
                | What::Swap
                | What::Fetch
                | What::Start(_)
                | What::Stop(_)
                | What::BeginOneOff
                | What::EndOneOff
                | What::Prune
                | What::Switch(_)
                | What::Withdraw
                | What::Hold
                | What::LetGo
        )
    }

    /// True when it is the router that is called.
    #[must_use]
    pub fn is_router(self) -> bool {
        matches!(
            self,
            What::Route
                | What::Switch(_)
                | What::Withdraw
                | What::Hold
                | What::LetGo
                | What::InFlight(_)
                | What::Ask
        )
    }
}

/// `web1: Start(Green) v2`.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}: ")?;
        }
        write!(f, "{:?} {}{}", self.what, self.detail, if self.late { " (late)" } else { "" })
    }
}

/// How a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// At once, and its caller hears what came of it.
    Happens,
    /// It fails before anything happened.
    Fails(PortError),
    /// It happens, but its caller hears this instead.
    AnswerLost(PortError),
    /// Its caller hears this, and then it happens: a command that outlives its connection.
    Late(Millis, PortError),
}

/// The faults of a test's world: decides how each call goes, and watches what calls change. [`NoFaults`] has none.
#[async_trait]
pub trait Faults: Send + Sync {
    /// Asked before each call; the call waits for the answer.
    async fn before(&self, call: &Call) -> Fate;

    /// After the call has happened and before its caller hears so.
    async fn after(&self, call: &Call);

    /// Right before it happens, in one moment with it. False keeps it from happening; only late calls can be kept.
    fn admits(&self, call: &Call, machine: &mut Machine) -> bool;

    /// Right after it happened, in one moment with it.
    fn happened(&self, call: &Call, machine: &mut Machine);
}

/// Every call happens at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

#[async_trait]
impl Faults for NoFaults {
    async fn before(&self, _: &Call) -> Fate {
        Fate::Happens
    }

    async fn after(&self, _: &Call) {}

    fn admits(&self, _: &Call, _: &mut Machine) -> bool {
        true
    }

    fn happened(&self, _: &Call, _: &mut Machine) {}
}
