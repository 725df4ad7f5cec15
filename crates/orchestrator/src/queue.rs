//! Calls for deployments, each kept before it is answered, and done one at a time for each service in each environment.
//!
//! A call is durable before [`Queue::submit`] returns, with the id that its run will have. For each service in each environment
//! one call runs and one waits; a newer one takes the place of the one that waits. The answer is kept before anybody is told
//! it. So whatever becomes of the process: a call makes at most one run, for a run begins under its name once; one that was
//! superseded makes none; and one that has no answer gets one from whoever opens the queue next.
//!
//! The same delivery is told what the first one was: see [`lockgate_model::Received::judge`].

mod core;
mod counts;
mod entry;
mod feed;
mod notes;
mod parts;
mod place;
mod refused_call;
mod runner;
mod ticket;
mod words;
mod writer;

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lockgate_model::{
    DeliveryAnswer, DeliveryId, DeployAnswer, DeployCall, Failure, Incoming, Millis, Presence, ProjectName,
    Received, RunId, Timestamp, WebhookDelivery,
};
use lockgate_ports::{Batch, PortError, RECORDS_MAX, Store};

use tokio::sync::watch;

pub use counts::QueueCounts;
pub use parts::QueueParts;
pub use refused_call::RefusedCall;
pub use ticket::Ticket;

use self::core::Core;
use notes::Kind;
use runner::Pause;
use writer::Full;

/// How far the time that a call says it was sent at may be from this machine's.
pub const SENT_AT_SECONDS_MAX: u64 = 300;
/// Longest wait for what is under way to be left.
const LEAVE_SECONDS_MAX: u64 = 15;
/// How long answered deliveries are kept; a sender that repeats one later is not known any more.
const DELIVERIES_KEPT_DAYS: u64 = 30;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The queue of one project's daemon. Cheap to clone.
#[derive(Clone)]
pub struct Queue(Arc<Core>);

