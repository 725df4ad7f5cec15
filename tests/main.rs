//! End to end.

mod a;
mod embedded;
mod support;
