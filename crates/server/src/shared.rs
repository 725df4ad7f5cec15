//! What all connections share: their limits, what answers, and how they are treated now.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::sync::watch;

use crate::limits::Limits;
use crate::peer::Peer;

/// The body of a response: whole, or a stream. One that cannot go on ends.
pub type AnswerBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// What answers requests.
pub type Answer =
    Arc<dyn Fn(Request<Incoming>, Peer) -> BoxFuture<'static, Response<AnswerBody>> + Send + Sync>;

/// How connections are treated. Only ever goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Somebody else accepts: whoever has no request is told with the next answer to come again by another connection.
    LameDuck,
    /// Idle connections are closed, others after what they wait for.
    Finishing,
    /// All are closed.
    Aborting,
}

pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) answer: Answer,
    pub(crate) phase: watch::Sender<Phase>,
}
