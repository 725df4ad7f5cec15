//! A fresh connection to one of a target's replicas.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::time::Instant;

use crate::pool::{ConnectError, Room, Sender};
use crate::replica::Replica;
use crate::shared::Shared;
use crate::table::LiveTarget;

/// How long connecting may take where there is another to try.
const CONNECT_MILLIS_OF_SEVERAL_MAX: u64 = 1_000;

/// Goes through a target's replicas until one takes the connection, and is the one that was meant.
pub(crate) struct Search<'a> {
    shared: &'a Shared,
    live: &'a LiveTarget,
    /// Only the one with this dial will do.
    asked_for: Option<HeaderValue>,
    passed: Vec<Arc<Replica>>,
    /// The engine was asked, where there is one.
    looked: bool,
    deadline: Instant,
}

impl<'a> Search<'a> {
    pub(crate) fn new(shared: &'a Shared, live: &'a LiveTarget, asked_for: Option<HeaderValue>) -> Self {
        let deadline = Instant::now() + shared.config.connect_timeout;
        Self { shared, live, asked_for, passed: Vec::new(), looked: false, deadline }
    }

    /// One that was not passed over yet.
    pub(crate) fn choose(&self) -> Option<Arc<Replica>> {
        let replicas = &self.live.replicas;
        match &self.asked_for {
            None => replicas.choose(&self.passed),
            Some(dial) => {
                let one = replicas.named(dial.as_bytes())?;
                (!self.passed.iter().any(|passed| Arc::ptr_eq(passed, &one))).then_some(one)
            }
        }
    }

    /// A fresh connection: to `first`, else to any that was not passed over. Nothing was sent on it.
    ///
    /// # Errors
    /// That of the last one tried.
    pub(crate) async fn connect(
        &mut self,
        mut first: Option<Arc<Replica>>,
    ) -> Result<(Arc<Replica>, Sender), ConnectError> {
        let mut failed = ConnectError::Nowhere;
        loop {
            let Some(replica) = first.take().or_else(|| self.choose()) else {
                if self.looked || Instant::now() >= self.deadline {
                    return Err(failed);
                }
                self.look().await;
                continue;
            };
            match self.connect_to(&replica).await {
                Ok(sender) => return Ok((replica, sender)),
                Err(ConnectError::NoRoom) => return Err(ConnectError::NoRoom),
                Err(error) => failed = error,
            }
            self.pass_over(replica).await;
        }
    }

    /// It is looked both before and after: before, so that nothing is waited for where nobody is; after, because who has
    /// the address now had it when the connection came about.
    async fn connect_to(&self, replica: &Arc<Replica>) -> Result<Sender, ConnectError> {
        if !replica.is_trusted() {
            return Err(ConnectError::Nowhere);
        }
        let shared = self.shared;
        let mut limit = shared.config.connect_timeout;
        if self.live.replicas.are_several() {
            limit = limit.min(Duration::from_millis(CONNECT_MILLIS_OF_SEVERAL_MAX));
        }
        let permit = shared.places.upstream(limit, || shared.router.close_idle()).await;
        let permit = permit.ok_or(ConnectError::NoRoom)?;
        let room = Room { permit, lookups: &shared.places.lookups };
        let sender = replica.pool.connect(limit, room).await?;
        if replica.is_trusted() { Ok(sender) } else { Err(ConnectError::Nowhere) }
    }

    /// Whether there is another to send to, after this one broke a connection on which nothing was answered.
    pub(crate) async fn go_on_without(&mut self, replica: Arc<Replica>) -> bool {
        self.pass_over(replica).await;
        Instant::now() < self.deadline && self.choose().is_some()
    }

    async fn pass_over(&mut self, replica: Arc<Replica>) {
        replica.avoid();
        if !replica.is_trusted() {
            replica.pool.close_idle();
        }
        self.passed.push(replica);
        if Instant::now() < self.deadline {
            self.look().await;
        }
    }

    async fn look(&mut self) {
        self.looked = true;
        self.live.replicas.look_again(Instant::now()).await;
    }
}
