//! Which Compose is called, and what of it was found on a host.

use serde::{Deserialize, Serialize};

/// Which Compose is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComposeCli {
    /// `docker compose`, version 2 and later.
    Plugin,
    /// `docker-compose`: version 1, or 2 as a program of its own.
    Standalone,
}

impl ComposeCli {
    pub(crate) fn argv(self) -> &'static [&'static str] {
        match self {
            ComposeCli::Plugin => &["docker", "compose"],
            ComposeCli::Standalone => &["docker-compose"],
        }
    }
}

/// The Compose that a host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FoundCli {
    pub cli: ComposeCli,
    pub version: String,
    /// The plugin's own program on the host, absolute.
    pub program: Option<String>,
}

impl FoundCli {
    pub(crate) fn argv(&self) -> Vec<&str> {
        match &self.program {
            Some(program) => vec![program],
            None => self.cli.argv().to_vec(),
        }
    }

    /// As people type it.
    pub(crate) fn typed(&self) -> String {
        self.cli.argv().join(" ")
    }

    pub(crate) fn is_v1(&self) -> bool {
        self.version.starts_with("1.")
    }
}
