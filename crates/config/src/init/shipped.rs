//! What of a configuration is shipped from CI: system C. The file is read as it is written, for its variables are not set where a
//! workflow is made.

use lockgate_model::{EnvironmentName, HostId, InvalidName, ServiceName};

use super::variables::{self, About, Form, Variable, Variables};
use super::{given, push_paths};
use crate::at::{At, Either};
use crate::error::ConfigError;
use crate::interpolate::references;
use crate::{quantity, raw, tree};

/// Services that can be built, and where to.
#[derive(Debug)]
pub struct Shipped {
    file: raw::File,
    variables_of: VariablesOf,
    services: Vec<ServiceName>,
    /// Those with hosts that are not this machine.
    environments: Vec<EnvironmentName>,
}

/// Of the services that are shipped, each one's.
type VariablesOf = Vec<(ServiceName, Variables)>;

/// One service, and where it is shipped to.
#[derive(Debug, Clone)]
pub struct ShippedService {
    pub service: ServiceName,
    pub environment: EnvironmentName,
    /// Others have an image, too: its name has to be said to `ship`.
    pub is_one_of_several: bool,
    /// As for services.
    pub has_other_environments: bool,
    pub test: Option<ShippedTest>,
    pub build: ShippedBuild,
    /// Globs; absent: every push is to be looked at.
    pub watch: Option<Vec<String>>,
    pub variables: Variables,
    /// The job's own token writes deployments of GitHub's.
    pub writes_deployments: bool,
    /// `ssh.key` is not there: CI has no key for hosts.
    pub lacks_key: bool,
    /// A value of its `env` comes from a program, which CI has to have.
    pub runs_programs: bool,
}

#[derive(Debug, Clone)]
pub struct ShippedTest {
    pub command: String,
    /// After which `ship` ends it, in whole minutes.
    pub minutes_max: u64,
}

#[derive(Debug, Clone, Default)]
pub struct ShippedBuild {
    /// `docker`, `buildx`, `depot`, or what a variable says.
    pub with: String,
    /// Images for other machines than the runner are built.
    pub is_foreign: bool,
    /// In front of the image's name.
    pub is_ghcr: bool,
}

/// Why there is nothing to write a workflow for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotShipped {
    #[error("no service in lockgate.yaml has an image and a `build` or `test`")]
    NoService,
    #[error("several services in lockgate.yaml are built: {0}")]
    SeveralServices(String),
    #[error("no service that is built is called {0}")]
    UnknownService(String),
    #[error("no environment in lockgate.yaml has hosts other than this machine")]
    NoEnvironment,
    #[error("several environments in lockgate.yaml have hosts: {0}")]
    SeveralEnvironments(String),
    #[error("no environment with hosts is called {0}")]
    UnknownEnvironment(String),
}

impl NotShipped {
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            NotShipped::NoService => {
                "write for one: `image: ghcr.io/acme/web` and `build: { tags: [\"{sha}\", latest] }`; or `--by serve`"
            }
            NotShipped::SeveralServices(_) | NotShipped::UnknownService(_) => {
                "name one with --service: each has a workflow of its own"
            }
            NotShipped::NoEnvironment => "write `hosts: [\"root@${DROPLET_HOST}\"]` for one; or `--by serve`",
            NotShipped::SeveralEnvironments(_) | NotShipped::UnknownEnvironment(_) => "name one with --env",
        }
    }
}

/// Of the text of a lockgate.yaml, which `file_name` names in errors.
///
/// # Errors
/// [`ConfigError`] when it is no such file. Single values are not looked at: `ship` says what is wrong with them.
pub fn shipped(text: &str, file_name: &str) -> Result<Shipped, ConfigError> {
    let (tree, file) = crate::written(text, file_name)?;
    let services: Vec<ServiceName> = named(&file.services.value.0, |service| {
        (service.image.is_some() || service.build.is_some())
            && (service.build.is_some() || service.test.is_some())
    });
    let environments = named(&file.environments.value.0, |environment| {
        // A variable stands for a machine that is not known here.
        let is_elsewhere = |host: &At<String>| host.value != HostId::local().as_str();
        environment.runtime.is_some()
            && environment.hosts.as_ref().is_some_and(|hosts| hosts.value.iter().any(is_elsewhere))
    });
    let variables_of =
        services.iter().map(|name| (name.clone(), all_variables(&tree, &file, name))).collect();
    Ok(Shipped { variables_of, services, environments, file })
}

