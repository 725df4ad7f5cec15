//! Events to the screen.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};

use lockgate_model::{Event, Told};
use lockgate_render::{
    Detail, Json, Live, Options, Plain, Renderer, clock_time, goes_on_text, rfc3339, waiting_text,
};

use crate::args::Format;
use crate::output::Output;
use crate::typed::Typed;

/// A renderer behind a lock.
pub struct Screen {
    renderer: Mutex<Box<dyn Renderer>>,
    typed: Typed,
}

impl Screen {
    /// JSON lines on stdout; else a live view on a terminal and plain lines elsewhere, both on stderr.
    pub fn new(output: &Output) -> Arc<Self> {
        match output.format {
            Format::Json => Self::with_renderer(Box::new(Json::new(std::io::stdout())), output),
            Format::Text => Self::on_stderr(output),
        }
    }

    /// For people, whatever the format of the result.
    pub fn on_stderr(output: &Output) -> Arc<Self> {
        let detail = match (output.quiet, output.verbose) {
            (true, _) => Detail::Quiet,
            (false, 0) => Detail::Normal,
            (false, _) => Detail::Verbose,
        };
        let options = Options { paint: output.paint, time: Some(clock_time), detail };
        let renderer: Box<dyn Renderer> = match std::io::stderr().is_terminal() && !output.quiet {
            true => Box::new(Live::stderr(options)),
            false => Box::new(Plain::new(std::io::stderr(), options)),
        };
        Self::with_renderer(renderer, output)
    }

    fn with_renderer(renderer: Box<dyn Renderer>, output: &Output) -> Arc<Self> {
        let (renderer, typed) = (Mutex::new(renderer), output.typed.clone());
        Arc::new(Self { renderer, typed })
    }

    /// What a session says.
    pub fn tell(&self, told: &Told) {
        match told {
            Told::Event(event) => self.event(event),
            Told::Progress(progress) => self.with(|renderer| renderer.progress(progress)),
            Told::Rejected(rejected) => self.note(&goes_on_text(rejected, &rfc3339)),
            Told::Waiting { owner, up_to } => self.note(&waiting_text(owner, *up_to)),
            Told::Leaving => {
                self.finish();
                self.note("left as it is; `lockgate resume` finishes or undoes it");
            }
            Told::Missed(count) => {
                self.note(&format!("{count} events came too fast to be shown here; the journal has them"));
            }
        }
    }

    pub fn event(&self, event: &Event) {
        self.with(|renderer| renderer.event(&self.typed.in_event(event)));
    }

    pub fn note(&self, text: &str) {
        self.with(|renderer| renderer.note(&self.typed.in_text(text)));
    }

    /// Whether anybody could watch does not change how the run ended, so a closed pipe is only told.
    pub fn finish(&self) {
        self.with(|renderer| {
            if let Err(error) = renderer.finish() {
                tracing::debug!(%error, "the output could not be written");
            }
        });
    }

    fn with(&self, call: impl FnOnce(&mut dyn Renderer)) {
        let mut renderer = self.renderer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        call(renderer.as_mut());
    }
}
