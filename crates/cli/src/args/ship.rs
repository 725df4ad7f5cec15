//! `lockgate ship`.

use clap::{Args as ClapArgs, ValueEnum};

use super::Skip;

#[derive(Debug, ClapArgs)]
pub struct Ship {
    /// Default: the only service that has an image
    pub service: Option<String>,
    /// One job alone, for CI that runs them apart: `build` pushes too, and `deploy` takes the commit's own image from the
    /// registry
    #[arg(long, value_enum, value_name = "JOB")]
    pub job: Option<ShipJob>,
    /// Also when no file that `watch` names has changed
    #[arg(long)]
    pub force: bool,
    /// Also with files that are in no commit: the image's tags then end with -dirty
    #[arg(long)]
    pub allow_dirty: bool,
    #[command(flatten)]
    pub skip: Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShipJob {
    /// The service's `test`
    Test,
    /// Its image, built and pushed
    Build,
    /// The image of this commit, deployed
    Deploy,
}
