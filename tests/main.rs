//! End to end.

mod a;
mod b;
mod c;
mod embedded;
mod fleet;
mod serve;
mod setup;
mod support;
mod trigger;
