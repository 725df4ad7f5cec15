//! What a command says when it cannot go on: kind + message + hint, and the exit code that goes with it.

use lockgate_config::ConfigError;
use lockgate_model::{Failure, FailureKind, Outcome, Plan};
use lockgate_orchestrator::Trouble;

use crate::exit::Exit;

#[derive(Debug)]
pub struct CliError {
    pub exit: Exit,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Failure(Box<Failure>),
    Config(Box<ConfigError>),
    /// An earlier run could not be brought to its end.
    Stuck {
        outcome: Box<Outcome>,
        plan: Box<Plan>,
    },
}

impl CliError {
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let failure = Failure::new(FailureKind::Refused, message).hint(hint);
        Self { exit: Exit::Usage, what: What::Failure(Box::new(failure)) }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Failure::new(FailureKind::Other, message).into()
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let exit = match failure.kind {
            FailureKind::GateNotYet => Exit::NotYet,
            FailureKind::LeaseLost => Exit::Held,
            _ => Exit::Failed,
        };
        Self { exit, what: What::Failure(Box::new(failure)) }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self { exit: Exit::Usage, what: What::Config(Box::new(error)) }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        lockgate_ports::PortError::from(error).into()
    }
}

impl From<lockgate_ports::PortError> for CliError {
    fn from(error: lockgate_ports::PortError) -> Self {
        Failure::from(error).into()
    }
}

impl From<lockgate_proxy::ProxyError> for CliError {
    fn from(error: lockgate_proxy::ProxyError) -> Self {
        use lockgate_proxy::ProxyError;
        let kind = match &error {
            ProxyError::AlreadyRunning { .. } => FailureKind::Conflict,
            ProxyError::NothingToListenOn
            | ProxyError::Listen { .. }
            | ProxyError::Inherited { .. }
            | ProxyError::NotOurs { .. }
            | ProxyError::RoutesCorrupt { .. } => FailureKind::Refused,
            ProxyError::Handover { .. } | ProxyError::Io { .. } | ProxyError::Stopped { .. } => {
                FailureKind::Other
            }
        };
        Failure::new(kind, error.to_string()).hint(error.hint()).into()
    }
}

impl From<lockgate_engine::JournalError> for CliError {
    fn from(error: lockgate_engine::JournalError) -> Self {
        Trouble::Journal(error).into()
    }
}

impl From<Trouble> for CliError {
    fn from(trouble: Trouble) -> Self {
        let failure = trouble.failure();
        match (trouble, failure) {
            (Trouble::Stuck { outcome, plan, .. }, _) => {
                Self { exit: Exit::Stuck, what: What::Stuck { outcome, plan } }
            }
            (Trouble::Held(_), Some(failure)) => {
                Self { exit: Exit::Held, what: What::Failure(Box::new(failure)) }
            }
            (Trouble::Midway(_), Some(failure)) => {
                Self { exit: Exit::Unknown, what: What::Failure(Box::new(failure)) }
            }
            (_, Some(failure)) => failure.into(),
            (other, None) => Self::failed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use lockgate_engine::{IllegalTransition, RunError};

    use super::*;

    #[test]
    fn a_run_that_was_left_in_the_middle_is_unknown_and_says_what_to_look_at() {
        let illegal = || IllegalTransition { seq: 7, event: "step_started".into(), reason: "x".into() };
        let error = CliError::from(Trouble::from(RunError::Midway(illegal())));
        assert_eq!(error.exit.code(), 7);
        let What::Failure(failure) = error.what else { panic!("it is a failure") };
        assert!(failure.message.contains("not known") && failure.message.contains("event 7"), "{failure}");
        let hint = failure.hints.to_string();
        assert!(hint.contains("`lockgate status`") && hint.contains("`lockgate resume`"), "{hint}");
        // Nothing was begun where the journal did not make sense from the first.
        assert_eq!(CliError::from(Trouble::from(RunError::Illegal(illegal()))).exit.code(), 1);
    }
}
