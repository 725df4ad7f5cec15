//! The service's own tests.

use lockgate_model::{Failure, FailureKind, Job, Tag, Test, quoted};
use lockgate_ports::{Command, Line};

use crate::voice::Telling;
use crate::{Parts, Stopped};

/// Lines of a failed test that are kept with its failure.
const LOG_LINES: usize = 30;
/// Longest part of the command that is shown.
const COMMAND_CHARS_MAX: usize = 120;

/// Runs the test in the project's folder. A failure that is allowed is the answer.
///
/// # Errors
/// [`Stopped`], where it is not allowed, and where the test could not be run at all.
pub(crate) async fn run(parts: &Parts<'_>, test: &Test, tag: &Tag) -> Result<Option<Failure>, Stopped> {
    let shown = quoted(&test.run, COMMAND_CHARS_MAX);
    let mut telling = Telling::begin(parts.voice, parts.mask, Job::Test, &shown);
    let root = parts.project.root.to_string_lossy();
    let command = Command::new(["sh", "-c", &test.run]).cwd(root).timeout(test.timeout);
    let failure = match parts.host.exec_lines(&command, &mut telling).await {
        Ok(ended) if ended.ok() => {
            telling.end(true, "passed");
            return Ok(None);
        }
        Ok(ended) => {
            let message = format!("the test failed with exit code {}: {shown}", ended.code);
            Failure::new(FailureKind::Other, message).logs(last(&ended.last))
        }
        Err(error) => Failure::from(error.context("the test")),
    };
    let service = &parts.service.name;
    let failure = failure.hint(format!("`lockgate ship {service} --job test` runs it alone"));
    let failure = parts.mask.failure(failure);
    telling.end(false, &failure.message);
    match test.allow_failure {
        true => Ok(Some(failure)),
        false => Err(Stopped::at(Job::Test, tag, failure)),
    }
}

fn last(lines: &[Line]) -> Vec<String> {
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| line.text.clone()).collect()
}
