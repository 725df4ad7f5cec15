//! The port, by a program.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{BuildTool, Digest, FailureKind, RegistryHost, RegistryLogin, Repository};
use lockgate_ports::{Builder, Building, Command, Ended, Host, LineSink, PortError};

use crate::login::LoginFolder;
use crate::{arguments, refusal};

/// What a [`BuildCli`] needs.
pub struct BuildOptions {
    /// With which program.
    pub tool: BuildTool,
    /// This machine.
    pub host: Arc<dyn Host>,
    /// Logins of the configuration (`registries:`); others are Docker's own.
    pub logins: BTreeMap<RegistryHost, RegistryLogin>,
    /// The folder of Docker's `config.json`; `None`: `$DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<String>,
}

/// [`Builder`] by the program that is installed.
pub struct BuildCli {
    options: BuildOptions,
}

impl BuildCli {
    #[must_use]
    pub fn new(options: BuildOptions) -> Self {
        Self { options }
    }

    async fn run(
        &self,
        what: &Building,
        command: Command,
        sink: &mut dyn LineSink,
    ) -> Result<Ended, PortError> {
        let BuildOptions { host, logins, docker_config, .. } = &self.options;
        let repository = Repository::new(what.image.clone()).ok();
        let login = repository.as_ref().and_then(|repository| logins.get_key_value(repository.registry()));
        // Until the program has ended.
        let folder = match login {
            Some((registry, login)) => {
                Some(LoginFolder::make(host.as_ref(), docker_config.as_deref(), registry, login).await?)
            }
            None => None,
        };
        let own = docker_config.clone();
        let config = folder.as_ref().map(LoginFolder::path).transpose()?.or(own);
        let command = match config {
            Some(folder) => command.env("DOCKER_CONFIG", folder),
            None => command,
        };
        host.exec_lines(&command, sink).await
    }
}

#[async_trait]
impl Builder for BuildCli {
    fn name(&self) -> &'static str {
        self.options.tool.as_str()
    }

    fn pushes_as_it_builds(&self) -> bool {
        match self.options.tool {
            BuildTool::Docker => false,
            BuildTool::Buildx | BuildTool::Depot => true,
        }
    }

    async fn build(&self, what: &Building, sink: &mut dyn LineSink) -> Result<Option<Digest>, PortError> {
        let command = arguments::build(self.options.tool, what);
        let ended = self.run(what, command, sink).await.map_err(|error| missing(error, self.name()))?;
        if ended.ok() { Ok(None) } else { Err(refusal::of(self.name(), "build", what, &ended)) }
    }

    async fn push(&self, what: &Building, sink: &mut dyn LineSink) -> Result<Option<Digest>, PortError> {
        if self.pushes_as_it_builds() {
            return Ok(None);
        }
        let ended = self.run(what, arguments::push(what), sink).await?;
        match ended.ok() {
            true => Ok(refusal::pushed_digest(what, &ended)),
            false => Err(refusal::of(self.name(), "push", what, &ended)),
        }
    }
}

fn missing(error: PortError, tool: &str) -> PortError {
    match error.kind {
        FailureKind::NotFound => error.hint(format!("or build with another program than `with: {tool}`")),
        _ => error,
    }
}
