//! The view on a terminal: what is under way moves below, what is finished stands above.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockgate_model::{Event, StepId, StepProgress};

use crate::lines::{headway, lines, said, undo_title};
use crate::view::{RunView, StepState};
use crate::{Counts, Detail, Options, Renderer, clean};

/// Steps shown as moving lines; on a hundred hosts the others are counted in one line more.
const MOVING_LINES_MAX: usize = 12;
/// Between two pictures of a spinner.
const TICK_MILLIS: u64 = 100;

/// A line with spinner and elapsed time per running step; finished steps and phases are printed above as [`crate::Plain`]
/// prints them. Meant for a terminal: elsewhere it prints the finished lines to standard error, nothing moving.
pub struct Live {
    multi: MultiProgress,
    /// Where finished lines go, which is where the moving ones are drawn.
    finished: Box<dyn Write + Send>,
    options: Options,
    view: RunView,
    moving: Vec<Moving>,
    /// Counts the steps that have no line of their own.
    overflow: Option<ProgressBar>,
    error: Option<io::Error>,
}

struct Moving {
    step: StepId,
    /// An undo of a step is another line than the step.
    undo: bool,
    bar: ProgressBar,
}

impl Live {
    /// On standard error.
    #[must_use]
    pub fn stderr(options: Options) -> Self {
        Self::with_target(ProgressDrawTarget::stderr(), Box::new(io::stderr()), options)
    }

    /// `finished` is the terminal that `target` draws on.
    #[must_use]
    pub fn with_target(
        target: ProgressDrawTarget,
        finished: Box<dyn Write + Send>,
        options: Options,
    ) -> Self {
        Self {
            multi: MultiProgress::with_draw_target(target),
            finished,
            options,
            view: RunView::default(),
            moving: Vec::new(),
            overflow: None,
            error: None,
        }
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.view.counts()
    }

    fn print(&mut self, text: &str) {
        let printed =
            // Not by `println`, which fills lines up to the terminal's width instead of ending them.
            self.multi.suspend(|| writeln!(self.finished, "{text}"));
        if let Err(problem) = printed {
            self.error.get_or_insert(problem);
        }
    }

    /// Makes the moving lines those of the steps under way, oldest first.
    fn sync(&mut self) {
        if self.options.detail == Detail::Quiet {
            return;
        }
        let view = &self.view;
        let wanted: Vec<(StepId, bool)> = view
            .active
            .iter()
            .take(MOVING_LINES_MAX)
            .map(|id| (*id, matches!(view.steps[id].state, StepState::Undoing { .. })))
            .collect();
        let (kept, gone) = std::mem::take(&mut self.moving)
            .into_iter()
            .partition(|moving| wanted.contains(&(moving.step, moving.undo)));
        self.moving = kept;
        for moving in gone {
            self.remove(&moving.bar);
        }
        for (step, undo) in wanted {
            if !self.moving.iter().any(|moving| (moving.step, moving.undo) == (step, undo)) {
                let bar = self.add(step, undo);
                self.moving.push(Moving { step, undo, bar });
            }
        }
        self.sync_overflow();
    }

    fn sync_overflow(&mut self) {
        let hidden = self.view.active.len().saturating_sub(MOVING_LINES_MAX);
        if let Some(bar) = self.overflow.take() {
            self.remove(&bar);
        }
        if hidden > 0 {
            let bar = self.multi.add(ProgressBar::new_spinner());
            bar.set_style(style("  {wide_msg}"));
            bar.set_message(format!("and {hidden} more under way"));
            bar.tick();
            self.overflow = Some(bar);
        }
    }

    fn add(&self, id: StepId, undo: bool) -> ProgressBar {
        let step = &self.view.steps[&id];
        let since = match step.state {
            StepState::Running { since } | StepState::Undoing { since } => since,
            _ => self.view.now,
        };
        let title = if undo { format!("undo: {}", undo_title(step)) } else { step.title.clone() };
        // Elapsed counts from the event's time, so that a line that shows up late is not younger than its step.
        let bar = ProgressBar::new_spinner().with_elapsed(self.view.now.since(since).duration());
        let bar = self.multi.insert(self.moving.len(), bar);
        bar.set_style(style("{spinner} {elapsed:>4} {wide_msg}"));
        bar.set_message(format!("{}{title}", self.view.place(step)));
        bar.enable_steady_tick(Duration::from_millis(TICK_MILLIS));
        bar
    }

