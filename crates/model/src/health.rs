//! How a slot shows that it is ready.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Millis, StatusRange, Template, without_query};

/// Longest wait for what has no bound of its own.
const TIMEOUT_DEFAULT: Millis = Millis::from_secs(60);

/// The health check of a service. Its form in JSON, which is in plans that hosts and journals keep, is that of
/// [`HttpHealth`] alone for the first, and has the kind's name around it for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "Form", into = "Form")]
pub enum Health {
    /// A path that answers.
    Http(HttpHealth),
    /// The container's own HEALTHCHECK.
    Docker(DockerHealth),
    /// A program inside the slot.
    Command(CommandHealth),
}

/// `GET path` until `passes` in a row answered with `status`, or `timeout` has passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HttpHealth {
    /// Begins with `/`; may have a query.
    pub path: String,
    /// Longest wait from the first probe until it is healthy.
    pub timeout: Millis,
    /// Consecutive passes wanted, at least 1.
    pub passes: u32,
    /// Which statuses are good.
    pub status: StatusRange,
    /// Text the body must contain.
    pub body: Option<String>,
    /// Sent with the request, names in lower case; they come before what a [`Probe`](crate::Probe) sends by itself. They are
    /// kept with plans, so no secret is among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// What the container engine says of the container's HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DockerHealth {
    /// Absent: as long as the HEALTHCHECK itself may take until it gives up, and until it does.
    pub timeout: Option<Millis>,
    /// Looks in a row that must find it healthy, at least 1.
    pub passes: u32,
}

/// A program that runs where the slot's app runs; exit code 0 is a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CommandHealth {
    /// No shell reads it. Not empty.
    pub argv: Vec<Template>,
    /// Longest wait from the first run until it is healthy.
    pub timeout: Millis,
    /// Consecutive passes wanted, at least 1.
    pub passes: u32,
}

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
enum Form {
    Http(HttpHealth),
    Named(Named),
}

#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Named {
    Docker(DockerHealth),
    Command(CommandHealth),
}

impl From<Form> for Health {
    fn from(form: Form) -> Self {
        match form {
            Form::Http(http) => Health::Http(http),
            Form::Named(Named::Docker(docker)) => Health::Docker(docker),
            Form::Named(Named::Command(command)) => Health::Command(command),
        }
    }
}

impl From<Health> for Form {
    fn from(health: Health) -> Self {
        match health {
            Health::Http(http) => Form::Http(http),
            Health::Docker(docker) => Form::Named(Named::Docker(docker)),
            Health::Command(command) => Form::Named(Named::Command(command)),
        }
    }
}

impl Health {
    /// The path that is asked; `None` for a check that is no HTTP.
    #[must_use]
    pub fn http(&self) -> Option<&HttpHealth> {
        match self {
            Health::Http(http) => Some(http),
            Health::Docker(_) | Health::Command(_) => None,
        }
    }

    /// Where to ask through a router, when nothing else says so: the health path, or `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.http().map_or("/", |http| http.path.as_str())
    }

    /// What an answer through a router must have: the health check's status, or any but a server's failure.
    #[must_use]
    pub fn status(&self) -> StatusRange {
        self.http().map_or(StatusRange { from: 100, to: 499 }, |http| http.status)
    }

    /// Longest wait until it is healthy, as far as that is known without looking at the container: a minute for a
    /// HEALTHCHECK that has its own times.
    #[must_use]
    pub fn timeout(&self) -> Millis {
        match self {
            Health::Http(http) => http.timeout,
            Health::Docker(docker) => docker.timeout.unwrap_or(TIMEOUT_DEFAULT),
            Health::Command(command) => command.timeout,
        }
    }

    /// How often in a row it must be found healthy, at least 1.
    #[must_use]
    pub fn passes(&self) -> u32 {
        match self {
            Health::Http(HttpHealth { passes, .. })
            | Health::Docker(DockerHealth { passes, .. })
            | Health::Command(CommandHealth { passes, .. }) => *passes,
        }
    }
}

/// What is asked, without a path's query: `GET /health`, `its HEALTHCHECK`, `` `./ready -q` ``.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Health::Http(http) => write!(f, "GET {}", without_query(&http.path)),
            Health::Docker(_) => f.write_str("its HEALTHCHECK"),
            Health::Command(command) => {
                let argv: Vec<&str> = command.argv.iter().map(Template::as_str).collect();
                write!(f, "`{}`", argv.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plans of today and of before lie in journals and on hosts.
    #[test]
    fn every_kind_is_read_as_it_was_written_and_that_by_http_as_ever() {
        let old =
            r#"{"path":"/health","timeout":60000,"passes":2,"status":{"from":200,"to":299},"body":null}"#;
        let http: Health = serde_json::from_str(old).unwrap();
        assert_eq!(http.path(), "/health");
        assert_eq!(serde_json::to_string(&http).unwrap(), old);
        let argv = vec![Template::new("./ready").unwrap()];
        for (health, form) in [
            (
                Health::Docker(DockerHealth { timeout: None, passes: 1 }),
                r#"{"docker":{"timeout":null,"passes":1}}"#,
            ),
            (
                Health::Command(CommandHealth { argv, timeout: Millis(5), passes: 2 }),
                r#"{"command":{"argv":["./ready"],"timeout":5,"passes":2}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&health).unwrap(), form);
            assert_eq!(serde_json::from_str::<Health>(form).unwrap(), health);
        }
        assert!(serde_json::from_str::<Health>(r#"{"tcp":{}}"#).is_err());
    }
}
