//! Where system A's state files are.

use lockgate_model::{Environment, Template};

use super::Reader;
use super::reader::Holes;
use crate::at::At;

/// `None` where none is asked for, and where it is wrong. Empty text asks for none, so that `${NAME:-}` leaves it to each
/// machine.
pub fn resolve(
    reader: &mut Reader<'_>,
    source: Option<&At<String>>,
    environments: &[Environment],
) -> Option<Template> {
    let source = source?;
    if reader.fill(&source.value, source.place)?.trim().is_empty() {
        return None;
    }
    let dir = reader.file("`state_dir`", source, Holes::Fixed)?;
    let deployed = environments.iter().filter(|environment| environment.slots().is_some()).count();
    if deployed > 1 && !dir.names("environment") {
        let message =
            "`state_dir` is one folder for several environments, whose files would replace each other";
        let hint = format!("write `state_dir: {}/{{environment}}`", dir.as_str().trim_end_matches('/'));
        reader.conflict(source.place, message, hint);
        return None;
    }
    Some(dir)
}
