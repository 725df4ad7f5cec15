//! The commits of the push that a CI system was started by, as it says. Its file is input: bounded, and believed only where
//! it names commits.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lockgate_model::{CommitSha, TOLD_CHARS_MAX, quoted};
use lockgate_ship::PushRange;
use serde::Deserialize;

/// GitHub's payloads are at most 25 MB.
const EVENT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// By this git and CI systems say that there is no commit.
const NONE: &str = "0000000000000000000000000000000000000000";

/// The part of a push's payload that is read.
/// Source: <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>
#[derive(Deserialize)]
struct Push {
    before: String,
    after: String,
}

/// `None`: no push started this. `Err`: one did, and what it brought is not known, for people.
pub fn pushed(env: &dyn Fn(&str) -> Option<String>) -> Result<Option<PushRange>, String> {
    if env("GITHUB_EVENT_NAME").as_deref() != Some("push") {
        return Ok(None);
    }
    let Some(path) = env("GITHUB_EVENT_PATH").filter(|path| !path.is_empty()) else { return Ok(None) };
    read(Path::new(&path)).map(Some)
}

fn read(path: &Path) -> Result<PushRange, String> {
    let unknown = |why: &str| format!("what the push brought is not known: {} {why}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unknown(&format!("cannot be read: {error}")))?;
    file.take(EVENT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unknown(&format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > EVENT_BYTES_MAX {
        return Err(unknown("is too large"));
    }
    let push: Push = serde_json::from_slice(&bytes).map_err(|_| unknown("is no push's event"))?;
    let commit = |text: &str| {
        CommitSha::new(text).map_err(|_| unknown(&format!("names \"{}\"", quoted(text, TOLD_CHARS_MAX))))
    };
    let before = if push.before == NONE { None } else { Some(commit(&push.before)?) };
    Ok(PushRange { before, after: commit(&push.after)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef01234567";
    const NEW: &str = "fedcba9876543210fedcba9876543210fedcba98";

    fn said(name: &str, event: &str) -> Result<Option<PushRange>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        std::fs::write(&path, event).unwrap();
        let env = |asked: &str| match asked {
            "GITHUB_EVENT_NAME" => Some(name.to_owned()),
            "GITHUB_EVENT_PATH" => Some(path.to_string_lossy().into_owned()),
            _ => None,
        };
        pushed(&env)
    }

    #[test]
    fn a_push_of_github_says_which_commits_it_brought() {
        let event = |before: &str, after: &str| format!(r#"{{"before":"{before}","after":"{after}","x":1}}"#);
        let (old, new) = (CommitSha::new(OLD).unwrap(), CommitSha::new(NEW).unwrap());
        let range = |before| Ok(Some(PushRange { before, after: new.clone() }));
        assert_eq!(said("push", &event(OLD, NEW)), range(Some(old)));
        assert_eq!(said("push", &event(NONE, NEW)), range(None), "a new branch");
        assert_eq!(said("workflow_dispatch", "{}"), Ok(None));
        assert_eq!(pushed(&|_| None), Ok(None));
    }

    #[test]
    fn what_is_no_commit_is_not_believed() {
        for (event, why) in [
            (format!(r#"{{"before":"--upload-pack=x","after":"{NEW}"}}"#), "--upload-pack=x"),
            (format!(r#"{{"before":"{OLD}","after":"{NONE}"}}"#), NONE),
            (r#"{"before":1}"#.to_owned(), "is no push's event"),
            (String::new(), "is no push's event"),
        ] {
            let told = said("push", &event).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
