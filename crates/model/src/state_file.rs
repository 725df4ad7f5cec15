//! System A's state of a service as a file: how its last run ended, for who reads `state/web.json`.

use serde::{Deserialize, Serialize};

use crate::{Exit, Mask, ServiceName, quoted};

/// Longest notes, in characters.
pub const NOTES_CHARS_MAX: usize = 1_000;

/// The three words that system A has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    /// The release that was asked for is live, or was already.
    Success,
    /// It failed and nothing was changed, it needs a person, or what it came to is not known: the notes say which.
    Failed,
    /// What was live before is live again: after a run that was taken back, and after a rollback that was asked for.
    RolledBack,
}

impl StateWord {
    /// Never greener than what the command ended with. `goes_back`: what was asked for is a rollback.
    #[must_use]
    pub fn of(exit: Exit, goes_back: bool) -> StateWord {
        match exit {
            Exit::Succeeded if goes_back => StateWord::RolledBack,
            Exit::Succeeded => StateWord::Success,
            Exit::RolledBack => StateWord::RolledBack,
            Exit::Failed | Exit::Usage | Exit::Stuck | Exit::NotYet | Exit::Held | Exit::Unknown => {
                StateWord::Failed
            }
        }
    }
}

/// As it is written, its members in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// Its name is the file's, too.
    pub service: ServiceName,
    /// The tag that is live everywhere, as `status` has it; `None` when nothing is, when hosts differ, and when that could
    /// not be seen.
    pub image_tag: Option<String>,
    /// How the last run ended.
    pub status: StateWord,
    /// When it ended: RFC 3339 with offset.
    pub timestamp: String,
    /// What a person should know beside the word, on one line, without secrets, at most [`NOTES_CHARS_MAX`] characters (one
    /// more where it was cut); may be empty.
    pub notes: String,
}

impl StateFile {
    /// `notes` come from hosts, registries and programs.
    #[must_use]
    pub fn noting(mut self, notes: &[String], mask: &Mask) -> Self {
        // Masked while it is whole: a secret that was cut is not known any more.
        let notes = notes.iter().map(|note| mask.hide(note.trim().to_owned()));
        let notes: Vec<String> = notes.filter(|note| !note.is_empty()).collect();
        self.notes = quoted(&notes.join("; "), NOTES_CHARS_MAX);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn file(notes: &[&str]) -> StateFile {
        let notes: Vec<String> = notes.iter().map(|&note| note.to_owned()).collect();
        let file = StateFile {
            service: ServiceName::new("web").unwrap(),
            image_tag: Some("v1".to_owned()),
            status: StateWord::RolledBack,
            timestamp: "2026-11-20T12:00:01+01:00".to_owned(),
            notes: String::new(),
        };
        file.noting(&notes, &Mask::of(&[Secret::new("hunter2")]))
    }

    #[test]
    fn it_has_the_five_members_of_system_a_in_their_order() {
        let text = serde_json::to_string(&file(&["v2: unhealthy: it answered 503"])).unwrap();
        assert_eq!(
            text,
            r#"{"service":"web","image_tag":"v1","status":"rolled_back","timestamp":"2026-11-20T12:00:01+01:00","notes":"v2: unhealthy: it answered 503"}"#
        );
    }

    #[test]
    fn notes_are_one_line_without_secrets_or_what_steers_a_terminal_and_have_an_end() {
        assert_eq!(file(&[" a hunter2\nb\x1b[2J ", "", "`c`"]).notes, r"a ***\nb\x1b[2J; 'c'");
        assert_eq!(file(&[&"x".repeat(5_000)]).notes.chars().count(), NOTES_CHARS_MAX + 1);
        let at_the_edge = format!("{}hunter2", "x".repeat(NOTES_CHARS_MAX - 4));
        assert!(!file(&[&at_the_edge]).notes.contains("hunt"), "what is cut was masked before");
    }

    #[test]
    fn the_word_is_never_greener_than_the_exit_code() {
        let exits = [
            Exit::Succeeded,
            Exit::Failed,
            Exit::Usage,
            Exit::RolledBack,
            Exit::Stuck,
            Exit::NotYet,
            Exit::Held,
            Exit::Unknown,
        ];
        for (exit, goes_back) in exits.into_iter().flat_map(|exit| [(exit, false), (exit, true)]) {
            let word = StateWord::of(exit, goes_back);
            assert_eq!(word == StateWord::Success, exit == Exit::Succeeded && !goes_back, "{exit:?}");
            let went_back = exit == Exit::RolledBack || (exit == Exit::Succeeded && goes_back);
            assert_eq!(word == StateWord::RolledBack, went_back, "{exit:?}");
        }
    }
}