fn named<N: std::str::FromStr<Err = InvalidName>, T>(
    entries: &[(At<String>, At<T>)],
    is_meant: impl Fn(&T) -> bool,
) -> Vec<N> {
    let meant = entries.iter().filter(|(_, entry)| is_meant(&entry.value));
    meant.filter_map(|(key, _)| key.value.parse().ok()).collect()
}

impl Shipped {
    /// Whether CI is to ship it: it has services that are built, and hosts to bring them to, and no daemon that is asked instead.
    #[must_use]
    pub fn is_by_ci(&self) -> bool {
        !self.services.is_empty() && !self.environments.is_empty() && self.file.serve.is_none()
    }

    /// The service named, else the only one; the same of environments.
    ///
    /// # Errors
    /// [`NotShipped`].
    pub fn one(
        &self,
        service: Option<&ServiceName>,
        environment: Option<&str>,
    ) -> Result<ShippedService, NotShipped> {
        let service = one_of(
            &self.services,
            service.map(ServiceName::as_str),
            ServiceName::as_str,
            (NotShipped::NoService, NotShipped::SeveralServices, NotShipped::UnknownService),
        )?;
        let environment = one_of(
            &self.environments,
            environment,
            EnvironmentName::as_str,
            (NotShipped::NoEnvironment, NotShipped::SeveralEnvironments, NotShipped::UnknownEnvironment),
        )?;
        let raw = entry(&self.file.services.value.0, service.as_str()).ok_or(NotShipped::NoService)?;
        let with_image = |(_, one): &&(At<String>, At<raw::Service>)| one.value.image.is_some();
        let deployed = |(_, one): &&(At<String>, At<raw::Environment>)| one.value.runtime.is_some();
        let variables = self.variables_of.iter().find(|(name, _)| name == service);
        let from_program = |value: &crate::env_value::EnvValue| match value {
            crate::env_value::EnvValue::From(from) => from.command.is_some(),
            crate::env_value::EnvValue::Text(_) => false,
        };
        let watch = raw
            .watch
            .as_ref()
            .map(|watch| watch.value.iter().map(|glob| glob.value.clone()).collect::<Vec<String>>());
        Ok(ShippedService {
            service: service.clone(),
            environment: environment.clone(),
            is_one_of_several: self.file.services.value.0.iter().filter(with_image).count() > 1,
            has_other_environments: self.file.environments.value.0.iter().filter(deployed).count() > 1,
            test: raw.test.as_ref().map(|test| self::test(&test.value)),
            build: build(raw),
            watch: watch.filter(|watch| watch.iter().all(|glob| push_paths::patterns(glob, "").is_some())),
            variables: variables.map(|(_, variables)| variables.clone()).unwrap_or_default(),
            writes_deployments: self.writes_deployments(),
            lacks_key: self.file.ssh.as_ref().is_none_or(|ssh| ssh.value.key.is_none()),
            runs_programs: raw.env.0.iter().any(|(_, value)| from_program(&value.value)),
        })
    }
}

impl Shipped {
    fn writes_deployments(&self) -> bool {
        let github = self.file.notify.iter().flatten().filter_map(|one| one.value.github.as_ref());
        github.into_iter().any(|github| {
            references(&github.value.token.value).iter().any(|(name, _)| *name == "GITHUB_TOKEN")
        })
    }
}

type Missing = (NotShipped, fn(String) -> NotShipped, fn(String) -> NotShipped);

