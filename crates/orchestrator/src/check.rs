//! Gates alone: regression against the environment they look at, smoke against this one.

use lockgate_model::{Failure, Gate, Moment, Release, Seen};
use lockgate_perform::Depth;

use crate::Session;

impl Session<'_> {
    /// The gates of one moment with their targets filled in.
    ///
    /// # Errors
    /// `Refused` when a gate looks at an environment without a URL.
    pub fn gates(&self, moment: Moment) -> Result<Vec<Gate>, Failure> {
        let site = self.site;
        let gates = match moment {
            Moment::Before => &site.environment.before,
            Moment::After => &site.environment.after,
        };
        lockgate_plan::resolve_gates(&site.project, &site.service, &site.environment, gates)
    }

    /// Asks each gate in turn, also after one has failed. Takes no lease: gates only look.
    ///
    /// # Errors
    /// Gates that cannot be filled in, or a host that cannot be looked at. A gate's own answer is in the list.
    pub async fn check(&self, moment: Moment) -> Result<Vec<(Gate, Result<Seen, Failure>)>, Failure> {
        let gates = self.gates(moment)?;
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
