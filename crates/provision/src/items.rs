//! One thing that a host needs, and what is said of it.

use lockgate_model::{SetupItem, SetupKind, SetupState};

pub(crate) fn item(kind: SetupKind, name: &str, state: SetupState) -> SetupItem {
    SetupItem { kind, name: name.to_owned(), state, note: None, hint: None }
}

pub(crate) fn noted(mut item: SetupItem, note: impl Into<String>) -> SetupItem {
    item.note = Some(note.into());
    item
}

pub(crate) fn refused(mut item: SetupItem, note: impl Into<String>, hint: impl Into<String>) -> SetupItem {
    (item.state, item.note, item.hint) = (SetupState::Refused, Some(note.into()), Some(hint.into()));
    item
}
