//! What a machine in memory knows of programs that run once.

use std::collections::BTreeMap;

use lockgate_model::Millis;
use tokio::time::Instant;

use crate::{OneOffId, OneOffState};

/// How every program that is run once behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// From its beginning to its end.
    pub takes: Millis,
    /// What it ends with.
    pub code: i32,
    /// What it writes before it ends, line by line.
    pub says: Vec<String>,
}

/// What a machine knows of them.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    /// How they behave.
    pub program: Program,
    /// Those that are there, with when they began.
    pub there: BTreeMap<OneOffId, Instant>,
    /// How often each has begun, also those that are gone.
    pub begun: BTreeMap<OneOffId, u32>,
    /// Those that came to their end by themselves.
    pub done: BTreeMap<OneOffId, i32>,
}

impl Programs {
    /// Notes which have come to their end by now.
    pub fn look(&mut self) {
        let (now, takes) = (Instant::now(), self.program.takes.duration());
        for (id, _) in self.there.iter().filter(|(_, since)| **since + takes <= now) {
            self.done.insert(*id, self.program.code);
        }
    }

    /// They go with their machine.
    pub fn lose_all(&mut self) {
        self.look();
        self.there.clear();
    }

    /// `None` where it is not there.
    pub(super) fn state(&mut self, id: OneOffId) -> Option<OneOffState> {
        self.look();
        self.there.get(&id)?;
        Some(self.done.get(&id).map_or(OneOffState::Runs, |code| OneOffState::Ended(*code)))
    }
}
