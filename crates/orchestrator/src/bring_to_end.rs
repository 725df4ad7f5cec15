//! All that `resume` and the daemon bring to an end: what was cut off, what has died since, and what still runs beside the live release.

use lockgate_model::{Ended, HostId, Leftover, Outcome, Refusal, Resumed, RunId};

use crate::session::{Session, Trouble};

impl Session<'_> {
    /// `wanted`: what of it. Nothing is done on the hosts in `skip`.
    ///
    /// # Errors
    /// Where nothing was brought to an end. What stops it later is in the answer.
    pub(crate) async fn bring_to_end(
        &self,
        wanted: &[Leftover],
        skip: &[HostId],
    ) -> Result<Resumed, Refusal> {
        let site = self.site.without(skip);
        let mut ended = Vec::new();
        let stopped = self.at(&site).bring_each_to_end(wanted, &mut ended).await.err().map(Refusal::from);
        match stopped {
            Some(refusal) if ended.is_empty() => Err(refusal),
            // How a run ended says nothing of hosts that it did not concern, so all are looked at.
            refusal => Ok(Resumed { ended, status: self.status().await, refusal: refusal.map(Box::new) }),
        }
    }

    async fn bring_each_to_end(&self, wanted: &[Leftover], ended: &mut Vec<Ended>) -> Result<(), Trouble> {
        let mut add = |end: Option<(RunId, Outcome)>, what| {
            ended.extend(end.map(|(run, outcome)| Ended { run, what, outcome }));
        };
        let wanted = |what| wanted.contains(&what);
        let mut site = self.site.clone();
        if wanted(Leftover::CutOff) {
            let resumed = self.end_cut_off().await?;
            add(resumed.ended, Leftover::CutOff);
            // One that does not answer is not waited for again.
            site = site.without(resumed.gone.keys());
        }
        let session = self.at(&site);
        if let Some((run, outcome, what)) = session.bring_back(wanted).await? {
            add(Some((run, outcome)), what);
        }
        if wanted(Leftover::Beside) {
            add(session.tidy_up().await?, Leftover::Beside);
        }
        Ok(())
    }
}
