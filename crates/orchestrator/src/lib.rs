#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod agreed;
mod asked;
mod bring_back;
mod bring_to_end;
mod changes;
mod check;
mod closely;
mod cut_off;
mod diagnosis;
mod doctor;
mod enter;
mod events;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod handle;
mod history;
mod in_process;
mod interrupted;
mod logs;
pub mod lookup;
mod missing;
mod outbox;
mod promotion;
pub mod queue;
mod recover;
mod refused;
mod schedule;
mod service;
mod session;
mod site;
mod state_files;
mod status;
mod tell;
mod waiting;
mod wake;

pub use asked::{Asked, Deployment, Past};
pub use diagnosis::{Diagnosed, Examined};
pub use doctor::Beside;
pub use enter::{Entering, enter};
pub use events::{Events, TOLD_MAX, Voice, events};
pub use handle::{Begun, Handle, Seat, Stop, Stoppable, handle};
pub use in_process::{InProcess, Parts, Spawn, Wiring};
pub use promotion::{Looked, Promoter, Promotion, promotions};
pub use schedule::{Face, Scheduler, Turn, Turned};
pub use service::Orchestrator;
pub use site::Site;
pub use state_files::StateFiles;
pub use tell::{Teller, Unbegun};
pub use wake::Woken;