    fn remove(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        self.multi.remove(bar);
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are this file's own; one that does not parse would show as indicatif's default.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Renderer for Live {
    fn catch_up(&mut self, earlier: &[Event]) {
        for event in earlier {
            self.view.apply(event);
        }
    }

    fn event(&mut self, event: &Event) {
        for line in lines(&mut self.view, event, self.options.paint) {
            if line.from <= self.options.detail {
                let text = line.text(&self.options);
                self.print(&text);
            }
        }
        self.sync();
    }

    fn progress(&mut self, progress: &StepProgress) {
        for line in said(&self.view, progress) {
            if line.from <= self.options.detail {
                let text = line.text(&self.options);
                self.print(&text);
            }
        }
        if !progress.headway.said.is_empty() {
            return;
        }
        let Some(step) = self.view.steps.get(&progress.step) else { return };
        let moving = self.moving.iter().find(|moving| moving.step == progress.step && !moving.undo);
        if let Some(moving) = moving {
            moving.bar.set_message(format!("{}{}: {}", self.view.place(step), step.title, headway(progress)));
        }
    }

    fn note(&mut self, text: &str) {
        if self.options.detail > Detail::Quiet {
            self.print(&clean(text));
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.clear();
        self.error.take().map_or(Ok(()), Err)
    }
}

impl Live {
    fn clear(&mut self) {
        for moving in std::mem::take(&mut self.moving) {
            self.remove(&moving.bar);
        }
        if let Some(bar) = self.overflow.take() {
            self.remove(&bar);
        }
    }
}

/// A panic or an early return must not leave spinners turning.
impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use indicatif::{InMemoryTerm, TermLike};
    use lockgate_model::{EventKind, Told};

    use super::*;
    use crate::Paint;
    use crate::fixtures::{
        deploy_events, fleet_events, hook_told, progress, rolled_back_events, stuck_events,
    };

    fn live(rows: u16) -> (Screen, Live) {
        let screen = Screen { term: InMemoryTerm::new(rows, 120), shown: Arc::default() };
        let options = Options { paint: Paint::plain(), time: None, detail: Detail::Normal };
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        (screen.clone(), Live::with_target(target, Box::new(screen), options))
    }

    /// What a person sees: whole pictures. The spinners' own threads draw too, line by line, and a look at the terminal in the
    /// middle of that would find half a picture; a real terminal gets each as one write.
    #[derive(Clone, Debug)]
    struct Screen {
        term: InMemoryTerm,
        shown: Arc<Mutex<String>>,
    }

    impl Screen {
        fn contents(&self) -> String {
            self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            self.term.width()
        }

        fn height(&self) -> u16 {
            self.term.height()
        }

        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.term.move_cursor_up(n)
        }

        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.term.move_cursor_down(n)
        }

        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.term.move_cursor_right(n)
        }

        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            self.term.move_cursor_left(n)
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.term.write_line(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.term.write_str(text)
        }

        fn clear_line(&self) -> io::Result<()> {
            self.term.clear_line()
        }

