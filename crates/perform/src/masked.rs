//! A runtime whose words go into failures: the journal, the terminal and people's channels see no secret in them.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{Mask, Millis, OwnEnd, Release, Slot, Tag, Template};
use lockgate_ports::{
    Check, Command, Diagnosis, HostPorts, OneOffs, Output, OwnHealth, PortError, Runtime, RuntimeSlot,
    Variables,
};

/// Hides the secrets of a service in what its app wrote: log lines, what was found out about it, and the error of a
/// start, which may repeat what a program said.
struct Masked {
    runtime: Arc<dyn Runtime>,
    mask: Mask,
}

/// The same ports with a runtime that tells no secret, and with what hides them in what an app answers.
#[must_use]
pub fn masked(ports: &HostPorts, mask: &Mask) -> HostPorts {
    let runtime = Masked { runtime: ports.runtime.clone(), mask: mask.clone() };
    HostPorts { runtime: Arc::new(runtime), mask: mask.clone(), ..ports.clone() }
}

impl Masked {
    fn error(&self, error: PortError) -> PortError {
        error.map_texts(|text| self.mask.hide(text))
    }
}

#[async_trait]
impl Runtime for Masked {
    fn name(&self) -> &'static str {
        self.runtime.name()
    }

    async fn resolve(&self, tag: &Tag) -> Result<Release, PortError> {
        self.runtime.resolve(tag).await
    }

    async fn slots(&self) -> Result<Vec<RuntimeSlot>, PortError> {
        self.runtime.slots().await
    }

    async fn publishes(&self, address: SocketAddr) -> Result<Option<Slot>, PortError> {
        self.runtime.publishes(address).await
    }

    async fn conflicts(&self) -> Result<Vec<String>, PortError> {
        self.runtime.conflicts().await
    }

    async fn fetch(&self, release: &Release) -> Result<(), PortError> {
        self.runtime.fetch(release).await
    }

    async fn start(&self, slot: Slot, release: &Release) -> Result<(), PortError> {
        self.runtime.start(slot, release).await.map_err(|error| self.error(error))
    }

    fn has_environments(&self) -> bool {
        self.runtime.has_environments()
    }

    async fn environment(&self, slot: Slot) -> Result<Option<Variables>, PortError> {
        self.runtime.environment(slot).await
    }

    async fn todays_environment(&self, slot: Slot, release: &Release) -> Result<Variables, PortError> {
        self.runtime.todays_environment(slot, release).await.map_err(|error| self.error(error))
    }

    fn unknown_variables(&self) -> Vec<String> {
        self.runtime.unknown_variables()
    }

    async fn start_with(
        &self,
        slot: Slot,
        release: &Release,
        variables: &Variables,
    ) -> Result<(), PortError> {
        self.runtime.start_with(slot, release, variables).await.map_err(|error| self.error(error))
    }

    async fn stop(&self, slot: Slot, grace: Millis) -> Result<(), PortError> {
        self.runtime.stop(slot, grace).await
    }

    async fn logs(&self, slot: Slot, lines: u32) -> Result<Vec<String>, PortError> {
        self.runtime.logs(slot, lines).await.map(|lines| self.mask.hide_all(lines))
    }

    async fn diagnose(&self, slot: Slot, port: Option<u16>) -> Diagnosis {
        let Diagnosis { findings, said } = self.runtime.diagnose(slot, port).await;
        Diagnosis { findings: self.mask.hide_all(findings), said: self.mask.hide_all(said) }
    }

    async fn health(&self, slot: Slot) -> Result<OwnHealth, PortError> {
        self.runtime.health(slot).await
    }

    async fn end_of(&self, slot: Slot) -> Result<Option<OwnEnd>, PortError> {
        self.runtime.end_of(slot).await
    }

    async fn run_in(&self, slot: Slot, argv: &[Template], limit: Millis) -> Result<Output, PortError> {
        let output = self.runtime.run_in(slot, argv, limit).await.map_err(|error| self.error(error))?;
        let hide = |bytes: &[u8]| self.mask.hide(String::from_utf8_lossy(bytes).into_owned()).into_bytes();
        Ok(Output { code: output.code, stdout: hide(&output.stdout), stderr: hide(&output.stderr) })
    }

    async fn entering(&self, slot: Slot, argv: &[String], is_tty: bool) -> Result<Command, PortError> {
        self.runtime.entering(slot, argv, is_tty).await
    }

    async fn beside(
        &self,
        slot: Slot,
        release: &Release,
        argv: &[String],
        is_tty: bool,
    ) -> Result<Command, PortError> {
        self.runtime.beside(slot, release, argv, is_tty).await
    }

    /// What they write is masked by whoever tells it.
    fn one_offs(&self) -> Option<&dyn OneOffs> {
        self.runtime.one_offs()
    }

    async fn prune(&self, keep: &[Release]) -> Result<Vec<String>, PortError> {
        self.runtime.prune(keep).await
    }

    async fn check(&self) -> Vec<Check> {
        self.runtime.check().await
    }
}
