//! The port `Runtime`: each method handed to the file that does it.

use std::net::SocketAddr;

use async_trait::async_trait;
use lockgate_model::{Health, Millis, OwnEnd, Release, Slot, Tag, Template};
use lockgate_ports::{
    Check, Command, Diagnosis, OneOffs, Output, OwnHealth, PortError, Runtime, RuntimeSlot, Variables,
};

use crate::compose::Compose;

#[async_trait]
impl Runtime for Compose {
    fn name(&self) -> &'static str {
        "compose"
    }

    async fn resolve(&self, tag: &Tag) -> Result<Release, PortError> {
        self.resolve_tag(tag).await
    }

    async fn slots(&self) -> Result<Vec<RuntimeSlot>, PortError> {
        self.look_at_slots().await
    }

    async fn publishes(&self, address: SocketAddr) -> Result<Option<Slot>, PortError> {
        self.published_by(address).await
    }

    async fn conflicts(&self) -> Result<Vec<String>, PortError> {
        let (conflicts, cli) = tokio::join!(self.find_new_conflicts(), self.cli_for_later());
        if let Err(error) = cli {
            tracing::debug!(%error, "whoever starts something is told why there is no Compose");
        }
        conflicts
    }

    async fn fetch(&self, release: &Release) -> Result<(), PortError> {
        self.fetch_image(release).await?;
        match &self.service.health {
            Health::Docker(_) => self.demand_healthcheck(release).await,
            Health::Http(_) | Health::Command(_) => Ok(()),
        }
    }

    async fn start(&self, slot: Slot, release: &Release) -> Result<(), PortError> {
        self.start_slot(slot, release, None).await
    }

    fn has_environments(&self) -> bool {
        true
    }

    async fn environment(&self, slot: Slot) -> Result<Option<Variables>, PortError> {
        self.environment_in(slot).await
    }

    async fn todays_environment(&self, slot: Slot, release: &Release) -> Result<Variables, PortError> {
        self.environment_today(slot, release).await
    }

    fn unknown_variables(&self) -> Vec<String> {
        self.service.env_from.keys().cloned().collect()
    }

    async fn start_with(
        &self,
        slot: Slot,
        release: &Release,
        variables: &Variables,
    ) -> Result<(), PortError> {
        self.start_slot(slot, release, Some(variables)).await
    }

    async fn stop(&self, slot: Slot, grace: Millis) -> Result<(), PortError> {
        self.stop_slot(slot, grace).await
    }

    async fn logs(&self, slot: Slot, lines: u32) -> Result<Vec<String>, PortError> {
        self.read_logs(slot, lines).await
    }

    async fn diagnose(&self, slot: Slot, port: Option<u16>) -> Diagnosis {
        self.find_reasons(slot, port).await
    }

    async fn health(&self, slot: Slot) -> Result<OwnHealth, PortError> {
        self.health_of(slot).await
    }

    async fn end_of(&self, slot: Slot) -> Result<Option<OwnEnd>, PortError> {
        self.look_at_end(slot).await
    }

    async fn run_in(&self, slot: Slot, argv: &[Template], limit: Millis) -> Result<Output, PortError> {
        self.exec_in(slot, argv, limit).await
    }

    async fn entering(&self, slot: Slot, argv: &[String], is_tty: bool) -> Result<Command, PortError> {
        self.enter(slot, argv, is_tty).await
    }

    async fn beside(
        &self,
        slot: Slot,
        release: &Release,
        argv: &[String],
        is_tty: bool,
    ) -> Result<Command, PortError> {
        self.enter_new(slot, release, argv, is_tty).await
    }

    fn one_offs(&self) -> Option<&dyn OneOffs> {
        Some(self)
    }

    async fn prune(&self, keep: &[Release]) -> Result<Vec<String>, PortError> {
        self.prune_images(keep).await
    }

    async fn check(&self) -> Vec<Check> {
        self.check_all().await
    }
}
