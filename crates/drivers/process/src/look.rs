//! Looking at the slots: on this machine by reading files, elsewhere by one script that prints the same.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{FILE_BYTES_MAX, Host, PortError};
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
    /// Of the process that has the run's number now.
    stat: Option<Stat>,
}

/// What is wanted of a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: String,
    began: u64,
}

impl Stat {
    fn is_running(&self) -> bool {
        !matches!(self.state.as_str(), "Z" | "X")
    }

    /// It is the run's process, and no zombie.
    fn is_of(&self, run: &Run) -> bool {
        self.began == run.began && self.is_running()
    }
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
    let alive = this_boot.zip(raw.stat.as_ref()).is_some_and(|(run, stat)| stat.is_of(run));
    let ended = raw.run.as_deref().is_some_and(|line| line.trim() == "ended");
    Ok(Seen { record, run, ended, alive })
}

/// The very process of a run of this boot runs on this machine: not a later one with its number, and not a zombie. In place,
/// for it reads a small file of the kernel's.
pub(crate) fn is_alive(run: &Run) -> bool {
    stat_of(run.pid).is_some_and(|stat| stat.is_of(run))
}

/// Whether a process group on this machine has a member that is not a zombie. A group of zombies still takes signals,
/// where nobody collects them, so asking the kernel is not enough.
pub(crate) async fn group_has_members(group: Pid) -> bool {
    if test_kill_process_group(group) == Err(Errno::SRCH) {
        return false;
    }
    // Aside, for a machine may have thousands of processes. One that cannot be looked at counts as there.
    tokio::task::spawn_blocking(move || is_in_group(group)).await.unwrap_or(true)
}

fn is_in_group(group: Pid) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return true };
    let group = group.as_raw_nonzero().get();
    let mut numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.any(|pid| group_of(pid) == group && stat_of(pid).is_some_and(|stat| stat.is_running()))
}

/// By a system call, for opening the `stat` of every process takes thirty times as long; 0 for the kernel's own, -1 for
/// one that is gone. rustix knows no group 0 and panics.
#[allow(unsafe_code)]
fn group_of(pid: i32) -> i32 {
    // SAFETY: getpgid(2) takes a number and gives one.
    unsafe { libc::getpgid(pid) }
}

/// A process of this machine. One read, for what is wanted stands near the start.
fn stat_of(pid: impl Display) -> Option<Stat> {
    let mut bytes = [0; STAT_BYTES_MAX];
    // A process that ends while it is looked at makes reading fail with ESRCH, opening with ENOENT.
    let length = std::fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut bytes));
    parse_stat(&String::from_utf8_lossy(&bytes[..length.ok()?]))
}

/// Fields 3 and 22 of `/proc/<pid>/stat`, counted from behind the name, which may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.to_owned();
    Some(Stat { state, began: fields.nth(18)?.parse().ok()? })
}

pub(crate) fn boot_id() -> Result<String, PortError> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(PATH).map_err(|error| PortError::from(error).context(PATH))?;
    Ok(text.trim().to_owned())
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

    #[test]
    fn a_process_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let text = "42 (a) R 1 (b) S 1 42 42 0 -1 4194304 98 454 0 6 0 0 0 1 20 0 1 0 249920 2654208 365";
        assert_eq!(parse_stat(text), Some(Stat { state: "S".to_owned(), began: 249_920 }));
        assert_eq!(parse_stat("42 (a"), None);
    }

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
