//! Ending a slot's runs: on this machine by signals from here, elsewhere, and where a run's leader is gone, by one script.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_model::{Millis, Slot};
use lockgate_own::OwnError;
use lockgate_ports::{Host, PortError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::look;
use crate::proc_files;
use crate::record::{PidFile, Run};
use crate::script;

/// Longest wait for a process's end before it is looked at again, on a thread of its own; under a second.
const NAP_MILLIS_MAX: u64 = 50;
/// The same where the kernel cannot wake us.
const NAP_MILLIS_BLIND: u64 = 5;
/// Pause between looks for workers that outlive their leader.
const NAP_MILLIS_WORKERS: u64 = 20;

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
pub(crate) struct End<'a> {
    pub host: &'a dyn Host,
    pub prefix: &'a str,
    pub slot: Slot,
    pub grace: Millis,
    pub kill: Millis,
}

impl End<'_> {
    /// # Errors
    /// As the host, and when it says what is not understood.
    pub(crate) async fn run(&self) -> Result<Vec<Ending>, PortError> {
        if self.host.id().is_local() {
            let files = PidFile::all(self.prefix)?;
            let runs: Vec<(&str, &Run)> =
                files.iter().filter_map(|file| Some((file.path.as_str(), file.run.as_ref()?))).collect();
            // A leader that is gone may have left workers: they are known by the token in their environment only.
            if runs.iter().all(|(_, run)| look::is_alive(run)) {
                return self.here(&runs).await;
            }
        }
        self.there().await
    }

    async fn there(&self) -> Result<Vec<Ending>, PortError> {
        let Self { grace, kill, slot, .. } = self;
        let command = script::command(script::STOP, [self.prefix, &grace.0.to_string(), &kill.0.to_string()]);
        // The script counts naps, which take a little longer than they say.
        let bound = Millis(grace.0 + grace.0 / 4 + kill.0 * 2 + script::SCRIPT_SECONDS_MAX * 1000);
        let output = script::run(self.host, &format!("stop {slot}"), &command.timeout(bound)).await?;
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
        let understood = |line| {
            ending(line).ok_or_else(|| PortError::other(format!("stop {slot}: the host said {line:?}")))
        };
        output.stdout_text().lines().map(understood).collect()
    }

    async fn here(&self, runs: &[(&str, &Run)]) -> Result<Vec<Ending>, PortError> {
        let mut endings = Vec::new();
        for (path, run) in runs {
            if let Some(group) = i32::try_from(run.pid).ok().and_then(Pid::from_raw) {
                endings.extend(self.group(run, group).await);
            }
            if matches!(endings.last(), Some(Ending::Refused(_) | Ending::Survives(_))) {
                break;
            }
            // Nothing of it is left, so the next start need not look for it.
            ended(path).map_err(|error| PortError::from(error).context(*path))?;
        }
        Ok(endings)
    }

    async fn group(&self, run: &Run, group: Pid) -> Vec<Ending> {
        if kill_process_group(group, Signal::TERM) == Err(Errno::PERM) && look::is_alive(run) {
            return vec![Ending::Refused(run.pid)];
        }
        if vanished(run, group, self.grace).await {
            return Vec::new();
        }
        // Whether it could be signalled shows in whether it goes.
        if let Err(error) = kill_process_group(group, Signal::KILL) {
            tracing::debug!(%error, pid = run.pid, "SIGKILL");
        }
        let mut endings = vec![Ending::Killed(run.pid)];
        if !vanished(run, group, self.kill).await {
            endings.push(Ending::Survives(run.pid));
        }
        endings
    }
}

fn ended(pid_file: &str) -> Result<(), OwnError> {
    let mut options = OpenOptions::new();
    let mut file = lockgate_own::open_own(Path::new(pid_file), options.write(true).truncate(true))?;
    Ok(file.write_all(b"ended\n")?)
}

/// Waits until the whole group has ended, leader and workers. A group outlives its leader while workers finish.
async fn vanished(run: &Run, group: Pid, bound: Millis) -> bool {
    let limit = Instant::now() + bound.duration();
    let left = || limit.saturating_duration_since(Instant::now());
    // Its number may have become another's by now: that one is waited for at most as long.
    let leader = pidfd_open(group, PidfdFlags::empty()).ok().map(Arc::new);
    while look::is_alive(run) {
        if left().is_zero() {
            return false;
        }
        until_end(leader.clone(), left().min(Duration::from_millis(NAP_MILLIS_MAX))).await;
    }
    while proc_files::group_has_members(group).await {
        if left().is_zero() {
            return false;
        }
        tokio::time::sleep(left().min(Duration::from_millis(NAP_MILLIS_WORKERS))).await;
    }
    true
}

/// At most `bound`. Where the kernel can tell (pidfd_open(2), Linux 5.3) it wakes at the very moment.
async fn until_end(process: Option<Arc<OwnedFd>>, bound: Duration) {
    let Some(process) = process else {
        return tokio::time::sleep(bound.min(Duration::from_millis(NAP_MILLIS_BLIND))).await;
    };
    let wait = move || {
        let timeout = Timespec { tv_sec: 0, tv_nsec: bound.subsec_nanos().into() };
        poll(&mut [PollFd::new(&*process, PollFlags::IN)], Some(&timeout))
    };
    match tokio::task::spawn_blocking(wait).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the end of a process cannot be waited for"),
        Err(error) => tracing::debug!(%error, "the wait for the end of a process was cut off"),
    }
}
