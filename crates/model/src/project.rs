//! What the user wants: services, environments and how a release goes live. `config` makes it from `lockgate.yaml`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Environment, EnvironmentName, Health, Hooks, Notify, ProjectName, RegistryHost, RegistryLogin, Serve,
    ServiceName, Ship, StateLocation, Template,
};

/// All that `lockgate.yaml` says, with its defaults and variables filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// `project:` of the file. It is in labels, locks and names on hosts.
    pub name: ProjectName,
    /// The folder of `lockgate.yaml`: relative paths on this machine start here.
    pub root: std::path::PathBuf,
    /// What is deployed, by name.
    pub services: BTreeMap<ServiceName, Service>,
    /// In the order of the file, which is the order of promotion.
    pub environments: Vec<Environment>,
    /// Who is told of runs, in the order of the file. Empty: nobody.
    pub notify: Vec<Notify>,
    /// Logins for registries, beside those that `docker login` left on this machine.
    pub registries: BTreeMap<RegistryHost, RegistryLogin>,
    /// How hosts are reached, all alike.
    pub ssh: Ssh,
    /// Where what outlives runs is kept.
    pub state: StateLocation,
    /// The folder on this machine that gets a [`crate::StateFile`] for each service, with `{service}` and `{environment}`;
    /// relative ones are in `root`. `None`: none is written.
    pub state_dir: Option<Template>,
    /// What `lockgate serve` does. `None`: nothing is served, or a variable that only serving needs is not set here.
    pub serve: Option<Serve>,
}

impl Project {
    /// The environment of this name; `None` when the project has none.
    #[must_use]
    pub fn environment(&self, name: &EnvironmentName) -> Option<&Environment> {
        self.environments.iter().find(|environment| &environment.name == name)
    }
}

/// What is deployed: one image repository, or one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Unique within the project.
    pub name: ServiceName,
    /// Image repository without tag; absent for services that only run as processes.
    pub image: Option<String>,
    /// argv of the `process` runtime; `{tag}` and `{slot}` are filled in, `PORT` is in the environment.
    pub command: Vec<Template>,
    /// Working folder of the `process` runtime.
    pub cwd: Option<Template>,
    /// Extra environment of the service's containers or process. Values may be secrets: never shown.
    pub env: BTreeMap<String, Secret>,
    /// More of it, whose values are to be had elsewhere: whoever needs them puts them into `env`. No name is in both.
    pub env_from: BTreeMap<String, ValueSource>,
    /// The port the service listens on. For `process`: absent means a free one is chosen.
    pub port: Option<u16>,
    /// How a slot shows that it is ready.
    pub health: Health,
    /// Paths that must answer; the default of HTTP gates.
    pub critical_paths: Vec<String>,
    /// How to tell through the router which release answers; without it slots that answer alike cannot be told apart.
    pub verify: Option<Verify>,
    /// Per-environment URL of this service, overriding the environment's (system A's `test_url`, `prod_url`).
    pub urls: BTreeMap<EnvironmentName, String>,
    /// Programs that run once in a deployment, in the new release.
    pub hooks: Hooks,
    /// What `lockgate ship` does before a deployment.
    pub ship: Ship,
}

/// Where the value of a variable is to be had on this machine, when it is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueSource {
    /// A file that holds it and nothing else; a relative one starts at the folder of `lockgate.yaml`.
    File(String),
    /// argv of a program that prints it; not empty. Not a secret.
    Command(Vec<String>),
}

/// Accepted HTTP statuses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StatusRange {
    /// The lowest that is accepted.
    pub from: u16,
    /// The highest that is accepted.
    pub to: u16,
}

impl StatusRange {
    /// 200 to 299.
    pub const OK: StatusRange = StatusRange { from: 200, to: 299 };

    /// Whether the status is accepted.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (from, to) if from == to => write!(f, "{from}"),
            (from, to) if from % 100 == 0 && to == from + 99 => write!(f, "{}xx", from / 100),
            (from, to) => write!(f, "{from}-{to}"),
        }
    }
}

/// What tells the new release's answers from the old one's: a body or a header value, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Verify {
    /// What is asked through the router; begins with `/`.
    pub path: String,
    /// Text the body must contain (`{tag}`).
    pub body: Option<Template>,
    /// Header and the value it must have.
    pub header: Option<(String, Template)>,
}

/// How `ssh` is called beyond the user's own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ssh {
    /// More options (`-i key`, `-F file`), one argument each.
    pub options: Vec<String>,
    /// `None`: ssh's own choice (22, or what its configuration says).
    pub port: Option<u16>,
    /// Accept a host key that is not in `known_hosts` yet; a changed one is always refused.
    pub accept_new_host_keys: bool,
    /// The private key that is shown to hosts, whole, without a passphrase, with a line break at its end. `None`: those that
    /// ssh finds by itself, the agent's among them.
    pub key: Option<Secret>,
    /// The only host keys that are believed, as lines of `known_hosts`. `None`: those in the user's own files.
    pub known_hosts: Option<String>,
    /// Who logs in on hosts whose name says nobody. `None`: ssh's own choice.
    pub user: Option<String>,
}

/// A value that is never shown: `Debug` hides it and it does not serialise.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// `value` is shown from here on to nobody who does not [reveal](Secret::reveal) it.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The one way to the value: search for `.reveal()` to see everywhere it goes.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
