//! A modelled world with faults that drives the real plan, engine, perform and orchestrator, from one seed.
//!
//! A [`Story`] is a fleet of fakes (`lockgate_ports::fake`) and a few commands on it, each with its bad day: crashes
//! before and after every effect and journal entry, calls that fail, lose their answer or happen late, hosts and
//! routers that go away, apps that die, clocks that jump, orchestrators that fall asleep and wake up replaced.
//! [`tell`] plays it on tokio's paused clock. After every effect the [`World`] checks P1 (the router points at a
//! healthy running slot), P2 (no slot is stopped under its requests) and fencing; at every run's end P3, P8 and P9 (a bad release is rejected); at
//! the end of the story P4: a plain `resume` and a plain `deploy`, from any machine, bring everything in order.
//!
//! What the model allows, for no client could prevent it, is *excused*: an app that dies by itself or is killed behind
//! our back, a route changed behind our back (until the next switch), and one effect that was under way when its
//! orchestrator was replaced, where it is a late one (its connection was gone before). A late command that would hit
//! the slot which has the traffic by then is left out. Pauses happen where a future waits, which is where a program
//! that is stopped and continued can be told from one that is not.
//!
//! When a host's clock jumps forward, a lease that is alive expires, so for one lease's life its holder may not know that
//! it was replaced; that is excused too.
//!
//! Everything comes from the seed: the same seed plays the same story, event by event.

mod actor;
mod fleet;
mod gone;
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

pub use actor::{BadDay, Event, FaultMode, Mutation};
pub use gone::lose_a_host_everywhere;
pub use power::lose_power_everywhere;
pub use random::Random;
pub use scene::{Beside, Initial, Scene};
pub use story::{Command, Story, Turn};
pub use systematic::{Finding, crash_everywhere, fail_everywhere};
pub use telling::{Told, play, tell};
pub use world::{Tally, World};
