//! The JSON schema for editors.

use crate::raw;

/// The JSON schema (draft 2020-12) of `lockgate.yaml`, made from the types that read it.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(raw::File).to_value()
}
