//! One service in one environment, with the ports of all its hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::{Environment, Failure, FailureKind, Mask, Project, Release, Secret, Service, Tag};
use lockgate_perform::{Conductor, Subject, masked};
use lockgate_ports::{CommandRunner, HostPorts, Prober};

/// Everything about one service in one environment that a command may need.
#[derive(Clone)]
pub struct Site {
    pub project: Arc<Project>,
    pub service: Service,
    pub environment: Environment,
    /// Empty for an environment that is only checked.
    pub hosts: Vec<HostPorts>,
    pub prober: Arc<dyn Prober>,
    pub runner: Arc<dyn CommandRunner>,
    /// What this machine's environment and the configuration hold as secrets, whatever the service: a gate's program has
    /// all of it. Masked wherever something is told.
    pub secrets: Vec<Secret>,
}

impl Site {
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            project: self.project.name.clone(),
            service: self.service.name.clone(),
            environment: self.environment.name.clone(),
        }
    }

    #[must_use]
    pub fn conductor(&self) -> Conductor {
        let told = Mask::of(&self.secrets);
        let mask = Mask::of(self.service.env.values().chain(&self.secrets));
        let hosts: BTreeMap<_, _> =
            self.hosts.iter().map(|ports| (ports.id.clone(), masked(ports, &mask))).collect();
        let (prober, runner) = (self.prober.clone(), self.runner.clone());
        Conductor { subject: self.subject(), hosts, prober, runner, mask, told }
    }

    /// Turns a tag into a release, once, on the first host; every host then gets the digest (P5).
    ///
    /// # Errors
    /// The runtime's, or `Refused` when there is no host.
    pub async fn resolve(&self, tag: &Tag) -> Result<Release, Failure> {
        let first = self.hosts.first().ok_or_else(|| {
            Failure::new(
                FailureKind::Refused,
                format!("environment {} is only checked, never deployed to", self.environment.name),
            )
        })?;
        first.runtime.resolve(tag).await.map_err(|error| Failure::from(error).at(&first.id))
    }
}
