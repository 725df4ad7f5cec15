//! What is said while something is shipped, as JSON has it.

use serde::{Deserialize, Serialize};

use crate::Millis;

/// What is done before a deployment, and the deployment, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// The service's own tests.
    Test,
    /// Its image is built.
    Build,
    /// The image goes into its registry.
    Push,
    /// It goes live.
    Deploy,
}

impl Job {
    /// As it stands in JSON and in the names of log files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Job::Test => "test",
            Job::Build => "build",
            Job::Push => "push",
            Job::Deploy => "deploy",
        }
    }
}

/// One thing that is said of the jobs before a deployment, as `--format json` prints it. The deployment's own events follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum ShipEvent {
    /// The job begins.
    JobStarted {
        /// Which one.
        job: Job,
        /// What it does: the test's command, the image's name.
        what: String,
    },
    /// A line that the job's program said, without secrets.
    JobLine {
        /// Whose.
        job: Job,
        /// On one line; it was not checked for what steers a terminal.
        text: String,
    },
    /// The job is over.
    JobEnded {
        /// Which one.
        job: Job,
        /// Whether it did what it should.
        ok: bool,
        /// What came of it: `exit code 1`, the digest.
        came_to: String,
        /// How long it took.
        ms: Millis,
    },
    /// Something to know: why there is something to ship, what a tag led to before.
    ShipNote {
        /// One sentence.
        note: String,
    },
}

/// What a `ship` without a deployment came to, as `--format json` prints it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipLine {
    /// Always `result`.
    pub event: String,
    /// Whether there was nothing to ship.
    pub skipped: bool,
    /// What was done, or why nothing was, for people.
    pub came_to: String,
    /// The image's tag, where one was made. `None`: nothing was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The image's digest, where one is in its registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Tests that failed and were allowed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_failures: Vec<String>,
    /// The exit code.
    pub exit: u8,
}
