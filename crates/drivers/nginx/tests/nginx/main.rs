//! The driver against a real nginx.

mod app;
mod container;
mod file;
mod hosts;
mod lossless;
mod refusals;
mod reload;
mod support;
