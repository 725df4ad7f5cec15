//! The words of Lockgate as types: what a project is, what was observed, what a plan says, what happened.
//!
//! Invariant: nothing here executes, performs I/O or reads a clock, so a dashboard or a remote client can replay a
//! run without being able to start one. Every type is plain data and serialises to JSON.

mod dark;
mod delivery;
mod event;
mod failure;
mod health;
mod ids;
mod lease;
mod mask;
mod observed;
mod plan;
mod project;
mod release;
mod template;

pub use dark::dark_times;
pub use delivery::{
    BuiltinRouter, CaddyRouter, ComposeLayout, ComposeRuntime, Delivery, Environment, HoldBounds,
    ProcessRuntime, Router, Runtime, SlotDelivery, Strategy, Wave,
};
pub use event::{BRIEF_FAILURES_MAX, Event, EventKind, Outcome, Stuck, WhoIsLive};
pub use failure::{
    BRIEF_CHARS_MAX, Evidence, Failure, FailureKind, GateVerdict, Judgement, LOG_LINE_CHARS_MAX,
};
pub use health::{CommandHealth, DockerHealth, Health, HttpHealth};
pub use ids::{
    Digest, EnvironmentName, HostId, InvalidName, Millis, ProjectName, RunId, ServiceName, Slot, StepId, Tag,
    Timestamp,
};
pub use lease::{Holder, Identity, LeaseRecord, Progress, RunEnd, Unfinished};
pub use mask::Mask;
pub use observed::{
    HostObserved, Observed, Recorded, RouterObserved, ServiceStatus, SlotObserved, SlotState,
    live_without_router,
};
pub use plan::{Action, Gates, Intent, Interruption, Lane, Moment, Nature, Phase, Plan, Probe, Seen, Step};
pub use project::{
    CommandGate, Gate, GateKind, GateTarget, HttpGate, Notify, Project, Secret, Service, Ssh, StatusRange,
    Verify,
};
pub use release::Release;
pub use template::{Template, TemplateError, Vars};
