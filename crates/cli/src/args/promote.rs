//! `lockgate promote` and `lockgate tags`.

use clap::Args as ClapArgs;

use super::Skip;

#[derive(Debug, ClapArgs)]
pub struct Promote {
    /// One of `services` in lockgate.yaml
    pub service: String,
    /// Where the release is live now; default: the `from` of the environment that it goes to
    #[arg(long, value_name = "ENVIRONMENT")]
    pub from: Option<String>,
    /// Where it goes; default: what --env names, else the only environment that has something else live than its `from`
    #[arg(long, value_name = "ENVIRONMENT")]
    pub to: Option<String>,
    /// Only if this is what is live there: a tag, a digest or its beginning
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<String>,
    /// Show what would be promoted, what holds it, and the plan; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Although it was rejected there
    #[arg(long)]
    pub again: bool,
    /// Have this release pass a gate whatever the gate says; who did so and why stays with it
    #[arg(long, value_name = "GATE", requires = "because", conflicts_with = "dry_run")]
    pub waive: Option<String>,
    /// Why the gate is waived
    #[arg(long, value_name = "REASON", requires = "waive")]
    pub because: Option<String>,
    #[command(flatten)]
    pub skip: Skip,
}
