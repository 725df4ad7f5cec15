//! One event per line, for programs.

use std::io::{self, Write};

use lockgate_model::{Event, StepProgress};

use crate::{Renderer, harmless_json};

/// JSON lines: each is an [`Event`] as it is journaled, but without the queries of URLs (`{"run":…,"seq":…,"at":…,"event":"step_started","step":3}`),
/// how far a step is (`{"run":…,"at":…,"event":"step_progress","step":3,"done":12,"of":31,"seen":"no failures"}`, without `seq`, for no
/// journal has it), or a note (`{"note":"…"}`). Events that are caught up are not repeated.
pub struct Json<W> {
    writer: W,
    error: Option<io::Error>,
}

impl<W: Write + Send> Json<W> {
    pub fn new(writer: W) -> Self {
        Self { writer, error: None }
    }

    pub fn into_writer(self) -> W {
        self.writer
    }

    fn write(&mut self, value: &impl serde::Serialize) {
        // Written whole, so that a reader never meets half an event.
        let written = serde_json::to_string(value).map_err(io::Error::from).and_then(|json| {
            let line = harmless_json(&json) + "\n";
            self.writer.write_all(line.as_bytes())?;
            self.writer.flush()
        });
        if let Err(problem) = written {
            self.error.get_or_insert(problem);
        }
    }
}

impl<W: Write + Send> Renderer for Json<W> {
    fn catch_up(&mut self, _earlier: &[Event]) {}

    fn event(&mut self, event: &Event) {
        self.write(&event.without_queries());
    }

    fn progress(&mut self, progress: &StepProgress) {
        #[derive(serde::Serialize)]
        struct Told<'a> {
            event: &'static str,
            #[serde(flatten)]
            progress: &'a StepProgress,
        }
        self.write(&Told { event: "step_progress", progress });
    }

    fn note(&mut self, text: &str) {
        self.write(&serde_json::json!({ "note": text }));
    }

    fn finish(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_model::StepId;

    use crate::fixtures::{deploy_events, progress, rolled_back_events};

    #[test]
    fn every_line_is_one_event_that_reads_back_the_same() {
        let events = rolled_back_events();
        let mut json = Json::new(Vec::new());
        for event in &events {
            json.event(event);
        }
        json.progress(&progress(StepId(6), 12, 12_000));
        json.note("two\nlines");
        json.finish().unwrap();
        let text = String::from_utf8(json.into_writer()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let read: Vec<Event> =
            lines[..events.len()].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, events);
        let told = concat!(
            r#"{"event":"step_progress","run":"00000000-0000-0000-0000-000000000007","at":1763640012000,"step":6,"#,
            r#""done":12,"of":31,"seen":"no failures"}"#
        );
        assert_eq!(lines[events.len()..], [told, r#"{"note":"two\nlines"}"#]);
    }

    #[test]
    fn a_deployment_as_programs_read_it() {
        let mut json = Json::new(Vec::new());
        deploy_events().iter().for_each(|event| json.event(event));
        json.finish().unwrap();
        insta::assert_snapshot!(String::from_utf8(json.into_writer()).unwrap());
    }
}
