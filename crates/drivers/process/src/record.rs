//! What a slot holds, as written on the host.

use lockgate_model::{Release, Slot, Timestamp};
use lockgate_ports::{Host, PortError, Swapped};
use serde::{Deserialize, Serialize};

/// `<slot>.json`, one line, written before the slot's process starts. The scripts read `token`, so it comes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Names one start, for ever: 32 hex digits. Its process is the one in `<slot>.<token>.pid`.
    pub token: String,
    pub port: u16,
    pub started_at: Timestamp,
    pub release: Release,
}

impl Record {
    pub fn new_token() -> String {
        uuid::Uuid::now_v7().simple().to_string()
    }

    pub fn parse(slot: Slot, line: &str) -> Result<Record, PortError> {
        serde_json::from_str(line).map_err(|error| {
            PortError::other(format!("the record of {slot} is not one that this version wrote: {error}"))
                .hint(format!(
                    "stop what runs in {slot} by hand, then move {slot}.json in the state folder away"
                ))
        })
    }

    /// Puts this in the place of `expected`, and nothing else: a write that was cut off may still arrive, however
    /// late, and must neither replace what came after it nor be replaced unseen. False when something else was there.
    pub async fn swap(
        &self,
        host: &dyn Host,
        dir: &str,
        slot: Slot,
        expected: Option<&Record>,
    ) -> Result<bool, PortError> {
        let path = format!("{dir}/{slot}.json");
        let expected = expected.map(Record::bytes).transpose()?;
        let swapped = host.swap(&path, expected.as_deref(), &self.bytes()?).await;
        Ok(swapped.map_err(|error| error.context(&path))? == Swapped::Yes)
    }

    fn bytes(&self) -> Result<Vec<u8>, PortError> {
        let mut line = serde_json::to_vec(self).map_err(|error| PortError::other(error.to_string()))?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Which process a start became; the content of its pid file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks after boot.
    pub began: u64,
    pub boot_id: String,
}

impl Run {
    /// `pid began boot_id`; `None` for a file that is not written to its end yet.
    pub fn parse(line: &str) -> Option<Run> {
        let mut words = line.split_ascii_whitespace();
        let run = Run {
            pid: words.next()?.parse().ok()?,
            began: words.next()?.parse().ok()?,
            boot_id: words.next()?.to_owned(),
        };
        (words.next().is_none() && run.boot_id.len() == BOOT_ID_LENGTH).then_some(run)
    }
}

/// `/proc/sys/kernel/random/boot_id` is a UUID.
const BOOT_ID_LENGTH: usize = 36;
