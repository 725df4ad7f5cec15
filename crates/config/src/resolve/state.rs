//! Where the store is.

use std::path::Path;

use lockgate_model::{InvalidState, PostgresUrl, StateLocation};

use super::reader::Reader;
use crate::at::At;

/// `None` when it is wrong. Empty text is the default, so that `${NAME:-}` makes a shared store optional on each machine.
/// The text is never quoted: it may have a password in it.
pub fn resolve(reader: &mut Reader<'_>, source: Option<&At<String>>, root: &Path) -> Option<StateLocation> {
    let default = StateLocation::of_folder(root);
    let Some(source) = source else { return Some(default) };
    let hint = |name: &str| {
        format!("export {name}=…, or write ${{{name}:-}} to use .lockgate/journal.db where it is not set")
    };
    let text = reader.fill_or(&source.value, source.place, hint)?;
    if text.trim().is_empty() {
        return Some(default);
    }
    if PostgresUrl::is_meant(&text) {
        return match PostgresUrl::new(&text) {
            Ok(url) => Some(StateLocation::Postgres(url)),
            Err(InvalidState { message, hint }) => {
                reader.invalid(source.place, message, hint);
                None
            }
        };
    }
    if text.contains(char::is_control) || text.ends_with('/') || text.starts_with("postgres:") {
        let hint = "write a file's name, or `postgres://USER@HOST/DATABASE`";
        reader.invalid(source.place, "`state` is neither a file nor a store's URL", hint);
        return None;
    }
    Some(StateLocation::File(root.join(text)))
}
