//! `init github-actions` where CI ships by itself: the workflow, and the secrets that it is to be given.

use std::fs::File;
use std::path::{Path, PathBuf};

use lockgate_config::init::{SecretToSet, ShipWorkflow, shipped};
use lockgate_config::{ConfigError, FILE_NAMES};

use super::workflow_file::{branch, put, repository, target, warn_without_repository};
use crate::args::{By, Format, GithubActions, Global};
use crate::error::CliError;
use crate::exit::Exit;
use crate::found_config;
use crate::output::Output;

/// What of the repository's variables the workflow reads, and what for.
const VARIABLES: [(&str, &str); 2] = [
    ("LOCKGATE_PROGRAM_URL", "where the static program is fetched from: https://…"),
    ("LOCKGATE_PROGRAM_SHA256", "its checksum, as `sha256sum` prints it"),
];
const NOT_HERE: &str = "there is no lockgate.yaml here that says what is shipped";

/// A workflow, and the folder of the lockgate.yaml that it is made of.
pub struct Wanted {
    workflow: ShipWorkflow,
    folder: PathBuf,
}

/// `None`: a daemon is to be asked instead.
pub fn wanted(args: &GithubActions, global: &Global) -> Result<Option<Wanted>, CliError> {
    match (args.by, args.is_for_serve()) {
        (Some(By::Serve), _) | (None, true) => return Ok(None),
        (Some(By::Ship), true) => {
            return Err(CliError::usage(
                "--build, --action and --on merge_queue are for a workflow that asks a `lockgate serve`",
                "leave them out: with `--by ship` the image is always built, and every push to the branch counts",
            ));
        }
        (Some(By::Ship) | None, false) => {}
    }
    let named = global.config.clone();
    let is_named = named.is_some();
    let Some(path) = named.or(lockgate_config::find(&std::env::current_dir()?)) else {
        return match args.by {
            None | Some(By::Serve) => Ok(None),
            Some(By::Ship) => {
                Err(CliError::usage(NOT_HERE, "`lockgate init` writes one; `-c FILE` names another"))
            }
        };
    };
    let trusted = |file: &File, path: &Path| match is_named {
        true => Ok(()),
        false => found_config::require(file, path),
    };
    let (text, absolute) = lockgate_config::text_if(&path, trusted)?;
    let shipped =
        shipped(&text, &path.display().to_string()).map_err(|error: ConfigError| CliError::from(error))?;
    if args.by.is_none() && !shipped.is_by_ci() {
        return Ok(None);
    }
    let one = shipped
        .one(args.service.as_ref(), global.env.as_deref())
        .map_err(|why| CliError::usage(why.to_string(), why.hint()))?;
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let mut workflow = ShipWorkflow::new(one, args.branch.clone(), &folder);
    let root = repository(&folder).unwrap_or(&folder);
    workflow.folder = plain(folder.strip_prefix(root).unwrap_or(Path::new("")))?;
    let name = plain(Path::new(absolute.file_name().unwrap_or_default()))?;
    workflow.config = (!FILE_NAMES.contains(&name.as_str())).then_some(name);
    workflow.has_submodules = root.join(".gitmodules").exists();
    Ok(Some(Wanted { workflow, folder }))
}

/// A path that means nothing else in a workflow or a shell.
fn plain(path: &Path) -> Result<String, CliError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let text = path.to_str().filter(|text| text.chars().all(is_plain) && !text.starts_with('-'));
    text.map(str::to_owned).ok_or_else(|| {
        CliError::usage(
            format!("{} cannot be named in a workflow", path.display()),
            "give it a name of letters, digits, `.`, `_` and `-`, and run this again",
        )
    })
}

pub fn run(wanted: &Wanted, args: &GithubActions, output: &Output) -> Result<Exit, CliError> {
    let Wanted { workflow, folder } = wanted;
    let secrets = workflow.secrets();
    if args.print {
        output.text(&workflow.text());
        say_what_to_set(&secrets, workflow, output);
        return Ok(Exit::Succeeded);
    }
    let target = target(folder, &workflow.path());
    let is_new = put(&target, &workflow.text(), output)?;
    match output.format {
        Format::Json => {
            let secrets: Vec<serde_json::Value> = secrets.iter().map(as_json).collect();
            let variables: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
            output.json(&serde_json::json!({
                "written": is_new.then_some(&target), "path": target, "secrets": secrets, "variables": variables,
            }));
        }
        Format::Text => {
            output.say(&match is_new {
                true => format!("wrote {}", target.display()),
                false => format!("{} is there already, and says just this", target.display()),
            });
            say_what_to_set(&secrets, workflow, output);
            output.say("next: set them, then commit the workflow and push it");
        }
    }
    warn_of_branch(folder, workflow, output);
    warn_without_repository(folder, is_new, output);
    Ok(Exit::Succeeded)
}

/// A push to another branch would ship nothing, without a word.
fn warn_of_branch(folder: &Path, workflow: &ShipWorkflow, output: &Output) {
    let Some(here) = repository(folder).and_then(branch) else { return };
    let meant = workflow.branch.as_str();
    if here != meant {
        output.say(&format!(
            "warning: the branch here is {here}, and the workflow is for what is pushed to {meant}"
        ));
        output.say(&format!("  hint: `lockgate init github-actions --branch {here}` is for this one"));
    }
}

fn as_json(secret: &SecretToSet) -> serde_json::Value {
    let SecretToSet { name, what, is_optional, command } = secret;
    serde_json::json!({ "name": name, "what": what, "optional": is_optional, "command": command })
}

fn say_what_to_set(secrets: &[SecretToSet], workflow: &ShipWorkflow, output: &Output) {
    let variables = VARIABLES.map(|(name, what)| (format!("gh variable set {name}"), what.to_owned()));
    let width = secrets
        .iter()
        .map(|secret| &secret.command)
        .chain(variables.iter().map(|(command, _)| command))
        .map(String::len)
        .max()
        .unwrap_or_default();
    let optional = |secret: &SecretToSet| if secret.is_optional { "may be left out: " } else { "" };
    output.say("secrets to set, typed in the repository (`gh` asks for the value):");
    for secret in secrets {
        output.say(&format!("  {:width$}  # {}{}", secret.command, optional(secret), secret.what));
    }
    output.say("variables to set:");
    for (command, what) in variables {
        output.say(&format!("  {command:width$}  # {what}"));
    }
    if workflow.shipped.lacks_key {
        output.say("warning: CI has no key for hosts: lockgate.yaml has no `ssh.key`");
        output.say(
            "  hint: write `ssh: { key: \"${SSH_PRIVATE_KEY:-}\", known_hosts: \"${KNOWN_HOSTS:-}\" }` and run this again",
        );
    }
    if workflow.shipped.runs_programs {
        output.say("warning: a value of `env` comes from a program, which the job `deploy` does not have");
        output.say("  hint: add a step in front of `Deploy` that installs it, and its own secret to the step's `env`");
    }
}
