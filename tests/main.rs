//! End to end.

mod embedded;
mod support;
