//! What a service is shipped with, as it is written. As in [`crate::raw`], the doc comments are the schema's descriptions.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::at::{At, Entries, ShortForm, Span};

/// What `lockgate ship` runs before it builds anything.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a command or a mapping with `run`")]
pub struct Test {
    /// For `sh -c` in this file's folder, as it is written: the shell reads `$NAME` and `${NAME}` itself, from the
    /// environment of `lockgate`.
    pub run: At<String>,
    /// A failure is said at the end, and the build goes on. Default: false.
    pub allow_failure: Option<At<bool>>,
    /// After which it is ended, and has failed. Default: 30m.
    pub timeout: Option<At<Span>>,
}

impl ShortForm for Test {
    const EXPECTS: &'static str =
        "a command such as `pytest -q`, or a mapping with `run`, and `allow_failure`, `timeout`";
}

/// How `lockgate ship` builds the service's image. Default: `docker build .`, tagged with the commit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a folder or a mapping")]
pub struct Build {
    /// `docker`, `buildx` or `depot`. Default: `docker`.
    #[schemars(with = "Option<ToolName>")]
    pub with: Option<At<String>>,
    /// `linux/amd64`, `linux/arm64`; several need `buildx` or `depot`. Default: the builder's own.
    pub platforms: Option<At<Vec<At<String>>>>,
    /// Tags of the image, with `{sha}`, `{sha:.8}`, `{branch}` and `{git_tag}`. The first is the release's and names the
    /// commit; one that names a branch or a git tag is left out where there is none. Default: `["{sha}"]`.
    pub tags: Option<At<Vec<At<String>>>>,
    /// The folder to build from; a relative one starts at this file's folder. Default: `.`.
    pub context: Option<At<String>>,
    /// The Dockerfile; a relative one starts at `context`. Default: `Dockerfile`.
    pub file: Option<At<String>>,
    /// Build arguments. They are in the image's history, so no secret belongs there.
    #[serde(default)]
    pub args: Entries<At<String>>,
}

impl ShortForm for Build {
    const EXPECTS: &'static str =
        "the folder to build from, or a mapping with `with`, `platforms`, `tags`, `context`, `file`, `args`";
}

/// What builds images.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(
    dead_code,
    reason = "names the values in the schema; the value itself is read as text, for its place"
)]
enum ToolName {
    Docker,
    Buildx,
    Depot,
}
