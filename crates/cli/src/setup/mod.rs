//! What `lockgate setup --daemon` installs: units of systemd for `lockgate serve`, and the file with their variables.

mod daemon;
mod files;
mod hidden;
pub mod kept;
mod systemd;
mod unit;
mod variables;

pub use daemon::Daemon;
pub use files::{Change, Changes, Install};
pub use hidden::{hidden, refused, warning};
pub use systemd::Systemd;
pub use variables::Variables;
