//! The server, from its first message to the end of the last session.

use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{Failure, FailureKind, Refusal};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::desk::{Desk, Options};
use crate::server::{self, Face};
use crate::stdio;
use crate::work::{Over, Stopping, Work};

/// When the client is gone, an undo goes on this long; then what is left is for whoever comes next.
pub const UNDO_SECONDS_MAX: u64 = 300;
/// So long a session may take to be left: it tells what it has left.
const LEAVE_SECONDS_MAX: u64 = 10;
/// For the last answers to go out.
const WRITE_SECONDS_MAX: u64 = 2;

/// Returns when the client has gone and nothing is under way any more.
///
/// # Errors
/// `Usage` for a client that does not speak the protocol.
pub async fn serve<R, W>(
    desk: Arc<dyn Desk>,
    options: Options,
    stopping: Stopping,
    input: R,
    output: W,
) -> Result<Over, Refusal>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let work = Work::new(stopping.clone());
    let (pipe, writing) = stdio::wire(input, output, &stopping);
    let face = Face::new(desk, options, work.clone());
    let served = server::speak(face, pipe).await;
    stopping.undo();
    if tokio::time::timeout(Duration::from_secs(UNDO_SECONDS_MAX), work.idle_or_left()).await.is_err() {
        tracing::warn!(
            "after {UNDO_SECONDS_MAX} s what is not undone yet is left as it is; `lockgate resume` goes on with it"
        );
        stopping.leave();
    }
    if tokio::time::timeout(Duration::from_secs(LEAVE_SECONDS_MAX), work.idle()).await.is_err() {
        tracing::warn!("a session did not come to its end; `lockgate status` says what is live");
    }
    if tokio::time::timeout(Duration::from_secs(WRITE_SECONDS_MAX), writing).await.is_err() {
        tracing::debug!("the last answers could not be written");
    }
    served.map_err(|message| {
        let failure = Failure::new(FailureKind::Refused, message)
            .hint("`lockgate mcp` is started by a client of the Model Context Protocol, which speaks first; see docs/agents.md");
        Refusal::Usage { failure }
    })?;
    Ok(work.over())
}
