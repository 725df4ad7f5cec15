//! Caddy with the switch that is configured, or the one that its own configuration is made for.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{CaddySwitch, Slot, Split};
use lockgate_ports::{
    Check, Endpoint, InFlight, PortError, Request, Route, RouteVersion, Router, RouterAnswer, Tried, Upstream,
};
use tokio::sync::OnceCell;

use crate::caddy::Caddy;
use crate::file_switch::{FileOptions, FileSwitch};
use crate::{CaddyOptions, file_switch};

/// One service's route in one Caddy: switched by `active_color` where Caddy goes by it, else through the admin API.
pub struct EitherSwitch {
    admin: Arc<Caddy>,
    file: FileSwitch,
    /// Once it is known. Who exchanges Caddy's configuration for one of the other kind meanwhile gets a refusal from
    /// whichever was chosen, never a switch that does nothing.
    chosen: OnceCell<CaddySwitch>,
}

impl EitherSwitch {
    /// Takes what it is told; connects to nothing.
    ///
    /// # Errors
    /// As [`Caddy::new`].
    pub fn new(options: CaddyOptions, file: FileOptions) -> Result<EitherSwitch, PortError> {
        let admin = Arc::new(Caddy::new(options)?);
        let chosen = OnceCell::new_with(file.switch);
        Ok(EitherSwitch { file: FileSwitch::new(admin.clone(), file), admin, chosen })
    }

    /// The file where Caddy's configuration goes by it. Where that cannot be read the admin API says why it does not answer,
    /// and nothing is settled.
    async fn chosen(&self) -> Result<&dyn Router, PortError> {
        let found = match self.chosen.get() {
            Some(known) => Some(*known),
            None => self.file.is_found().await?.map(|found| match found {
                true => CaddySwitch::File,
                false => CaddySwitch::Admin,
            }),
        };
        if let Some(found) = found {
            // Two that look at once find the same.
            let _ = self.chosen.set(found);
        }
        Ok(match found {
            Some(CaddySwitch::File) => &self.file,
            Some(CaddySwitch::Admin) | None => self.admin.as_ref(),
        })
    }
}

#[async_trait]
impl Router for EitherSwitch {
    fn name(&self) -> &'static str {
        self.admin.name()
    }

    async fn route(&self) -> Result<Route, PortError> {
        self.chosen().await?.route().await
    }

    async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError> {
        self.chosen().await?.set(to, expected).await
    }

    async fn try_out(&self, to: &Upstream, request: &Request) -> Result<Tried, PortError> {
        self.chosen().await?.try_out(to, request).await
    }

    async fn withdraw(&self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError> {
        self.chosen().await?.withdraw(dial, expected).await
    }

    /// An error where it cannot be told: who wrote the file then might switch the traffic.
    async fn goes_by_active_color(&self) -> Result<bool, PortError> {
        let chosen = self.chosen().await?;
        if self.chosen.get().is_none() {
            // Says why it cannot be asked.
            chosen.route().await?;
        }
        chosen.goes_by_active_color().await
    }

    async fn in_force(&self, slot: Slot) -> Result<(), PortError> {
        self.chosen().await?.in_force(slot).await
    }

    async fn remarks(&self) -> Vec<String> {
        match self.chosen().await {
            Ok(chosen) => chosen.remarks().await,
            // The route says why.
            Err(_) => Vec::new(),
        }
    }

    async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError> {
        self.chosen().await?.in_flight(slot).await
    }

    async fn in_flight_at(&self, slot: Slot, endpoint: Option<&Endpoint>) -> Result<InFlight, PortError> {
        self.chosen().await?.in_flight_at(slot, endpoint).await
    }

    async fn ask(&self, request: &Request) -> Result<RouterAnswer, PortError> {
        self.chosen().await?.ask(request).await
    }

    async fn check(&self) -> Vec<Check> {
        let chosen = match self.chosen().await {
            Ok(chosen) => chosen,
            Err(_) => self.admin.as_ref(),
        };
        let mut checks = chosen.check().await;
        if self.chosen.get() == Some(&CaddySwitch::Admin) {
            checks.extend(file_switch::recommended(&self.file).await);
        }
        checks
    }
}
