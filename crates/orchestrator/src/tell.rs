//! Telling people how a run goes. A failing notifier never fails a run, and no run waits for one: what is told goes into
//! [`Outbox`]es, and the command that started runs waits a little at its own end ([`Teller::finish`]).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lockgate_model::{
    Aim, Commit, CommitSha, Failure, FailureKind, Job, Mask, Outcome, Plan, RunId, Timestamp,
};
use lockgate_ports::{Check, Git, Message, MessageKind, Notifier, PortError};

use crate::changes::{self, Span};
use crate::outbox::{Outbox, Story};
use crate::session::{Session, Tools};

/// At the end of a command, messages that are still on their way are waited for this long.
const DELIVERY_SECONDS_MAX: u64 = 5;

/// All notifiers of a project, and where their own failures are told. Clones share what waits to be told.
#[derive(Clone, Default)]
pub struct Teller {
    outboxes: Vec<Arc<Outbox>>,
    /// What a failure says comes from hosts, registries and programs.
    mask: Mask,
    /// Where what a run changes is looked up. `None`: it is not.
    git: Option<Arc<dyn Git>>,
}

/// What came to nothing before a session could begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbegun {
    /// Why; without secrets.
    pub failure: Failure,
    /// The job before the deployment that failed. `None`: none did.
    pub job: Option<Job>,
    /// The commit since which there is something to ship. `None`: that is not known.
    pub since: Option<CommitSha>,
}

/// Of no job.
impl From<Failure> for Unbegun {
    fn from(failure: Failure) -> Self {
        Self { failure, job: None, since: None }
    }
}

impl Teller {
    /// Everybody in `notifiers` is told of everything; `mask` hides what is secret in it.
    #[must_use]
    pub fn new(notifiers: Vec<Arc<dyn Notifier>>, mask: Mask) -> Self {
        Self { outboxes: notifiers.into_iter().map(Outbox::new).collect(), mask, git: None }
    }

    /// People are told which commits a run brings or takes back, as far as this clone has them.
    #[must_use]
    pub fn looking_into(self, git: Arc<dyn Git>) -> Self {
        Self { git: Some(git), ..self }
    }

    /// Waits until everybody has been told of everything, some seconds at most, and warns of what was not told then. For the
    /// end of a command, behind which nobody is left to tell it.
    pub async fn finish(&self) {
        let all = join_all(self.outboxes.iter().map(|outbox| outbox.emptied()));
        if tokio::time::timeout(Duration::from_secs(DELIVERY_SECONDS_MAX), all).await.is_err() {
            let why = PortError::timed_out(format!("given up {DELIVERY_SECONDS_MAX} s after the end"));
            self.outboxes.iter().for_each(|outbox| outbox.give_up(&why));
        }
    }

    /// Does not wait any longer: somebody wants to be gone.
    pub fn give_up(&self) {
        let why = PortError::new(FailureKind::Cancelled, "nobody waited for it");
        self.outboxes.iter().for_each(|outbox| outbox.give_up(&why));
    }

    /// Whether people can be told, all of them asked side by side.
    pub(crate) async fn check(&self) -> Vec<Check> {
        join_all(self.outboxes.iter().map(|outbox| outbox.check())).await
    }

    #[cfg(test)]
    pub(crate) fn outboxes(&self) -> &[Arc<Outbox>] {
        &self.outboxes
    }

    /// `allowed` is what has failed before and was allowed to, which is told at the end.
    pub(crate) fn starting(
        &self,
        session: &Session<'_>,
        run: RunId,
        plan: &Plan,
        allowed: &[Failure],
    ) -> Telling {
        let mut telling = self.adopting(session, run, plan);
        telling.began = Some(telling.clock.now());
        telling.allowed = allowed.to_vec();
        telling.send(MessageKind::Starting, None);
        telling
    }

    /// For a run whose start was told by whoever started it.
    pub(crate) fn adopting(&self, session: &Session<'_>, run: RunId, plan: &Plan) -> Telling {
        let base = Message {
            project: plan.project.clone(),
            service: plan.service.clone(),
            environment: plan.environment.clone(),
            release: Some(plan.release.clone()),
            run: Some(run),
            hosts: plan.hosts.clone(),
            ..message(session)
        };
        self.telling(session.tools, base, Span::of_plan(plan))
    }

