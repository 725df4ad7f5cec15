//! What a command came to, as its exit code tells it: the same for every face.

use serde::{Deserialize, Serialize};

use crate::{FailureKind, Outcome, ScheduledWord, StatusWord};

/// As the README lists the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Succeeded, or nothing to do.
    Succeeded,
    /// Failed; nothing was changed.
    Failed,
    /// Usage or configuration error.
    Usage,
    /// Rolled back: the previous release is live.
    RolledBack,
    /// An undo failed: look now.
    Stuck,
    /// A gate said not yet.
    NotYet,
    /// Somebody else holds the lease.
    Held,
    /// What the run came to is not known: it may still go on, and `status` says what is live.
    Unknown,
}

impl Exit {
    /// From 0 to 7.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Succeeded => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::RolledBack => 3,
            Exit::Stuck => 4,
            Exit::NotYet => 5,
            Exit::Held => 6,
            Exit::Unknown => 7,
        }
    }

    /// Of two ends the one that needs somebody sooner; the first of two that are alike.
    #[must_use]
    pub fn or_worse(self, other: Exit) -> Exit {
        let urgency = |exit: Exit| match exit {
            Exit::Succeeded => 0,
            Exit::NotYet => 1,
            Exit::RolledBack | Exit::Failed | Exit::Held | Exit::Usage => 2,
            Exit::Unknown => 3,
            Exit::Stuck => 4,
        };
        if urgency(other) > urgency(self) { other } else { self }
    }

    /// For a command that only looks.
    #[must_use]
    pub fn of_look(seen: StatusWord) -> Exit {
        if seen.is_well() { Exit::Succeeded } else { Exit::Failed }
    }

    /// For a command that brought runs to these ends, after which the whole is `word`.
    #[must_use]
    pub fn of_ends(ends: &[&Outcome], word: StatusWord) -> Exit {
        match word {
            StatusWord::Stuck => Exit::Stuck,
            StatusWord::Unfinished | StatusWord::Unwell => Exit::Failed,
            StatusWord::Success
            | StatusWord::Failed
            | StatusWord::RolledBack
            | StatusWord::InProgress
            | StatusWord::Unknown => {
                ends.iter().fold(Exit::Succeeded, |worst, end| worst.or_worse(Exit::from(*end)))
            }
        }
    }
}

impl From<&Outcome> for Exit {
    fn from(outcome: &Outcome) -> Exit {
        match outcome {
            Outcome::Succeeded { .. } => Exit::Succeeded,
            Outcome::Failed { failure } if failure.kind == FailureKind::GateNotYet => Exit::NotYet,
            Outcome::Failed { .. } => Exit::Failed,
            Outcome::RolledBack { .. } => Exit::RolledBack,
            Outcome::Stuck(_) => Exit::Stuck,
        }
    }
}

impl From<ScheduledWord> for Exit {
    fn from(word: ScheduledWord) -> Exit {
        match word {
            ScheduledWord::Nothing | ScheduledWord::Succeeded => Exit::Succeeded,
            ScheduledWord::NotYet => Exit::NotYet,
            ScheduledWord::Failed => Exit::Failed,
            ScheduledWord::Held => Exit::Held,
            ScheduledWord::RolledBack => Exit::RolledBack,
            ScheduledWord::Unknown => Exit::Unknown,
            ScheduledWord::Stuck => Exit::Stuck,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Failure;

    use super::*;

    #[test]
    fn an_exit_code_says_the_same_as_the_word_for_the_whole() {
        use StatusWord::{Failed, RolledBack, Stuck, Success, Unfinished, Unknown, Unwell};
        let failure = |kind| Failure::new(kind, "x");
        let succeeded = Outcome::Succeeded { warnings: Vec::new() };
        let failed = Outcome::Failed { failure: failure(FailureKind::Other) };
        let not_yet = Outcome::Failed { failure: failure(FailureKind::GateNotYet) };
        let rolled_back = Outcome::RolledBack { failure: failure(FailureKind::Other) };
        let table: [(&[&Outcome], StatusWord, u8); 9] = [
            (&[&succeeded], Success, 0),
            (&[&succeeded], Unwell, 1),
            (&[&failed], Failed, 1),
            (&[&not_yet], Unknown, 5),
            (&[&rolled_back, &succeeded], RolledBack, 3),
            (&[&rolled_back, &failed], Success, 3),
            (&[&rolled_back], Unwell, 1),
            (&[&succeeded], Unfinished, 1),
            (&[&succeeded], Stuck, 4),
        ];
        for (ends, seen, code) in table {
            let word = seen.after(ends);
            assert_eq!(Exit::of_ends(ends, word).code(), code, "{ends:?}, then {seen:?}");
            assert!(code != 0 || (word.is_well() && Exit::of_look(word) == Exit::Succeeded));
        }
    }

    #[test]
    fn the_worst_of_several_services_is_the_same_as_a_word_and_as_an_exit_code() {
        use ScheduledWord::{Failed, Held, NotYet, Nothing, RolledBack, Stuck, Succeeded, Unknown};
        let all = [Nothing, Succeeded, NotYet, Failed, Held, RolledBack, Unknown, Stuck];
        for one in all {
            for other in all {
                let worse = Exit::from(one).or_worse(Exit::from(other));
                assert_eq!(Exit::from(one.or_worse(other)), worse, "{one:?}, {other:?}");
            }
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
    }

    #[test]
    fn a_run_that_was_left_in_the_middle_is_more_urgent_than_one_that_went_back() {
        assert_eq!(Exit::RolledBack.or_worse(Exit::Unknown).code(), 7);
        assert_eq!(Exit::Unknown.or_worse(Exit::Stuck).code(), 4);
    }
}
