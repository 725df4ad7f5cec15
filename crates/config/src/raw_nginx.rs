//! nginx as a router, as it is written. The doc comments here are the descriptions in the JSON schema.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::at::At;

/// An nginx that runs already, on the host or in a container. `doctor` shows what to paste into its configuration, once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping; `{}` takes every default")]
pub struct Nginx {
    /// What a switch changes: `file`, whether `green_is_live` is in the service's home, for which nginx looks at each request, so that
    /// nothing is reloaded and no connection is ever lost; or `reload`, a file that nginx includes and loads anew. Default: `file`.
    #[schemars(with = "Option<NginxSwitchName>")]
    pub switch: Option<At<String>>,
    /// What nginx dials for a slot; must name `{slot}`: an upstream group of its configuration, with one server in it, or host and
    /// port. Default: the group `{service}_{slot}`; with `container`, `{service}-{slot}:{port}`.
    pub dial: Option<At<String>>,
    /// The file that is the switch, as nginx sees it, where a container has the folder elsewhere. Default: as on the host.
    pub marker: Option<At<String>>,
    /// The first file of nginx's configuration. Default: where nginx itself looks for it.
    pub config: Option<At<String>>,
    /// The name of the container that nginx runs in. Default: it runs on the host.
    pub container: Option<At<String>>,
    /// URL on the host for asking through nginx. Default: found in its configuration.
    pub ask: Option<At<String>>,
}

/// What a switch of nginx changes.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(
    dead_code,
    reason = "names the values in the schema; the value itself is read as text, for its place"
)]
enum NginxSwitchName {
    File,
    Reload,
}
