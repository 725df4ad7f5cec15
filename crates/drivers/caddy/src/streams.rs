//! What a change of Caddy's configuration cuts of the requests in flight.

use crate::caddy::{Caddy, Live};
use crate::members::list;
use crate::tree::{self, Handler};
use crate::version::{self, Seen};

/// Requests that a switch of this service would cut.
pub(crate) struct Cut {
    /// The service's own handlers with `flush_interval -1`.
    ours: Vec<Handler>,
    version: Seen,
}

impl Cut {
    /// What is cut and why, with what to do.
    pub(crate) fn told(&self) -> String {
        let version = match self.version.number() {
            Some(version) => format!("Caddy {version} cuts"),
            None => format!("Caddy, whose version is not known ({}), may cut", self.version),
        };
        format!(
            "{version} every request in flight of the service at a switch, for its `reverse_proxy` has `flush_interval \
             -1`: {}; upgrade Caddy to 2.7 or later, or take `flush_interval -1` out (Caddy flushes event streams by \
             itself)",
            list(&self.ours)
        )
    }
}

/// `None` where a switch leaves the service's own requests alone.
pub(crate) async fn cuts(caddy: &Caddy, live: &Live) -> Option<Cut> {
    let ours: Vec<Handler> =
        live.members.handlers().filter(|handler| handler.flushes_at_once).cloned().collect();
    if ours.is_empty() {
        return None;
    }
    let version = version::detect(caddy).await;
    let spared = version.number().is_some_and(|number| number >= version::STREAMS_SURVIVE);
    (!spared).then_some(Cut { ours, version })
}

/// The handlers of others with `flush_interval -1`, whose requests any change of configuration cuts on an old Caddy.
pub(crate) fn of_others(live: &Live) -> Vec<Handler> {
    let mut all = tree::handlers(&live.config);
    all.retain(|one| one.flushes_at_once && !live.members.handlers().any(|ours| ours.path == one.path));
    all
}
