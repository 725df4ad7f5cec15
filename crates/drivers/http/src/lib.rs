#![doc = include_str!("../README.md")]

mod error;
mod prober;

pub use prober::HttpProber;
