//! The jobs as they are shown, and kept.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_model::{Job, ShipEvent};
use lockgate_render::clean;
use lockgate_ship::Voice;

use super::Logs;
use crate::args::Format;
use crate::output::Output;

/// Lines on stderr, or JSON on stdout; and the logs.
pub struct Deck<'a> {
    output: &'a Output,
    state: Mutex<State>,
}

struct State {
    logs: Logs,
    under_way: Option<Job>,
    /// Whether a program has said anything that was kept.
    is_kept: bool,
}

impl<'a> Deck<'a> {
    pub fn new(output: &'a Output, logs: Logs) -> Self {
        Self { output, state: Mutex::new(State { logs, under_way: None, is_kept: false }) }
    }

    /// What would be ended now.
    pub fn under_way(&self) -> Option<Job> {
        self.state().under_way
    }

    /// Where the logs are; `None` where nothing is in them.
    pub fn logs(&self) -> Option<String> {
        let state = self.state();
        state.is_kept.then(|| state.logs.shown())
    }

    pub fn run(&self, run: lockgate_model::RunId) {
        self.state().logs.run(run);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, event: &ShipEvent) {
        let (output, paint) = (self.output, self.output.paint);
        match event {
            ShipEvent::JobStarted { job, what } => output.say(&format!("{}: {}", job.as_str(), clean(what))),
            ShipEvent::JobLine { text, .. } => output.say(&format!("  | {}", clean(text))),
            ShipEvent::JobEnded { job, ok, came_to, ms } => {
                let mark = if *ok { paint.green("✓") } else { paint.red("✗") };
                output.say(&format!("{mark} {}: {} {ms}", job.as_str(), clean(came_to)));
            }
            ShipEvent::ShipNote { note } => output.say(&clean(note)),
        }
    }
}

impl Voice for Deck<'_> {
    fn tell(&self, event: &ShipEvent) {
        {
            let mut state = self.state();
            match event {
                ShipEvent::JobStarted { job, .. } => state.under_way = Some(*job),
                ShipEvent::JobLine { job, text } => {
                    state.is_kept = true;
                    state.logs.line(*job, text);
                }
                ShipEvent::JobEnded { .. } => state.under_way = None,
                ShipEvent::ShipNote { .. } => {}
            }
        }
        match self.output.format {
            Format::Json => self.output.declared(event),
            Format::Text => self.show(event),
        }
    }
}
