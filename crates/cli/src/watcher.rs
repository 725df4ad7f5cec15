//! What a daemon hears of its runs, for its log and its metrics.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_engine::EventSink;
use lockgate_model::{Event, EventKind, Outcome};
use lockgate_ports::{Check, Message, Notifier, PortError, Posted};
use lockgate_server::Metrics;

/// Every event of every run, with the run's id.
pub struct Watcher(pub Metrics);

impl EventSink for Watcher {
    fn event(&self, event: &Event) {
        self.0.event(event);
        let run = event.run;
        match &event.kind {
            EventKind::RunStarted { plan, .. } => tracing::info!(
                %run,
                service = %plan.service,
                environment = %plan.environment,
                release = %plan.release.tag,
                "the run begins"
            ),
            EventKind::Adopted { owner, .. } => tracing::info!(%run, owner, "the run was taken over"),
            EventKind::StepFailed { step, failure } => {
                tracing::warn!(%run, step = step.0, %failure, "a step failed");
            }
            EventKind::UnwindStarted { cause } => tracing::warn!(%run, %cause, "the run is undone"),
            EventKind::UndoFailed { step, failure } => {
                tracing::error!(%run, step = step.0, %failure, "an undo failed");
            }
            EventKind::RunEnded { outcome } => match outcome {
                Outcome::Succeeded { warnings } => {
                    tracing::info!(%run, warnings = warnings.len(), "the run has succeeded");
                }
                Outcome::Failed { failure } => tracing::warn!(%run, %failure, "the run has failed"),
                Outcome::RolledBack { failure } => tracing::warn!(%run, %failure, "the run was rolled back"),
                Outcome::Stuck(stuck) => {
                    tracing::error!(%run, failure = %stuck.failure, "the run is stuck: look now");
                }
            },
            EventKind::Intended { .. }
            | EventKind::StepStarted { .. }
            | EventKind::StepSucceeded { .. }
            | EventKind::UndoStarted { .. }
            | EventKind::UndoSucceeded { .. }
            | EventKind::Committed => {
                tracing::debug!(%run, kind = ?std::mem::discriminant(&event.kind), "it goes on")
            }
        }
    }
}

/// A notifier whose failures are counted.
pub struct Counted {
    pub notifier: Arc<dyn Notifier>,
    pub metrics: Metrics,
}

#[async_trait]
impl Notifier for Counted {
    async fn send(&self, message: &Message, earlier: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        let sent = self.notifier.send(message, earlier).await;
        if sent.is_err() {
            self.metrics.notifier_failed(&self.notifier.name());
        }
        sent
    }

    fn name(&self) -> String {
        self.notifier.name()
    }

    async fn check(&self) -> Check {
        self.notifier.check().await
    }
}
