//! The port: each call on the store's connection.

use async_trait::async_trait;
use lockgate_model::{
    AuditLink, AuditRecord, DeliveryAnswer, Digest, EnvironmentName, Observation, Presence, ProjectName,
    RunId, SeenLive, ServiceName, Tally, Timestamp, Verdict, WebhookDelivery,
};
use lockgate_ports::{AuditFilter, Batch, Kept, LookFilter, PortError, RecordFilter, Store};

use crate::error::to_port_error;
use crate::store::SqlStore;
use crate::{audit, deliveries, keep, observations, presence, verdicts};

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

    async fn keep(&self, batch: &Batch) -> Result<Kept, PortError> {
        match (batch.incoming.is_empty(), batch.answers.is_empty(), batch.entries.is_empty()) {
            (true, true, true) => Ok(Kept {
                received: Vec::new(),
                arrived: Vec::new(),
                answers: Vec::new(),
                entries: Vec::new(),
            }),
            _ => self
                .with(async |open| keep::keep(&mut open.connection, batch).await)
                .await
                .map_err(to_port_error),
        }
    }

    async fn unanswered(&self, project: &ProjectName, limit: u32) -> Result<Vec<WebhookDelivery>, PortError> {
        self.with(async |open| deliveries::unanswered(&mut open.connection, project, limit).await)
            .await
            .map_err(to_port_error)
    }

    async fn delivery_of(
        &self,
        project: &ProjectName,
        run: RunId,
    ) -> Result<Option<(WebhookDelivery, Option<DeliveryAnswer>)>, PortError> {
        self.with(async |open| deliveries::of_run(&mut open.connection, project, run).await)
            .await
            .map_err(to_port_error)
    }

    async fn made_live(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        environment: &EnvironmentName,
        digest: &Digest,
    ) -> Result<Option<WebhookDelivery>, PortError> {
        self.with(async |open| {
            deliveries::made_live(&mut open.connection, project, service, environment, digest).await
        })
        .await
        .map_err(to_port_error)
    }

    async fn settled_after(&self, project: &ProjectName, run: RunId) -> Result<Option<RunId>, PortError> {
        self.with(async |open| deliveries::settled_after(&mut open.connection, project, run).await)
            .await
            .map_err(to_port_error)
    }

    async fn forget_deliveries(&self, project: &ProjectName, before: Timestamp) -> Result<u64, PortError> {
        self.with(async |open| deliveries::forget(&mut open.connection, project, before).await)
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

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, PortError> {
        self.with(async |open| audit::list(&mut open.connection, filter).await).await.map_err(to_port_error)
    }

    async fn audit_links(&self, from: u64, limit: u32) -> Result<Vec<AuditLink>, PortError> {
        self.with(async |open| audit::links(&mut open.connection, from, limit).await)
            .await
            .map_err(to_port_error)
    }
}
