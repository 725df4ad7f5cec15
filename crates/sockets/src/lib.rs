#![doc = include_str!("../README.md")]

mod descriptors;
mod error;
mod inherit;
mod link;
mod lock;
mod successor;

pub use descriptors::raise_descriptor_limit;
pub use error::SocketsError;
pub use inherit::{Copies, Inherited, Listener, forget_variables};
pub use link::Link;
pub use lock::{Lock, open_lock, signature, try_lock};
pub use successor::{Program, Successor};
