//! A command's trouble as every face is told of it.

use lockgate_engine::{JournalError, LeaseError};
use lockgate_model::{Failure, FailureKind, Refusal};

use crate::session::Trouble;

impl From<Trouble> for Refusal {
    fn from(trouble: Trouble) -> Self {
        let told = trouble.failure();
        let failure = || told.unwrap_or_else(|| Failure::new(FailureKind::Other, "an earlier run is stuck"));
        match trouble {
            Trouble::Failure(failure) => Refusal::Failed { failure },
            Trouble::NoImage(failure) => Refusal::NoImage { failure },
            Trouble::BegunBefore(run) => Refusal::BegunBefore { failure: failure(), run },
            Trouble::LeaseLost(failure) => Refusal::LeaseLost { failure },
            Trouble::Held(LeaseError::Held { place, holder, age }) => {
                Refusal::Held { failure: failure(), place, holder: Box::new(holder.told()), age }
            }
            Trouble::Held(LeaseError::Host(_)) => Refusal::Failed { failure: failure() },
            Trouble::Journal(_) => Refusal::Journal { failure: failure() },
            Trouble::Illegal(_) => Refusal::Illegal { failure: failure() },
            Trouble::Midway(_) => Refusal::Midway { failure: failure() },
            Trouble::Stuck { run, outcome, plan } => Refusal::Stuck { run, outcome, plan },
        }
    }
}

/// For what only reads the journal.
pub(crate) fn unread(error: JournalError) -> Refusal {
    Trouble::Journal(error).into()
}

#[cfg(test)]
mod tests {
    use lockgate_engine::{IllegalTransition, RunError};

    use super::*;

    #[test]
    fn a_run_that_was_left_in_the_middle_is_unknown_and_says_what_to_look_at() {
        let illegal = || IllegalTransition { seq: 7, event: "step_started".into(), reason: "x".into() };
        let refusal = Refusal::from(Trouble::from(RunError::Midway(illegal())));
        assert_eq!(refusal.exit().code(), 7);
        let failure = refusal.failure().unwrap();
        assert!(failure.message.contains("not known") && failure.message.contains("event 7"), "{failure}");
        let hint = failure.hints.to_string();
        assert!(hint.contains("`lockgate status`") && hint.contains("`lockgate resume`"), "{hint}");
        // Nothing was begun where the journal did not make sense from the first.
        assert_eq!(Refusal::from(Trouble::from(RunError::Illegal(illegal()))).exit().code(), 1);
    }
}
