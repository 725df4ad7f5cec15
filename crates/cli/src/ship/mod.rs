//! What `lockgate ship` needs besides the orchestrator: drivers, the CI system's word, and how its jobs are shown and kept.

mod ci;
mod deck;
mod logs;
mod tools;

pub use ci::pushed;
pub use deck::Deck;
pub use logs::Logs;
pub use tools::{builder, git, mask};