fn one_of<'a, N>(
    all: &'a [N],
    asked: Option<&str>,
    name: impl Fn(&N) -> &str,
    (none, several, unknown): Missing,
) -> Result<&'a N, NotShipped> {
    match (all, asked) {
        ([], _) => Err(none),
        (all, Some(asked)) => {
            all.iter().find(|one| name(one) == asked).ok_or_else(|| unknown(asked.escape_debug().to_string()))
        }
        ([only], None) => Ok(only),
        (all, None) => Err(several(all.iter().map(name).collect::<Vec<_>>().join(", "))),
    }
}

fn entry<'r, T>(entries: &'r [(At<String>, At<T>)], name: &str) -> Option<&'r T> {
    entries.iter().find(|(key, _)| key.value == name).map(|(_, entry)| &entry.value)
}

fn test(raw: &Either<crate::raw_ship::Test>) -> ShippedTest {
    let (command, timeout) = match raw {
        Either::Short(command) => (command, None),
        Either::Full(full) => (&full.run.value, full.timeout.as_ref()),
    };
    let limit = timeout.and_then(|timeout| quantity::span(timeout.value.as_ref()));
    let limit = limit.unwrap_or(crate::resolve::TEST_TIMEOUT);
    ShippedTest { command: command.clone(), minutes_max: limit.0.div_ceil(60_000) }
}

fn build(raw: &raw::Service) -> ShippedBuild {
    let image = raw.image.as_ref().map(|image| image.value.as_str()).unwrap_or_default();
    let is_ghcr = image.starts_with("ghcr.io/");
    let Some(Either::Full(full)) = raw.build.as_ref().map(|build| &build.value) else {
        return ShippedBuild { is_ghcr, with: "docker".to_owned(), is_foreign: false };
    };
    let platforms = full.platforms.iter().flat_map(|list| &list.value);
    ShippedBuild {
        with: full.with.as_ref().map_or("docker", |with| with.value.as_str()).to_owned(),
        is_foreign: platforms.into_iter().any(|platform| platform.value != "linux/amd64"),
        is_ghcr,
    }
}

/// Those that the file names, and those that Lockgate reads where it says nothing.
fn all_variables(tree: &At<tree::Node>, file: &raw::File, service: &ServiceName) -> Variables {
    let raw = entry(&file.services.value.0, service.as_str());
    let image = raw.and_then(|raw| raw.image.as_ref()).map(|image| image.value.as_str()).unwrap_or_default();
    let mut found = variables::of_file(tree, About { service: service.as_str(), image });
    let mut more = |name: &str, what: &str, is_optional, [test, build, deploy]: [bool; 3]| {
        let (name, what) = (name.to_owned(), what.to_owned());
        let form = Form::Text;
        variables::add(&mut found, Variable { name, what, form, is_optional, test, build, deploy });
    };
    if file.notify.is_none() {
        more("SLACK_WEBHOOK_URL", "the URL of an incoming webhook of Slack", true, [true; 3]);
        let what = "the token of a bot of Slack that may write (`chat:write`)";
        more("SLACK_BOT_TOKEN", what, true, [true; 3]);
        more("SLACK_CHANNEL", "the channel that the bot writes to", true, [true; 3]);
    }
    if raw.is_some_and(|raw| raw.image.is_none()) {
        more("REGISTRY_URL", "the registry in front of the image's name", false, [true; 3]);
    }
    let is_ghcr = raw.is_some_and(|raw| build(raw).is_ghcr);
    if is_ghcr && entry(&file.registries.0, "ghcr.io").is_none() {
        more("GITHUB_TOKEN", "", true, [false, true, true]);
    }
    let with_depot = raw.is_some_and(|raw| build(raw).with == "depot");
    if with_depot {
        more("DEPOT_TOKEN", "the token of a project of Depot", false, [false, true, false]);
        more(
            "DEPOT_PROJECT_ID",
            "Depot's project, where no depot.json says which",
            true,
            [false, true, false],
        );
    }
    found.retain(|name, _| given::by_runner(name) != Some(given::Given::Always));
    found
}
