//! Gates, one driver for each kind; and what some of them look through: HTTP from this machine, and programs on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{
    EnvironmentName, Evidence, GateKind, Headway, HostId, Judgement, Millis, Release, ServiceName,
};

use crate::{Answer, Check, Command, Output, PortError, Request, Router};

/// What a gate is asked about.
#[derive(Clone)]
pub struct GateSubject {
    /// What is judged.
    pub service: ServiceName,
    /// Where it is judged.
    pub environment: EnvironmentName,
    /// `None` where nothing is live that it could be asked about: `check` before the first deployment.
    pub release: Option<Release>,
    /// The routers of the environment's hosts, to ask through.
    pub routers: BTreeMap<HostId, Arc<dyn Router>>,
}

/// What a gate answers. Only [`GateAnswer::judge`] makes a pass, and only of evidence that is all ok (P6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateAnswer {
    judgement: Judgement,
    evidence: Vec<Evidence>,
    logs: Vec<String>,
}

impl GateAnswer {
    /// The answer that the evidence allows: none is *not yet*, one that is not ok is *fail*.
    #[must_use]
    pub fn judge(evidence: Vec<Evidence>) -> Self {
        Self { judgement: Judgement::of(&evidence), evidence, logs: Vec::new() }
    }

    /// It could not look, or it is too early to tell.
    #[must_use]
    pub fn not_yet(evidence: Vec<Evidence>) -> Self {
        Self { judgement: Judgement::NotYet, ..Self::judge(evidence) }
    }

    /// What a program wrote, oldest line first. It goes to whoever may read logs, never into a message.
    #[must_use]
    pub fn logs(mut self, logs: Vec<String>) -> Self {
        self.logs = logs;
        self
    }

    /// What it answers.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        self.judgement
    }

    /// Judgement, evidence, and what a program wrote.
    #[must_use]
    pub fn into_parts(self) -> (Judgement, Vec<Evidence>, Vec<String>) {
        (self.judgement, self.evidence, self.logs)
    }
}

/// Hears how far a gate is. Cheap, and never blocks.
pub type OnHeadway<'a> = &'a (dyn Fn(Headway) + Send + Sync);

/// One gate as it is configured, which can be asked.
///
/// What could not be looked at (no connection, no right to, too many requests, half an answer) is evidence that is not ok,
/// with what was seen instead; no error passes, and none is swallowed. Texts from outside are told as they are: whoever
/// asks hides secrets in them.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Looks once, changes nothing, and ends within [`Gate::limit`] and a moment. It may be broken off at any await, and
    /// leaves nothing running then. A gate that takes its time tells its headway about once a second.
    async fn ask(&self, subject: &GateSubject, told: OnHeadway<'_>) -> GateAnswer;

    /// The longest that [`Gate::ask`] takes.
    fn limit(&self) -> Millis;

    /// What it will need of this machine, for `doctor`, each check under the name `what`. It need not be open for that.
    async fn check(&self, what: &str, subject: &GateSubject) -> Vec<Check>;
}

type Driver = dyn Fn(&GateKind) -> Arc<dyn Gate> + Send + Sync;

/// The driver of each kind of gate.
#[derive(Clone)]
pub struct Gates(Arc<Driver>);

impl Gates {
    /// `driver` makes the driver for one gate as it is configured.
    pub fn new(driver: impl Fn(&GateKind) -> Arc<dyn Gate> + Send + Sync + 'static) -> Self {
        Self(Arc::new(driver))
    }

    /// The driver for this gate.
    #[must_use]
    pub fn of(&self, kind: &GateKind) -> Arc<dyn Gate> {
        (self.0)(kind)
    }
}

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
