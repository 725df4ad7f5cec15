//! A call that was accepted and has no answer yet.

use std::sync::{Mutex, PoisonError};

use lockgate_model::{DeployAnswer, DeployCall, RunId, WebhookDelivery};
use tokio::sync::watch;

use super::feed::Feed;
use crate::Stop;

pub(super) struct Entry {
    pub(super) delivery: WebhookDelivery,
    pub(super) call: DeployCall,
    pub(super) feed: Feed,
    /// Its place in the order of arrival.
    pub(super) arrived: u64,
    /// A daemon before this one has accepted it, and may be ending just now.
    pub(super) is_taken_up: bool,
    answer: watch::Sender<Option<DeployAnswer>>,
    stop: Mutex<Option<Stop>>,
}

impl Entry {
    pub(super) fn new(delivery: WebhookDelivery, call: DeployCall, arrived: u64, is_taken_up: bool) -> Self {
        let feed = Feed::new(delivery.run);
        Self {
            delivery,
            call,
            feed,
            arrived,
            is_taken_up,
            answer: watch::Sender::new(None),
            stop: Mutex::default(),
        }
    }

    pub(super) fn run(&self) -> RunId {
        self.delivery.run
    }

    /// `None` while it has none.
    pub(super) fn now(&self) -> Option<DeployAnswer> {
        self.answer.borrow().clone()
    }

    pub(super) async fn answered(&self) -> DeployAnswer {
        let mut answer = self.answer.subscribe();
        loop {
            if let Some(answer) = answer.borrow_and_update().clone() {
                return answer;
            }
            if answer.changed().await.is_err() {
                return DeployAnswer::stopping().of_run(self.run());
            }
        }
    }

    /// Only the first is told.
    pub(super) fn tell(&self, answer: DeployAnswer) {
        self.answer.send_if_modified(|told| {
            let is_first = told.is_none();
            if is_first {
                *told = Some(answer);
            }
            is_first
        });
        self.feed.end();
    }

    /// By which its session is left; `None` while there is none.
    pub(super) fn set_stop(&self, stop: Option<Stop>) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop;
    }

    pub(super) fn leave(&self) {
        if let Some(stop) = &*self.stop.lock().unwrap_or_else(PoisonError::into_inner) {
            stop.leave();
        }
    }
}
