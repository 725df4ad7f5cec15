//! An orchestrator that does what a script says, for tests of what stands before one.

mod script;
mod scripted;

pub use script::Ending;
pub use scripted::Scripted;
