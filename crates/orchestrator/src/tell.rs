//! Telling people how a run goes. A failing notifier never fails or delays a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{Aim, Failure, Mask, Outcome, Plan, RunId};
use lockgate_ports::{Message, MessageKind, Notifier, PortError};
use tokio::task::JoinSet;

use crate::session::{Session, Tools};

/// At the end of a run, messages that are still on their way are waited for this long.
const DELIVERY_SECONDS_MAX: u64 = 12;

/// All notifiers of a project, and where their own failures are told.
#[derive(Clone, Default)]
pub struct Teller {
    notifiers: Vec<Arc<dyn Notifier>>,
    /// What a failure says comes from hosts, registries and programs.
    mask: Mask,
}

impl Teller {
    #[must_use]
    pub fn new(notifiers: Vec<Arc<dyn Notifier>>, mask: Mask) -> Self {
        Self { notifiers, mask }
    }

    pub(crate) fn starting(&self, tools: &Tools, run: RunId, plan: &Plan) -> Telling {
        let mut telling = self.adopting(tools, run, plan);
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
    pub(crate) async fn unbegun(&self, session: &Session<'_>, want: &Aim, failure: Failure) {
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
        let mut telling = self.telling(tools, base);
        telling.ended(&Outcome::Failed { failure });
        telling.finish().await;
    }

    fn telling(&self, tools: &Tools, base: Message) -> Telling {
        Telling {
            notifiers: self.notifiers.clone(),
            mask: self.mask.clone(),
            base,
            clock: tools.clock.clone(),
            sends: JoinSet::new(),
        }
    }
}

/// The messages of one run.
pub(crate) struct Telling {
    notifiers: Vec<Arc<dyn Notifier>>,
    mask: Mask,
    base: Message,
    clock: Arc<dyn lockgate_engine::Clock>,
    sends: JoinSet<Result<(), Undelivered>>,
}

/// A message that did not arrive.
struct Undelivered {
    notifier: String,
    error: PortError,
}

impl Telling {
    pub(crate) fn ended(&mut self, outcome: &Outcome) {
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

    fn send(&mut self, kind: MessageKind, outcome: Option<&Outcome>) {
        let mut message = Message { kind, at: self.clock.now(), ..self.base.clone() };
        message.failure =
            outcome.and_then(Outcome::failure).map(|failure| self.mask.failure(failure.clone()));
        if let Some(Outcome::Stuck(stuck)) = outcome {
            message.commands = stuck.commands.clone();
        }
        for notifier in &self.notifiers {
            let (notifier, message) = (notifier.clone(), message.clone());
            self.sends.spawn(async move {
                let sent = notifier.send(&message).await;
                sent.map_err(|error| Undelivered { notifier: notifier.name(), error })
            });
        }
    }

    /// Waits until all has been delivered, and warns of what was not: once for each notifier, when the run's own story
    /// has been told.
    pub(crate) async fn finish(mut self) {
        let mut undelivered: BTreeMap<String, (u32, PortError)> = BTreeMap::new();
        let all = async {
            while let Some(sent) = self.sends.join_next().await {
                if let Ok(Err(Undelivered { notifier, error })) = sent {
                    undelivered.entry(notifier).or_insert((0, error)).0 += 1;
                }
            }
        };
        let late = tokio::time::timeout(Duration::from_secs(DELIVERY_SECONDS_MAX), all).await.is_err();
        for (notifier, (count, error)) in undelivered {
            tracing::warn!(%error, "{notifier}: {count} of this run's messages not delivered");
        }
        if late {
            tracing::warn!("a notification was still on its way and was given up");
        }
    }
}
