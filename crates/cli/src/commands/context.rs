//! What most commands start from: the project, and which services and environment are meant.

use std::path::PathBuf;
use std::sync::Arc;

use lockgate_config::Loaded;
use lockgate_engine::{EventSink, Interrupt};
use lockgate_model::{Environment, EnvironmentName, Event, HostId, Project, Service, ServiceName};
use lockgate_orchestrator::{Site, Tools};

use crate::args::{Global, Skip};
use crate::error::CliError;
use crate::output::Output;
use crate::wiring::{self, Hosts};
use crate::{sink::Screen, tools};

pub struct Context<'a> {
    pub project: Arc<Project>,
    pub output: &'a Output,
    /// Of lockgate.yaml, absolute.
    pub path: PathBuf,
    environment: Option<String>,
}

/// For commands that run nothing.
struct Deaf;

impl EventSink for Deaf {
    fn event(&self, _event: &Event) {}
}

impl<'a> Context<'a> {
    pub fn load(global: &Global, output: &'a Output) -> Result<Self, CliError> {
        let env = |name: &str| std::env::var(name).ok();
        let path = match &global.config {
            Some(path) => {
                let Loaded { project, path } = lockgate_config::load(path, &env)?;
                return Ok(Self {
                    project: Arc::new(project),
                    output,
                    path,
                    environment: global.env.clone(),
                });
            }
            None => lockgate_config::find(&std::env::current_dir()?).ok_or_else(|| {
                CliError::usage(
                    "there is no lockgate.yaml here or in a folder above",
                    "`lockgate init` writes one; `-c FILE` names another",
                )
            })?,
        };
        let Loaded { project, path } = lockgate_config::load_if(&path, &env, crate::safe::require)?;
        Ok(Self { project: Arc::new(project), output, path, environment: global.env.clone() })
    }

    /// The environment asked for, else the only one that is deployed to.
    pub fn environment(&self) -> Result<&Environment, CliError> {
        if let Some(asked) = &self.environment {
            let found =
                EnvironmentName::new(asked.as_str()).ok().and_then(|name| self.project.environment(&name));
            return found.ok_or_else(|| {
                let all: Vec<&Environment> = self.project.environments.iter().collect();
                CliError::usage(
                    format!("there is no environment {asked:?}"),
                    format!("there are: {}", names(&all)),
                )
            });
        }
        match self.deployed().as_slice() {
            [only] => Ok(only),
            [] => Err(CliError::usage(
                "no environment has hosts to deploy to",
                "give one `hosts`, or a `runtime`",
            )),
            several => Err(CliError::usage(
                "several environments can be deployed to",
                format!("choose one with --env: {}", names(several)),
            )),
        }
    }

    /// The environment asked for, where one was.
    pub fn environment_asked(&self) -> Result<Option<&Environment>, CliError> {
        self.environment.is_some().then(|| self.environment()).transpose()
    }

    pub fn service(&self, name: &str) -> Result<&Service, CliError> {
        let found = ServiceName::new(name).ok().and_then(|name| self.project.services.get(&name));
        found.ok_or_else(|| {
            let names: Vec<String> = self.project.services.keys().map(ToString::to_string).collect();
            CliError::usage(
                format!("there is no service {name:?}"),
                format!("there are: {}", names.join(", ")),
            )
        })
    }

    /// The service named, or all.
    pub fn services(&self, name: Option<&str>) -> Result<Vec<&Service>, CliError> {
        match name {
            Some(name) => Ok(vec![self.service(name)?]),
            None => Ok(self.project.services.values().collect()),
        }
    }

    /// For commands that change what is live: an environment without hosts is only looked at.
    pub fn require_deployable(&self) -> Result<(), CliError> {
        let environment = self.environment()?;
        if environment.slots().is_none() {
            return Err(CliError::usage(
                format!("environment {} is only checked, never deployed to", environment.name),
                match self.deployed().as_slice() {
                    [] => "give it `hosts`, or a `runtime`".to_owned(),
                    others => format!("choose one with --env: {}", names(others)),
                },
            ));
        }
        Ok(())
    }

    fn deployed(&self) -> Vec<&Environment> {
        self.project.environments.iter().filter(|one| one.slots().is_some()).collect()
    }

    pub fn site(&self, service: &Service, hosts: &mut Hosts) -> Result<Site, CliError> {
        wiring::site(&self.project, service, self.environment()?, hosts)
    }

    /// The hosts that are to be left out, as the environment names them.
    ///
    /// # Errors
    /// A usage error for one that it does not have, and where none would be left.
    pub fn skipped(&self, skip: &Skip) -> Result<Vec<HostId>, CliError> {
        let environment = self.environment()?;
        let hosts = environment.hosts();
        let listed = |hosts: &[HostId]| hosts.iter().map(HostId::as_str).collect::<Vec<_>>().join(", ");
        let there_are = || format!("there are: {}", listed(hosts));
        let mut skipped: Vec<HostId> = Vec::new();
        for name in &skip.hosts {
            let host = hosts.iter().find(|host| host.as_str() == name).ok_or_else(|| {
                CliError::usage(
                    format!("{} has no host {name:?} that could be left out", environment.name),
                    there_are(),
                )
            })?;
            if !skipped.contains(host) {
                skipped.push(host.clone());
            }
        }
        if !hosts.is_empty() && skipped.len() == hosts.len() {
            let message = format!("without {} no host of {} is left", listed(&skipped), environment.name);
            return Err(CliError::usage(message, there_are()));
        }
        Ok(skipped)
    }

    pub fn tools(&self, screen: &Arc<Screen>, interrupt: Interrupt) -> Tools {
        tools::writing(&self.project, screen.clone(), interrupt)
    }

    /// For commands that only look.
    pub fn looking(&self) -> Tools {
        tools::looking(&self.project, Arc::new(Deaf))
    }
}

fn names(environments: &[&Environment]) -> String {
    environments.iter().map(|environment| environment.name.to_string()).collect::<Vec<_>>().join(", ")
}
