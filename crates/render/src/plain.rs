//! One line after the other, for logs and pipes.

use std::io::{self, Write};

use lockgate_model::{Event, Millis, StepProgress, Timestamp};

use crate::lines::{lines, said, so_far};
use crate::view::RunView;
use crate::{Counts, Detail, Options, Renderer, clean};

/// Between two lines that say how far a step is: a log is read later, and in it only what happened counts.
const PROGRESS_SECONDS_MIN: u64 = 10;

/// Plain lines; each is written and flushed when its event comes.
pub struct Plain<W> {
    writer: W,
    options: Options,
    view: RunView,
    /// When it was last said how far a step is.
    progressed: Option<Timestamp>,
    error: Option<io::Error>,
}

impl<W: Write + Send> Plain<W> {
    pub fn new(writer: W, options: Options) -> Self {
        Self { writer, options, view: RunView::default(), progressed: None, error: None }
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.view.counts()
    }

    pub fn into_writer(self) -> W {
        self.writer
    }

    fn write(&mut self, text: &str) {
        let written = writeln!(self.writer, "{text}").and_then(|()| self.writer.flush());
        if let Err(problem) = written {
            self.error.get_or_insert(problem);
        }
    }
}

impl<W: Write + Send> Renderer for Plain<W> {
    fn catch_up(&mut self, earlier: &[Event]) {
        for event in earlier {
            self.view.apply(event);
        }
    }

    fn event(&mut self, event: &Event) {
        for line in lines(&mut self.view, event, self.options.paint) {
            if line.from <= self.options.detail {
                self.write(&line.text(&self.options));
            }
        }
    }

    fn progress(&mut self, progress: &StepProgress) {
        for line in said(&self.view, progress) {
            if line.from <= self.options.detail {
                self.write(&line.text(&self.options));
            }
        }
        if !progress.headway.said.is_empty() {
            return;
        }
        let bound = Millis::from_secs(PROGRESS_SECONDS_MIN);
        // From the beginning of the step on, when nothing was said yet.
        let Some(line) = so_far(&self.view, progress) else { return };
        let last = self.progressed.max(Some(line.since)).unwrap_or_default();
        if self.options.detail > Detail::Quiet && progress.at.since(last) >= bound {
            self.progressed = Some(progress.at);
            self.write(&line.line.text(&self.options));
        }
    }

