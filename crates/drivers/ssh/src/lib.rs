//! A machine reached over SSH: the [`Host`](lockgate_ports::Host) port through the user's own `ssh`, with its
//! configuration, agent, jump hosts and known hosts.
//!
//! One master connection a host, opened when first needed and again when it broke; every
//! [`Host::connect`](lockgate_ports::Host::connect) is a socket forwarded through it. All else is asked of *workers*: a
//! worker is one session in which a small `sh` loop runs one script after the other, so that sshd's fork, the login
//! shell and its start-up files are paid for once and not at every operation. A connection has as many workers as there
//! were operations at once (at most 8), mostly one or two.
//!
//! Wanted on the other side: a POSIX `sh`, the usual small programs (`cat`, `date`, `df`, `head`, `id`, `ls`, `mkdir`,
//! `mv`, `rm`, `sha256sum`, `sync`, `wc`) and `flock`, for uploads also `dd`, `tail` and `tr`; GNU's or busybox's. With `setsid` a worker can be asked on after a command,
//! without it every command costs a session. The login shell does not matter, nor does what its start-up files say.
//!
//! Invariants:
//! - The remote command line is one constant ([`script`]). Scripts, paths, arguments and environment go through standard
//!   input, the latter quoted in one place ([`script::quote`]), so no shell reads them as anything else and no process
//!   list shows them.
//! - Nothing happens on the host before the last byte of a request's line has arrived, and the line of an operation that
//!   changes something is sent only to a worker that has just said that it lives. So an operation whose session broke
//!   earlier is safely done again. Later, only reads are repeated; for the rest the outcome is `Unreachable`: unknown.
//! - A worker whose operation was dropped, timed out or broke is never asked again.
//! - A command lives as long as somebody holds its worker: the remote side kills its process group (SIGTERM, two
//!   seconds, SIGKILL) when the worker's input ends, be it that the future was dropped, Lockgate was killed or the
//!   network broke. What made a session of its own (`setsid`) lives on, and so does what an earlier command left
//!   running.
//! - Unknown host keys are refused unless the user allows them; a changed one is always refused.
//!
//! - What takes long has a session to itself ([`own_session`]): a command whose lines are told, and a file of any length.
//!
//! Absent: passwords and other questions (`BatchMode`), hosts without `exec` (`ForceCommand`).
//!
//! Limits: a command ends when its outputs are closed, so what it leaves running must not hold them (`>log 2>&1`). sshd
//! forwards without saying whether anything listens behind: `connect` to a port that nobody listens on succeeds and then
//! ends at once, which [`lockgate_ports::http::send`] reports as `Unreachable`. Unix sockets need sshd's
//! `AllowStreamLocalForwarding` (by default `yes`). A master is ended with its connection, also while a
//! login shell there answers nothing. When Lockgate is killed its master goes after 15 idle seconds, and its folder, with
//! a master that still has a session, when the same user next connects anywhere.

mod doctor;
mod folder;
mod host;
mod lines;
mod link;
mod master;
mod options;
mod own_session;
mod pool;
mod script;
mod session;
mod trouble;
mod upload;
mod worker;

pub use host::Ssh;
pub use master::end_masters;
