//! What every face talks to: start, plan, status, history, resume, check, over ports ([`Orchestrator`]).
//!
//! One [`Site`] is one service in one environment. A session is one command on it, a task of its own that holds its
//! leases as itself; whoever started it has a [`Handle`]. What is asked for, what comes of it and why it does not is in
//! `model` and serialises, so that a daemon can offer the same from afar.
//!
//! Absent: concrete drivers, printing, and the wall clock; the composition root hands all of them in.

mod agreed;
mod asked;
mod bring_back;
mod bring_to_end;
mod check;
mod cut_off;
mod diagnosis;
mod events;
mod handle;
mod history;
mod in_process;
mod interrupted;
mod logs;
pub mod lookup;
mod missing;
mod outbox;
mod recover;
mod refused;
mod schedule;
mod service;
mod session;
mod site;
mod status;
mod tell;
mod waiting;

pub use asked::{Asked, Deployment, Past};
pub use diagnosis::Diagnosed;
pub use events::{Events, TOLD_MAX, Voice, events};
pub use handle::{Begun, Handle, Seat, Stop, Stoppable, handle};
pub use in_process::{InProcess, Parts, Spawn, Wiring};
pub use schedule::{Face, Scheduler, Turn, Turned};
pub use service::Orchestrator;
pub use site::Site;
pub use tell::Teller;
