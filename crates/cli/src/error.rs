//! What a command says when it cannot go on: kind + message + hint, and the exit code that goes with it.

use lockgate_config::ConfigError;
use lockgate_model::{Failure, FailureKind, Refusal};

use crate::exit::Exit;

#[derive(Debug)]
pub enum CliError {
    Refusal(Box<Refusal>),
    Config(Box<ConfigError>),
}

impl CliError {
    pub fn exit(&self) -> Exit {
        match self {
            CliError::Refusal(refusal) => refusal.exit(),
            CliError::Config(_) => Exit::Usage,
        }
    }

    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Refusal::usage(message, hint).into()
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Failure::new(FailureKind::Other, message).into()
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(Box::new(refusal))
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Refusal::from(failure).into()
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
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

impl From<lockgate_server::ServeError> for CliError {
    fn from(error: lockgate_server::ServeError) -> Self {
        use lockgate_server::ServeError;
        let hint = error.hint();
        match &error {
            ServeError::AlreadyRunning { .. } => {
                Failure::new(FailureKind::Conflict, error.to_string()).hint(hint).into()
            }
            ServeError::Certificate(_) | ServeError::PlainHttp { .. } => Self::usage(error.to_string(), hint),
            ServeError::Listen { .. } | ServeError::Sockets(_) => {
                Failure::new(FailureKind::Refused, error.to_string()).hint(hint).into()
            }
            ServeError::Handover { .. } | ServeError::Io { .. } => {
                Failure::new(FailureKind::Other, error.to_string()).hint(hint).into()
            }
        }
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
