//! `init github-actions`: a workflow that asks a daemon for a deployment, or one that ships ([`ship_workflow`]).

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use lockgate_config::init::{BuiltImage, WORKFLOW_PATH, Workflow, github_actions};
use lockgate_model::Service;
use similar::TextDiff;

use super::{Context, init, ship_workflow};
use crate::args::{Format, GithubActions, Global};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;

/// Of a workflow that is there already so much is compared.
const THERE_BYTES_MAX: u64 = 1024 * 1024;
/// Unchanged lines that are shown around changed ones.
const AROUND_LINES: usize = 3;

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

/// Where a workflow goes that is made for `folder`: into its repository, else into itself.
pub fn target(folder: &Path, path: &str) -> PathBuf {
    repository(folder).unwrap_or(folder).join(path)
}

/// Writes it where nothing is; `false`: it is there already.
///
/// # Errors
/// `Usage` where another one is there, which is left as it is; what is different is shown.
pub fn put(target: &Path, text: &str, output: &Output) -> Result<bool, CliError> {
    match there(target)? {
        None => write(target, text).map(|()| true),
        Some(there) if there == text => Ok(false),
        Some(there) => {
            // Data: what a person or a program wants to read next.
            let diff = TextDiff::from_lines(there.as_str(), text);
            let shown =
                diff.unified_diff().context_radius(AROUND_LINES).header("there", "proposed").to_string();
            if output.format == Format::Text {
                output.text(&shown);
            }
            Err(CliError::usage(
                format!("{} is there already, says something else and was left as it is", target.display()),
                "take over by hand what is shown above, or remove the file and run this again; --print prints all of it",
            ))
        }
    }
}

pub fn warn_without_repository(folder: &Path, is_new: bool, output: &Output) {
    if is_new && repository(folder).is_none() {
        output.say(&format!(
            "warning: {} is in no git repository, and GitHub runs what is pushed to one alone",
            folder.display()
        ));
        output
            .say("  hint: move .github into your app's repository; or there: `lockgate init github-actions`");
    }
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

/// The folder of the repository that `folder` is in; `None` where it is in none.
pub fn repository(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|above| above.join(".git").exists())
}

/// What the file says; `None` where there is none.
fn there(target: &Path) -> Result<Option<String>, CliError> {
    let unread = |error: std::io::Error| {
        CliError::usage(
            format!("{} is there already and cannot be read: {error}", target.display()),
            "--print prints what would be written",
        )
    };
    let file = match File::open(target) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unread(error)),
    };
    let mut text = String::new();
    file.take(THERE_BYTES_MAX).read_to_string(&mut text).map_err(unread)?;
    Ok(Some(text))
}

fn write(target: &Path, text: &str) -> Result<(), CliError> {
    if let Some(folder) = target.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(|error| CliError::failed(format!("{} cannot be made: {error}", folder.display())))?;
    }
    init::write(target, text, "lockgate init github-actions --print")
}
