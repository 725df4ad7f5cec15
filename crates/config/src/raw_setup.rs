//! What hosts need, as it is written. The doc comments here are the descriptions in the JSON schema.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::at::{At, Entries, Span};

/// What `lockgate setup` waits for and makes on each host before its first deployment, beside the folders of the Compose
/// files.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping; `{}` takes every default")]
pub struct Setup {
    /// A file on the host that says that the host is ready, as cloud-init writes one last: `/opt/setup_complete`. Until it is
    /// there, and while the host does not answer yet, `lockgate setup` waits. Default: nothing is waited for.
    pub wait_for: Option<At<String>>,
    /// Longest wait for it. Default: `15m`.
    pub patience: Option<At<Span>>,
    /// Further folders on the host, by their absolute paths, such as those that containers mount.
    #[serde(default)]
    pub folders: Entries<At<Folder>>,
}

/// A folder on the host.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping; `{}` takes every default")]
pub struct Folder {
    /// `user`, `user:group`, or their numbers. Default: whoever logs in there; an owner that it has already stays.
    pub owner: Option<At<String>>,
    /// Permissions as `chmod` has them, such as `0750`. Default: `0755`; those that it has already stay.
    pub mode: Option<At<String>>,
}
