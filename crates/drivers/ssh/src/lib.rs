//! A machine reached over SSH: the [`Host`](lockgate_ports::Host) port through the user's own `ssh`, with its
//! configuration, agent, jump hosts and known hosts.
//!
//! One master connection a host, opened when first needed and again when it broke; every operation is a session of its
//! own on it (2–3 ms and what the remote programs take), every [`Host::connect`](lockgate_ports::Host::connect) a
//! socket forwarded through it.
//!
//! Wanted on the other side: a POSIX `sh`, the usual small programs (`cat`, `date`, `df`, `head`, `mkdir`, `mv`, `rm`,
//! `sha256sum`, `sync`, `wc`) and `flock`; GNU's or busybox's. The login shell does not matter.
//!
//! Invariants:
//! - The remote command line is always one of a few constants ([`script`]). Paths, arguments and environment go through
//!   standard input, quoted in one place ([`script::quote`]), so no shell reads them as anything else and no process
//!   list shows them.
//! - Nothing happens on the host before the last byte of those lines has arrived, so an operation whose session
//!   broke earlier is safely done again. Later, only reads are repeated; for the rest the outcome is `Unreachable`:
//!   unknown.
//! - A command lives as long as somebody holds its session: the remote side kills its process group (SIGTERM, two
//!   seconds, SIGKILL) when its input ends, be it that the future was dropped, Lockgate was killed or the network broke.
//!   What made a session of its own (`setsid`) lives on.
//! - Unknown host keys are refused unless the user allows them; a changed one is always refused.
//!
//! Absent: passwords and other questions (`BatchMode`), files over 4 MiB, hosts without `exec` (`ForceCommand`).
//!
//! Limits: a command ends when its outputs are closed, so what it leaves running must not hold them (`>log 2>&1`). The
//! login shell's start-up files run at every operation; `doctor` shows what a round trip costs. sshd forwards without saying whether anything listens behind: `connect` to a port that nobody listens on
//! succeeds and then ends at once, which [`lockgate_ports::http::send`] reports as `Unreachable`. Unix sockets need
//! sshd's `AllowStreamLocalForwarding` (by default `yes`). When Lockgate is killed its master goes after ten idle minutes.

mod doctor;
mod host;
mod link;
mod options;
mod script;
mod session;
mod trouble;
mod worker;

pub use host::Ssh;
