//! Calls to the admin socket.

use std::time::Duration;

use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Answer, Endpoint, Host, PortError, Request, http};
use lockgate_proxy::{ErrorKind, ErrorView, StatusView};
use serde::de::DeserializeOwned;

/// Longest wait for an answer. A change waits for the disk.
const CALL_SECONDS_MAX: u64 = 15;
/// How often a call is repeated that met a proxy which is just handing over to its successor.
const HANDOVER_TRIES_MAX: u32 = 100;
/// Pause between two tries.
const HANDOVER_PAUSE_MILLIS: u64 = 20;

/// The admin interface of the proxy in one folder.
pub(crate) struct Admin<'a> {
    pub host: &'a dyn Host,
    pub dir: &'a str,
}

/// An answer that says no.
pub(crate) type Refusal = (PortError, ErrorView);

impl Admin<'_> {
    /// Sends one request. A refusal is `Ok(Err(_))`, so that the caller can judge it.
    ///
    /// # Errors
    /// `Unreachable` when no proxy answers, `TimedOut`, `Other` for what is not a proxy.
    pub async fn call<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<Result<T, Refusal>, PortError> {
        let socket = Endpoint::Unix(format!("{}/admin.sock", self.dir));
        for _ in 0..HANDOVER_TRIES_MAX {
            let answer = http::send(self.host, &socket, request.clone()).await?;
            match refusal(&answer) {
                None => return parse(&answer).map(Ok),
                Some(Ok(view)) if view.kind == ErrorKind::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(HANDOVER_PAUSE_MILLIS)).await;
                }
                Some(Ok(view)) => return Ok(Err((error(&view), view))),
                Some(Err(error)) => return Err(error),
            }
        }
        // Each answer said that nothing was done.
        Err(PortError::unreachable(format!("the proxy in {} is stopping", self.dir)).without_effect())
    }

    /// `None` when no proxy runs there.
    ///
    /// # Errors
    /// As [`Admin::call`], but for the absence of a proxy.
    pub async fn status(&self) -> Result<Option<StatusView>, PortError> {
        match self.call(&get("/v1/status")).await {
            Ok(Ok(status)) => Ok(Some(status)),
            Ok(Err((error, _))) => Err(error),
            Err(error) if error.kind == FailureKind::Unreachable => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn get(path: &str) -> Request {
    Request::get(path, Millis::from_secs(CALL_SECONDS_MAX))
}

pub(crate) fn send(method: &'static str, path: &str, body: Vec<u8>) -> Request {
    Request::json(method, path, body, Millis::from_secs(CALL_SECONDS_MAX))
}

fn refusal(answer: &Answer) -> Option<Result<ErrorView, PortError>> {
    if (200..300).contains(&answer.status) {
        return None;
    }
    Some(serde_json::from_slice(&answer.body).map_err(|_| {
        PortError::other(format!("the admin socket answered {} and not as a proxy does", answer.status))
    }))
}

fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, PortError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        PortError::other(format!("the proxy's answer is not understood: {error}"))
            .caused_by(error)
            .hint("the proxy may be of another version: lockgate proxy --upgrade")
    })
}

fn error(view: &ErrorView) -> PortError {
    let kind = match view.kind {
        ErrorKind::NotFound => FailureKind::NotFound,
        ErrorKind::VersionMismatch => FailureKind::Conflict,
        // Another service's route stands in the way, and will until somebody changes the configuration.
        ErrorKind::Conflict => FailureKind::Refused,
        ErrorKind::StorageFailed => FailureKind::DiskFull,
        ErrorKind::Unavailable => FailureKind::Unreachable,
        ErrorKind::Invalid | ErrorKind::UpgradeFailed | ErrorKind::TooLarge | ErrorKind::MethodNotAllowed => {
            FailureKind::Other
        }
    };
    let error = PortError::new(kind, format!("the proxy: {}", view.message));
    let error = view.hint.iter().fold(error, |error, hint| error.hint(hint));
    match view.kind {
        // It may be in force although it could not be stored, or be half done.
        ErrorKind::StorageFailed | ErrorKind::UpgradeFailed => error.with_unknown_effect(),
        ErrorKind::NotFound
        | ErrorKind::VersionMismatch
        | ErrorKind::Conflict
        | ErrorKind::Unavailable
        | ErrorKind::Invalid
        | ErrorKind::TooLarge
        | ErrorKind::MethodNotAllowed => error.without_effect(),
    }
}
