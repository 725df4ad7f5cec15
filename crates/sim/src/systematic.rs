//! Not by chance but all of them: a crash at every point, a fault at every call.

use crate::bad_day::{BadDay, FaultMode};
use crate::story::{Command, Story, Turn};
use crate::telling::{Told, tell};
use crate::world::Tally;

/// A story that broke a promise.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was done to the base story.
    pub what: String,
    pub violations: Vec<String>,
}

/// Crashes the story's first command at every point, resumes it on the same and on another machine, and crashes the
/// resumption too, at every `stride`th point. What is left is resumed and deployed over as at every story's end.
#[must_use]
pub fn crash_everywhere(base: &Story, stride: u64) -> (Vec<Finding>, Tally) {
    let mut all = All::default();
    let points = all.take("no crash".to_owned(), &tell(base, false))[0].1;
    for point in 0..points {
        for machine in [0, 1] {
            let mut story = base.clone();
            story.turns[0].day.crash_at_point = Some(point);
            story.last_machine = machine;
            story.turns.push(Turn::new(Command::Resume, machine, BadDay::default()));
            let resumed = story.turns.len() - 1;
            let what = format!("crash at {point}, resumed on machine {machine}");
            let again = all.take(what.clone(), &tell(&story, false))[resumed].1;
            for second in (point % stride..again).step_by(usize::try_from(stride).unwrap_or(1)) {
                story.turns[resumed].day.crash_at_point = Some(second);
                story.last_machine = usize::try_from(second % 3).unwrap_or(0);
                all.take(format!("{what}, crash again at {second}"), &tell(&story, false));
            }
        }
    }
    (all.findings, all.tally)
}

/// Lets every call of the story's first command fail in every way, one at a time. A fault that passes must not leave
/// a stuck run.
#[must_use]
pub fn fail_everywhere(base: &Story) -> (Vec<Finding>, Tally) {
    let mut all = All::default();
    let calls = all.take("no fault".to_owned(), &tell(base, false))[0].0;
    for call in 0..calls {
        for mode in FaultMode::ALL {
            let mut story = base.clone();
            story.turns[0].day.fault_at_call = Some((call, mode));
            let what = format!("{mode:?} at call {call}");
            let mut told = tell(&story, false);
            let passes = matches!(mode, FaultMode::Unreachable | FaultMode::AnswerLost | FaultMode::Late);
            if passes && told.tally.stuck > 0 {
                told.violations.push("a fault that passes left a stuck run".to_owned());
            }
            all.take(what, &told);
        }
    }
    (all.findings, all.tally)
}

#[derive(Default)]
pub(crate) struct All {
    pub(crate) findings: Vec<Finding>,
    pub(crate) tally: Tally,
}

impl All {
    pub(crate) fn take(&mut self, what: String, told: &Told) -> Vec<(u64, u64)> {
        self.tally.add(&told.tally);
        if !told.violations.is_empty() {
            self.findings.push(Finding { what, violations: told.violations.clone() });
        }
        told.counts.clone()
    }
}
