//! The labels by which containers are told apart: ours, which the override file sets, and Compose's own.

use crate::api::ContainerSummary;

pub(crate) const PROJECT_LABEL: &str = "lockgate.project";
pub(crate) const ENVIRONMENT_LABEL: &str = "lockgate.environment";
pub(crate) const SERVICE_LABEL: &str = "lockgate.service";
pub(crate) const SLOT_LABEL: &str = "lockgate.slot";
pub(crate) const TAG_LABEL: &str = "lockgate.tag";
pub(crate) const DIGEST_LABEL: &str = "lockgate.digest";
pub(crate) const IMAGE_LABEL: &str = "lockgate.image";
pub(crate) const COMMIT_LABEL: &str = "lockgate.commit";
/// Of a program that runs once: which hook, and of which run.
pub(crate) const HOOK_LABEL: &str = "lockgate.hook";
pub(crate) const HOOK_RUN_LABEL: &str = "lockgate.run";

pub(crate) const COMPOSE_PROJECT: &str = "com.docker.compose.project";
pub(crate) const COMPOSE_SERVICE: &str = "com.docker.compose.service";
pub(crate) const COMPOSE_DIR: &str = "com.docker.compose.project.working_dir";
pub(crate) const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
pub(crate) const COMPOSE_ONEOFF: &str = "com.docker.compose.oneoff";

/// `None` where the container does not have it.
pub(crate) fn label<'a>(summary: &'a ContainerSummary, name: &str) -> Option<&'a str> {
    summary.labels.get(name).map(String::as_str)
}
