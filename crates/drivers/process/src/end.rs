//! Ending a slot's runs: on this machine by signals from here, elsewhere, and where a run's leader is gone, by one script.

use std::time::{Duration, Instant};

use lockgate_model::{Millis, Slot};
use lockgate_ports::{Host, PortError};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::look;
use crate::record::{PidFile, Run};
use crate::script;

/// Pause between looks at what is ending: short at first, for most end at once, then this.
const NAP_MILLIS_MAX: u64 = 50;
const NAP_MILLIS_FIRST: u64 = 1;

/// What was noticed while a run was ended; nothing when all went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGTERM was not enough.
    Killed(u32),
    /// It may not be signalled.
    Refused(u32),
    /// SIGKILL was not enough either.
    Survives(u32),
}

/// Ends every run whose pid file starts with `prefix`: SIGTERM, `grace`, SIGKILL, `kill`.
///
/// # Errors
/// As the host, and when it says what is not understood.
pub(crate) async fn end(
    host: &dyn Host,
    prefix: &str,
    slot: Slot,
    grace: Millis,
    kill: Millis,
) -> Result<Vec<Ending>, PortError> {
    if host.id().is_local() {
        let files = PidFile::all(prefix)?;
        let runs: Vec<(&PidFile, &Run)> =
            files.iter().filter_map(|file| Some((file, file.run_of_this_boot()?))).collect();
        // A leader that is gone may have left workers: they are known by the token in their environment only.
        if runs.iter().all(|(_, run)| look::is_alive(run)) {
            return end_here(&runs, grace, kill).await;
        }
    }
    end_there(host, prefix, slot, grace, kill).await
}

async fn end_there(
    host: &dyn Host,
    prefix: &str,
    slot: Slot,
    grace: Millis,
    kill: Millis,
) -> Result<Vec<Ending>, PortError> {
    let command = script::command(script::STOP, [prefix, &grace.0.to_string(), &kill.0.to_string()]);
    // The script counts naps, which take a little longer than they say.
    let bound = Millis(grace.0 + grace.0 / 4 + kill.0 * 2 + script::SCRIPT_SECONDS_MAX * 1000);
    let output = script::run(host, &format!("stop {slot}"), &command.timeout(bound)).await?;
    let ending = |line: &str| {
        let (what, pid) = line.split_once(' ')?;
        let pid = pid.parse().ok()?;
        match what {
            "killed" => Some(Ending::Killed(pid)),
            "refused" => Some(Ending::Refused(pid)),
            "survives" => Some(Ending::Survives(pid)),
            _ => None,
        }
    };
    let understood =
        |line| ending(line).ok_or_else(|| PortError::other(format!("stop {slot}: the host said {line:?}")));
    output.stdout_text().lines().map(understood).collect()
}

async fn end_here(runs: &[(&PidFile, &Run)], grace: Millis, kill: Millis) -> Result<Vec<Ending>, PortError> {
    let mut endings = Vec::new();
    for (file, run) in runs {
        if let Some(group) = i32::try_from(run.pid).ok().and_then(Pid::from_raw) {
            endings.extend(end_group(run, group, grace, kill).await);
        }
        if matches!(endings.last(), Some(Ending::Refused(_) | Ending::Survives(_))) {
            break;
        }
        // Nothing of it is left, so the next start need not look for it.
        std::fs::write(&file.path, "ended\n").map_err(|error| PortError::from(error).context(&file.path))?;
    }
    Ok(endings)
}

async fn end_group(run: &Run, group: Pid, grace: Millis, kill: Millis) -> Vec<Ending> {
    match kill_process_group(group, Signal::TERM) {
        Err(Errno::PERM) if look::is_alive(run) => return vec![Ending::Refused(run.pid)],
        // Gone in between.
        Ok(()) | Err(_) => {}
    }
    if vanished(run, group, grace).await {
        return Vec::new();
    }
    // Whether it could be signalled shows in whether it goes.
    if let Err(error) = kill_process_group(group, Signal::KILL) {
        tracing::debug!(%error, pid = run.pid, "SIGKILL");
    }
    let mut endings = vec![Ending::Killed(run.pid)];
    if !vanished(run, group, kill).await {
        endings.push(Ending::Survives(run.pid));
    }
    endings
}

/// Waits until the whole group has ended, leader and workers. A group outlives its leader while workers finish.
async fn vanished(run: &Run, group: Pid, bound: Millis) -> bool {
    let limit = Instant::now() + bound.duration();
    let mut nap = Duration::from_millis(NAP_MILLIS_FIRST);
    loop {
        if !look::is_alive(run) && !look::group_has_members(group) {
            return true;
        }
        let left = limit.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(nap.min(left)).await;
        nap = (nap * 2).min(Duration::from_millis(NAP_MILLIS_MAX));
    }
}
