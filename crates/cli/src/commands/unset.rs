//! A variable that is not set in this shell may be set for the project's daemon.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use lockgate_config::{ConfigError, Kind};

use super::setup::{project_in, text_of};
use crate::error::CliError;
use crate::setup::kept;

/// The error, which also says where the daemon's variables are where it is about one that is not set here. `config`: of
/// lockgate.yaml.
pub fn explained(error: CliError, config: &Path) -> CliError {
    match error {
        CliError::Config(error) => match hint(&error, config) {
            Some(hint) => CliError::Config(Box::new(error.with_hint(Kind::MissingVariable, &hint))),
            None => CliError::Config(error),
        },
        other @ CliError::Refusal(_) => other,
    }
}

fn hint(error: &ConfigError, config: &Path) -> Option<String> {
    let name = error.problems().find_map(lockgate_config::Problem::variable)?;
    let text = text_of(config).ok()?;
    let uid = std::fs::metadata(config).ok()?.uid();
    let user = lockgate_own::user_name(uid).unwrap_or_else(|| uid.to_string());
    let program = crate::wiring::this_program().ok()?;
    let typed: Vec<String> = std::iter::once(program).chain(std::env::args().skip(1)).collect();
    kept::hint(&kept::file(project_in(&text)?), name, &user, &typed)
}
