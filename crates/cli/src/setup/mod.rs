//! What `lockgate setup` needs to know: of hosts, what an environment wants there; of this machine with `--daemon`, units of
//! systemd for `lockgate serve`, and the file with their variables.

mod checks;
mod daemon;
mod files;
mod hidden;
mod hosts;
pub mod kept;
mod systemd;
mod unit;
mod variables;

pub use checks::checks;
pub use daemon::Daemon;
pub use files::{Change, Changes, Install};
pub use hidden::{hidden, refused, warning};
pub use hosts::HostsWant;
pub use systemd::Systemd;
pub use variables::Variables;
