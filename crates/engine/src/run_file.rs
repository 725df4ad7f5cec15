//! A run's plan as a file beside the record: written once, read back only by who takes the run over.

use lockgate_model::{Checksum, Failure, FailureKind, Plan, RunFileName, RunId, TOLD_CHARS_MAX, quoted};
use serde::{Deserialize, Serialize};

/// A run's file, as it stands on every host of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// Its name, which says the run and the content's checksum.
    pub name: RunFileName,
    /// JSON, the same for the same run and plan.
    pub content: Vec<u8>,
}

#[derive(Serialize)]
struct Written<'a> {
    run: RunId,
    plan: &'a Plan,
}

#[derive(Deserialize)]
struct Found {
    run: RunId,
    plan: Plan,
}

impl RunFile {
    /// # Errors
    /// `Other` for a plan that cannot be written as JSON, which none is.
    pub fn of(run: RunId, plan: &Plan) -> Result<Self, Failure> {
        let content = serde_json::to_vec(&Written { run, plan }).map_err(|error| {
            Failure::new(FailureKind::Other, format!("the plan cannot be written down: {error}"))
        })?;
        Ok(Self { name: RunFileName { run, checksum: Checksum::of(&content) }, content })
    }

    /// The plan in a file that was found under this name. It is as others have written it.
    ///
    /// # Errors
    /// Why it is not the file that the name tells, in words that follow the file's path.
    pub fn plan(name: &RunFileName, content: &[u8]) -> Result<Plan, String> {
        let checksum = Checksum::of(content);
        if checksum != name.checksum {
            return Err(format!(
                "is not what was written there: its checksum is {checksum}, its record names {}",
                name.checksum
            ));
        }
        let found: Found = serde_json::from_slice(content).map_err(|error| {
            // The error has words of the file in it.
            format!("does not parse: {}", quoted(&error.to_string(), TOLD_CHARS_MAX))
        })?;
        if found.run != name.run {
            return Err(format!("is about the run {}, its record about {}", found.run, name.run));
        }
        Ok(found.plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_file_that_a_record_names_says_why() {
        let run = RunId(uuid::Uuid::nil());
        let name = |content: &[u8]| RunFileName { run, checksum: Checksum::of(content) };
        let why = |content: &[u8]| RunFile::plan(&name(content), content).unwrap_err();
        let forged = b"{\"run\":\"\\u001b[2J`rm`\"}";
        assert!(why(forged).starts_with("does not parse: "), "{}", why(forged));
        assert!(!why(forged).contains(['\u{1b}', '`']), "{}", why(forged));
        assert!(why(b"").starts_with("does not parse: "));
        let cut = RunFile::plan(&name(b"whole"), b"who").unwrap_err();
        assert!(cut.starts_with("is not what was written there"), "{cut}");
    }
}
