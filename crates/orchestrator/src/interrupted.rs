//! Ctrl-C before a run has begun: nothing is to be undone, so whatever is waited for is not waited for any longer.
//! From the run's beginning on it is the engine's.

use std::collections::BTreeMap;
use std::time::Duration;

use lockgate_engine::{Acquired, Interrupt, LeaseError, Leases};
use lockgate_model::{Failure, FailureKind, Holder, HostId};

use crate::session::{Session, Trouble};

/// For taking back a lease that was just being taken; one that cannot be reached in time expires by itself.
const TAKE_BACK_SECONDS_MAX: u64 = 5;

impl Session<'_> {
    /// Takes the leases, or gives up at once when interrupted.
    ///
    /// # Errors
    /// As [`lockgate_engine::Leases::acquire`]; `Cancelled` when interrupted, with whom it waited for.
    pub(crate) async fn acquire(&self) -> Result<Acquired, Trouble> {
        let leases = self.leases();
        let acquired = self.unless_interrupted(&leases, leases.acquire()).await?;
        acquired.fence.leave_out(self.site.left_out());
        Ok(acquired)
    }

    /// As [`Session::acquire`], on the hosts that answer; and why the others do not. Where there are such, what is done
    /// under these leases goes without them.
    ///
    /// # Errors
    /// As there, and the first host's failure when none answers.
    pub(crate) async fn acquire_reached(&self) -> Result<(Acquired, BTreeMap<HostId, Failure>), Trouble> {
        let leases = self.leases();
        let (acquired, gone) = self.unless_interrupted(&leases, leases.acquire_reached()).await?;
        acquired.fence.leave_out(self.site.without(gone.keys()).left_out());
        Ok((acquired, gone))
    }

    async fn unless_interrupted<T>(
        &self,
        leases: &Leases,
        acquire: impl Future<Output = Result<T, LeaseError>>,
    ) -> Result<T, Trouble> {
        tokio::select! {
            biased;
            acquired = acquire => Ok(acquired?),
            () = self.tools.interrupt.wait() => {
                let bound = Duration::from_secs(TAKE_BACK_SECONDS_MAX);
                let holder = tokio::time::timeout(bound, leases.give_up()).await.ok().flatten();
                Err(cancelled(&self.tools.interrupt, holder.as_ref()).into())
            }
        }
    }
}

/// Does `work`, which changes nothing that would have to be undone, unless interrupted.
///
/// # Errors
/// Those of `work`, and `Cancelled`.
pub(crate) async fn before_anything<T>(
    interrupt: &Interrupt,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        done = work => done,
        () = interrupt.wait() => Err(cancelled(interrupt, None)),
    }
}

fn cancelled(interrupt: &Interrupt, holder: Option<&Holder>) -> Failure {
    let reason = interrupt.reason();
    let message = match holder {
        Some(Holder { owner, pid, .. }) => {
            format!("{reason} while {owner} (pid {pid}) held the lease; nothing was changed")
        }
        None => format!("{reason} before anything was begun; nothing was changed"),
    };
    Failure::new(FailureKind::Cancelled, message).hint("to go on, run the same command again")
}
