//! Processes of a test, known by their working folder, which is below the test's own folder.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub argv: Vec<String>,
}

impl Process {
    pub fn signal(&self, signal: Signal) {
        send(self.pid, signal);
    }

    pub fn runs(&self, program: &str) -> bool {
        self.argv.first().is_some_and(|path| Path::new(path).file_name().is_some_and(|name| name == program))
    }
}

/// A process that has ended meanwhile is no error.
pub fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process has a number");
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("{signal:?} to {pid:?}: {error}"),
    }
}

/// All that work in `folder` or below; zombies are not counted.
pub fn below(folder: &Path) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| works_in(*pid).is_some_and(|cwd| cwd.starts_with(folder)))
        .filter_map(|pid| Some(Process { pid, argv: argv(pid).filter(|argv| !argv.is_empty())? }))
        .collect()
}

fn works_in(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

fn argv(pid: i32) -> Option<Vec<String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

/// Ends all that work in `folder`, again until none is left: one may be starting another.
pub fn end_all(folder: &Path) {
    for _ in 0..50 {
        let left = below(folder);
        if left.is_empty() {
            return;
        }
        left.iter().for_each(|process| process.signal(Signal::KILL));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Whether the process handles `signal` by itself by now.
pub fn catches(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal.as_raw() - 1) & 1 == 1
}
