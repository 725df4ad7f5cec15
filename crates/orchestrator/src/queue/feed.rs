//! What is told of a call: kept for whoever comes later, bounded, and numbered so that the numbers hold across a restart.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lockgate_model::{Event, Mask, RunId, Told};
use serde_json::Value;
use tokio::sync::watch;

use crate::TOLD_MAX;

/// An event of the run has the number `(seq + 1) * STRIDE`, and what is told between two events follows the first of them by
/// one each: so whoever reads the journal again gives an event the number that it had.
const STRIDE: u64 = 1_000_000;
/// Left out things whose numbers are kept, to say how many they were.
const LEFT_OUT_MAX: usize = 4_096;

pub(super) struct Feed {
    run: RunId,
    kept: Mutex<Kept>,
    /// Rises with all that comes.
    news: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    told: VecDeque<(u64, Told)>,
    /// Numbers of what was left out, for there was no room.
    left_out: VecDeque<u64>,
    last: u64,
    is_over: bool,
}

/// What comes next for somebody.
pub(super) enum Next {
    Told(u64, Box<Told>),
    NothingYet,
    Over,
}

impl Feed {
    pub(super) fn new(run: RunId) -> Self {
        Self { run, kept: Mutex::default(), news: watch::Sender::new(0) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the journal has of the run, where it is not known here yet.
    pub(super) fn add_all(&self, events: &[Event], mask: &Mask) {
        events.iter().for_each(|event| self.add(Told::Event(Box::new(event.clone())), mask));
    }

    /// An event of the run that is known already is not added again.
    pub(super) fn add(&self, told: Told, mask: &Mask) {
        let number = number(&told, self.run);
        if number.is_some_and(|number| number <= self.kept().last) {
            return;
        }
        let told = masked(told, mask);
        {
            let mut kept = self.kept();
            let number = number.unwrap_or(kept.last + 1);
            if kept.is_over {
                return;
            }
            if kept.told.len() >= TOLD_MAX {
                let oldest = kept.told.iter().position(|(_, told)| told.is_progress()).unwrap_or(0);
                let left_out = kept.told.remove(oldest).map(|(number, _)| number);
                kept.left_out.extend(left_out);
                if kept.left_out.len() > LEFT_OUT_MAX {
                    kept.left_out.pop_front();
                }
            }
            kept.last = number;
            kept.told.push_back((number, told));
        }
        self.news.send_modify(|news| *news += 1);
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.kept().is_over = true;
        self.news.send_modify(|news| *news += 1);
    }

    /// For whoever has heard all up to a number.
    pub(super) fn next(&self, after: u64) -> Next {
        let kept = self.kept();
        let next = kept.told.iter().find(|(number, _)| *number > after);
        let before = next.map_or(u64::MAX, |(number, _)| *number);
        let missed = kept.left_out.iter().filter(|number| (after + 1..before).contains(number));
        let (count, latest) = missed.fold((0, 0), |(count, latest), number| (count + 1, latest.max(*number)));
        match next {
            _ if count > 0 => Next::Told(latest, Box::new(Told::Missed(count))),
            Some((number, told)) => Next::Told(*number, Box::new(told.clone())),
            None if kept.is_over => Next::Over,
            None => Next::NothingYet,
        }
    }

    /// Changes when something comes.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

/// Of an event of the run; `None` of all else.
pub(super) fn number(told: &Told, run: RunId) -> Option<u64> {
    match told {
        Told::Event(event) if event.run == run => Some(event.seq.saturating_add(1).saturating_mul(STRIDE)),
        _ => None,
    }
}

/// Without queries of URLs, and without secrets in any text. What cannot be masked without becoming something else is left
/// out.
pub(super) fn masked(told: Told, mask: &Mask) -> Told {
    let told = match told {
        Told::Event(event) => Told::Event(Box::new(event.without_queries())),
        other => other,
    };
    let shown = serde_json::to_value(&told).map(|mut value| {
        hide(&mut value, mask);
        value
    });
    shown.and_then(serde_json::from_value).unwrap_or(Told::Missed(1))
}

fn hide(value: &mut Value, mask: &Mask) {
    match value {
        Value::String(text) => *text = mask.hide(std::mem::take(text)),
        Value::Array(values) => values.iter_mut().for_each(|value| hide(value, mask)),
        Value::Object(members) => members.values_mut().for_each(|value| hide(value, mask)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{EventKind, Failure, FailureKind, Millis, Secret, StepId, Timestamp};

    use super::*;

    fn run() -> RunId {
        RunId(uuid::Uuid::from_u128(7))
    }

    fn event(seq: u64, kind: EventKind) -> Told {
        Told::Event(Box::new(Event { run: run(), seq, at: Timestamp(0), kind }))
    }

    fn step(seq: u64) -> Told {
        event(seq, EventKind::StepStarted { step: StepId(0) })
    }

    fn waiting() -> Told {
        Told::Waiting { owner: "kim@desk".into(), up_to: Millis(1) }
    }

    /// Numbers and what was missed.
    fn heard(feed: &Feed, mut after: u64) -> Vec<(u64, Option<u64>)> {
        let mut heard = Vec::new();
        while let Next::Told(number, told) = feed.next(after) {
            after = number;
            heard.push((number, if let Told::Missed(count) = *told { Some(count) } else { None }));
        }
        heard
    }

    #[test]
    fn an_event_has_the_number_that_it_had_before_a_restart() {
        let (mask, feed) = (Mask::default(), Feed::new(run()));
        for told in [waiting(), step(0), waiting(), waiting(), step(1)] {
            feed.add(told, &mask);
        }
        let numbers: Vec<u64> = heard(&feed, 0).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [1, 1_000_000, 1_000_001, 1_000_002, 2_000_000]);
        assert_eq!(heard(&feed, 1_000_001), [(1_000_002, None), (2_000_000, None)]);
        let after_a_restart = Feed::new(run());
        for told in [step(0), step(1), step(1), step(0), step(2)] {
            after_a_restart.add(told, &mask);
        }
        assert_eq!(heard(&after_a_restart, 1_000_002), [(2_000_000, None), (3_000_000, None)]);
        assert!(matches!(feed.next(2_000_000), Next::NothingYet));
        feed.end();
        assert!(matches!(feed.next(2_000_000), Next::Over));
    }

    #[test]
    fn who_comes_late_is_told_how_much_was_left_out_and_where() {
        let (mask, feed) = (Mask::default(), Feed::new(run()));
        let failure = Failure::new(FailureKind::Other, "x");
        feed.add(event(0, EventKind::UnwindStarted { cause: failure }), &mask);
        for seq in 1..=TOLD_MAX as u64 + 2 {
            feed.add(step(seq), &mask);
        }
        let all = heard(&feed, 0);
        assert_eq!(all[..3], [(1_000_000, None), (4_000_000, Some(3)), (5_000_000, None)]);
        assert_eq!(all.len(), TOLD_MAX + 1);
        assert_eq!(heard(&feed, 3_000_000)[..2], [(4_000_000, Some(1)), (5_000_000, None)]);
        assert_eq!(heard(&feed, 4_000_000)[0], (5_000_000, None));
    }

    #[test]
    fn no_text_of_it_has_a_secret() {
        let feed = Feed::new(run());
        let failure = Failure::new(FailureKind::Other, "a hunter2").hint("b hunter2");
        let failed = event(
            0,
            EventKind::StepFailed { step: StepId(0), failure: failure.logs(vec!["hunter2".into()]) },
        );
        feed.add(failed, &Mask::of([&Secret::new("hunter2")]));
        let Next::Told(_, told) = feed.next(0) else { panic!() };
        let text = serde_json::to_string(&told).unwrap();
        assert!(text.contains("a ***") && !text.contains("hunter2"), "{text}");
    }
}
