//! What a slot holds, as written on the host.

use std::fs::OpenOptions;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;

use lockgate_model::{Release, Slot, Timestamp};
use lockgate_ports::{Host, PortError, Swapped};
use serde::{Deserialize, Serialize};

use crate::proc_files;

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

/// Numbers of processes that can be one of ours. 1 is init, and to signal its group is to signal everybody; Linux gives
/// none above (`PID_MAX_LIMIT`).
const PIDS: RangeInclusive<u32> = 2..=4_194_304;
/// A pid file is one short line.
const PID_FILE_BYTES_MAX: u64 = 1024;
/// `/proc/sys/kernel/random/boot_id` is a UUID.
const BOOT_ID_LENGTH: usize = 36;

/// Which process a start became; the content of its pid file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks after boot.
    pub began: u64,
    pub boot_id: String,
}

impl Run {
    /// `pid began boot_id`; `None` for a file that is not written to its end yet, or names what no service can be.
    pub fn parse(line: &str) -> Option<Run> {
        let mut words = line.split_ascii_whitespace();
        let run = Run {
            pid: words.next()?.parse().ok().filter(|pid| PIDS.contains(pid))?,
            began: words.next()?.parse().ok()?,
            boot_id: words.next()?.to_owned(),
        };
        (words.next().is_none() && run.boot_id.len() == BOOT_ID_LENGTH).then_some(run)
    }
}

/// A pid file on this machine.
#[derive(Debug)]
pub(crate) struct PidFile {
    pub path: String,
    /// `None` for one that was ended in order or began before the last boot: neither can have left anything; and while
    /// it is not written to its end.
    pub run: Option<Run>,
}

impl PidFile {
    /// All of a slot; none where the folder is missing.
    ///
    /// # Errors
    /// `Refused` when one of them, or what stands beside it, is not ours: whom they name is signalled. Those of reading.
    pub fn all(prefix: &str) -> Result<Vec<PidFile>, PortError> {
        let (dir, slot) = prefix.rsplit_once('/').unwrap_or((".", prefix));
        match lockgate_own::own_records(Path::new(dir)) {
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            looked => looked?,
        }
        let failed = |error: std::io::Error| PortError::from(error).context(dir);
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let boot_id = proc_files::boot_id()?;
        let mut files = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let token =
                |name: &str| name.strip_prefix(slot)?.strip_prefix('.')?.strip_suffix(".pid").map(drop);
            if let Some(name) = name.to_str().filter(|name| token(name).is_some()) {
                let path = format!("{dir}/{name}");
                // Another orchestrator may just have removed it.
                let mut line = String::new();
                match lockgate_own::open_own(Path::new(&path), OpenOptions::new().read(true)) {
                    Ok(file) => file.take(PID_FILE_BYTES_MAX).read_to_string(&mut line).map_err(failed)?,
                    Err(error) if error.is_missing() => 0,
                    Err(error) => return Err(PortError::from(error)),
                };
                files.push(PidFile { path, run: Run::parse(&line).filter(|run| run.boot_id == boot_id) });
            }
        }
        Ok(files)
    }
}
