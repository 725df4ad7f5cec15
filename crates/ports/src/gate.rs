//! What gates look through: HTTP from this machine, and programs on it.

use async_trait::async_trait;

use crate::{Answer, Command, Output, PortError, Request};

/// HTTP and HTTPS from this machine, as a user's browser would reach a URL.
#[async_trait]
pub trait Prober: Send + Sync {
    /// `request.target` is an absolute URL. Redirects are not followed: a gate asks what the URL itself answers.
    ///
    /// # Errors
    /// `Unreachable` (no connection, bad certificate), `TimedOut`.
    async fn send(&self, request: &Request) -> Result<Answer, PortError>;
}

/// Programs on this machine.
#[async_trait]
pub trait CommandRunner: Send + Sync {
    /// As [`crate::Host::exec`], on this machine, in the project's folder.
    ///
    /// # Errors
    /// `NotFound`, `TimedOut`.
    async fn run(&self, command: &Command) -> Result<Output, PortError>;
}
