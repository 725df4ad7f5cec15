//! Telling people how a run goes. A failing notifier never fails a run, and no run waits for one: what is told goes into
//! [`Outbox`]es, and the command that started runs waits a little at its own end ([`Teller::finish`]).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lockgate_model::{Aim, Failure, FailureKind, Mask, Outcome, Plan, RunId};
use lockgate_ports::{Check, Message, MessageKind, Notifier, PortError};

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
}

impl Teller {
    /// Everybody in `notifiers` is told of everything; `mask` hides what is secret in it.
    #[must_use]
    pub fn new(notifiers: Vec<Arc<dyn Notifier>>, mask: Mask) -> Self {
        Self { outboxes: notifiers.into_iter().map(Outbox::new).collect(), mask }
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

    pub(crate) fn starting(&self, tools: &Tools, run: RunId, plan: &Plan) -> Telling {
        let telling = self.adopting(tools, run, plan);
        telling.send(MessageKind::Starting, None);
        telling
    }

    /// For a run whose start was told by whoever started it.
    pub(crate) fn adopting(&self, tools: &Tools, run: RunId, plan: &Plan) -> Telling {
        let base = Message {
            kind: MessageKind::Starting,
            project: plan.project.clone(),
            service: plan.service.clone(),
            environment: plan.environment.clone(),
            release: Some(plan.release.clone()),
            asked: None,
            run: Some(run),
            at: tools.clock.now(),
            owner: tools.identity.owner.clone(),
            hosts: plan.hosts.clone(),
            failure: None,
            commands: Vec::new(),
        };
        self.telling(tools, base)
    }

    /// Tells of a command that failed before its run began: whoever waits for the release waits in vain.
    pub(crate) fn unbegun(&self, session: &Session<'_>, want: &Aim, failure: Failure) {
        let Session { site, tools, .. } = session;
        let base = Message {
            kind: MessageKind::Failed,
            project: site.project.name.clone(),
            service: site.service.name.clone(),
            environment: site.environment.name.clone(),
            release: None,
            asked: want.asked(),
            run: None,
            at: tools.clock.now(),
            owner: tools.identity.owner.clone(),
            hosts: site.hosts.iter().map(|ports| ports.id.clone()).collect(),
            failure: None,
            commands: Vec::new(),
        };
        let telling = self.telling(tools, base);
        telling.ended(&Outcome::Failed { failure });
    }

    fn telling(&self, tools: &Tools, base: Message) -> Telling {
        Telling {
            stories: self.outboxes.iter().map(|outbox| (outbox.clone(), Arc::default())).collect(),
            mask: self.mask.clone(),
            base,
            clock: tools.clock.clone(),
        }
    }
}

/// The messages of one run. Nothing more is told of it when it is dropped.
pub(crate) struct Telling {
    stories: Vec<(Arc<Outbox>, Arc<Story>)>,
    mask: Mask,
    base: Message,
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
        message.failure =
            outcome.and_then(Outcome::failure).map(|failure| self.mask.failure(failure.clone()));
        if let Some(Outcome::Stuck(stuck)) = outcome {
            message.commands = stuck.commands.clone();
        }
        for (outbox, story) in &self.stories {
            outbox.put(message.clone(), story);
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.stories.iter().for_each(|(outbox, story)| outbox.over(story));
    }
}
