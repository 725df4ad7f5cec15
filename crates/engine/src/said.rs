//! What a program in a step says: told as it comes, and its end kept with the run.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use lockgate_model::{Headway, LOG_LINE_CHARS_MAX, shortened};

/// Lines that the journal keeps of one step, the last.
const SAID_LINES_MAX: usize = 200;

/// Of one step.
#[derive(Default)]
pub(crate) struct Said(Mutex<VecDeque<String>>);

impl Said {
    pub(crate) fn hear(&self, headway: &Headway) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in &headway.said {
            if lines.len() == SAID_LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(shortened(line.clone(), LOG_LINE_CHARS_MAX));
        }
    }

    /// Oldest first.
    pub(crate) fn last(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_the_last_are_kept() {
        let said = Said::default();
        for count in 0..=SAID_LINES_MAX {
            said.hear(&Headway { done: 1, of: 1, seen: String::new(), said: vec![format!("line {count}")] });
        }
        let lines = said.last();
        assert_eq!((lines.len(), lines[0].as_str()), (SAID_LINES_MAX, "line 1"));
    }
}
