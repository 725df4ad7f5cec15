//! One suite per port, passed by the fake and by every driver: `conformance::router::suite(&fixture).await`.
//!
//! A suite panics with what it wanted and saw. It asks only for what the port's documentation promises.

pub mod gate;
pub mod host;
pub mod lines;
pub mod own;
pub mod registry;
pub mod router;
pub mod runtime;
pub mod store;
pub mod upload;
