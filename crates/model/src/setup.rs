//! What hosts need before their first deployment, and what `lockgate setup` says of it.

use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, Failure, HostId, Millis, Template};

/// Longest wait for a host to be ready, where the configuration says nothing.
pub const PATIENCE_DEFAULT: Millis = Millis::from_secs(15 * 60);

/// What an environment's hosts need, all alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSetup {
    /// Absolute path on the host: what makes the host ready writes it as the last thing. `None`: a host is ready when it
    /// answers.
    pub wait_for: Option<String>,
    /// Longest wait for it, from the start of the command.
    pub patience: Millis,
    /// Docker with Compose is installed from the distribution's packages where it is missing.
    pub installs_docker: bool,
    /// Lockgate's own program, where a host needs it.
    pub program: HostProgram,
    /// Folders beside those of the Compose files, in the order of the file.
    pub folders: Vec<HostFolder>,
    /// The Compose file, and what goes with it. Empty: nothing is uploaded.
    pub upload: Vec<HostUpload>,
}

impl Default for HostSetup {
    fn default() -> Self {
        Self {
            wait_for: None,
            patience: PATIENCE_DEFAULT,
            installs_docker: false,
            program: HostProgram::Running,
            folders: Vec::new(),
            upload: Vec::new(),
        }
    }
}

/// What becomes of Lockgate's own program on a host whose built-in proxy it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HostProgram {
    /// The program that runs goes there, where it is fit for the host and newer than what is there.
    #[default]
    Running,
    /// One of these files of this machine goes there, the first that is fit for the host, whatever is there. Relative paths
    /// start at the folder of `lockgate.yaml`. Not empty.
    Files(Vec<String>),
    /// Somebody else brings it there.
    Off,
}

/// A file of this machine that goes to hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostUpload {
    /// On this machine; a relative one starts at the folder of `lockgate.yaml`.
    pub from: Template,
    /// Its place below the Compose file's folder on the host: a relative path.
    pub to: Template,
}

/// A folder on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFolder {
    /// Absolute.
    pub path: String,
    /// `user`, `user:group`, or their numbers. `None`: whoever logs in there, and an owner that it has already stays.
    pub owner: Option<String>,
    /// Permission bits. `None`: 0755, and those that it has already stay.
    pub mode: Option<u32>,
}

/// What kind of thing a host needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetupKind {
    /// The file that says that the host is ready.
    Ready,
    /// Docker with Compose.
    Docker,
    /// Lockgate's own program.
    Program,
    /// A folder with its owner and mode.
    Folder,
    /// A file that is uploaded.
    File,
    /// The variables of the services in a folder, in its `.env`.
    Variables,
    /// A registry's login in Docker's own configuration.
    Login,
}

impl SetupKind {
    /// In a word, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SetupKind::Ready => "ready",
            SetupKind::Docker => "docker",
            SetupKind::Program => "program",
            SetupKind::Folder => "folder",
            SetupKind::File => "file",
            SetupKind::Variables => "variables",
            SetupKind::Login => "login",
        }
    }
}

/// How it stands with one thing on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetupState {
    /// It is as it should be.
    There,
    /// It is not, and will be made.
    Make,
    /// Somebody else makes it, and it is waited for.
    Waits,
    /// It cannot be made, and the note says why.
    Refused,
}

impl SetupState {
    /// In words, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SetupState::There => "there",
            SetupState::Make => "to be made",
            SetupState::Waits => "waits",
            SetupState::Refused => "cannot be",
        }
    }
}

/// One thing that a host needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SetupItem {
    /// What it is.
    pub kind: SetupKind,
    /// Its path; of a login the registry, of Docker what of it is wanted.
    pub name: String,
    /// How it stands with it.
    pub state: SetupState,
    /// Why it is not there as it should be, or what it is that is there; `None` where there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What to do about it, where it cannot be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One host, as `setup --format json` prints it before anything is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostSetupLine {
    /// Always `plan`.
    pub event: String,
    /// The host.
    pub host: HostId,
    /// In the order in which they are made; empty where the host could not be asked.
    pub items: Vec<SetupItem>,
    /// Why the host could not be asked. It is waited for where the environment has a `wait_for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What is said of a host while it is worked on, as `setup --format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum SetupHeadway {
    /// It is not ready yet.
    Waits {
        /// The host.
        host: HostId,
        /// What is missing there, for people.
        why: String,
        /// Since the command began.
        waited_millis: u64,
        /// Longest wait.
        patience_millis: u64,
    },
    /// What makes something there says a line.
    Said {
        /// The host.
        host: HostId,
        /// What is being made.
        kind: SetupKind,
        /// The line, as the host sent it: whoever shows it escapes it.
        line: String,
    },
    /// Something was made there.
    Made {
        /// The host.
        host: HostId,
        /// What it is.
        kind: SetupKind,
        /// Its path; of a login the registry, of Docker what of it is wanted.
        name: String,
    },
}

/// The end, as `setup --format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SetupLine {
    /// Always `result`.
    pub event: String,
    /// Whose hosts.
    pub environment: EnvironmentName,
    /// In the order of the configuration.
    pub hosts: Vec<HostSetUp>,
    /// The command's exit code.
    pub exit: u8,
}

/// What became of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostSetUp {
    /// The host.
    pub host: HostId,
    /// How many things were made there; 0 where all was there, and where it failed, for what was made until then is told as
    /// headway.
    pub made: usize,
    /// Why it came to no good end. What was made before stays, and the next `setup` goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}
