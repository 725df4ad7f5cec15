//! A slot's last lines.

use lockgate_model::{Failure, HostLog, LogsWant, Mask, Slot, SlotState};
use lockgate_perform::glimpse;
use lockgate_ports::HostPorts;

use crate::Site;

impl Site {
    /// Of each host, one after the other; what cannot be read is part of the answer. The lines are as the app wrote them, and
    /// why there are none tells no secret.
    pub(crate) async fn logs(&self, want: &LogsWant) -> Vec<HostLog> {
        let mask = Mask::of(&self.secrets);
        let mut logs = Vec::with_capacity(self.hosts.len());
        for ports in &self.hosts {
            let log = log(ports, want).await;
            logs.push(HostLog {
                because: log.because.map(|because| mask.hide(because)),
                failure: log.failure.map(|failure| mask.failure(failure)),
                ..log
            });
        }
        logs
    }
}

async fn log(ports: &HostPorts, want: &LogsWant) -> HostLog {
    let mut log =
        HostLog { host: ports.id.clone(), slot: want.slot, because: None, lines: Vec::new(), failure: None };
    if log.slot.is_none() {
        match live_slot(ports).await {
            Ok((slot, because)) => (log.slot, log.because) = (slot, because),
            Err(failure) => log.failure = Some(failure),
        }
    }
    if let Some(slot) = log.slot {
        match ports.runtime.logs(slot, want.lines).await {
            Ok(lines) => log.lines = lines,
            Err(error) => log.failure = Some(Failure::from(error).at(&ports.id)),
        }
    }
    log
}

/// The slot that has the traffic. Logs are wanted most when something is down, so where the router does not say it is
/// the slot that is recorded as active, else the one that runs; and why.
async fn live_slot(ports: &HostPorts) -> Result<(Option<Slot>, Option<String>), Failure> {
    let unsaid = match ports.router.route().await {
        Ok(route) if route.most().is_some() => return Ok((route.most(), None)),
        Ok(_) => "the router sends the traffic to no slot".to_owned(),
        Err(error) => format!("the router cannot be asked: {}", error.message),
    };
    let (seen, _) = glimpse(ports).await?;
    // Where there is no router, that is how it is found out.
    if let Some(live) = seen.router.target.filter(|_| seen.router.absent) {
        return Ok((Some(live), None));
    }
    let running = seen.slots.iter().find(|(_, held)| held.state == SlotState::Running);
    let found = match (seen.recorded.active, running) {
        (Some(active), _) => Some((active, "recorded as active")),
        (None, running) => running.map(|(slot, _)| (*slot, "the one that runs")),
    };
    let Some((slot, why)) = found else { return Ok((None, None)) };
    Ok((Some(slot), Some(format!("{unsaid}; these are the lines of {slot}, {why}"))))
}
