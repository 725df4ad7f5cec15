#![doc = include_str!("../README.md")]

mod error;
mod inherit;
mod link;
mod lock;
mod successor;

pub use error::SocketsError;
pub use inherit::{Copies, Inherited, Listener};
pub use link::Link;
pub use lock::{Lock, open_lock, try_lock};
pub use successor::{Program, Successor};
