//! `init github-actions`: a workflow that asks a daemon for a deployment, or one that ships ([`ship_workflow`]).

use std::path::Path;

use lockgate_config::init::{BuiltImage, WORKFLOW_PATH, Workflow, github_actions};
use lockgate_model::Service;

use super::workflow_file::{put, target, warn_without_repository};
use super::{Context, ship_workflow};
use crate::args::{Format, GithubActions, Global};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;

pub fn run(args: &GithubActions, global: &Global, output: &Output) -> Result<Exit, CliError> {
    if let Some(workflow) = ship_workflow::wanted(args, global)? {
        return ship_workflow::run(&workflow, args, output);
    }
    let build = if args.build { Some(image(args, global, output)?) } else { None };
    let workflow = Workflow {
        on: args.on.into(),
        branch: args.branch.clone(),
        build,
        service: args.service.clone(),
        action: args.action.clone(),
    };
    let text = github_actions(&workflow);
    if args.print {
        output.text(&text);
        return Ok(Exit::Succeeded);
    }
    let here = std::env::current_dir()?;
    let target = target(&here, WORKFLOW_PATH);
    let is_new = put(&target, &text, output)?;
    warn_without_repository(&here, is_new, output);
    Ok(told(&target, is_new, output))
}

fn told(target: &Path, is_new: bool, output: &Output) -> Exit {
    match output.format {
        Format::Json => {
            output.json(&serde_json::json!({ "written": is_new.then_some(target), "path": target }))
        }
        Format::Text if is_new => {
            output.say(&format!("wrote {}", target.display()));
            output.say("next: set the variables and secrets that it names at its beginning, then commit it");
        }
        Format::Text => output.say(&format!("{} is there already, and says just this", target.display())),
    }
    Exit::Succeeded
}

/// What is built: what was typed, else what the configuration here says of the service.
fn image(args: &GithubActions, global: &Global, output: &Output) -> Result<BuiltImage, CliError> {
    if let Some(image) = &args.image {
        return Ok(image.clone());
    }
    let hint = "name it with --image ghcr.io/acme/web";
    if global.config.is_none() && lockgate_config::find(&std::env::current_dir()?).is_none() {
        return Err(CliError::usage(
            "there is no lockgate.yaml here that says which image is to be built",
            hint,
        ));
    }
    let project = Context::load(global, output)?.project;
    let wanted = |service: &&Service| args.service.as_ref().is_none_or(|name| *name == service.name);
    let images: Vec<&String> =
        project.services.values().filter(wanted).filter_map(|service| service.image.as_ref()).collect();
    match images.as_slice() {
        [image] => BuiltImage::new(image).map_err(|error| CliError::usage(error.to_string(), hint)),
        [] => Err(CliError::usage("lockgate.yaml names no image for it", hint)),
        _ => {
            Err(CliError::usage("lockgate.yaml has several services with images", "name one with --service"))
        }
    }
}
