//! Programs that run once on a machine in memory.

use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{FailureKind, Millis};
use tokio::time::Instant;

use crate::fake::ports::FakeRuntime;
use crate::fake::{Machine, What};
use crate::{Line, LineSink, OneOff, OneOffId, OneOffState, OneOffs, Pipe, PortError};

/// Between looks whether a program that is followed has ended.
const LOOK_MILLIS: u64 = 20;

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
