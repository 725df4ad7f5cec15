//! What the composition root hands in.

use std::sync::Arc;

use lockgate_model::Refusal;
use lockgate_model::{Mask, Project, Requester};
use lockgate_orchestrator::{Asked, Orchestrator};
use serde_json::Value;

/// Where a tool call begins: an agent goes on for hours, and the configuration may change meanwhile.
pub trait Desk: Send + Sync + 'static {
    /// The project as it is configured now. May read files, and for values run programs; called where that may take its time,
    /// within tokio's runtime.
    ///
    /// # Errors
    /// As `--format json` prints it.
    fn open(&self, values: Values) -> Result<Opened, Box<Value>>;

    /// Who asks, by the name of the client that an agent works with; `None` where it does not say.
    fn requester(&self, client: Option<&str>) -> Requester;

    /// Commands in what is said, as they have to be typed here.
    fn typed(&self, value: &mut Value);
}

/// Whether a tool needs the values of variables that come from files and programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// It starts nothing, and tells nothing that an app wrote.
    Unneeded,
    /// It can do without: what starts is what a release ran with.
    Some,
    /// It starts something with them, or hides them in what it tells.
    All,
}

/// How whoever starts the server wants it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Where a client cannot ask a person, an agent may agree to a plan by its digest.
    pub agent_confirms: bool,
}

/// A project and its orchestrator. Cheap to clone.
#[derive(Clone)]
pub struct Opened {
    pub project: Arc<Project>,
    pub orchestrator: Arc<dyn Orchestrator>,
    /// What must not be told.
    pub mask: Mask,
    /// The only environment that this server is for; `None`: for all.
    pub environment: Option<String>,
}

impl Opened {
    /// # Errors
    /// `Usage` for an environment that this server is not for.
    pub fn asked<'a>(&'a self, environment: Option<&'a str>) -> Result<Asked<'a>, Refusal> {
        let environment = match (self.environment.as_deref(), environment) {
            (Some(only), Some(asked)) if only != asked => {
                return Err(Refusal::usage(
                    format!("these tools are for the environment {only:?} alone, not for {asked:?}"),
                    format!("leave `environment` out, or say {only:?}"),
                ));
            }
            (only, asked) => asked.or(only),
        };
        Ok(Asked { project: &self.project, environment })
    }
}
