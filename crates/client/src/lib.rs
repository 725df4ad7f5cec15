#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod address;
mod alive;
mod delivery;
mod end;
mod exchange;
mod scheme;
mod sse;
mod trigger;
mod trust;

pub use address::{Address, BadAddress};
pub use alive::{Found, who_is_at};
pub use delivery::{Asked, Delivery};
pub use end::{End, NoAnswer};
pub use trigger::{Client, Clock, Heard, Options};
