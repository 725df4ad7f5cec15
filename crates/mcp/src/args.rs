//! What the tools take.

use lockgate_model::{Failure, FailureKind, Refusal};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Lines of a log: of each host, and where nobody says how many.
pub(crate) const LINES_MAX: u32 = 500;
const LINES: u32 = 50;
/// Runs of one answer, and where nobody says how many.
pub(crate) const RUNS_MAX: u32 = 100;
const RUNS: u32 = 20;

/// Of `deploy.full` and `deploy.promote`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deploy {
    /// One of the services in lockgate.yaml
    pub service: String,
    /// The image's tag, such as v1.2.3
    pub tag: String,
    /// Default: the only one that is deployed to
    #[serde(default)]
    pub environment: Option<String>,
    /// Although this release is live: its environment or its Compose file has changed
    #[serde(default)]
    pub again: bool,
    /// Hosts that are left out
    #[serde(default)]
    pub skip: Vec<String>,
    /// Only where this client cannot ask a person: the digest of the plan that a person has agreed to
    #[serde(default)]
    pub confirm: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// One of the services in lockgate.yaml
    pub service: String,
    /// A tag or a digest that was live before; default: the one before
    #[serde(default)]
    pub release: Option<String>,
    /// Default: the only one that is deployed to
    #[serde(default)]
    pub environment: Option<String>,
    /// Hosts that are left out
    #[serde(default)]
    pub skip: Vec<String>,
    /// Only where this client cannot ask a person: the digest of the plan that a person has agreed to
    #[serde(default)]
    pub confirm: Option<String>,
}

/// Of which tool a plan is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum Changing {
    #[default]
    #[serde(rename = "deploy.full")]
    Full,
    #[serde(rename = "deploy.promote")]
    Promote,
    #[serde(rename = "deploy.rollback")]
    Rollback,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// What the plan is of
    #[serde(default)]
    pub tool: Changing,
    /// One of the services in lockgate.yaml
    pub service: String,
    /// For deploy.full and deploy.promote: the image's tag
    #[serde(default)]
    pub tag: Option<String>,
    /// For deploy.rollback: a tag or a digest that was live before
    #[serde(default)]
    pub release: Option<String>,
    /// Default: the only one that is deployed to
    #[serde(default)]
    pub environment: Option<String>,
    /// Although this release is live
    #[serde(default)]
    pub again: bool,
    /// Hosts that are left out
    #[serde(default)]
    pub skip: Vec<String>,
}

/// Of `deploy.regression` and `deploy.smoke`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    /// One of the services in lockgate.yaml
    pub service: String,
    /// Default: the only one that is deployed to
    #[serde(default)]
    pub environment: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    /// Default: all services
    #[serde(default)]
    pub service: Option<String>,
    /// Default: the only one that is deployed to
    #[serde(default)]
    pub environment: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct History {
    /// Default: all services
    #[serde(default)]
    pub service: Option<String>,
    /// Default: all environments
    #[serde(default)]
    pub environment: Option<String>,
    /// Only runs of these bytes: sha256:…
    #[serde(default)]
    pub digest: Option<String>,
    /// Only runs older than this one: `next` of the answer before
    #[serde(default)]
    pub before: Option<String>,
    /// How many
    #[serde(default = "runs")]
    #[schemars(range(min = 1, max = 100))]
    pub limit: u32,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logs {
    /// One of the services in lockgate.yaml
    pub service: String,
    /// Default: the only one that is deployed to
    #[serde(default)]
    pub environment: Option<String>,
    /// blue, green or main; default: the one that is live
    #[serde(default)]
    pub slot: Option<String>,
    /// The last ones of each host
    #[serde(default = "lines")]
    #[schemars(range(min = 1, max = 500))]
    pub lines: u32,
}

fn lines() -> u32 {
    LINES
}

fn runs() -> u32 {
    RUNS
}

/// # Errors
/// `Usage`, with what the tool takes.
pub(crate) fn read<T: DeserializeOwned>(
    tool: &str,
    takes: &Map<String, Value>,
    given: Map<String, Value>,
) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(given)).map_err(|error| {
        let known: Vec<&str> = takes
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .collect();
        let message = lockgate_model::quoted(&error.to_string(), 200);
        let failure =
            Failure::new(FailureKind::Refused, format!("the arguments of {tool} cannot be read: {message}"))
                .hint(format!("it takes {}", known.join(", ")));
        Refusal::Usage { failure }
    })
}

/// # Errors
/// `Usage` beyond the bound.
pub(crate) fn at_most(what: &str, count: u32, most: u32) -> Result<(), Refusal> {
    match (1..=most).contains(&count) {
        true => Ok(()),
        false => {
            Err(Refusal::usage(format!("`{what}` is {count}"), format!("it is a number from 1 to {most}")))
        }
    }
}
