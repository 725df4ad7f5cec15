//! Looking at the slots: on this machine by reading files, elsewhere by one script that prints the same.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{FILE_BYTES_MAX, Host, PortError};

use crate::proc_files::{Stat, boot_id, stat_of};
use crate::record::{Record, Run};
use crate::script;

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
    /// Of the process that has the run's number now.
    stat: Option<Stat>,
}

/// # Errors
/// `Unauthorized` when a record may not be read, `Other` for one that is not understood, else as the host.
pub(crate) async fn look(
    host: &dyn Host,
    dir: &str,
    slots: &[Slot],
) -> Result<BTreeMap<Slot, Seen>, PortError> {
    let (boot_id, raws) =
        if host.id().is_local() { here(dir, slots)? } else { there(host, dir, slots).await? };
    raws.into_iter().map(|(slot, raw)| judge(slot, &raw, &boot_id).map(|seen| (slot, seen))).collect()
}

fn judge(slot: Slot, raw: &Raw, boot_id: &str) -> Result<Seen, PortError> {
    let record = Record::parse(slot, &raw.record)?;
    let run = raw.run.as_deref().and_then(Run::parse);
    // The number alone proves nothing: numbers are used again, after a reboot from the start.
    let this_boot = run.as_ref().filter(|run| run.boot_id == boot_id);
    let alive = this_boot.zip(raw.stat.as_ref()).is_some_and(|(run, stat)| is_of(stat, run));
    let ended = raw.run.as_deref().is_some_and(|line| line.trim() == "ended");
    Ok(Seen { record, run, ended, alive })
}

/// It is the run's process, and no zombie.
fn is_of(stat: &Stat, run: &Run) -> bool {
    stat.began == run.began && stat.is_running()
}

/// The very process of a run of this boot runs on this machine: not a later one with its number, and not a zombie. In place,
/// for it reads a small file of the kernel's.
pub(crate) fn is_alive(run: &Run) -> bool {
    stat_of(run.pid).is_some_and(|stat| is_of(&stat, run))
}

type Raws = BTreeMap<Slot, Raw>;

/// A handful of small files, so they are read where we are, without handing them to another thread.
fn here(dir: &str, slots: &[Slot]) -> Result<(String, Raws), PortError> {
    let text = |path: &str| {
        let read = lockgate_own::open(Path::new(path)).and_then(|file| {
            let mut text = String::new();
            file.take(FILE_BYTES_MAX as u64).read_to_string(&mut text)?;
            Ok(text)
        });
        match read {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(PortError::from(error).context(path)),
        }
    };
    let boot_id = boot_id()?;
    let mut raws = Raws::new();
    for slot in slots.iter().copied() {
        let Some(content) = text(&format!("{dir}/{slot}.json"))? else { continue };
        let record = content.lines().next().unwrap_or_default().to_owned();
        let run = text(&format!("{dir}/{slot}.{}.pid", Record::parse(slot, &record)?.token))?;
        let stat = run.as_deref().and_then(Run::parse).and_then(|run| stat_of(run.pid));
        raws.insert(slot, Raw { record, run, stat });
    }
    Ok((boot_id, raws))
}

async fn there(host: &dyn Host, dir: &str, slots: &[Slot]) -> Result<(String, Raws), PortError> {
    let arguments = [dir].into_iter().chain(slots.iter().map(|slot| slot.as_str()));
    let output = script::run(host, "look at the slots", &script::command(script::LOOK, arguments)).await?;
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
                let fields = rest.split_once(' ');
                raw.stat = fields.and_then(|(state, began)| {
                    Some(Stat { state: state.to_owned(), began: began.parse().ok()? })
                });
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

    /// `kill(-1)` is a signal to everybody. Nothing is signalled here: only what would be is looked at, by us and by the
    /// scripts' own function.
    #[test]
    fn a_number_that_stands_for_many_processes_is_no_run() {
        let boot = boot_id().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script =
            concat!("lg_me=\n", include_str!("sh/lib.sh"), "lg_run \"$1\" && echo \"$lg_pid\"; exit 0");
        for (pid, is_one) in [
            ("1", false),
            ("0", false),
            ("-1", false),
            ("-5", false),
            ("01", false),
            ("+1", false),
            ("1x", false),
            ("4194305", false),
            ("4294967295", false),
            ("4294967297", false),
            ("2", true),
            ("4194303", true),
        ] {
            let line = format!("{pid} 1000 {boot}\n");
            assert_eq!(Run::parse(&line).is_some(), is_one, "{pid}");
            std::fs::write(&file, line).unwrap();
            let mut shell = std::process::Command::new("sh");
            let output = shell.args(["-c", script, "sh"]).arg(&file).output().unwrap();
            let taken = String::from_utf8(output.stdout).unwrap();
            // The script knows the number of digits only.
            assert!(taken.is_empty() != is_one || pid == "4194305", "{pid}: {taken}");
        }
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