impl Queue {
    /// Takes up what a daemon before this one has left: a run that the journal knows is brought to its end or has come to it,
    /// one that never began is queued again, in order of arrival.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(parts: QueueParts) -> Result<Self, PortError> {
        let left = left_behind(&*parts.store, &parts.project).await?;
        let core = Core::start(parts, true);
        core.take_all_up(left).await;
        (core.parts.spawn)(Box::pin(forget_what_is_old(Arc::downgrade(&core), core.leaving())));
        Ok(Self(core))
    }

    /// As [`Queue::open`], while a daemon before this one still has what it accepted: calls are accepted and kept at once, and
    /// nothing begins before `turn` is over. Then what is left without an answer is taken up, first that of the other daemon.
    #[must_use]
    pub fn open_before(parts: QueueParts, turn: BoxFuture<'static, ()>) -> Self {
        let core = Core::start(parts, false);
        let waiting = core.clone();
        (core.parts.spawn)(Box::pin(async move {
            tokio::select! {
                () = waiting.left() => {}
                () = turn => waiting.take_over().await,
            }
        }));
        Self(core)
    }

    /// Accepts a call. It is durable before this returns, and goes on whoever waits for it.
    ///
    /// # Errors
    /// What to answer a call that is not accepted.
    pub async fn submit(&self, call: DeployCall) -> Result<Ticket, DeployAnswer> {
        let (from, endpoint) = (call.from.clone(), call.endpoint.clone());
        let (service, environment) = (call.service.clone(), call.environment.clone());
        let by = call.requester.to_string();
        let kind = |result: &str| Kind {
            from,
            endpoint: Some(endpoint),
            result: result.to_owned(),
            service: Some(service),
            environment: Some(environment),
            by: Some(by),
        };
        match self.let_in(call).await {
            Ok(ticket) => {
                if ticket.repeated {
                    self.0.count(kind("repeated"), format!("it is run {}", ticket.run));
                }
                Ok(ticket)
            }
            Err(answer) => {
                let answer = answer.masked(&self.0.parts.mask);
                self.0.count_refused(answer.status);
                let detail = answer.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
                self.0.count(kind(answer.status.as_str()), detail);
                Err(answer)
            }
        }
    }

    async fn let_in(&self, call: DeployCall) -> Result<Ticket, DeployAnswer> {
        if self.0.is_leaving() {
            return Err(DeployAnswer::stopping());
        }
        if call.force && call.sent_at.is_none() {
            return Err(words::unforced());
        }
        let now = self.0.parts.clock.now();
        let off = call.sent_at.map_or(Millis(0), |sent| Millis(sent.0.abs_diff(now.0)));
        let max = Millis::from_secs(SENT_AT_SECONDS_MAX);
        let is_nameless = call.id.is_none();
        let incoming = self.incoming(call, now, off > max);
        let came = match self.0.writer.receive(incoming).await {
            Ok(Ok(came)) => came,
            Ok(Err(error)) => return Err(words::unavailable(&Failure::from(error))),
            Err(Full) => return Err(words::too_many()),
        };
        if let Some(answer) = words::refused(&came.received, off, max) {
            return Err(answer);
        }
        let is_repeated = matches!(came.received, Received::Again { .. });
        match (came.entry, came.received) {
            (Some(entry), _) => Ok(Ticket::of(entry, is_repeated)),
            (None, Received::Again { first, answer: Some(answer) }) => {
                if let Some(live) = self.something_else_live(&first, &answer).await.filter(|_| is_nameless) {
                    return Err(words::not_live_any_more(&first, &live));
                }
                let answer = words::again(first.run, &answer);
                Ok(Ticket::gone(self.0.clone(), first.run, answer))
            }
            (None, _) => Err(words::forgotten()),
        }
    }

    /// What is live where these bytes were live by the answer, as far as the store knows: who goes back by hand makes no call.
    async fn something_else_live(
        &self,
        first: &WebhookDelivery,
        answer: &DeliveryAnswer,
    ) -> Option<Presence> {
        let (call, digest) = (first.call.as_ref()?, answer.live.as_ref()?);
        let live = runner::live_now(&self.0, call).await;
        let live = live.unwrap_or_else(|error| {
            tracing::warn!(%error, "it is not known what is live since a call was answered");
            None
        });
        live.filter(|live| live.release.digest != *digest)
    }

    /// As it is kept. One without an id goes by its run's.
    fn incoming(&self, call: DeployCall, now: Timestamp, is_stale: bool) -> Incoming {
        let run = (self.0.parts.new_run)();
        // Nobody may send again what is still believed.
        let believed = Millis::from_secs(2 * SENT_AT_SECONDS_MAX);
        let window = if call.sent_at.is_some() { call.repeated.max(believed) } else { call.repeated };
        let since = Timestamp(now.0.saturating_sub_unsigned(window.0));
        let id = call.id.clone().unwrap_or_else(|| DeliveryId::new(&run.to_string()));
        let entry = words::accepted(&self.0.parts.project, &call, run, now);
        Incoming {
            same_since: call.id.is_none().then_some(since),
            only_known: is_stale,
            entry: Some(entry),
            delivery: WebhookDelivery {
                project: self.0.parts.project.clone(),
                endpoint: call.endpoint.clone(),
                id,
                body: call.body.clone(),
                at: now,
                run,
                call: Some(call),
            },
        }
    }

    /// Of a call that was accepted, also before a restart. `None` where there is none of that run.
    ///
    /// # Errors
    /// The store's.
    pub async fn ticket(&self, run: RunId) -> Result<Option<Ticket>, PortError> {
        if let Some(entry) = self.0.entry(run) {
            return Ok(Some(Ticket::of(entry, true)));
        }
        let parts = &self.0.parts;
        let Some((delivery, answer)) = parts.store.delivery_of(&parts.project, run).await? else {
            return Ok(None);
        };
        if let Some(answer) = answer {
            let answer = words::again(run, &answer);
            return Ok(Some(Ticket::gone(self.0.clone(), run, answer)));
        }
        // It was answered in between, or was kept although it was said that it could not be.
        let came = self.0.writer.receive_patiently(known(delivery)).await?;
        Ok(match (came.entry, came.received) {
            (Some(entry), _) => Some(Ticket::of(entry, true)),
            (None, Received::Again { answer: Some(answer), .. }) => {
                Some(Ticket::gone(self.0.clone(), run, words::again(run, &answer)))
            }
            (None, _) => None,
        })
    }

    /// Nothing new begins, whoever waits is told that the daemon stops, and runs are left as they are for whoever comes next.
    /// Returns when they are, within some seconds.
    pub async fn leave(&self) {
        self.0.leave();
        let bound = Duration::from_secs(LEAVE_SECONDS_MAX);
        let left = async {
            self.0.at_rest().await;
            self.0.write_notes();
            self.0.writer.flush().await;
        };
        if tokio::time::timeout(bound, left).await.is_err() {
            tracing::warn!("not all that was under way could be left within {LEAVE_SECONDS_MAX} s");
        }
        self.0.tell_all_left();
    }

    /// How much there is of what, for metrics.
    #[must_use]
    pub fn counts(&self) -> QueueCounts {
        self.0.counts()
    }

    /// Keeps in the audit that a call was refused before it came to [`Queue::submit`], which keeps its own. Alike ones from one
    /// address within a second are one entry with a count, written at the second's end. Does not wait for the disk.
    pub fn note(&self, call: RefusedCall) {
        let RefusedCall { from, endpoint, status, service, environment, detail } = call;
        self.0.count_refused(status);
        let result = status.as_str().to_owned();
        self.0.count(Kind { from, endpoint, result, service, environment, by: None }, detail);
    }
}

