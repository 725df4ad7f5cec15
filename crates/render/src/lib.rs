#![doc = include_str!("../README.md")]

mod answer;
mod audit;
mod closely;
mod failure;
mod github;
mod history;
mod json;
mod lines;
mod live;
mod outcome;
mod paint;
mod plain;
mod plan;
mod promotion;
mod schedule;
mod setup;
mod status;
mod table;
mod time;
mod view;

#[cfg(test)]
mod fixtures;

use std::io;

pub use answer::answer_text;
pub use audit::{audit_text, audit_verified_text};
pub use closely::closely_text;
pub use failure::failure_text;
pub use github::{Job, Severity};
pub use history::history_text;
pub use json::Json;
pub use live::Live;
use lockgate_model::{Event, StepProgress, Timestamp};
pub use lockgate_model::{deploy_again, live_text};
pub use outcome::{dark_text, hosts_text, outcome_text};
pub use paint::{Paint, clean, escaped, harmless, harmless_json};
pub use plain::Plain;
pub use plan::plan_text;
pub use promotion::{prospect_text, tags_text};
pub use schedule::{schedule_text, turn_text};
pub use setup::{set_up_text, setup_headway_text, setup_text};
pub use status::{goes_on_text, rejected_text, status_text, waiting_text};
pub use table::Table;
pub use time::{clock_time, here, rfc3339};
pub use view::Counts;

/// Shows a run's events as they come.
pub trait Renderer: Send {
    /// Learns what happened before (an adopted run's journal), without showing it: counts are right from there on.
    fn catch_up(&mut self, earlier: &[Event]);

    fn event(&mut self, event: &Event);

    /// How far a step is that takes its time.
    fn progress(&mut self, progress: &StepProgress);

    /// Something to say that is no event: `waiting for the lease of lee@laptop`.
    fn note(&mut self, text: &str);

    /// Clears what moves and writes out what is buffered. Events that come later are shown all the same.
    ///
    /// # Errors
    /// The first error of writing since the beginning. A run is never stopped because nobody can watch it, so errors
    /// are kept until here.
    fn finish(&mut self) -> io::Result<()>;
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Failures and the end.
    Quiet,
    /// Also phases and finished steps.
    Normal,
    /// Also the beginning of steps, and evidence.
    Verbose,
}

/// How [`Plain`] and [`Live`] show events.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub paint: Paint,
    /// Writes an event's time at the beginning of its line ([`clock_time`]); `None`: no times.
    pub time: Option<fn(Timestamp) -> String>,
    pub detail: Detail,
}
