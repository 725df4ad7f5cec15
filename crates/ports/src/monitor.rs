//! Those who watch releases over hours, and can be asked afterwards what they saw.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{EnvironmentName, ServiceName, Soak, Timestamp, Watched};

use crate::PortError;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedPlace {
    /// What was watched.
    pub service: ServiceName,
    /// Where.
    pub environment: EnvironmentName,
}

/// One monitor as it is configured. It changes nothing, and ends within half a minute.
#[async_trait]
pub trait Monitor: Send + Sync {
    /// What was seen from one time to another, both included. What is not there is not seen: [`Watched::seen`] counts only what
    /// somebody looked at, and [`Watched::expected`] says how much that should have been.
    ///
    /// # Errors
    /// `Unauthorized`, `Unreachable`, `TimedOut`, `RateLimited` as others name it (`Refused` with `retry_after`), `TooLarge`,
    /// `Other` for an answer that makes no sense or is not whole. None of them says anything about the release.
    async fn watched(
        &self,
        place: &WatchedPlace,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Watched, PortError>;
}

type Driver = dyn Fn(&Soak) -> Arc<dyn Monitor> + Send + Sync;

/// The driver of each kind of monitor.
#[derive(Clone)]
pub struct Monitors(Arc<Driver>);

impl Monitors {
    /// `driver` makes the driver for the monitor of one soak as it is configured.
    pub fn new(driver: impl Fn(&Soak) -> Arc<dyn Monitor> + Send + Sync + 'static) -> Self {
        Self(Arc::new(driver))
    }

    /// The driver for this soak's monitor.
    #[must_use]
    pub fn of(&self, soak: &Soak) -> Arc<dyn Monitor> {
        (self.0)(soak)
    }
}
