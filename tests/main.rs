//! End to end.

mod a;
mod b;
mod embedded;
mod fleet;
mod support;
mod trigger;
