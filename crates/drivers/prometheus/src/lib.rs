#![doc = include_str!("../README.md")]

mod matrix;
mod range;

pub use range::Prometheus;
