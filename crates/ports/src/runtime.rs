//! What runs a slot, for one service in one environment on one host.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use async_trait::async_trait;
use lockgate_model::{
    FailureKind, Millis, OwnEnd, Release, Secret, Slot, SlotState, Tag, Template, Timestamp,
};

use crate::{Check, Command, Endpoint, OneOffs, Output, PortError, Replica};

/// Longest grace that a slot's own definition gets, in seconds; who wants more says so in the configuration.
pub const OWN_GRACE_SECONDS_MAX: u64 = 3_600;

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSlot {
    /// Which slot.
    pub slot: Slot,
    /// What it runs or ran; `None` where something else than Lockgate started it and that cannot be told.
    pub release: Option<Release>,
    /// Whether it runs.
    pub state: SlotState,
    /// Since when it runs, or ran last, by the host's clock; `None` where that is not known.
    pub started_at: Option<Timestamp>,
    /// How often the runtime has started it again by itself.
    pub restarts: u64,
    /// Address as seen from the host, while running; of several replicas the first one's.
    pub endpoint: Option<Endpoint>,
    /// All that the slot holds of its release, each once, running or not; those that run come first. Never empty.
    pub replicas: Vec<Replica>,
    /// From SIGTERM to SIGKILL, as its own definition has it; `None` where that says nothing.
    pub stop_grace: Option<Millis>,
}

/// Environment variables by name; the values may be secrets.
pub type Variables = BTreeMap<String, Secret>;

/// Something that explains an unhealthy slot: `nothing listens on port 5000; the container listens on 8080`.
pub type Finding = String;

/// Why a slot might not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// In the words of a runtime; they go into messages, which people are sent, so nothing that an app wrote is in them.
    pub findings: Vec<Finding>,
    /// What the slot's own health check wrote, beside its log. It goes where log lines go.
    pub said: Vec<String>,
}

impl From<Vec<Finding>> for Diagnosis {
    fn from(findings: Vec<Finding>) -> Self {
        Self { findings, said: Vec::new() }
    }
}

/// What a slot's own health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnHealth {
    /// How it is now.
    pub state: OwnHealthState,
    /// How long it may take until it gives up: its start period and all its retries.
    pub patience: Millis,
}

/// How a slot's own health check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnHealthState {
    /// There is none.
    Missing,
    /// It has neither passed yet nor failed as often as it may.
    Starting,
    /// It passed last.
    Healthy,
    /// It failed as often as it may.
    Unhealthy,
}

