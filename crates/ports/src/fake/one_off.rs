//! Programs that run once on a machine in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{FailureKind, Millis};
use tokio::time::Instant;

use crate::fake::ports::FakeRuntime;
use crate::fake::{Machine, What};
use crate::{Line, LineSink, OneOff, OneOffId, OneOffState, OneOffs, Pipe, PortError};

/// Between looks whether a program that is followed has ended.
const LOOK_MILLIS: u64 = 20;

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

    fn state(&mut self, id: OneOffId) -> Option<OneOffState> {
        self.look();
        self.there.get(&id)?;
        Some(self.done.get(&id).map_or(OneOffState::Runs, |code| OneOffState::Ended(*code)))
    }
}

impl Machine {
    fn begin_one_off(&mut self, id: OneOffId, image: &lockgate_model::Release) -> Result<(), PortError> {
        if !self.images.contains(&image.digest) {
            return Err(PortError::not_found(format!("the bytes of {image} are not on the host")));
        }
        if self.one_offs.there.contains_key(&id) {
            return Err(PortError::new(FailureKind::Conflict, "it is there already"));
        }
        self.one_offs.there.insert(id, Instant::now());
        *self.one_offs.begun.entry(id).or_default() += 1;
        Ok(())
    }
}

/// What calls about it are called: the moment and the run.
fn detail(id: OneOffId) -> String {
    format!("{} {}", id.moment, id.run)
}

#[async_trait]
impl OneOffs for FakeRuntime {
    async fn seen(&self) -> Result<Vec<(OneOffId, OneOffState)>, PortError> {
        let look = |machine: &mut Machine| {
            let ids: Vec<OneOffId> = machine.one_offs.there.keys().copied().collect();
            Ok(ids.into_iter().filter_map(|id| Some((id, machine.one_offs.state(id)?))).collect())
        };
        self.0.call(What::SeeOneOffs, "", look).await
    }

    async fn begin(&self, wanted: &OneOff<'_>) -> Result<(), PortError> {
        let (id, release) = (wanted.id, wanted.release.clone());
        self.0.call(What::BeginOneOff, detail(id), move |machine| machine.begin_one_off(id, &release)).await
    }

    async fn follow(&self, id: OneOffId, sink: &mut dyn LineSink) -> Result<(), PortError> {
        loop {
            let look = move |machine: &mut Machine| {
                let ended = !matches!(machine.one_offs.state(id), Some(OneOffState::Runs));
                Ok(ended.then(|| machine.one_offs.program.says.clone()))
            };
            if let Some(said) = self.0.call(What::SeeOneOffs, detail(id), look).await? {
                for text in said {
                    sink.line(Line { pipe: Pipe::Stdout, text, is_cut: false }).await;
                }
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
        }
    }

    async fn end(&self, id: OneOffId, _grace: Millis) -> Result<(), PortError> {
        let end = move |machine: &mut Machine| {
            machine.one_offs.look();
            machine.one_offs.there.remove(&id);
            Ok(())
        };
        self.0.call(What::EndOneOff, detail(id), end).await
    }
}
