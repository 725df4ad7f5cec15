//! Looking at the slots: on this machine by reading files, elsewhere by one script that prints the same.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{Host, PortError};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process_group};

use crate::record::{Record, Run};
use crate::script;

/// A `stat` file of proc(5): 52 numbers and a name.
const STAT_BYTES_MAX: usize = 2048;

/// A slot that holds something.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub record: Record,
    /// `None` when it never got as far as a process, or `ended`.
    pub run: Option<Run>,
    /// It was stopped, and nothing of it is left.
    pub ended: bool,
    /// That very process runs.
    pub alive: bool,
}

/// What stood in the files, before it is judged.
#[derive(Debug, Default)]
struct Raw {
    record: String,
    run: Option<String>,
    /// State and start time of the process that has the run's number now.
    stat: Option<(String, u64)>,
}

/// # Errors
/// `Unauthorized` when a record may not be read, `Other` for one that is not understood, else as the host.
pub(crate) async fn look(host: &dyn Host, dir: &str) -> Result<BTreeMap<Slot, Seen>, PortError> {
    let (boot_id, raws) = if host.id().is_local() { here(dir)? } else { there(host, dir).await? };
    raws.into_iter().map(|(slot, raw)| judge(slot, &raw, &boot_id).map(|seen| (slot, seen))).collect()
}

fn judge(slot: Slot, raw: &Raw, boot_id: &str) -> Result<Seen, PortError> {
    let record = Record::parse(slot, &raw.record)?;
    let run = raw.run.as_deref().and_then(Run::parse);
    let alive = match (&run, &raw.stat) {
        // The number alone proves nothing: numbers are used again, after a reboot from the start.
        (Some(run), Some((state, began))) => {
            run.boot_id == boot_id && run.began == *began && !matches!(state.as_str(), "Z" | "X")
        }
        _ => false,
    };
    let ended = raw.run.as_deref().is_some_and(|line| line.trim() == "ended");
    Ok(Seen { record, run, ended, alive })
}

/// The very process of a run of this boot runs on this machine: not a later one with its number, and not a zombie.
pub(crate) fn is_alive(run: &Run) -> bool {
    // A process that ends while it is looked at makes this fail with ESRCH rather than ENOENT.
    let Ok(bytes) = head(Path::new(&format!("/proc/{}/stat", run.pid))) else { return false };
    stat(&String::from_utf8_lossy(&bytes))
        .is_some_and(|(state, began)| began == run.began && !matches!(state.as_str(), "Z" | "X"))
}

/// Whether a process group on this machine has a member that is not a zombie. A group of zombies still takes signals,
/// where nobody collects them, so asking the kernel is not enough.
pub(crate) fn group_has_members(group: Pid) -> bool {
    if test_kill_process_group(group) == Err(Errno::SRCH) {
        return false;
    }
    let Ok(entries) = std::fs::read_dir("/proc") else { return true };
    let number = group.as_raw_nonzero().get().to_string();
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let is_process = name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
        is_process && head(&entry.path().join("stat")).is_ok_and(|bytes| is_member(&bytes, &number))
    })
}

/// One read, for the numbers wanted stand near the start and every process is looked at.
fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; STAT_BYTES_MAX];
    let length = std::fs::File::open(path)?.read(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// `state ppid pgrp` stand behind the name, which may hold anything.
fn is_member(stat: &[u8], group: &str) -> bool {
    let text = String::from_utf8_lossy(stat);
    let Some((_, fields)) = text.rsplit_once(") ") else { return false };
    let mut fields = fields.split_ascii_whitespace();
    !matches!(fields.next(), Some("Z" | "X") | None) && fields.nth(1) == Some(group)
}

pub(crate) fn boot_id() -> Result<String, PortError> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(PATH).map_err(|error| PortError::from(error).context(PATH))?;
    Ok(text.trim().to_owned())
}

type Raws = BTreeMap<Slot, Raw>;

/// A handful of small files, so they are read where we are, without handing them to another thread.
fn here(dir: &str) -> Result<(String, Raws), PortError> {
    let text = |path: &str| match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(PortError::from(error).context(path)),
    };
    let boot_id = boot_id()?;
    let mut raws = Raws::new();
    for slot in Slot::ALL {
        let Some(content) = text(&format!("{dir}/{slot}.json"))? else { continue };
        let record = content.lines().next().unwrap_or_default().to_owned();
        let run = text(&format!("{dir}/{slot}.{}.pid", Record::parse(slot, &record)?.token))?;
        // A process that ends while it is looked at makes this fail with ESRCH rather than ENOENT.
        let stat = run
            .as_deref()
            .and_then(Run::parse)
            .and_then(|run| std::fs::read(format!("/proc/{}/stat", run.pid)).ok())
            .and_then(|bytes| stat(&String::from_utf8_lossy(&bytes)));
        raws.insert(slot, Raw { record, run, stat });
    }
    Ok((boot_id, raws))
}

/// Fields 3 and 22 of `/proc/<pid>/stat`, counted from behind the name, which may hold anything.
fn stat(text: &str) -> Option<(String, u64)> {
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.to_owned();
    Some((state, fields.nth(18)?.parse().ok()?))
}

async fn there(host: &dyn Host, dir: &str) -> Result<(String, Raws), PortError> {
    let output = script::run(host, "look at the slots", &script::command(script::LOOK, [dir])).await?;
    let mut boot_id = String::new();
    let mut raws = Raws::new();
    for line in output.stdout_text().lines() {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        if what == "boot" {
            rest.clone_into(&mut boot_id);
            continue;
        }
        let (slot, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let slot: Slot = slot.parse().map_err(|_| PortError::other(format!("the host said {line:?}")))?;
        let raw = raws.entry(slot).or_default();
        match what {
            "record" => rest.clone_into(&mut raw.record),
            "run" => raw.run = Some(rest.to_owned()),
            "stat" => {
                raw.stat = rest
                    .split_once(' ')
                    .and_then(|(state, began)| Some((state.to_owned(), began.parse().ok()?)));
            }
            "unreadable" => {
                return Err(PortError::new(
                    FailureKind::Unauthorized,
                    format!("{dir}/{slot}.json cannot be read"),
                ));
            }
            _ => return Err(PortError::other(format!("the host said {line:?}"))),
        }
    }
    Ok((boot_id, raws))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let text = "42 (a) R 1 (b) S 1 42 42 0 -1 4194304 98 454 0 6 0 0 0 1 20 0 1 0 249920 2654208 365";
        assert_eq!(stat(text), Some(("S".to_owned(), 249_920)));
        assert_eq!(stat("42 (a"), None);
    }

    #[test]
    fn a_half_written_pid_file_is_no_run() {
        let boot = "0b2c33e1-8b5a-4f37-9f5c-2f0f6f1c8d11";
        assert!(Run::parse(&format!("42 1000 {boot}\n")).is_some());
        for part in ["", "42", "42 1000", "42 1000 0b2c33e1"] {
            assert_eq!(Run::parse(part), None, "{part:?}");
        }
    }
}