        fn flush(&self) -> io::Result<()> {
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = self.term.contents();
            self.term.flush()
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // As a terminal's driver does (`onlcr`).
            let text = std::str::from_utf8(bytes).map_err(io::Error::other)?.replace('\n', "\r\n");
            self.term.write_str(&text)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            TermLike::flush(self)
        }
    }

    #[test]
    fn running_steps_move_below_the_finished_ones_and_are_gone_in_the_end() {
        let (screen, mut live) = live(40);
        let events = deploy_events();
        let second_fetch_done = events
            .iter()
            .position(
                |event| matches!(event.kind, EventKind::StepSucceeded { step, .. } if step == StepId(1)),
            )
            .unwrap();
        for event in &events[..=second_fetch_done] {
            live.event(event);
        }
        let shown = screen.contents();
        assert!(shown.contains("✓ web1: fetch v2 (1f3a5b7c9d0e) 240ms"), "{shown}");
        let last = shown.lines().last().unwrap();
        assert!(last.ends_with("web2: fetch v2 (1f3a5b7c9d0e)"), "{shown}");
        for event in &events[second_fetch_done + 1..] {
            live.event(event);
        }
        live.finish().unwrap();
        let shown = screen.contents();
        assert!(shown.lines().last().unwrap().starts_with("succeeded after"), "{shown}");
        assert_eq!(
            shown.matches("✓ web").count(),
            live.counts().done - 1,
            "all but the gate name a host: {shown}"
        );
    }

    #[test]
    fn a_step_that_takes_its_time_says_in_its_line_how_far_it_is() {
        let (screen, mut live) = live(40);
        let events = deploy_events();
        let gate_ends = events
            .iter()
            .position(
                |event| matches!(event.kind, EventKind::StepSucceeded { step, .. } if step == StepId(6)),
            )
            .unwrap();
        events[..gate_ends].iter().for_each(|event| live.event(event));
        live.progress(&progress(StepId(6), 12, 12_000));
        // Of a step that is over.
        live.progress(&progress(StepId(0), 12, 12_000));
        // The line is drawn with the spinner's next picture.
        let begun = std::time::Instant::now();
        while !screen.contents().contains("gate after: smoke: 12 of 31, no failures") {
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", screen.contents());
            std::thread::sleep(Duration::from_millis(TICK_MILLIS / 4));
        }
    }

    #[test]
    fn failures_stand_above_in_full_whatever_follows() {
        for (events, wanted) in [
            (rolled_back_events(), vec!["✗ gate after: smoke", "↩ undone: web1: switch traffic to blue"]),
            (stuck_events(), vec!["✗ cannot undo: web2: switch traffic to blue", "caddy does not answer"]),
        ] {
            let (screen, mut live) = live(80);
            for event in &events {
                live.event(event);
            }
            drop(live);
            let shown = screen.contents();
            for text in wanted {
                assert!(shown.contains(text), "{text} is missing in:\n{shown}");
            }
        }
    }

    #[test]
    fn on_a_hundred_hosts_the_moving_lines_are_few_and_the_rest_is_counted() {
        let (screen, mut live) = live(40);
        for event in &fleet_events(100) {
            live.event(event);
        }
        let shown = screen.contents();
        assert!(shown.contains("and 88 more under way"), "{shown}");
        assert_eq!(shown.matches(": fetch v2").count(), MOVING_LINES_MAX, "{shown}");
        assert_eq!(live.counts().running, 100);
    }

    /// On a terminal, too, each line stays.
    #[test]
    fn what_a_hook_writes_stays_above_its_moving_line() {
        let (screen, mut live) = live(40);
        for one in &hook_told(true) {
            match one {
                Told::Event(event) => live.event(event),
                Told::Progress(progress) => live.progress(progress),
                _ => panic!("{one:?}"),
            }
        }
        live.finish().unwrap();
        insta::assert_snapshot!(screen.contents(), @r"
        deploy web v2 (1f3a5b7c9d0e) to prod on this machine, by lee@laptop (run 00000000-0000-0000-0000-000000000007)
        before the switch:
            | Applying 0001_initial...
            | Applying 0002_more...
            | done
        ✓ before_switch: run `python manage.py migrate` in v2, once (up to 10m) 4s
        succeeded after 4s: 1 steps
        ");
    }

    #[test]
    fn what_stays_on_the_screen_when_a_run_is_over() {
        for (name, events) in
            [("deployed", deploy_events()), ("rolled_back", rolled_back_events()), ("stuck", stuck_events())]
        {
            let (screen, mut live) = live(80);
            events.iter().for_each(|event| live.event(event));
            live.finish().unwrap();
            insta::assert_snapshot!(name, screen.contents());
        }
    }
}