    /// Tells of a command that failed before its run began: whoever waits for the release waits in vain.
    pub(crate) fn unbegun(&self, session: &Session<'_>, want: &Aim, unbegun: Unbegun) {
        let Unbegun { failure, job, since } = unbegun;
        let commit =
            want.artifact().and_then(Commit::of).map(|commit| commit.map(|text| self.mask.hide(text)));
        let to = want.artifact().and_then(|artifact| CommitSha::new(artifact.commit.clone()?).ok());
        let span = since.zip(to).map(|(since, to)| Span { since: Ok(since), to });
        let base = Message { asked: want.asked(), commit, job, ..message(session) };
        let mut telling = self.telling(session.tools, base, span);
        telling.allowed = want.allowed().to_vec();
        telling.ended(&Outcome::Failed { failure });
    }

    fn telling(&self, tools: &Tools, base: Message, span: Option<Span>) -> Telling {
        let git = self.git.clone().filter(|_| !self.outboxes.is_empty());
        let changes = git.zip(span).map(|(git, span)| changes::look(git, span, self.mask.clone()));
        let story = |outbox: &Arc<Outbox>| (outbox.clone(), Arc::new(Story::of(changes.clone())));
        Telling {
            stories: self.outboxes.iter().map(story).collect(),
            mask: self.mask.clone(),
            base,
            began: None,
            allowed: Vec::new(),
            clock: tools.clock.clone(),
        }
    }
}

/// What is the same in all that is told of a session.
fn message(session: &Session<'_>) -> Message {
    let Session { site, tools, .. } = session;
    Message {
        kind: MessageKind::Starting,
        project: site.project.name.clone(),
        service: site.service.name.clone(),
        environment: site.environment.name.clone(),
        release: None,
        asked: None,
        run: None,
        at: tools.clock.now(),
        owner: tools.identity.owner.clone(),
        requester: tools.requester.clone(),
        took: None,
        url: site.link(),
        commit: None,
        changes: None,
        hosts: site.hosts.iter().map(|ports| ports.id.clone()).collect(),
        job: None,
        failure: None,
        warnings: Vec::new(),
        commands: Vec::new(),
    }
}

/// The messages of one run. Nothing more is told of it when it is dropped.
pub(crate) struct Telling {
    stories: Vec<(Arc<Outbox>, Arc<Story>)>,
    mask: Mask,
    base: Message,
    /// `None`: another process has started it.
    began: Option<Timestamp>,
    /// What has failed before and was allowed to.
    allowed: Vec<Failure>,
    clock: Arc<dyn lockgate_engine::Clock>,
}

impl Telling {
    pub(crate) fn ended(&self, outcome: &Outcome) {
        let kind = match outcome {
            Outcome::Succeeded { .. } => MessageKind::Success,
            Outcome::Failed { .. } => MessageKind::Failed,
            Outcome::RolledBack { .. } => MessageKind::RolledBack,
            Outcome::Stuck(_) => MessageKind::Critical,
        };
        self.send(kind, Some(outcome));
    }

    /// The run came to none of its ends: somebody has to look.
    pub(crate) fn left(&mut self, failure: Failure) {
        let (service, environment) = (self.base.service.clone(), self.base.environment.clone());
        let command = |what| format!("lockgate --env {environment} {what} {service}");
        self.base.commands = ["status", "resume"].map(command).into();
        self.send(MessageKind::Unknown, Some(&Outcome::Failed { failure }));
    }

    fn send(&self, kind: MessageKind, outcome: Option<&Outcome>) {
        let mut message = Message { kind, at: self.clock.now(), ..self.base.clone() };
        if let Some(outcome) = outcome {
            message.took = self.began.map(|began| message.at.since(began));
            message.failure = outcome.failure().map(|failure| self.mask.failure(failure.clone()));
            message.warnings = self.warnings(outcome);
        }
        if let Some(Outcome::Stuck(stuck)) = outcome {
            message.commands = stuck.commands.clone();
        }
        for (outbox, story) in &self.stories {
            outbox.put(message.clone(), story);
        }
    }

    fn warnings(&self, outcome: &Outcome) -> Vec<Failure> {
        let allowed = self.allowed.iter().cloned();
        let allowed = allowed
            .map(|failure| Failure { message: format!("{}, which is allowed", failure.message), ..failure });
        let untidied: &[Failure] = match outcome {
            Outcome::Succeeded { warnings } => warnings,
            Outcome::Failed { .. } | Outcome::RolledBack { .. } | Outcome::Stuck(_) => &[],
        };
        allowed.chain(untidied.iter().cloned()).map(|failure| self.mask.failure(failure)).collect()
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.stories.iter().for_each(|(outbox, story)| outbox.over(story));
    }
}
