#![doc = include_str!("../README.md")]

mod actor;
mod bad_day;
mod calls;
mod daemon;
mod fleet;
mod gone;
mod hooks;
mod intents;
mod journal;
mod lock;
mod power;
mod random;
mod release_lists;
mod scene;
mod sessions;
mod story;
mod systematic;
mod telling;
mod world;

pub use actor::Mutation;
pub use bad_day::{BadDay, Event, FaultMode};
pub use calls::{CallsTally, CallsTold, tell_of_calls, tell_of_calls_and_a_lie};
pub use gone::lose_a_host_everywhere;
pub use power::lose_power_everywhere;
pub use random::Random;
pub use scene::{Beside, Initial, Scene, hook};
pub use story::{Command, Story, Turn};
pub use systematic::{Finding, crash_everywhere, fail_everywhere};
pub use telling::{Told, play, tell};
pub use world::{Tally, World};
