//! Gates alone: regression against the environment they look at, smoke against this one.

use lockgate_model::{
    Failure, Gate, GateKind, GateTarget, HttpGate, Millis, Moment, Release, Sampling, Seen, StatusRange,
};
use lockgate_perform::Depth;
use lockgate_ports::Check;

use crate::Site;
use crate::session::Session;

/// For one look at a URL.
const LOOK_SECONDS_MAX: u64 = 10;

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

    /// What the gates of both moments need, for `doctor`. An environment that is only checked is what gates of others
    /// look at: where it has none of its own its URL is asked.
    ///
    /// # Errors
    /// As for [`Site::gates`].
    pub async fn check_gates(&self) -> Result<Vec<Check>, Failure> {
        let gates = [self.gates(Moment::Before)?, self.gates(Moment::After)?].concat();
        if !gates.is_empty() || self.environment.slots().is_some() {
            return Ok(self.conductor().check_gates(&gates).await);
        }
        let url = lockgate_plan::resolve_gates(
            &self.project,
            &self.service,
            &self.environment,
            &[Gate { name: "url".to_owned(), kind: GateKind::Http(any_answer()) }],
        )?;
        let mut checks = self.conductor().check_gates(&url).await;
        checks.iter_mut().for_each(|check| check.what = format!("url of {}", self.service.name));
        Ok(checks)
    }
}

/// The service's health path at the environment's URL, once.
fn any_answer() -> HttpGate {
    HttpGate {
        target: GateTarget::Here,
        paths: Vec::new(),
        status: StatusRange::OK,
        body: None,
        latency_p95: None,
        sampling: Sampling::Count { samples: 1, interval: Millis(0) },
        timeout: Millis::from_secs(LOOK_SECONDS_MAX),
    }
}

impl Session<'_> {
    /// Asks each gate in turn, also after one has failed. Takes no lease: gates only look.
    ///
    /// # Errors
    /// Gates that cannot be filled in, or a host that cannot be looked at. A gate's own answer is in the list.
    pub(crate) async fn check(&self, moment: Moment) -> Result<Vec<(Gate, Result<Seen, Failure>)>, Failure> {
        let gates = self.site.gates(moment)?;
        let live = self.live_release().await?;
        let conductor = self.site.conductor();
        let mut answers = Vec::new();
        for gate in gates {
            let answer = conductor.ask_gate(&gate, live.as_ref(), &|_| {}).await;
            answers.push((gate, answer));
        }
        Ok(answers)
    }

    async fn live_release(&self) -> Result<Option<Release>, Failure> {
        let observed = self.observe(Depth::Status).await?;
        Ok(observed.hosts.values().find_map(|host| host.live()?.1.release.clone()))
    }
}
