//! The port: each call on the store's connection.

use async_trait::async_trait;
use lockgate_model::{
    AuditEntry, AuditRecord, DeliveryAnswer, DeliveryId, EnvironmentName, Observation, Presence, ProjectName,
    Received, SeenLive, ServiceName, Tally, Timestamp, Verdict, WebhookDelivery,
};
use lockgate_ports::{AuditFilter, LookFilter, PortError, RecordFilter, Store};

use crate::error::to_port_error;
use crate::store::SqlStore;
use crate::{audit, deliveries, observations, presence, verdicts};

#[async_trait]
impl Store for SqlStore {
    fn place(&self) -> String {
        self.database.place()
    }

    async fn look(&self) -> Result<(), PortError> {
        self.database.look().await.map_err(to_port_error)
    }

    async fn add_verdict(&self, verdict: &Verdict) -> Result<(), PortError> {
        self.with(async |open| verdicts::add(&mut open.connection, verdict).await)
            .await
            .map_err(to_port_error)
    }

    async fn verdicts(&self, filter: &RecordFilter) -> Result<Vec<Verdict>, PortError> {
        self.with(async |open| verdicts::list(&mut open.connection, filter).await)
            .await
            .map_err(to_port_error)
    }

    async fn saw_live(&self, seen: &SeenLive) -> Result<(), PortError> {
        self.with(async |open| presence::saw_live(&mut open.connection, seen).await)
            .await
            .map_err(to_port_error)
    }

    async fn saw_nothing_live(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        environment: &EnvironmentName,
        at: Timestamp,
    ) -> Result<(), PortError> {
        self.with(async |open| {
            presence::saw_nothing_live(&mut open.connection, project, service, environment, at).await
        })
        .await
        .map_err(to_port_error)
    }

    async fn presence(&self, filter: &RecordFilter) -> Result<Vec<Presence>, PortError> {
        self.with(async |open| presence::list(&mut open.connection, filter).await)
            .await
            .map_err(to_port_error)
    }

    async fn observe(&self, looks: &[Observation]) -> Result<(), PortError> {
        match looks {
            [] => Ok(()),
            _ => self
                .with(async |open| observations::add(&mut open.connection, looks).await)
                .await
                .map_err(to_port_error),
        }
    }

    async fn observations(&self, filter: &LookFilter, limit: u32) -> Result<Vec<Observation>, PortError> {
        self.with(async |open| observations::list(&mut open.connection, filter, limit).await)
            .await
            .map_err(to_port_error)
    }

    async fn tally(&self, filter: &LookFilter) -> Result<Tally, PortError> {
        self.with(async |open| observations::tally(&mut open.connection, filter).await)
            .await
            .map_err(to_port_error)
    }

    async fn forget_observations(&self, project: &ProjectName, before: Timestamp) -> Result<u64, PortError> {
        self.with(async |open| observations::forget(&mut open.connection, project, before).await)
            .await
            .map_err(to_port_error)
    }

    async fn receive(&self, delivery: &WebhookDelivery) -> Result<Received, PortError> {
        self.with(async |open| deliveries::receive(&mut open.connection, delivery).await)
            .await
            .map_err(to_port_error)
    }

    async fn answer(
        &self,
        project: &ProjectName,
        endpoint: &str,
        id: &DeliveryId,
        answer: &DeliveryAnswer,
    ) -> Result<DeliveryAnswer, PortError> {
        self.with(async |open| deliveries::answer(&mut open.connection, project, endpoint, id, answer).await)
            .await
            .map_err(to_port_error)
    }

    async fn deliveries(
        &self,
        project: &ProjectName,
        limit: u32,
    ) -> Result<Vec<(WebhookDelivery, Option<DeliveryAnswer>)>, PortError> {
        self.with(async |open| deliveries::list(&mut open.connection, project, limit).await)
            .await
            .map_err(to_port_error)
    }

    async fn note(&self, entry: &AuditEntry) -> Result<u64, PortError> {
        self.with(async |open| audit::add(&mut open.connection, entry).await).await.map_err(to_port_error)
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, PortError> {
        self.with(async |open| audit::list(&mut open.connection, filter).await).await.map_err(to_port_error)
    }
}
