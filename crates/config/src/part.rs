//! Parts of the file that not every purpose has a use for: where a variable is not set that only such a part names, that is no
//! mistake.

use crate::Purpose;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `environments.X.hosts`.
    Hosts,
    /// `ssh`.
    Ssh,
    /// `registries`.
    Registries,
    /// `services.X.env`.
    ServiceEnv,
    /// `services.X.build.args`.
    BuildArgs,
}

impl Part {
    /// Which of them a value is in, by the keys that lead to it; `None`: every purpose needs it.
    pub fn at(path: &[&str]) -> Option<Self> {
        match path {
            ["environments", _, "hosts", ..] => Some(Part::Hosts),
            ["ssh", ..] => Some(Part::Ssh),
            ["registries", ..] => Some(Part::Registries),
            ["services", _, "env", ..] => Some(Part::ServiceEnv),
            ["services", _, "build", "args", ..] => Some(Part::BuildArgs),
            _ => None,
        }
    }

    /// Whether the variables that it names have to be set.
    pub fn is_needed(self, purpose: Purpose) -> bool {
        match (purpose, self) {
            (Purpose::Serve | Purpose::Other, _) | (Purpose::Build, Part::Registries | Part::BuildArgs) => {
                true
            }
            (Purpose::Build, Part::Hosts | Part::Ssh | Part::ServiceEnv) | (Purpose::Test, _) => false,
        }
    }
}
