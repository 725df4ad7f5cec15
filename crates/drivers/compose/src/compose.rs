//! The runtime itself: what it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use lockgate_model::{ComposeRuntime, EnvironmentName, ProjectName, Service, Slot};
use lockgate_ports::{Host, Occupants, PortError};

use crate::cli::Cli;
use crate::engine::Engine;
use crate::engine_address::Locator;
use crate::found_cli::ComposeCli;

/// What a [`Compose`] is for: one service in one environment on one host.
pub struct ComposeOptions {
    pub host: Arc<dyn Host>,
    pub project: ProjectName,
    pub environment: EnvironmentName,
    pub service: Service,
    /// What its strategy uses: blue and green, or one.
    pub slots: &'static [Slot],
    pub runtime: ComposeRuntime,
    /// Free space wanted in Docker's data folder before an image is pulled, in MiB.
    pub disk_free_mib: u64,
}

/// Runs slots with Docker Compose. Cheap to make: nothing is looked at before the first call.
pub struct Compose {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) project: ProjectName,
    pub(crate) environment: EnvironmentName,
    pub(crate) service: Service,
    pub(crate) slots: &'static [Slot],
    pub(crate) runtime: ComposeRuntime,
    pub(crate) disk_free_mib: u64,
    pub(crate) engine: Engine,
    pub(crate) cli: Cli,
    /// By which name the router finds a slot, where it finds them by name.
    pub(crate) dialled: BTreeMap<Slot, String>,
    /// The router that cannot do with several containers in a slot.
    pub(crate) unbalanced: Option<&'static str>,
    /// Where the service's router listens on the host.
    pub(crate) proxied: Option<SocketAddr>,
    /// Who else of Lockgate's may have a port of the host.
    pub(crate) occupants: Option<Arc<dyn Occupants>>,
    pub(crate) locator: Arc<Locator>,
}

impl Compose {
    #[must_use]
    pub fn new(options: ComposeOptions) -> Self {
        let ComposeOptions { host, project, environment, service, slots, runtime, disk_free_mib } = options;
        let locator = Arc::new(Locator::new(host.clone(), runtime.docker_host.clone(), None));
        let engine = Engine::new(locator.clone());
        let cli = Cli::new(locator.clone(), None);
        let dialled = BTreeMap::new();
        Self {
            host,
            project,
            environment,
            service,
            slots,
            runtime,
            disk_free_mib,
            engine,
            cli,
            dialled,
            unbalanced: None,
            proxied: None,
            occupants: None,
            locator,
        }
    }

    /// The names of containers that `router.caddy.dial` comes to. Without, the router needs none of a slot.
    #[must_use]
    pub fn dialled(mut self, names: BTreeMap<Slot, String>) -> Self {
        self.dialled = names;
        self
    }

    /// The router that cannot send requests to each of several containers of a slot, by name; without, any number is fine.
    #[must_use]
    pub fn unbalanced(mut self, router: Option<&'static str>) -> Self {
        self.unbalanced = router;
        self
    }

    /// Where the service's router listens on the host: no slot may publish that. Without, there is none, or it is another's.
    #[must_use]
    pub fn proxied(mut self, listen: Option<SocketAddr>) -> Self {
        self.proxied = listen;
        self
    }

    /// Whom to ask who of Lockgate's own has a port that a slot publishes. Without, whoever has it is another program.
    #[must_use]
    pub fn occupants(mut self, occupants: Arc<dyn Occupants>) -> Self {
        self.occupants = Some(occupants);
        self
    }

    /// Uses this Compose and no other; without, the v2 plugin is preferred.
    #[must_use]
    pub fn compose_cli(mut self, cli: ComposeCli) -> Self {
        self.cli.wanted = Some(cli);
        self
    }

    /// The folder on the host with Docker's `config.json`; without, `$DOCKER_CONFIG` or `~/.docker`.
    #[must_use]
    pub fn docker_config(mut self, folder: impl Into<String>) -> Self {
        let key = self.locator.key.clone();
        self.locator = Arc::new(Locator::new(self.host.clone(), key, Some(folder.into())));
        self.engine = Engine::new(self.locator.clone());
        self.cli = Cli::new(self.locator.clone(), self.cli.wanted);
        self
    }

    pub(crate) async fn docker_config_folder(&self) -> Result<&str, PortError> {
        self.locator.config_folder().await
    }

    pub(crate) fn repository(&self) -> Result<&str, PortError> {
        self.service.image.as_deref().ok_or_else(|| {
            PortError::not_found(format!("service {} has no image", self.service.name))
                .hint(format!("set `services.{}.image` in lockgate.yaml", self.service.name))
        })
    }
}
