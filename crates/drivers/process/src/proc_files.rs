//! What this machine's kernel says of its processes, in /proc.

use std::fmt::Display;
use std::io::Read;

use lockgate_ports::PortError;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process_group};

/// A `stat` file of proc(5): 52 numbers and a name.
const STAT_BYTES_MAX: usize = 2048;

/// What is wanted of a process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// One letter: `R` runs, `S` sleeps, `Z` is a zombie.
    pub state: String,
    /// Clock ticks after boot.
    pub began: u64,
}

impl Stat {
    /// No zombie, and not just being taken away.
    pub fn is_running(&self) -> bool {
        !matches!(self.state.as_str(), "Z" | "X")
    }
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
pub(crate) fn stat_of(pid: impl Display) -> Option<Stat> {
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

/// Which boot of this machine it is: process numbers mean nothing beyond it.
///
/// # Errors
/// Those of reading the kernel's file.
pub(crate) fn boot_id() -> Result<String, PortError> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(PATH).map_err(|error| PortError::from(error).context(PATH))?;
    Ok(text.trim().to_owned())
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
}
