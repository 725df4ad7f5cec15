//! An event as lines of text, the same for the plain and the live view.

use lockgate_model::{
    Event, EventKind, Evidence, Failure, Intent, Millis, Outcome, Plan, Progress, StepId, StepProgress,
    Timestamp,
};

use crate::failure::{evidence_line, failure_text};
use crate::outcome::hosts_text;
use crate::view::{RunView, StepState, StepView};
use crate::{Detail, Options, Paint, clean, escaped, harmless};

/// One line or block to show.
pub(crate) struct Line {
    /// Shown from this detail on.
    pub(crate) from: Detail,
    at: Option<Timestamp>,
    text: String,
}

impl Line {
    /// The text with its time.
    pub(crate) fn text(&self, options: &Options) -> String {
        let text = match (self.at, options.time) {
            (Some(at), Some(time)) => {
                format!("{} {}", options.paint.faint(&format!("[{}]", time(at))), self.text)
            }
            _ => self.text.clone(),
        };
        harmless(&text, options.paint.is_enabled())
    }
}

/// The lines that `event` adds, after the view has taken it in.
pub(crate) fn lines(view: &mut RunView, event: &Event, paint: Paint) -> Vec<Line> {
    let took = view.apply(event);
    let mut out = Writer { lines: Vec::new(), at: event.at, paint };
    match &event.kind {
        EventKind::RunStarted { plan, owner, requester } => {
            let by = requester.as_ref().map_or_else(|| owner.clone(), ToString::to_string);
            if !std::mem::replace(&mut view.heading_shown, true) {
                let run = paint.faint(&format!("(run {})", event.run));
                out.add(
                    Detail::Normal,
                    format!("{}, by {} {run}", paint.bold(&headline(plan)), escaped(&by)),
                );
            }
        }
        EventKind::Adopted { owner, progress, left, without } => {
            let going = match progress {
                Progress::Forward => "goes on",
                Progress::Unwinding => "goes on undoing",
                Progress::Committed => "goes on tidying up",
            };
            let except = match left.as_slice() {
                [] => String::new(),
                hosts => format!(", but not on {}, which went on without it", hosts_text(hosts)),
            };
            let except = match without.as_slice() {
                [] => except,
                hosts => format!("{except}, without {}", hosts_text(hosts)),
            };
            out.add(Detail::Normal, format!("! {} took the run over and {going}{except}", escaped(owner)));
        }
        // Nothing has happened yet.
        EventKind::Intended { .. } => {}
        EventKind::StepStarted { step } => {
            out.heading(view, *step);
            let step = &view.steps[step];
            out.add(Detail::Verbose, format!("→ {}{}", view.place(step), step.title));
        }
        EventKind::StepSucceeded { step, evidence, .. } => out.succeeded(view, *step, evidence, took),
        EventKind::StepFailed { step, failure } => out.failed(view, *step, failure, took),
        EventKind::UnwindStarted { cause } => out.unwinding(view, cause),
        EventKind::UndoStarted { step } => {
            let step = &view.steps[step];
            out.add(Detail::Verbose, format!("→ undo: {}{}", view.place(step), undo_title(step)));
        }
        EventKind::UndoSucceeded { step } => {
            let step = &view.steps[step];
            let text = format!("{}{}", view.place(step), undo_title(step));
            out.add(Detail::Normal, format!("{} undone: {text}{}", paint.yellow("↩"), out.took(took)));
        }
        EventKind::UndoFailed { step, failure } => {
            let step = &view.steps[step];
            let text = format!("cannot undo: {}{}", view.place(step), undo_title(step));
            out.add(Detail::Quiet, format!("{} {}{}", paint.red("✗"), paint.bold(&text), out.took(took)));
            out.failure(failure);
            view.failures_shown.push(failure.clone());
        }
        EventKind::Committed => out.add(
            Detail::Normal,
            format!(
                "{} the release serves and has passed its gates; nothing is undone from here on",
                paint.green("✓")
            ),
        ),
        EventKind::RunEnded { outcome } => out.end(view, outcome),
    }
    out.lines
}

/// How far a step is.
pub(crate) struct SoFar {
    /// When the step began.
    pub(crate) since: Timestamp,
    pub(crate) line: Line,
}

/// `… gate before: stability (for 1m, every 2s): 12 of 31, no failures`. `None` for a step that is not under way.
pub(crate) fn so_far(view: &RunView, progress: &StepProgress) -> Option<SoFar> {
    let step = view.steps.get(&progress.step)?;
    let StepState::Running { since } = step.state else { return None };
    let text = format!("… {}{}: {}", view.place(step), step.title, headway(progress));
    Some(SoFar { since, line: Line { from: Detail::Normal, at: Some(progress.at), text } })
}

/// What a program in a step has written, a line each; empty where none runs.
pub(crate) fn said(view: &RunView, progress: &StepProgress) -> Vec<Line> {
    if !view.steps.contains_key(&progress.step) {
        return Vec::new();
    }
    let line = |text: &String| Line {
        from: Detail::Normal,
        at: Some(progress.at),
        text: format!("    | {}", clean(text).replace('\n', " ")),
    };
    progress.headway.said.iter().map(line).collect()
}

