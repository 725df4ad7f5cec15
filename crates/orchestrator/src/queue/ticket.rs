//! What whoever has submitted a call has of it.

use futures_util::stream::{self, Stream};
use lockgate_model::{DeployAnswer, RunId, Told};

/// Of a call that was accepted. The call goes on when this is dropped.
#[derive(Clone)]
pub struct Ticket {
    /// The run that it asks for, which it has named before it begins. Whoever knows it may ask for the call again.
    pub run: RunId,
    /// It was accepted before, and this is the same delivery.
    pub repeated: bool,
}

impl Ticket {
    /// What is told of it, in order, each with a number that rises; from the beginning, or after the number that somebody has
    /// heard last, also across a restart. What is kept is bounded: where something is missing, [`Told::Missed`] says how much.
    /// Plans in it are without queries, and texts are masked. Ends with the call.
    pub fn told(&self, after: Option<u64>) -> impl Stream<Item = (u64, Told)> + Send + 'static {
        let _ = after;
        stream::empty()
    }

    /// What it came to, as of now; `None` while it is not at its end.
    #[must_use]
    pub fn now(&self) -> Option<DeployAnswer> {
        unimplemented!()
    }

    /// What it comes to. Waits for as long as that takes: whoever asks has a bound of their own.
    pub async fn answer(&self) -> DeployAnswer {
        unimplemented!()
    }
}
