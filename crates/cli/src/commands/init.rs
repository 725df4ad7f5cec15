//! `init`: a first lockgate.yaml from what lies in this folder.

use std::io::Write;

use lockgate_config::init::{InitError, import_services_yaml, propose};

use crate::args::{Format, Global, Init};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;

pub fn run(init: &Init, global: &Global, output: &Output) -> Result<Exit, CliError> {
    let dir = std::env::current_dir()?;
    let target = global.config.clone().unwrap_or_else(|| dir.join(lockgate_config::FILE_NAMES[0]));
    let proposal = match &init.import {
        Some(services) => import_services_yaml(services),
        None => propose(&dir),
    }
    .map_err(|error: InitError| CliError::usage(error.to_string(), "`lockgate init --help`"))?;
    if init.print {
        output.text(&proposal.text);
    } else {
        // `create_new`: a file that is there is never touched, not even between looking and writing.
        let written =
            std::fs::File::create_new(&target).and_then(|mut file| file.write_all(proposal.text.as_bytes()));
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(CliError::usage(
                    format!("{} is there already and was left as it is", target.display()),
                    "`lockgate init --print` shows what would be written",
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    match output.format {
        Format::Json if !init.print => {
            output.json(&serde_json::json!({ "written": target, "notes": proposal.notes }));
        }
        Format::Json | Format::Text => {
            if !init.print {
                output.say(&format!("wrote {}", target.display()));
            }
            proposal.notes.iter().for_each(|note| output.say(&format!("- {note}")));
            output.say("next: read it, then `lockgate doctor`, then `lockgate plan SERVICE TAG`");
        }
    }
    Ok(Exit::Succeeded)
}
