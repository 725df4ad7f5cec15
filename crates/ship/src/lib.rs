#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod asked;
mod changes;
mod image_job;
mod live;
mod ship;
mod test_job;
mod voice;
mod watched;

pub use asked::{Asked, Parts, PushRange, Ready, Shipped, Stopped};
pub use ship::ship;
pub use voice::Voice;
