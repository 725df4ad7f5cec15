//! `init`'s part of the command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use lockgate_config::init::{Branch, BuiltImage, On, PinnedAction};
use lockgate_model::ServiceName;

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Init {
    #[command(subcommand)]
    pub other: Option<InitOther>,
    /// System A's services.yaml to take over
    #[arg(long, value_name = "FILE")]
    pub import: Option<PathBuf>,
    /// Print it instead of writing lockgate.yaml
    #[arg(long)]
    pub print: bool,
}

/// What is written instead of lockgate.yaml.
#[derive(Debug, Subcommand)]
pub enum InitOther {
    /// Write a workflow for GitHub: .github/workflows/ship.yml, which tests, builds and deploys by itself, where lockgate.yaml
    /// here has a service with `build` or `test`, hosts, and no `serve`; else deploy.yml, which asks a `lockgate serve` for a
    /// deployment
    GithubActions(GithubActions),
}

#[derive(Debug, ClapArgs)]
pub struct GithubActions {
    /// Who deploys: `ship` in the workflow's own jobs, or a `serve` that they ask. Default: as lockgate.yaml here is
    #[arg(long, value_enum, value_name = "WHO")]
    pub by: Option<By>,
    /// When it runs; for `ship` when something is pushed that `watch` names
    #[arg(long, value_enum, default_value_t = Trigger::Push)]
    pub on: Trigger,
    /// The branch that is pushed or merged to
    #[arg(long, value_name = "NAME", value_parser = branch, default_value = "main")]
    pub branch: Branch,
    /// For `serve`: build the image here and push it; default: something else does
    #[arg(long)]
    pub build: bool,
    /// What --build builds, without tag; default: what lockgate.yaml here says
    #[arg(long, value_name = "IMAGE", value_parser = image, requires = "build")]
    pub image: Option<BuiltImage>,
    /// Which service; default: the only one that is built, or that the endpoint has
    #[arg(long, value_name = "NAME")]
    pub service: Option<ServiceName>,
    /// For `serve`: Lockgate's own action, pinned; default: the workflow fetches the program by itself
    #[arg(long, value_name = "OWNER/REPOSITORY@COMMIT", value_parser = action)]
    pub action: Option<PinnedAction>,
    /// Print it instead of writing it
    #[arg(long)]
    pub print: bool,
}

impl GithubActions {
    /// Something was asked for that only a workflow has that asks a `serve`.
    pub fn is_for_serve(&self) -> bool {
        self.build || self.action.is_some() || self.on == Trigger::MergeQueue
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The workflow tests, builds, pushes, makes hosts ready and deploys
    Ship,
    /// The workflow asks a `lockgate serve`
    Serve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Trigger {
    /// When something is pushed to the branch
    Push,
    /// When something waits in the branch's merge queue; it is merged when its deployment was good
    #[value(name = "merge_queue", alias = "merge-queue")]
    MergeQueue,
}

impl From<Trigger> for On {
    fn from(trigger: Trigger) -> On {
        match trigger {
            Trigger::Push => On::Push,
            Trigger::MergeQueue => On::MergeQueue,
        }
    }
}

fn branch(text: &str) -> Result<Branch, String> {
    Branch::new(text).map_err(|error| error.to_string())
}

fn image(text: &str) -> Result<BuiltImage, String> {
    BuiltImage::new(text).map_err(|error| error.to_string())
}

fn action(text: &str) -> Result<PinnedAction, String> {
    PinnedAction::new(text).map_err(|error| error.to_string())
}
