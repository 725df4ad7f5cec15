//! Concrete drivers for what is shipped.

use std::sync::Arc;

use lockgate_build::{BuildCli, BuildOptions};
use lockgate_git::{GitCli, GitOptions};
use lockgate_local::Local;
use lockgate_model::{Mask, Project, Service};

use crate::secrets;

/// What git would heed of our environment, and must not: a hook, for one, sets `GIT_DIR`.
const GIT_VARIABLES: &str = "GIT_";

/// The clone that the project lies in.
pub fn git(project: &Project) -> GitCli {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    GitCli::new(GitOptions {
        host: Arc::new(Local::new()),
        folder: project.root.to_string_lossy().into_owned(),
        unset: names.filter(|name| name.starts_with(GIT_VARIABLES)).collect(),
    })
}

/// What the service's image is built with, on `host`.
pub fn builder(project: &Project, service: &Service, host: Local) -> BuildCli {
    BuildCli::new(BuildOptions {
        tool: service.ship.build.with,
        host: Arc::new(host),
        logins: project.registries.clone(),
        docker_config: None,
    })
}

/// Hides what tests and builds of the service have in their environment.
pub fn mask(project: &Project, service: &Service) -> Mask {
    let secrets = secrets::of_project(project);
    Mask::of(secrets.iter().chain(service.env.values()).chain(service.ship.build.args.values()))
}
