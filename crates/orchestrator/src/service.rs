//! What every face talks to: the command line, an agent's tools, an HTTP server. One implementation is in this process
//! ([`crate::InProcess`]); another may be the way to a daemon that has one.

use async_trait::async_trait;
use lockgate_model::{
    CheckWant, EnvironmentName, Event, GateAnswer, HistoryFilter, HostLog, LogsWant, PastRun, Planned,
    Refusal, Report, Requester, Resume, Resumed, RunId, ServiceClosely, ServiceName, ServiceStatus, Want,
};

use crate::{Examined, Handle};

/// The orchestrator of one project. It may have any number of sessions at once; those of one service in one environment
/// exclude each other by its lease, whoever they are of.
#[async_trait]
pub trait Orchestrator: Send + Sync {
    /// Begins a deployment or a rollback. The session goes on by itself: see [`Handle`].
    ///
    /// # Errors
    /// `Usage` for what does not make sense here. All else is the session's end.
    async fn start(&self, want: &Want, requester: &Requester) -> Result<Handle<Report>, Refusal>;

    /// Begins to bring to an end what was left.
    ///
    /// # Errors
    /// As [`Orchestrator::start`].
    async fn resume(&self, what: &Resume, requester: &Requester) -> Result<Handle<Resumed>, Refusal>;

    /// What [`Orchestrator::start`] would do now. Changes nothing and takes no lease.
    ///
    /// # Errors
    /// `Usage`, and `Failed` where there is no safe plan, no such release, or a host that cannot be looked at.
    async fn plan(&self, want: &Want) -> Result<Planned, Refusal>;

    /// Looked up on the hosts. `service`: `None` is all; `environment`: `None` is the only one that is deployed to.
    /// What cannot be seen is part of the answer.
    ///
    /// # Errors
    /// `Usage`.
    async fn status(
        &self,
        service: Option<&ServiceName>,
        environment: Option<&EnvironmentName>,
    ) -> Result<Vec<ServiceStatus>, Refusal>;

    /// As [`Orchestrator::status`], and more closely: both slots of each host, how each ended, its health asked once from the
    /// host, and where files, slots and router disagree. Takes some requests more for each slot.
    ///
    /// # Errors
    /// `Usage`.
    async fn status_closely(
        &self,
        service: Option<&ServiceName>,
        environment: Option<&EnvironmentName>,
    ) -> Result<Vec<ServiceClosely>, Refusal>;

    /// Looks at all that a deployment will need, and at what is out of order now; what belongs together is together, in the
    /// order in which it is told. `service` and `environment` as in [`Orchestrator::status`]. [`crate::Diagnosed::exit`] says whether
    /// all is well.
    ///
    /// # Errors
    /// `Usage`, and `Failed` for gates that cannot be filled in.
    async fn doctor(
        &self,
        service: Option<&ServiceName>,
        environment: Option<&EnvironmentName>,
    ) -> Result<Vec<Examined>, Refusal>;

    /// From this orchestrator's journal, newest first: what other machines did without it is not in it.
    ///
    /// # Errors
    /// `Usage`, and `Journal`.
    async fn history(&self, filter: &HistoryFilter) -> Result<Vec<PastRun>, Refusal>;

    /// What the journal has of a run, in order; empty for one that it does not know. Of a run that is under way the latest
    /// may be missing.
    ///
    /// # Errors
    /// `Journal`.
    async fn events_of(&self, run: RunId) -> Result<Vec<Event>, Refusal>;

    /// Asks gates alone, each in turn, also after one has failed. Takes no lease: gates only look.
    ///
    /// # Errors
    /// `Usage`, also where there are no gates; `Failed` for gates that cannot be filled in, and for a host that cannot be
    /// looked at. A gate's own answer is in the list.
    async fn check(&self, want: &CheckWant) -> Result<Vec<GateAnswer>, Refusal>;

    /// A slot's last lines, of each host. A host that cannot be read is part of the answer.
    ///
    /// # Errors
    /// `Usage`.
    async fn logs(&self, want: &LogsWant) -> Result<Vec<HostLog>, Refusal>;
}
