//! The wall clock and who this process is.

use std::time::{SystemTime, UNIX_EPOCH};

use lockgate_model::{Holder, Identity, Timestamp};
use rustix::process::{Pid, test_kill_process};

/// The wall clock of this machine.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Who this process is, told apart from every other on this boot of this machine. The boot id is
/// `/proc/sys/kernel/random/boot_id`, then the PID namespace: process ids of two containers on one machine say nothing
/// about each other. The start time is in clock ticks after boot, field 22 of `/proc/self/stat`.
#[must_use]
pub fn holder_identity() -> Identity {
    let pid = std::process::id();
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| format!("uid-{}", rustix::process::getuid().as_raw()));
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Identity {
        owner: format!("{user}@{machine}"),
        boot_id: boot_id().unwrap_or_default(),
        pid,
        started: stat(pid).map_or(0, |stat| stat.started),
        session: String::new(),
    }
}

/// True only when it is certain that the holder's process has ended: same boot, same PID namespace, and no process with
/// its id or one that started at another time. False whenever that is not known.
#[must_use]
pub fn surely_dead(holder: &Holder) -> bool {
    let here = boot_id();
    if here.is_none() || here.as_deref() != Some(holder.boot_id.as_str()) || holder.started == 0 {
        return false;
    }
    let Some(pid) = i32::try_from(holder.pid).ok().and_then(Pid::from_raw) else { return false };
    if test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
        return true;
    }
    // A zombie has ended too, it only waits for its parent. `/proc` may hide other users' processes: then unknown.
    stat(holder.pid).is_some_and(|stat| stat.started != holder.started || stat.ended)
}

fn boot_id() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.to_str()?))
}

struct Stat {
    started: u64,
    ended: bool,
}

/// `/proc/<pid>/stat`. The second field is the program's name in parentheses and may hold anything, `)` included, so
/// fields are counted from the last one.
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    // Field 3 was the state, so field 22 is the nineteenth after it.
    let started = fields.nth(18)?.parse().ok()?;
    Some(Stat { started, ended: matches!(state, "Z" | "X" | "x") })
}

#[cfg(test)]
mod tests {
    use lockgate_model::{HostId, Millis, Place};

    use super::*;

    fn holder_of(pid: u32) -> Holder {
        let started = stat(pid).expect("it runs").started;
        Identity { pid, started, ..holder_identity() }.holder(
            &Place::from(HostId::local()),
            now(),
            Millis::from_secs(30),
        )
    }

    #[test]
    fn this_process_is_not_dead() {
        assert!(!surely_dead(&holder_identity().holder(
            &Place::from(HostId::local()),
            now(),
            Millis::from_secs(30)
        )));
    }

    #[test]
    fn an_ended_process_is_dead_as_a_zombie_and_after() {
        let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        let holder = holder_of(child.id());
        assert!(!surely_dead(&holder));
        child.kill().unwrap();
        let bound = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !surely_dead(&holder) {
            assert!(std::time::Instant::now() < bound, "a killed process is not taken for dead as a zombie");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(surely_dead(&holder));
    }

    #[test]
    fn a_process_id_used_again_is_another_process() {
        let mut holder = holder_of(std::process::id());
        holder.started += 1;
        assert!(surely_dead(&holder));
    }

    #[test]
    fn what_is_not_known_is_not_dead() {
        let mut elsewhere = holder_of(std::process::id());
        elsewhere.started += 1;
        elsewhere.boot_id = "another boot".into();
        assert!(!surely_dead(&elsewhere));
        let mut unknown = holder_of(std::process::id());
        unknown.boot_id = String::new();
        unknown.started = 0;
        assert!(!surely_dead(&unknown));
    }
}
