//! Whether a process is still the one it was: a look that costs microseconds and needs no engine.
//!
//! A container's addresses are its network namespace's, and that is its first process's: while that very process lives,
//! nobody else has them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::wire::ProcessOwner;

const PROC: &str = "/proc";

impl ProcessOwner {
    /// That very process runs, and is no zombie. Reads a small file of the kernel's in place.
    pub(crate) fn is_alive(&self) -> bool {
        began(self.pid) == Some(self.began) && boot_id().is_some_and(|boot| boot == self.boot_id)
    }

    /// The process with this number now, if it is a container's: its control group has the container's id in its path. Where
    /// numbers mean other processes than the engine's, as in a container with its own, that is found out by this.
    pub(crate) fn of_container(pid: u32, id: &str) -> Option<Self> {
        let groups = fs::read_to_string(of(pid).join("cgroup")).ok()?;
        if !groups.lines().any(|line| line.contains(id)) {
            return None;
        }
        Some(Self { pid, began: began(pid)?, boot_id: boot_id()?.to_owned() })
    }
}

fn of(pid: u32) -> PathBuf {
    Path::new(PROC).join(pid.to_string())
}

/// When the process with this number began; `None` when there is none that runs.
fn began(pid: u32) -> Option<u64> {
    parse(&fs::read_to_string(of(pid).join("stat")).ok()?)
}

/// Fields 3 and 22 of proc_pid_stat(5). The second, the program's name, is in parentheses and may hold anything.
fn parse(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let runs = !matches!(state, "Z" | "X" | "x");
    fields.nth(18)?.parse().ok().filter(|_| runs)
}

/// Read once: it stays while we do.
fn boot_id() -> Option<&'static str> {
    static BOOT_ID: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let read = || {
        let text = fs::read_to_string(Path::new(PROC).join("sys/kernel/random/boot_id")).ok()?;
        Some(text.trim().to_owned())
    };
    BOOT_ID.get_or_init(read).as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this() -> ProcessOwner {
        let pid = std::process::id();
        ProcessOwner { pid, began: began(pid).unwrap(), boot_id: boot_id().unwrap().to_owned() }
    }

    #[test]
    fn a_process_is_known_by_its_number_its_beginning_and_the_boot() {
        let this = this();
        assert!(this.is_alive());
        assert!(!ProcessOwner { began: this.began + 1, ..this.clone() }.is_alive());
        assert!(!ProcessOwner { boot_id: "other".into(), ..this.clone() }.is_alive());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let other = ProcessOwner { pid: child.id(), began: began(child.id()).unwrap(), ..this };
        assert!(other.is_alive());
        child.kill().unwrap();
        // It stays a zombie until it is waited for.
        let gone = (0..2_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            !other.is_alive()
        });
        assert!(gone, "a zombie runs no more");
        child.wait().unwrap();
        assert!(!other.is_alive());
    }

    #[test]
    fn a_programs_name_is_not_taken_for_fields() {
        let tail = (4..22).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(parse(&format!("7 (a) Z b) S {tail} 4711 0")), Some(4711));
        assert_eq!(parse(&format!("7 (a) S b) Z {tail} 4711 0")), None);
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_outside_the_container_is_not_its_own() {
        assert_eq!(ProcessOwner::of_container(std::process::id(), &"f".repeat(64)), None);
    }
}
