//! How the jobs are told: what begins, what its program says, what comes of it.

use std::time::Instant;

use async_trait::async_trait;
use lockgate_model::{Job, Mask, Millis, ShipEvent};
use lockgate_ports::{Line, LineSink};

/// Who hears of the jobs.
pub trait Voice: Send + Sync {
    /// Must not block for long: a program that says much waits meanwhile.
    fn tell(&self, event: &ShipEvent);
}

/// A job that is under way.
pub(crate) struct Telling<'a> {
    voice: &'a dyn Voice,
    mask: &'a Mask,
    job: Job,
    began: Instant,
}

impl<'a> Telling<'a> {
    pub(crate) fn begin(voice: &'a dyn Voice, mask: &'a Mask, job: Job, what: &str) -> Self {
        voice.tell(&ShipEvent::JobStarted { job, what: mask.hide(what.to_owned()) });
        Self { voice, mask, job, began: Instant::now() }
    }

    pub(crate) fn end(self, ok: bool, came_to: &str) {
        let ms = Millis::from(self.began.elapsed());
        let came_to = self.mask.hide(came_to.to_owned());
        self.voice.tell(&ShipEvent::JobEnded { job: self.job, ok, came_to, ms });
    }
}

#[async_trait]
impl LineSink for Telling<'_> {
    async fn line(&mut self, line: Line) {
        self.voice.tell(&ShipEvent::JobLine { job: self.job, text: self.mask.hide(line.text) });
    }
}

pub(crate) fn note(voice: &dyn Voice, note: impl Into<String>) {
    voice.tell(&ShipEvent::ShipNote { note: note.into() });
}
