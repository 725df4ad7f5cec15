//! What commands talk to: observe, plan, run, roll back, resume, check, over ports.
//!
//! One [`Site`] is one service in one environment; one [`Session`] is one command on it. Today a command runs it in
//! its own process; a daemon can offer the same calls from afar.
//!
//! Absent: concrete drivers, printing, and the wall clock; the composition root hands all of them in.

mod bring_back;
mod check;
mod cut_off;
mod interrupted;
mod missing;
mod recover;
mod schedule;
mod session;
mod site;
mod status;
mod tell;

pub use missing::Resumed;
pub use schedule::{Scheduler, Turn, Turned};
pub use session::{Planned, Report, Session, Tools, Trouble, Want};
pub use site::Site;
pub use status::{StateLine, state_line};
pub use tell::{Teller, Telling};
