//! A host that is not ready yet.

use std::time::Duration;

use lockgate_model::{Millis, SetupHeadway};
use lockgate_ports::{Host, PortError};
use tokio::time::Instant;

use crate::look::{HostPlan, look};
use crate::wanted::Wanted;

/// Between two looks.
const LOOK_AGAIN_SECONDS: u64 = 2;

/// Who hears how it goes. Called from several hosts beside each other.
pub trait Told: Send + Sync {
    /// Something goes on, or something was made.
    fn headway(&self, headway: &SetupHeadway);
}

/// How it stands on the host once it is ready. Until then it is looked at again and again; one that does not answer yet counts
/// as not ready, where there is something to wait for: it may be starting.
///
/// # Errors
/// `TimedOut` when it is not ready within [`Wanted::patience`] from `began`; the host's, at once where nothing is waited for
/// or it answers and does not let us in.
pub async fn ready(
    host: &dyn Host,
    wanted: &Wanted,
    began: Instant,
    told: &dyn Told,
) -> Result<HostPlan, PortError> {
    loop {
        let why = match (look(host, wanted).await, &wanted.wait_for) {
            (Ok(plan), Some(path)) if plan.waits() => format!("{path} is not there yet"),
            (Ok(plan), _) => return Ok(plan),
            (Err(error), Some(_)) if error.is_silence() => {
                format!("it does not answer yet: {}", error.message)
            }
            (Err(error), _) => return Err(error),
        };
        let (waited, patience) = (Millis::from(began.elapsed()), wanted.patience);
        if waited >= patience {
            return Err(impatient(host, patience, &why));
        }
        let (waited_millis, patience_millis) = (waited.0, patience.0);
        told.headway(&SetupHeadway::Waits { host: host.id().clone(), why, waited_millis, patience_millis });
        let left = Millis(patience.0 - waited.0).duration();
        tokio::time::sleep(left.min(Duration::from_secs(LOOK_AGAIN_SECONDS))).await;
    }
}

fn impatient(host: &dyn Host, patience: Millis, why: &str) -> PortError {
    PortError::timed_out(format!("{} was not ready within {patience}: {why}", host.id()))
        .without_effect()
        .hint(format!(
            "see what keeps it, on {}: `cloud-init status --long`, `tail /var/log/cloud-init-output.log`",
            host.id()
        ))
        .hint("`patience` in lockgate.yaml says how long is waited; `lockgate setup` goes on where it was")
}
