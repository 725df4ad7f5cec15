//! A run's events as an agent is told of them while it waits.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_model::{EventKind, Mask, Told};
use lockgate_render::{Detail, Options, Paint, Plain, Renderer, goes_on_text, rfc3339, waiting_text};

use crate::client::Progress;

/// Says in the words of the command line what happens, and counts.
pub(crate) struct Teller {
    renderer: Plain<Said>,
    said: Said,
    mask: Mask,
    done: u64,
    /// Steps of the plan; `None` before there is one, and from the turn back on.
    of: Option<u64>,
}

/// What was written and not yet taken.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Teller {
    pub(crate) fn new(mask: Mask) -> Self {
        let said = Said::default();
        let options = Options { paint: Paint::plain(), time: None, detail: Detail::Verbose };
        Self { renderer: Plain::new(said.clone(), options), said, mask, done: 0, of: None }
    }

    /// `None` for what needs no words.
    pub(crate) fn tell(&mut self, told: &Told) -> Option<Progress> {
        match told {
            Told::Event(event) => {
                self.count(&event.kind);
                self.renderer.event(event);
            }
            Told::Progress(progress) => self.renderer.progress(progress),
            Told::Rejected(rejected) => self.renderer.note(&goes_on_text(rejected, &rfc3339)),
            Told::Waiting { owner, up_to } => self.renderer.note(&waiting_text(owner, *up_to)),
            Told::Leaving => self.renderer.note("left as it is; `lockgate resume` finishes or undoes it"),
            Told::Missed(count) => {
                self.renderer.note(&format!("{count} events came too fast to be told; the journal has them"));
            }
        }
        let bytes = std::mem::take(&mut *self.said.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = self.mask.hide(String::from_utf8_lossy(&bytes).trim_end().to_owned());
        (!text.is_empty()).then_some(Progress { done: self.done, of: self.of, text })
    }

    fn count(&mut self, kind: &EventKind) {
        match kind {
            EventKind::RunStarted { plan, .. } => {
                self.of = u64::try_from(plan.steps().count()).ok();
            }
            EventKind::UnwindStarted { .. } => self.of = None,
            EventKind::StepSucceeded { .. }
            | EventKind::UndoSucceeded { .. }
            | EventKind::UndoFailed { .. } => self.done += 1,
            EventKind::Adopted { .. }
            | EventKind::Intended { .. }
            | EventKind::StepStarted { .. }
            | EventKind::StepFailed { .. }
            | EventKind::UndoStarted { .. }
            | EventKind::Committed
            | EventKind::RunEnded { .. } => {}
        }
    }
}
