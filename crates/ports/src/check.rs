//! What `doctor` has looked at.

use serde::Serialize;

/// One line of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: `Docker Engine`, `free disk space`.
    pub what: String,
    /// Whether it is as a deployment needs it.
    pub state: CheckState,
    /// What was seen.
    pub seen: String,
    /// How to mend it; for anything but `Ok`.
    pub mend: Option<String>,
    /// What an app wrote that explains it, oldest line first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

impl Check {
    /// Something is as it should be.
    pub fn ok(what: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { what: what.into(), state: CheckState::Ok, seen: seen.into(), mend: None, lines: Vec::new() }
    }

    /// Something is not as good as it could be; `mend` says what to do.
    pub fn warn(what: impl Into<String>, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            state: CheckState::Warn,
            seen: seen.into(),
            mend: Some(mend.into()),
            lines: Vec::new(),
        }
    }

    /// Something would make a deployment fail; `mend` says what to do.
    pub fn bad(what: impl Into<String>, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            state: CheckState::Bad,
            seen: seen.into(),
            mend: Some(mend.into()),
            lines: Vec::new(),
        }
    }

    /// With what an app wrote, oldest line first, below what was seen.
    #[must_use]
    pub fn lines(mut self, lines: Vec<String>) -> Self {
        self.lines = lines;
        self
    }
}

/// Whether something is as a deployment needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// A deployment works, but not as well as it could.
    Warn,
    /// A deployment would fail, users are not served, or what the configuration asks for cannot be done.
    Bad,
}
