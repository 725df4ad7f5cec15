//! End to end.

mod a;
mod embedded;
mod fleet;
mod support;
mod trigger;
