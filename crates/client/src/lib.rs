#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod address;
mod delivery;
mod end;
mod exchange;
mod sse;
mod trigger;

pub use address::{Address, BadAddress};
pub use delivery::{Asked, Delivery};
pub use end::{End, NoAnswer};
pub use trigger::{Client, Clock, Heard, Options};
