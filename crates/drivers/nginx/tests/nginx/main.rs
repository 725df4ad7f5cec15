//! The driver against a real nginx.

mod app;
mod file;
mod lossless;
mod refusals;
mod reload;
mod support;