/// A call that is kept already.
fn known(delivery: WebhookDelivery) -> Incoming {
    Incoming { delivery, same_since: None, only_known: true, entry: None }
}

/// What has no answer, each with its place in the order of arrival.
async fn left_behind(
    store: &dyn Store,
    project: &ProjectName,
) -> Result<Vec<(u64, WebhookDelivery)>, PortError> {
    let left = store.unanswered(project, RECORDS_MAX).await?;
    let incoming = left.iter().cloned().map(known).collect();
    let kept = store.keep(&Batch { incoming, ..Batch::default() }).await?;
    let mut behind = Vec::new();
    for ((received, arrived), delivery) in kept.received.iter().zip(kept.arrived).zip(left) {
        // Not what was answered in between.
        if *received == Received::First {
            behind.push((arrived, delivery));
        }
    }
    Ok(behind)
}

impl Core {
    /// What an earlier daemon has accepted. Those that have begun come first: an older one that has not is too late then, and
    /// must not begin before that is known.
    async fn take_all_up(self: &Arc<Self>, left: Vec<(u64, WebhookDelivery)>) {
        if left.len() >= RECORDS_MAX as usize {
            // The others are looked for when these have been written.
            self.doubt();
        }
        let mut unbegun = Vec::new();
        for (arrived, delivery) in left {
            if self.entry(delivery.run).is_some() {
                continue;
            }
            if delivery.call.is_none() {
                self.give_up(delivery);
                continue;
            }
            match self.parts.orchestrator.events_of(delivery.run).await {
                Ok(events) if events.is_empty() => unbegun.push((arrived, delivery)),
                // Where it cannot be read now, it is before it is decided what is done.
                Ok(_) | Err(_) => drop(self.take_in_begun(&delivery, arrived)),
            }
        }
        for (arrived, delivery) in &unbegun {
            self.take_in(delivery, *arrived, true);
        }
    }

    /// The daemon before this one is gone, or begins nothing any more.
    async fn take_over(self: Arc<Self>) {
        let mut pause = Pause::new();
        let left = loop {
            match left_behind(&*self.parts.store, &self.parts.project).await {
                Ok(left) => break left,
                Err(error) => {
                    tracing::warn!(%error, "what a daemon before this one has left cannot be read yet")
                }
            }
            if !pause.over(&self).await {
                return;
            }
        };
        self.take_all_up(left).await;
        self.take_turn();
        (self.parts.spawn)(Box::pin(forget_what_is_old(Arc::downgrade(&self), self.leaving())));
    }

    /// What was kept although it was said that it could not be.
    async fn look_for_more(self: &Arc<Self>) {
        let Ok(left) = self.parts.store.unanswered(&self.parts.project, RECORDS_MAX).await else {
            return self.doubt();
        };
        for delivery in left.into_iter().filter(|delivery| self.entry(delivery.run).is_none()) {
            if delivery.call.is_some() && self.writer.receive_patiently(known(delivery)).await.is_err() {
                return self.doubt();
            }
        }
    }

    /// An older program has kept that it came, and not what it asked for.
    fn give_up(self: &Arc<Self>, delivery: WebhookDelivery) {
        let core = self.clone();
        (self.parts.spawn)(Box::pin(async move {
            let answer =
                words::kept(&words::forgotten().of_run(delivery.run), true, None, core.parts.clock.now());
            let WebhookDelivery { project, endpoint, id, .. } = delivery;
            let kept = core.parts.store.answer(&project, &endpoint, &id, &answer).await;
            if let Err(error) = kept {
                tracing::warn!(%error, "a delivery of an older lockgate is left without an answer");
            }
        }));
    }
}

/// Once a day, for as long as there is a queue.
async fn forget_what_is_old(core: Weak<Core>, mut leaving: watch::Receiver<bool>) {
    while let Some(core) = core.upgrade() {
        let kept = Millis::from_secs(DELIVERIES_KEPT_DAYS * DAY_SECONDS);
        let before = Timestamp(core.parts.clock.now().0.saturating_sub_unsigned(kept.0));
        if let Err(error) = core.parts.store.forget_deliveries(&core.parts.project, before).await {
            tracing::warn!(%error, "old deliveries are kept for another day");
        }
        drop(core);
        let day = Duration::from_secs(DAY_SECONDS);
        if tokio::time::timeout(day, leaving.wait_for(|leaving| *leaving)).await.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
