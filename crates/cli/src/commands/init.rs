//! `init`: a first lockgate.yaml from what lies in this folder.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use lockgate_config::init::{InitError, import_services_yaml, propose};
use lockgate_model::{EnvironmentName, Failure};
use lockgate_ports::PortError;

use super::crontab;
use crate::args::{Format, Global, Init};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::wiring;

/// What is deployed to when `--env` does not say otherwise.
const ENVIRONMENT: &str = "prod";

pub fn run(init: &Init, global: &Global, output: &Output) -> Result<Exit, CliError> {
    let dir = std::env::current_dir()?;
    let target = global.config.clone().unwrap_or_else(|| dir.join(lockgate_config::FILE_NAMES[0]));
    let environment = EnvironmentName::new(global.env.as_deref().unwrap_or(ENVIRONMENT))
        .map_err(|error| CliError::usage(error.to_string(), "name another one with --env"))?;
    let proposal = match &init.import {
        Some(services) => import_services_yaml(services, &folder(&target)?, &environment),
        None => propose(&dir, &environment),
    }
    .map_err(|error| match error {
        InitError::Wrong(error) => (*error).into(),
        other => CliError::usage(other.to_string(), other.hint()),
    })?;
    match init.print {
        true => output.text(&proposal.text),
        false => write(&target, &proposal.text, PRINT)?,
    }
    match output.format {
        Format::Json if !init.print => {
            output.json(&serde_json::json!({
                "written": target, "notes": proposal.notes, "cron": proposal.cron,
            }));
        }
        Format::Json | Format::Text => {
            if !init.print {
                output.say(&format!("wrote {}", target.display()));
            }
            proposal.notes.iter().for_each(|note| output.say(&format!("- {note}")));
            output.say(match proposal.ships {
                true => "next: read it, then `lockgate setup --dry-run`, then `lockgate ship`; from CI: `lockgate init github-actions`",
                false => "next: read it, then `lockgate doctor`, then `lockgate plan SERVICE TAG`",
            });
            if let Some(cron) = proposal.cron.filter(|_| !init.print) {
                let command =
                    crontab::command(&wiring::this_program()?, &std::path::absolute(&target)?, None);
                output.say("for the newest version of each service every day, `crontab -e` takes this line; above it, as NAME=value, the variables that lockgate.yaml reads:");
                output.say(&format!("{cron} {command}"));
            }
        }
    }
    Ok(Exit::Succeeded)
}

/// The folder that the file will lie in; a link to it does not give the project its name.
fn folder(target: &Path) -> Result<std::path::PathBuf, CliError> {
    let absolute = std::path::absolute(target)?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    Ok(folder.canonicalize().unwrap_or_else(|_| folder.to_owned()))
}

/// A file that is there is never touched, not even between looking and writing. `print` is the command that only shows it.
pub fn write(target: &Path, text: &str, print: &str) -> Result<(), CliError> {
    let shown = target.display();
    // Who can write it can make everybody run anything who uses it, so no umask gives that away.
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o644).open(target).map_err(|error| {
            match error.kind() {
                ErrorKind::AlreadyExists => CliError::usage(
                    format!("{shown} is there already and was left as it is"),
                    format!("`{print}` shows what would be written"),
                ),
                ErrorKind::NotFound => unwritten(target, error, "make its folder first"),
                _ => unwritten(target, error, &elsewhere(print)),
            }
        })?;
    file.write_all(text.as_bytes()).map_err(|error| {
        // Half a file would be in the way of the next `init`.
        match std::fs::remove_file(target) {
            Ok(()) => unwritten(target, error, &elsewhere(print)),
            Err(_) => unwritten(target, error, "remove what was written of it, and try again"),
        }
    })
}

/// What only shows what would be written.
const PRINT: &str = "lockgate init --print";

fn elsewhere(print: &str) -> String {
    match print {
        PRINT => format!("`-c FILE` writes another one, `{print}` only shows it"),
        _ => format!("`{print}` only shows it"),
    }
}

fn unwritten(target: &Path, error: std::io::Error, hint: &str) -> CliError {
    let mut failure = Failure::from(PortError::from(error));
    failure.message = format!("{} cannot be written: {}", target.display(), failure.message);
    failure.hint(hint).into()
}
