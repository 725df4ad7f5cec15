//! Whoever is at the other end of the pipe.

use async_trait::async_trait;

/// How a person can be asked through a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// The answer to a call is a question, and the call comes again with what was said to it.
    InAnswer,
    /// By a request while the call waits: clients of before the revision 2026-07-28.
    InBetween,
    Never,
}

/// What a person said to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Agreed to it in so many words.
    Yes,
    /// Everything else: declined, closed, answered without agreeing.
    No,
}

/// A call that comes again with what was said to its question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    pub state: String,
    /// `None` where the question is not among what was answered.
    pub reply: Option<Reply>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Never less than before.
    pub done: u64,
    /// `None` where it is not known.
    pub of: Option<u64>,
    pub text: String,
}

/// The client, for the time of one call.
#[async_trait]
pub trait Client: Send + Sync {
    /// As it calls itself, with its version.
    fn name(&self) -> Option<String>;

    fn asks(&self) -> Asks;

    /// Asks a person, and waits for what they say.
    ///
    /// # Errors
    /// Why nobody could be asked, or nobody answered in time.
    async fn ask(&self, question: &str) -> Result<Reply, String>;

    /// Where it wants to know.
    async fn progress(&self, progress: Progress);

    /// Returns when the call is not wanted any more.
    async fn cancelled(&self);
}