/// `12 of 31, no failures`.
pub(crate) fn headway(progress: &StepProgress) -> String {
    let headway = &progress.headway;
    format!("{} of {}, {}", headway.done, headway.of, escaped(&headway.seen))
}

struct Writer {
    lines: Vec<Line>,
    at: Timestamp,
    paint: Paint,
}

impl Writer {
    fn add(&mut self, from: Detail, text: String) {
        self.lines.push(Line { from, at: Some(self.at), text });
    }

    /// Lines below the last one.
    fn below(&mut self, from: Detail, text: &str) {
        let indented = format!("    {}", text.replace('\n', "\n    "));
        self.lines.push(Line { from, at: None, text: indented });
    }

    fn failure(&mut self, failure: &Failure) {
        self.below(Detail::Quiet, &failure_text(failure, self.paint));
    }

    fn took(&self, took: Option<Millis>) -> String {
        took.map(|took| format!(" {}", self.paint.faint(&took.rounded().to_string()))).unwrap_or_default()
    }

    fn heading(&mut self, view: &mut RunView, step: StepId) {
        if let Some(title) = view.heading_of(step) {
            self.add(Detail::Normal, self.paint.bold(&format!("{title}:")));
        }
    }

    fn succeeded(&mut self, view: &mut RunView, id: StepId, evidence: &[Evidence], took: Option<Millis>) {
        let step = &view.steps[&id];
        let checks = match evidence.len() {
            0 => String::new(),
            _ if !step.is_gate => String::new(),
            1 => ", 1 check".to_owned(),
            count => format!(", {count} checks"),
        };
        let mark = self.paint.green("✓");
        self.add(
            Detail::Normal,
            format!("{mark} {}{}{checks}{}", view.place(step), step.title, self.took(took)),
        );
        for one in evidence {
            // What a step put up with: requests that were cut off, an app that had to be killed.
            let detail = if one.ok { Detail::Verbose } else { Detail::Normal };
            self.below(detail, &evidence_line(one, self.paint));
        }
    }

    fn failed(&mut self, view: &mut RunView, id: StepId, failure: &Failure, took: Option<Millis>) {
        let step = &view.steps[&id];
        let text = format!("{}{}", view.place(step), step.title);
        let mark = if view.only_warns(id) { self.paint.yellow("!") } else { self.paint.red("✗") };
        self.add(Detail::Quiet, format!("{mark} {}{}", self.paint.bold(&text), self.took(took)));
        self.failure(failure);
        view.failures_shown.push(failure.clone());
    }

    /// The cause in full, unless a step has just shown it.
    fn unwinding(&mut self, view: &mut RunView, cause: &Failure) {
        self.add(Detail::Quiet, self.paint.bold("undoing what was done, last first:"));
        if !view.failures_shown.contains(cause) {
            self.failure(cause);
            view.failures_shown.push(cause.clone());
        }
    }

    fn end(&mut self, view: &mut RunView, outcome: &Outcome) {
        let after = view
            .started
            .map(|started| format!(" after {}", self.at.since(started).rounded()))
            .unwrap_or_default();
        let counts = view.counts();
        let mut parts = vec![match counts.total {
            total if total == counts.done => format!("{total} steps"),
            total => format!("{} of {total} steps done", counts.done),
        }];
        let several =
            [(counts.failed, "failed"), (counts.undone, "undone"), (counts.undo_failed, "not undone")];
        parts.extend(
            several
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}")),
        );
        let ended = match outcome {
            Outcome::Succeeded { warnings } if warnings.is_empty() => self.paint.green("succeeded"),
            Outcome::Succeeded { .. } => self.paint.yellow("succeeded with warnings"),
            Outcome::Failed { .. } => self.paint.red("failed, nothing was changed"),
            Outcome::RolledBack { .. } => self.paint.yellow("rolled back"),
            Outcome::Stuck(_) => self.paint.red("stuck"),
        };
        self.add(Detail::Quiet, format!("{ended}{after}: {}", parts.join(", ")));
        // A failure that no step has shown would otherwise be lost.
        for failure in failures(outcome) {
            if !view.failures_shown.contains(failure) {
                self.failure(failure);
                view.failures_shown.push(failure.clone());
            }
        }
    }
}

fn failures(outcome: &Outcome) -> Vec<&Failure> {
    match outcome {
        Outcome::Succeeded { warnings } => warnings.iter().collect(),
        Outcome::Failed { failure } | Outcome::RolledBack { failure } => vec![failure],
        Outcome::Stuck(stuck) => std::iter::once(&stuck.failure).chain(&stuck.undo_failures).collect(),
    }
}

/// `deploy web v2 (1f3a5b7c9d0e) to prod on 3 hosts`.
pub(crate) fn headline(plan: &Plan) -> String {
    let (service, release, environment) = (&plan.service, &plan.release, &plan.environment);
    let hosts = hosts_text(&plan.hosts);
    match &plan.intent {
        Intent::Deploy { .. } => format!("deploy {service} {release} to {environment} on {hosts}"),
        Intent::Rollback { .. } => format!("roll back {service} to {release} in {environment} on {hosts}"),
        Intent::TidyUp => format!("stop what runs beside {service} {release} in {environment} on {hosts}"),
    }
}

/// What undoing the step does.
pub(crate) fn undo_title(step: &StepView) -> &str {
    if step.undo.is_empty() { &step.title } else { &step.undo }
}
