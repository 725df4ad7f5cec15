//! A container that was found in a slot.

use lockgate_model::Slot;

use crate::api::ContainerSummary;

/// A short container id.
const INTERIM_PREFIX_CHARS: usize = 12;

/// A container that holds a slot.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub slot: Slot,
    pub summary: ContainerSummary,
    /// Started by Lockgate for this project and environment; else by somebody's own `docker compose up`.
    pub ours: bool,
}

impl Held {
    pub(crate) fn runs(&self) -> bool {
        runs(&self.summary.state)
    }

    /// `0123456789ab_web-1`: while Compose replaces a container, the old one (v1) or the new one (v2) is called so.
    pub(crate) fn has_interim_name(&self) -> bool {
        self.name().split_once('_').is_some_and(|(prefix, _)| {
            prefix.len() == INTERIM_PREFIX_CHARS && prefix.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }

    pub(crate) fn name(&self) -> &str {
        self.summary.names.first().map_or(self.summary.id.as_str(), |name| name.trim_start_matches('/'))
    }
}

/// `restarting` counts: Docker keeps starting it until it is stopped.
pub(crate) fn runs(state: &str) -> bool {
    matches!(state, "running" | "paused" | "restarting")
}

pub(crate) fn is_running(summary: &ContainerSummary) -> bool {
    summary.state == "running"
}
