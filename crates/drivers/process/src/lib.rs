//! The `process` runtime: a service as a plain process on the host, a slot as one process with its own `$PORT`.
//!
//! A slot lives in the state folder on the host: `<slot>.json` says what it holds (release, port, when), written
//! before anything starts; `<slot>.<token>.pid` says which process that became, written by the process itself before
//! it turns into the service; `<slot>.log` is what it prints, `<slot>.log.1` what the run before printed.
//!
//! Invariants:
//! - A process is started in its own session, so it outlives the orchestrator, its terminal and its Ctrl-C.
//! - Wherever the orchestrator is killed, whatever it started is found again by the next look, or never starts.
//! - A process is known by number, start time and boot, so that a later process with its number is neither taken for
//!   it nor signalled.
//! - The release is the bytes: SHA-256 over program, arguments, the files that arguments name, and the working
//!   folder. A start whose bytes have changed since is refused (P5).
//! - Values of the service's environment are in no argv, log, error or file. The service sees these, `PORT`,
//!   `LOCKGATE_SLOT`, `LOCKGATE_TAG`, `LOCKGATE_TOKEN` (names the run; no secret) and the host's basic variables
//!   (`PATH`, `HOME`, …), not the rest of the orchestrator's environment.
//!
//! `port: 5000` gives blue 5000 and green 5001, for one port cannot serve both; without it each start takes the
//! slot's previous port if that is free, else any free one.
//!
//! Absent: restarting what crashed, the exit code of what this orchestrator did not start itself (it is told to parents only),
//! log rotation while running, processes that put themselves into the background, hosts other than Linux, bytes in
//! folders or libraries that the program loads by itself, keeping copies of old bytes (put `{tag}` in the command),
//! staying past a logout on hosts whose `logind.conf` says `KillUserProcesses=yes` (`loginctl enable-linger` does).
//!
//! An argument that names a file is part of the release, data files too: hand a database to the service by its
//! environment or working folder, not by an argument.

mod bytes;
mod check;
mod children;
mod command;
mod diagnose;
mod end;
mod files;
mod launch;
mod look;
mod options;
mod port;
mod pre_exec;
mod proc_files;
mod process;
mod record;
mod script;

pub use options::ProcessOptions;
pub use process::Process;
