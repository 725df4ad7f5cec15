//! A workflow's file: where it goes, and that another one is left as it is.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::init;
use crate::args::Format;
use crate::error::CliError;
use crate::output::Output;

/// Of a workflow that is there already so much is compared.
const THERE_BYTES_MAX: u64 = 1024 * 1024;
/// Unchanged lines that are shown around changed ones.
const AROUND_LINES: usize = 3;
/// Of what git says of a branch.
const HEAD_BYTES_MAX: u64 = 1024;

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

/// The branch that is checked out in a repository's folder; `None` where that cannot be said.
pub fn branch(repository: &Path) -> Option<String> {
    let file = lockgate_own::open(&repository.join(".git/HEAD")).ok()?;
    let mut text = String::new();
    file.take(HEAD_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim_end().strip_prefix("ref: refs/heads/").map(str::to_owned)
}
