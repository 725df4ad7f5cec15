//! A container's log.

use lockgate_model::{Millis, Slot};
use lockgate_ports::{PortError, Request};

use crate::compose::Compose;
use crate::engine::LOOK_SECONDS_MAX;
use crate::held::Held;
use crate::plain::{demultiplex, lines_of};
use crate::replicas::group;

/// Most lines read at once, so that the answer stays small.
const LINES_MAX: u32 = 2000;

impl Compose {
    pub(crate) async fn read_logs(&self, slot: Slot, lines: u32) -> Result<Vec<String>, PortError> {
        let held = self.held().await?;
        let group = group(&held, slot);
        if let [only] = group.as_slice() {
            return self.read_log(only, lines).await;
        }
        // As `docker compose logs` shows several. Each has its share.
        let mut all = Vec::new();
        let share = lines.div_ceil(u32::try_from(group.len()).unwrap_or(u32::MAX).max(1));
        for one in group {
            let read = self.read_log(one, share).await?;
            all.extend(read.into_iter().map(|line| format!("{} | {line}", one.name())));
        }
        Ok(all)
    }

    async fn read_log(&self, one: &Held, lines: u32) -> Result<Vec<String>, PortError> {
        let Some(container) = self.engine.container(&one.summary.id).await? else { return Ok(Vec::new()) };
        let lines = lines.min(LINES_MAX);
        let target = format!("/containers/{}/logs?stdout=1&stderr=1&tail={lines}", one.summary.id);
        match self.engine.send(Request::get(target, Millis::from_secs(LOOK_SECONDS_MAX))).await? {
            Ok(answer) if container.config.tty => Ok(last(lines_of(&answer.body), lines)),
            Ok(answer) => Ok(last(demultiplex(&answer.body), lines)),
            Err(refusal) if refusal.status == 404 => Ok(Vec::new()),
            // Drivers such as `syslog` send logs away: there is nothing to show, and that is worth saying.
            Err(refusal) if refusal.message.contains("does not support reading") => {
                Ok(vec![format!("(the logs of {} cannot be read here: {})", one.name(), refusal.message)])
            }
            Err(refusal) => Err(refusal.into_error(&format!("show the logs of {}", one.name()))),
        }
    }
}

fn last(mut lines: Vec<String>, wanted: u32) -> Vec<String> {
    let surplus = lines.len().saturating_sub(wanted as usize);
    lines.drain(..surplus);
    lines
}
