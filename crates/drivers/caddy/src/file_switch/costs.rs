//! What a switch costs through the admin API, and the way out.

use lockgate_ports::Check;

use super::advice::{caddyfile, folder, routes};
use super::switch::FileSwitch;
use crate::version::{self, Version};

/// For a Caddy that is switched through its admin API.
pub(crate) async fn recommended(switch: &FileSwitch) -> Option<Check> {
    let what = "what a switch costs";
    let seen = switch.version().await.number();
    let costs = costs(seen);
    if seen.is_some_and(|seen| seen < version::FILES_ARE_READ) {
        return Some(Check::warn(
            what,
            costs,
            "upgrade to Caddy 2.8 or later, where the switch can be a file and nothing is lost: `lockgate doctor` shows it then",
        ));
    }
    let advice = switch.advice();
    Some(Check::warn(
        what,
        costs,
        format!(
            "let Caddy read the switch at each request, then its configuration never changes and nothing is lost. Once, in the \
             place of the `reverse_proxy` to the service, in the Caddyfile:\n{}\nor as routes of its JSON:\n{}\n(a Caddy in a \
             container gets the folder of that file, not the file: `-v {folder}:{folder}:ro`); the next run then takes the file",
            caddyfile(&advice),
            routes(&advice),
            folder = folder(&switch.options.active_color),
        ),
    ))
}

/// What Caddy loses at every change of its configuration, measured (README of this crate).
fn costs(version: Option<Version>) -> String {
    let streams = match version {
        Some(seen) if seen < version::STREAMS_SURVIVE => "all WebSockets of all its sites",
        _ => "all WebSockets where `stream_close_delay` is not set",
    };
    let fresh = match version {
        Some(seen) if seen < version::SOCKETS_NEVER_MOVE => {
            "connections that were just being opened unless net.ipv4.tcp_migrate_req=1"
        }
        Some(_) => "connections that were just being opened, whatever net.ipv4.tcp_migrate_req says",
        None => {
            "connections that were just being opened (from 2.10.2 on always, before that unless net.ipv4.tcp_migrate_req=1)"
        }
    };
    format!(
        "by its admin API each switch loses some requests on kept connections, POSTs among them, some on {fresh}, and cuts {streams}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_said_for_each_version() {
        let old = costs(Some(Version(2, 6, 2)));
        assert!(
            old.contains("WebSockets of all its sites") && old.contains("unless net.ipv4.tcp_migrate_req=1"),
            "{old}"
        );
        let new = costs(Some(Version(2, 11, 7)));
        assert!(
            new.contains("stream_close_delay") && new.contains("whatever net.ipv4.tcp_migrate_req says"),
            "{new}"
        );
        assert!(costs(None).contains("from 2.10.2 on always"), "{}", costs(None));
    }
}