    fn note(&mut self, text: &str) {
        if self.options.detail > Detail::Quiet {
            self.write(&clean(text));
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{
        EventKind, Failure, FailureKind, Outcome, Progress, RunId, StepId, Timestamp, Told,
    };

    use super::*;
    use crate::Paint;
    use crate::fixtures::{deploy_events, hook_told, progress, rolled_back_events, run, stuck_events};
    use crate::time::clock_time_utc;

    fn shown(events: &[Event], detail: Detail, time: Option<fn(Timestamp) -> String>) -> String {
        let mut plain = Plain::new(Vec::new(), Options { paint: Paint::plain(), time, detail });
        for event in events {
            plain.event(event);
        }
        plain.finish().unwrap();
        String::from_utf8(plain.into_writer()).unwrap()
    }

    #[test]
    fn a_deployment_reads_as_phases_and_finished_steps() {
        insta::assert_snapshot!(shown(&deploy_events(), Detail::Normal, Some(clock_time_utc)), @r"
        [12:00:00] deploy web v2 (1f3a5b7c9d0e) to prod on web1 and web2, by lee@laptop (run 00000000-0000-0000-0000-000000000007)
        [12:00:00] prepare:
        [12:00:00] ✓ web1: fetch v2 (1f3a5b7c9d0e) 240ms
        [12:00:00] ✓ web1: start v2 in green 240ms
        [12:00:00] ✓ web2: fetch v2 (1f3a5b7c9d0e) 720ms
        [12:00:01] ✓ web2: start v2 in green 240ms
        [12:00:01] switch:
        [12:00:01] ✓ web1: switch traffic to green 240ms
        [12:00:01] ✓ web2: switch traffic to green 240ms
        [12:00:01] check:
        [12:00:02] ✓ gate after: smoke, 2 checks 240ms
        [12:00:02] ✓ the release serves and has passed its gates; nothing is undone from here on
        [12:00:02] tidy up:
        [12:00:02] ✓ web1: stop blue 240ms
        [12:00:02] ✓ web2: stop blue 240ms
        [12:00:02] succeeded after 2.6s: 9 steps
        ");
    }

    #[test]
    fn in_a_log_it_is_said_every_ten_seconds_how_far_a_step_is() {
        for (detail, wanted) in [
            (Detail::Quiet, &[][..]),
            (
                Detail::Normal,
                &[
                    "[12:00:12] … gate after: smoke: 6 of 31, no failures",
                    "[12:00:22] … gate after: smoke: 11 of 31, no failures",
                ],
            ),
        ] {
            let options = Options { paint: Paint::plain(), time: Some(clock_time_utc), detail };
            let mut plain = Plain::new(Vec::new(), options);
            let events = deploy_events();
            let is_end =
                |event: &Event| matches!(event.kind, EventKind::StepSucceeded { step: StepId(6), .. });
            let end = events.iter().position(is_end).unwrap();
            events[..end].iter().for_each(|event| plain.event(event));
            for done in 1..13 {
                plain.progress(&progress(StepId(6), done, 2_000 * i64::from(done)));
            }
            events[end..].iter().for_each(|event| plain.event(event));
            // It is over, so nothing more is said of it.
            plain.progress(&progress(StepId(6), 31, 60_000));
            let text = String::from_utf8(plain.into_writer()).unwrap();
            let said: Vec<&str> = text.lines().filter(|line| line.contains('…')).collect();
            assert_eq!(said, wanted, "{text}");
        }
    }

    #[test]
    fn a_rollback_shows_the_failure_once_and_every_undo() {
        insta::assert_snapshot!(shown(&rolled_back_events(), Detail::Normal, None), @r"
        deploy web v2 (1f3a5b7c9d0e) to prod on web1 and web2, by lee@laptop (run 00000000-0000-0000-0000-000000000007)
        prepare:
        ✓ web1: fetch v2 (1f3a5b7c9d0e) 240ms
        ✓ web1: start v2 in green 240ms
        ✓ web2: fetch v2 (1f3a5b7c9d0e) 720ms
        ✓ web2: start v2 in green 240ms
        switch:
        ✓ web1: switch traffic to green 240ms
        ✓ web2: switch traffic to green 240ms
        check:
        ✗ gate after: smoke 240ms
            gate failed: smoke: 1 of 2 checks failed
              ✗ GET /health: wanted 200, saw 500
              1 other check passed
        undoing what was done, last first:
        ↩ undone: web2: switch traffic to blue 240ms
        ↩ undone: web1: switch traffic to blue 240ms
        ↩ undone: web2: stop green 240ms
        ↩ undone: web1: stop green 240ms
        rolled back after 3.8s: 2 of 9 steps done, 1 failed, 4 undone
        ");
    }

    fn shown_told(told: &[Told], detail: Detail) -> String {
        let options = Options { paint: Paint::plain(), time: Some(clock_time_utc), detail };
        let mut plain = Plain::new(Vec::new(), options);
        for one in told {
            match one {
                Told::Event(event) => plain.event(event),
                Told::Progress(progress) => plain.progress(progress),
                _ => panic!("{one:?}"),
            }
        }
        String::from_utf8(plain.into_writer()).unwrap()
    }

    #[test]
    fn what_a_hook_writes_is_told_line_by_line_as_it_comes_and_moves_no_cursor() {
        insta::assert_snapshot!(shown_told(&hook_told(true), Detail::Normal), @r"
        [12:00:00] deploy web v2 (1f3a5b7c9d0e) to prod on this machine, by lee@laptop (run 00000000-0000-0000-0000-000000000007)
        [12:00:00] before the switch:
        [12:00:01]     | Applying 0001_initial...
        [12:00:02]     | Applying 0002_more...
        [12:00:03]     | done
        [12:00:04] ✓ before_switch: run `python manage.py migrate` in v2, once (up to 10m) 4s
        [12:00:04] succeeded after 4s: 1 steps
        ");
        insta::assert_snapshot!(shown_told(&hook_told(false), Detail::Normal), @r"
        [12:00:00] deploy web v2 (1f3a5b7c9d0e) to prod on this machine, by lee@laptop (run 00000000-0000-0000-0000-000000000007)
        [12:00:00] before the switch:
        [12:00:01]     | Applying 0001_initial...
        [12:00:02]     | Applying 0002_more...
        [12:00:03]     | done
        [12:00:04] ✗ before_switch: run `python manage.py migrate` in v2, once (up to 10m) 4s
            hook failed: before_switch `python manage.py migrate` ended with exit code 3
              its last log lines:
                | Applying 0001_initial...
                | Applying 0002_more...
                | done
        [12:00:04] failed, nothing was changed after 4s: 0 of 1 steps done, 1 failed
        ");
        // Of one that failed the last lines are in the failure.
        insta::assert_snapshot!(shown_told(&hook_told(true), Detail::Quiet), @"[12:00:04] succeeded after 4s: 1 steps");
    }

    #[test]
    fn quiet_shows_failures_and_the_end_only() {
        insta::assert_snapshot!(shown(&deploy_events(), Detail::Quiet, None), @"succeeded after 2.6s: 9 steps");
        insta::assert_snapshot!(shown(&stuck_events(), Detail::Quiet, None), @r"
        ✗ gate after: smoke 240ms
            gate failed: smoke: 1 of 2 checks failed
              ✗ GET /health: wanted 200, saw 500
              1 other check passed
        undoing what was done, last first:
        ✗ cannot undo: web2: switch traffic to blue 240ms
            unreachable: caddy does not answer
              at host web2
              hint: is caddy running?
        stuck after 2.9s: 4 of 9 steps done, 1 failed, 1 undone, 1 not undone
        ");
    }

    #[test]
    fn verbose_shows_beginnings_and_evidence_too() {
        let text = shown(&deploy_events(), Detail::Verbose, None);
        assert!(text.contains("→ web1: fetch v2 (1f3a5b7c9d0e)\n"), "{text}");
        assert!(text.contains("    ✓ GET /health: wanted 200, saw 200\n"), "{text}");
    }

    #[test]
    fn a_failure_that_no_step_told_of_is_shown_all_the_same() {
        let lost = Failure::new(FailureKind::LeaseLost, "kim@desk took the lease");
        let event = |seq, kind| Event { run: run(), seq, at: Timestamp(0), kind };
        let unseen_beginning = [
            event(7, EventKind::StepFailed { step: StepId(3), failure: lost.clone() }),
            event(8, EventKind::RunEnded { outcome: Outcome::Failed { failure: lost.clone() } }),
        ];
        let text = shown(&unseen_beginning, Detail::Quiet, None);
        assert_eq!(text.matches("kim@desk took the lease").count(), 1, "{text}");
        assert!(text.contains("✗ step 3"), "{text}");
        let only_end = [event(8, EventKind::RunEnded { outcome: Outcome::Failed { failure: lost } })];
        assert!(shown(&only_end, Detail::Quiet, None).contains("kim@desk took the lease"));
    }

    #[test]
    fn an_adopted_run_counts_what_was_done_before_it_was_taken_over() {
        let all = deploy_events();
        let (before, after) = all.split_at(14);
        let mut plain =
            Plain::new(Vec::new(), Options { paint: Paint::plain(), time: None, detail: Detail::Normal });
        plain.catch_up(before);
        plain.event(&all[0]);
        plain.event(&Event {
            run: run(),
            seq: 14,
            at: before[13].at,
            kind: EventKind::Adopted {
                owner: "kim@desk".into(),
                progress: Progress::Forward,
                left: Vec::new(),
                without: Vec::new(),
            },
        });
        for event in after {
            plain.event(event);
        }
        let counts = plain.counts();
        assert_eq!((counts.done, counts.total), (9, 9));
        let text = String::from_utf8(plain.into_writer()).unwrap();
        assert!(text.starts_with("deploy web v2"), "{text}");
        assert!(text.contains("! kim@desk took the run over and goes on\n"), "{text}");
        assert_eq!(text.matches("✓ web1: fetch").count(), 0, "{text}");
    }

    #[test]
    fn a_committed_run_that_is_adopted_blindly_counts_what_was_done_elsewhere() {
        let all = deploy_events();
        let adopted = EventKind::Adopted {
            owner: "kim@desk".into(),
            progress: Progress::Committed,
            left: Vec::new(),
            without: Vec::new(),
        };
        let mut events = vec![all[0].clone(), Event { kind: adopted, ..all[1].clone() }];
        events.extend(all[all.len() - 5..].iter().cloned());
        assert!(
            shown(&events, Detail::Quiet, None).ends_with(": 9 steps\n"),
            "{}",
            shown(&events, Detail::Quiet, None)
        );
    }

    #[test]
    fn another_run_begins_anew() {
        let mut events = stuck_events();
        events.extend(
            deploy_events().into_iter().map(|event| Event { run: RunId(uuid::Uuid::from_u128(8)), ..event }),
        );
        assert!(shown(&events, Detail::Quiet, None).ends_with("succeeded after 2.6s: 9 steps\n"));
    }

    #[test]
    fn a_reader_that_went_away_stops_nothing_and_is_told_of_in_the_end() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let options = Options { paint: Paint::plain(), time: None, detail: Detail::Normal };
        let mut plain = Plain::new(Closed, options);
        for event in deploy_events() {
            plain.event(&event);
        }
        assert_eq!(plain.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(plain.counts().done, 9);
    }
}
