//! What is asked for, and what it comes to.

use futures_util::future::BoxFuture;
use lockgate_model::{
    Artifact, CommitSha, Environment, Failure, Job, Mask, Project, Refusal, Release, Service, ServiceStatus,
    Tag, Timestamp,
};
use lockgate_ports::{Builder, Git, Host, Registry};

use crate::Voice;

/// All that the jobs work with.
pub struct Parts<'a> {
    /// What `lockgate.yaml` says.
    pub project: &'a Project,
    /// What is shipped.
    pub service: &'a Service,
    /// Where to.
    pub environment: &'a Environment,
    /// The clone that the project lies in.
    pub git: &'a dyn Git,
    /// What the service's image is built with.
    pub builder: &'a dyn Builder,
    /// Where the image is kept.
    pub registry: &'a dyn Registry,
    /// This machine, which the tests run on.
    pub host: &'a dyn Host,
    /// Looks what is live.
    pub status: &'a (dyn Fn() -> BoxFuture<'a, Result<ServiceStatus, Refusal>> + Sync),
    /// Hears what is done.
    pub voice: &'a dyn Voice,
    /// Hides what must not be told in what programs say.
    pub mask: &'a Mask,
    /// The clock of this machine.
    pub now: &'a (dyn Fn() -> Timestamp + Sync),
    /// Who builds: `kim@desk`.
    pub owner: &'a str,
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// One job alone: [`Job::Test`], [`Job::Build`] (with the push) or [`Job::Deploy`]. `None`: all of them.
    pub job: Option<Job>,
    /// Also when nothing has changed.
    pub force: bool,
    /// Also with files that no commit has.
    pub allow_dirty: bool,
    /// What a push brought, where a CI system was started by one.
    pub pushed: Option<PushRange>,
}

/// The commits that a push brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRange {
    /// Where the branch was. `None`: it is new.
    pub before: Option<CommitSha>,
    /// Where it is.
    pub after: CommitSha,
}

/// What is ready to be deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// What the release is called.
    pub tag: Tag,
    /// What is known of it.
    pub artifact: Artifact,
}

/// What the jobs before a deployment came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shipped {
    /// There is nothing to ship.
    Skipped {
        /// For people.
        why: String,
        /// What is live on all hosts, and stays. `None` where that is not why.
        live: Option<Box<Release>>,
    },
    /// The job that was asked for alone is done.
    Done {
        /// For people.
        came_to: String,
        /// The image, of a build.
        image: Option<Ready>,
        /// Tests that failed and were allowed to.
        allowed: Vec<Failure>,
    },
    /// All is ready for the deployment.
    Deploy {
        /// What is to be deployed.
        ready: Ready,
        /// Tests that failed and were allowed to.
        allowed: Vec<Failure>,
    },
}

/// Why it did not come to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Which job failed. `None`: it was before any.
    pub job: Option<Job>,
    /// What would have been deployed, as far as that was known.
    pub tag: Option<Tag>,
    /// What was known of it: its commit, and what had failed before and was allowed to. `None` where it was before any job.
    pub artifact: Option<Box<Artifact>>,
    /// The commit since which there was something to ship. `None`: that was not looked for, or is not known.
    pub since: Option<CommitSha>,
    /// Why; without secrets.
    pub refusal: Box<Refusal>,
}

impl Stopped {
    pub(crate) fn before(refusal: impl Into<Refusal>) -> Self {
        Self { job: None, tag: None, artifact: None, since: None, refusal: Box::new(refusal.into()) }
    }

    pub(crate) fn at(job: Job, tag: &Tag, failure: Failure) -> Self {
        Self { job: Some(job), tag: Some(tag.clone()), ..Self::before(failure) }
    }
}
