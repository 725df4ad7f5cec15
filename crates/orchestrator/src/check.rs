//! Gates alone: regression against the environment they look at, smoke against this one.

use lockgate_model::{Failure, Gate, Moment, Release, Seen};
use lockgate_perform::Depth;
use lockgate_ports::Check;

use crate::{Session, Site};

impl Site {
    /// The gates of one moment with their targets filled in.
    ///
    /// # Errors
    /// `Refused` when a gate looks at an environment without a URL.
    pub fn gates(&self, moment: Moment) -> Result<Vec<Gate>, Failure> {
        let gates = match moment {
            Moment::Before => &self.environment.before,
            Moment::After => &self.environment.after,
        };
        lockgate_plan::resolve_gates(&self.project, &self.service, &self.environment, gates)
    }

    /// What the gates of both moments need, for `doctor`.
    ///
    /// # Errors
    /// As for [`Site::gates`].
    pub async fn check_gates(&self) -> Result<Vec<Check>, Failure> {
        let gates = [self.gates(Moment::Before)?, self.gates(Moment::After)?].concat();
        Ok(self.conductor().check_gates(&gates).await)
    }
}

impl Session<'_> {
    /// Asks each gate in turn, also after one has failed. Takes no lease: gates only look.
    ///
    /// # Errors
    /// Gates that cannot be filled in, or a host that cannot be looked at. A gate's own answer is in the list.
    pub async fn check(&self, moment: Moment) -> Result<Vec<(Gate, Result<Seen, Failure>)>, Failure> {
        let gates = self.site.gates(moment)?;
        let live = self.live_release().await?;
        let conductor = self.site.conductor();
        let mut answers = Vec::new();
        for gate in gates {
            let answer = conductor.ask_gate(&gate, live.as_ref()).await;
            answers.push((gate, answer));
        }
        Ok(answers)
    }

    async fn live_release(&self) -> Result<Option<Release>, Failure> {
        let observed = self.observe(Depth::Status).await?;
        Ok(observed.hosts.values().find_map(|host| host.live()?.1.release.clone()))
    }
}