/// What runs slots, for one service in one environment on one host.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// For people: `compose`, `process`.
    fn name(&self) -> &'static str;

    /// Turns a tag into a release, once (P5).
    ///
    /// # Errors
    /// `NotFound` (no such tag or image), `Unauthorized` (registry login), `Unreachable`, `TimedOut`.
    async fn resolve(&self, tag: &Tag) -> Result<Release, PortError>;

    /// What the slots hold, found by label or record, running or not; a slot that holds nothing is absent.
    ///
    /// # Errors
    /// `Unreachable`, `Unauthorized`.
    async fn slots(&self) -> Result<Vec<RuntimeSlot>, PortError>;

    /// The slot that has this address of the host itself, and runs: it publishes the port, or listens there. `None`: none does.
    ///
    /// # Errors
    /// As for [`Runtime::slots`].
    async fn publishes(&self, address: SocketAddr) -> Result<Option<Slot>, PortError> {
        let _ = address;
        Ok(None)
    }

    /// Why the two slots cannot run beside each other (a host port or a fixed name that both want), and why what is to be
    /// started anew in the only slot could not be (a host port that somebody else has).
    ///
    /// # Errors
    /// `NotFound` when the slot's definition is missing, `Other` when it does not parse; each with a hint.
    async fn conflicts(&self) -> Result<Vec<String>, PortError>;

    /// Has the release's bytes on the host; nothing running is touched. Does nothing when they are there.
    ///
    /// # Errors
    /// `NotFound`, `Unauthorized`, `Unreachable`, `TimedOut`, `DiskFull`.
    async fn fetch(&self, release: &Release) -> Result<(), PortError>;

    /// Has exactly this release running in the slot, replacing whatever else the slot held. Does nothing when it runs
    /// already; never touches the other slot. Returns once started, not once healthy.
    ///
    /// # Errors
    /// `NotFound` when the release's bytes are not on the host, `Conflict` (port or name in use), `Other`, with what the
    /// app wrote in [`PortError::logs`].
    async fn start(&self, slot: Slot, release: &Release) -> Result<(), PortError>;

    /// Whether a start gives what runs environment variables that may be others another time.
    fn has_environments(&self) -> bool {
        false
    }

    /// The environment variables that what the slot holds was started with, as far as a start chooses them; `None` where the
    /// slot holds nothing or that is not known any more.
    ///
    /// # Errors
    /// As for [`Runtime::slots`]. None holds a value.
    async fn environment(&self, slot: Slot) -> Result<Option<Variables>, PortError> {
        let _ = slot;
        Ok(None)
    }

    /// Those that [`Runtime::start`] would give the release in the slot now.
    ///
    /// # Errors
    /// As for [`Runtime::conflicts`]. None holds a value.
    async fn todays_environment(&self, slot: Slot, release: &Release) -> Result<Variables, PortError> {
        let _ = (slot, release);
        Ok(Variables::new())
    }

    /// Names of variables that a start gives, and whose value of today could not be had here: [`Runtime::todays_environment`]
    /// lacks them.
    fn unknown_variables(&self) -> Vec<String> {
        Vec::new()
    }

    /// As [`Runtime::start`], with these environment variables in the place of today's, as far as a start chooses them.
    ///
    /// # Errors
    /// As for [`Runtime::start`].
    async fn start_with(
        &self,
        slot: Slot,
        release: &Release,
        variables: &Variables,
    ) -> Result<(), PortError> {
        let _ = variables;
        self.start(slot, release).await
    }

    /// Stops the slot: SIGTERM, after `grace` SIGKILL; what it held can still be seen by [`Runtime::slots`].
    /// Does nothing when it does not run.
    ///
    /// # Errors
    /// `Unreachable`, `TimedOut`.
    async fn stop(&self, slot: Slot, grace: lockgate_model::Millis) -> Result<(), PortError>;

    /// The slot's last `lines` log lines, oldest first, of the running or the last run.
    ///
    /// # Errors
    /// `Unreachable`. A slot without logs has none.
    async fn logs(&self, slot: Slot, lines: u32) -> Result<Vec<String>, PortError>;

    /// Why the slot might not answer on `port`; empty when nothing stands out. Best effort: only looks.
    async fn diagnose(&self, slot: Slot, port: Option<u16>) -> Diagnosis;

    /// What the slot's own health check says now: a container's HEALTHCHECK.
    ///
    /// # Errors
    /// `Refused` by a runtime that knows of none, with a hint; else as [`Runtime::slots`].
    async fn health(&self, slot: Slot) -> Result<OwnHealth, PortError> {
        Err(PortError::new(
            FailureKind::Refused,
            format!("{slot} has no health check of its own under {}", self.name()),
        )
        .hint("write `health: { command: … }` or a path"))
    }

    /// How what the slot held has ended; `None` while it runs, when it holds nothing, and for a runtime that is not told.
    ///
    /// # Errors
    /// As [`Runtime::slots`].
    async fn end_of(&self, slot: Slot) -> Result<Option<OwnEnd>, PortError> {
        let _ = slot;
        Ok(None)
    }

    /// Runs a program where the slot's app runs, with its environment: inside its container, or beside its process. Its
    /// placeholders are filled in as those of the slot's own command. No shell reads it.
    ///
    /// # Errors
    /// `NotFound` when the slot does not run, `TimedOut` after `limit`, else as [`crate::Host::exec`]. Another exit code
    /// than 0 is no error.
    async fn run_in(&self, slot: Slot, argv: &[Template], limit: Millis) -> Result<Output, PortError> {
        let _ = (argv, limit);
        Err(PortError::new(FailureKind::Refused, format!("{} runs no programs in {slot}", self.name())))
    }

    /// What runs a person's program where the slot's app runs, with its environment, on the host; `is_tty`: with a terminal.
    /// No shell reads the program's words.
    ///
    /// # Errors
    /// `NotFound` when the slot does not run; `Refused` by a runtime that has no such way.
    async fn entering(&self, slot: Slot, argv: &[String], is_tty: bool) -> Result<Command, PortError> {
        let (_, _) = (argv, is_tty);
        Err(PortError::new(FailureKind::Refused, format!("{} runs no programs in {slot}", self.name())))
    }

    /// As [`Runtime::entering`], by itself in the release's bytes, as the slot would run it; no slot has it.
    ///
    /// # Errors
    /// `NotFound` when the release's bytes are not on the host; `Refused` by a runtime that has no such way.
    async fn beside(
        &self,
        slot: Slot,
        release: &Release,
        argv: &[String],
        is_tty: bool,
    ) -> Result<Command, PortError> {
        let (_, _, _) = (release, argv, is_tty);
        Err(PortError::new(FailureKind::Refused, format!("{} runs no programs like {slot}", self.name())))
    }

    /// The programs that it runs once, apart from what its slots hold. `None` for a runtime that has no way to.
    fn one_offs(&self) -> Option<&dyn OneOffs> {
        None
    }

    /// Removes the service's bytes beyond `keep`, and nothing else's; never what a slot holds. Returns what was removed.
    ///
    /// # Errors
    /// `Unreachable`.
    async fn prune(&self, keep: &[Release]) -> Result<Vec<String>, PortError>;

    /// What a deployment will need of this runtime, looked at without changing anything.
    async fn check(&self) -> Vec<Check>;
}
