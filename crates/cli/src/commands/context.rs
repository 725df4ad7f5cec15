//! What most commands start from: the project, its orchestrator, and which services and environment are meant.

use std::path::PathBuf;
use std::sync::Arc;

use lockgate_config::{Loaded, Purpose};
use lockgate_model::{Environment, HostId, Project, Requester, Service};
use lockgate_orchestrator::{Asked, InProcess, lookup};

use super::unset;
use crate::args::{Global, ShipJob, Skip};
use crate::error::CliError;
use crate::output::Output;
use crate::wiring::Wires;
use crate::{requester, tools, values};

pub struct Context<'a> {
    pub project: Arc<Project>,
    pub output: &'a Output,
    /// Of lockgate.yaml, absolute.
    pub path: PathBuf,
    pub wires: Arc<Wires>,
    environment: Option<String>,
}

impl<'a> Context<'a> {
    pub fn load(global: &Global, output: &'a Output) -> Result<Self, CliError> {
        Self::load_for(Purpose::Other, global, output)
    }

    pub fn load_for(purpose: Purpose, global: &Global, output: &'a Output) -> Result<Self, CliError> {
        Ok(Self::of(read(purpose, global)?, global, output))
    }

    /// For commands that start something: with the values of variables that come from files and programs.
    pub async fn load_whole(global: &Global, output: &'a Output) -> Result<Self, CliError> {
        Self::load_whole_for(Purpose::Other, global, output).await
    }

    /// As [`Context::load_whole`], for a purpose.
    pub async fn load_whole_for(
        purpose: Purpose,
        global: &Global,
        output: &'a Output,
    ) -> Result<Self, CliError> {
        let mut loaded = read(purpose, global)?;
        values::fill(&mut loaded.project).await?;
        Ok(Self::of(loaded, global, output))
    }

    /// For `ship`, or one job of it: what runs a test or a build is given no more secrets than that needs.
    pub async fn load_for_job(
        job: Option<ShipJob>,
        global: &Global,
        output: &'a Output,
    ) -> Result<Self, CliError> {
        let purpose = match job {
            None | Some(ShipJob::Deploy) => return Self::load_whole(global, output).await,
            Some(ShipJob::Test) => Purpose::Test,
            Some(ShipJob::Build) => Purpose::Build,
        };
        let mut loaded = read(purpose, global)?;
        values::fill_from_files(&mut loaded.project);
        Ok(Self::of(loaded, global, output))
    }

    /// For commands that can do without those values, as going back can, which starts what a release ran with. What could not
    /// be had is told, and nothing is started that would need it.
    pub async fn load_some(global: &Global, output: &'a Output) -> Result<Self, CliError> {
        let mut loaded = read(Purpose::Other, global)?;
        for failure in values::fill_some(&mut loaded.project).await {
            let hint = failure.hints.joined().map(|hint| format!(" ({hint})")).unwrap_or_default();
            output.say(&format!("going on without a value: {}{hint}", failure.message));
        }
        Ok(Self::of(loaded, global, output))
    }

    fn of(loaded: Loaded, global: &Global, output: &'a Output) -> Self {
        let Loaded { project, path } = loaded;
        let project = Arc::new(project);
        let wires = Arc::new(Wires::new(project.clone()));
        Self { project, output, path, wires, environment: global.env.clone() }
    }

    /// The environment asked for, else the only one that is deployed to.
    pub fn environment(&self) -> Result<&Environment, CliError> {
        Ok(lookup::environment(&self.project, self.environment.as_deref())?)
    }

    /// As [`Context::environment`], of those that are deployed to.
    pub fn deployable(&self) -> Result<&Environment, CliError> {
        Ok(lookup::deployable(&self.project, self.environment.as_deref())?)
    }

    /// What is asked for here, in words.
    pub fn asked(&self) -> Asked<'_> {
        Asked { project: &self.project, environment: self.environment.as_deref() }
    }

    /// The environment asked for, where one was.
    pub fn environment_asked(&self) -> Result<Option<&Environment>, CliError> {
        self.environment.is_some().then(|| self.environment()).transpose()
    }

    pub fn service(&self, name: &str) -> Result<&Service, CliError> {
        Ok(lookup::service(&self.project, name)?)
    }

    /// The service named, or all.
    pub fn services(&self, name: Option<&str>) -> Result<Vec<&Service>, CliError> {
        Ok(lookup::services(&self.project, name)?)
    }

    /// The hosts that are to be left out, as the environment names them.
    pub fn skipped(&self, skip: &Skip) -> Result<Vec<HostId>, CliError> {
        Ok(lookup::skipped(self.environment()?, skip.hosts.iter().map(String::as_str))?)
    }

    /// For commands that change something. People are told of it until the command is over.
    pub fn working(&self) -> InProcess {
        let orchestrator = tools::working(&self.project, self.wires.clone());
        self.output.also_tells(orchestrator.teller().clone());
        orchestrator
    }

    /// For commands that only look.
    pub fn looking(&self) -> InProcess {
        tools::looking(&self.project, self.wires.clone())
    }

    /// Who types.
    pub fn requester(&self) -> Requester {
        requester::here()
    }
}

fn read(purpose: Purpose, global: &Global) -> Result<Loaded, CliError> {
    let env = |name: &str| std::env::var(name).ok();
    if let Some(path) = &global.config {
        return lockgate_config::load_if(path, purpose, &env, |_, _| Ok::<(), CliError>(()))
            .map_err(|error| unset::explained(error, path));
    }
    let path = lockgate_config::find(&std::env::current_dir()?).ok_or_else(|| {
        CliError::usage(
            "there is no lockgate.yaml here or in a folder above",
            "`lockgate init` writes one; `-c FILE` names another",
        )
    })?;
    lockgate_config::load_if(&path, purpose, &env, crate::found_config::require)
        .map_err(|error| unset::explained(error, &path))
}
