//! What `doctor` says of Caddy.

use lockgate_asking::DataPath;
use lockgate_model::{Millis, Slot};
use lockgate_ports::{Check, PortError, Request, Router};
use serde_json::Value;

use crate::caddy::{Caddy, Live};
use crate::dials::{Leads, leads};
use crate::members::By;
use crate::{service, snippet, streams, version};

/// What is asked for when only the way there is wanted.
const ANY_PATH: &str = "/";
/// How long that may take.
const ASK_SECONDS_MAX: u64 = 5;
/// Whether the kernel moves connections from a closed listening socket to another one on the same port. Each network
/// namespace has its own; this is the host's, and whether Caddy runs in that one is not known.
const MIGRATE_FLAG: &str = "/proc/sys/net/ipv4/tcp_migrate_req";

pub(crate) async fn check(caddy: &Caddy) -> Vec<Check> {
    let host = caddy.options.host.as_ref();
    let (config, version) = tokio::join!(caddy.config(), version::detect(caddy));
    let service = service::check(host, config.is_ok()).await;
    let config = match config {
        Ok(config) => config,
        Err(error) => return vec![failed("Caddy's admin API", error), version_check(&version), service],
    };
    let mut checks =
        vec![Check::ok("Caddy's admin API", format!("{} on {} answers", caddy.admin.shown(), host.id()))];
    checks.extend([version_check(&version), service]);
    let live = match caddy.look().await {
        Ok(live) => live,
        Err(error) => {
            checks.push(failed("Caddy's route", error));
            return checks;
        }
    };
    checks.push(route_check(caddy, &live));
    checks.extend(doubts_check(&live));
    checks.push(flush_check(caddy, &live, &version).await);
    checks.extend(streams_check(&live, &version));
    checks.push(ghost_check(caddy, &config));
    checks.push(match caddy.data_path(ANY_PATH).await {
        Ok(path) => asked(caddy, &path).await,
        Err(error) => failed("asking through Caddy", error),
    });
    checks.push(snippet_check(caddy, &live).await);
    checks.extend(migration_check(caddy, &version).await);
    checks
}

/// Whatever it answers, the way there is the right one.
async fn asked(caddy: &Caddy, path: &DataPath) -> Check {
    let request = Request::get(ANY_PATH, Millis::from_secs(ASK_SECONDS_MAX));
    match caddy.ask(&request).await {
        Ok(answered) => {
            Check::ok("asking through Caddy", format!("{path} answers {}", answered.answer.status))
        }
        Err(error) => failed("asking through Caddy", error.context(path)),
    }
}

fn failed(what: &str, error: PortError) -> Check {
    let seen = error.to_string();
    Check::bad(what, seen, error.hints().joined().unwrap_or_else(|| "see Caddy's log".to_owned()))
}

fn version_check(seen: &version::Seen) -> Check {
    let what = "Caddy's version";
    match seen.number() {
        Some(number) if number < version::STREAMS_SURVIVE => Check::warn(
            what,
            format!("{seen}: every switch cuts the WebSockets of all its sites"),
            "upgrade to Caddy 2.7 or later and set `stream_close_delay` in the `reverse_proxy`",
        ),
        Some(version::CUTS_STREAMS) => Check::warn(
            what,
            format!("{seen}: it cuts streams after 60 s, and panics on the bodies of HTTP/2 requests"),
            "upgrade to Caddy 2.11.7 or later",
        ),
        Some(_) => Check::ok(what, seen.to_string()),
        None => Check::warn(
            what,
            format!("unknown: {seen}"),
            "as root on that host, or in Caddy's container: `caddy version`; 2.7 or later is wanted, and not 2.11.6",
        ),
    }
}

fn route_check(caddy: &Caddy, live: &Live) -> Check {
    let what = "Caddy's route";
    let seen = live.members.describe();
    let dials = caddy.dials(&live.config);
    if let Some(how) = live.members.torn() {
        return Check::bad(
            what,
            format!("its parts send to different slots: {how}"),
            "`lockgate resume` sends all of them to the slot that is live",
        );
    }
    if let Some(split) = live.members.split().filter(|split| split.only().is_none()) {
        let slot = split.most();
        let dial = dials.get(&slot).map_or("<address of the live slot>", String::as_str);
        return Check::bad(
            what,
            format!("{seen}: Caddy chooses between the slots by itself"),
            format!("have the live slot alone there, as in `reverse_proxy {dial}`: Lockgate switches it"),
        );
    }
    let of_live = live.members.dials();
    let strange = of_live.iter().find(|dial| leads(&dials, dial) == Leads::Elsewhere);
    match (live.members.by, strange, caddy.options.id.as_deref()) {
        (By::DialForLostId, _, Some(id)) => Check::warn(
            what,
            format!("{seen}; nothing has the @id {id:?} any more, it was found by its address"),
            "a reload of Caddy loses an @id that is not in its own configuration file; put it there, or leave `router.caddy.id` out",
        ),
        (_, Some(dial), _) => Check::warn(
            what,
            format!("{seen}; {dial} is neither slot's address"),
            format!("the first switch replaces it; the slots are dialled at {}", addresses(caddy)),
        ),
        _ => Check::ok(what, seen),
    }
}

/// What is on other sites and may dial a slot, for all that can be told.
fn doubts_check(live: &Live) -> Option<Check> {
    let doubts = &live.members.doubts;
    (!doubts.is_empty()).then(|| {
        Check::warn(
            "what else Caddy may dial",
            doubts.join("; "),
            "see that none of it is a slot of this service: a switch would not change it, and the slot is stopped",
        )
    })
}

fn addresses(caddy: &Caddy) -> String {
    let of = |slot: Slot| caddy.options.dial.get(&slot).map_or("wherever they run", String::as_str);
    [Slot::Blue, Slot::Green].map(of).join(" and ")
}

async fn flush_check(caddy: &Caddy, live: &Live, version: &version::Seen) -> Check {
    let what = "flush_interval";
    let mend = "upgrade Caddy to 2.7 or later, or take `flush_interval -1` out";
    if let Some(cut) = streams::cuts(caddy, live).await {
        return Check::bad(what, cut.told(), mend);
    }
    let others = streams::of_others(live);
    match version.number() {
        Some(number) if number >= version::STREAMS_SURVIVE => {
            Check::ok(what, "no switch kills requests of other handlers")
        }
        _ if others.is_empty() => Check::ok(what, "no switch kills requests of other handlers"),
        number => {
            let places: Vec<String> = others.iter().map(|handler| handler.path.url()).collect();
            let does = if number.is_some() { "kills" } else { "may kill" };
            Check::warn(
                what,
                format!(
                    "-1 at {}, not this service's: every switch {does} the requests in flight there",
                    places.join(", ")
                ),
                mend,
            )
        }
    }
}

/// Only where Caddy has such a setting.
fn streams_check(live: &Live, version: &version::Seen) -> Option<Check> {
    let what = "WebSockets at a switch";
    version.number().filter(|number| *number >= version::STREAMS_SURVIVE)?;
    let cut: Vec<String> = live
        .members
        .handlers()
        .filter(|handler| !handler.spares_streams)
        .map(|handler| handler.path.url())
        .collect();
    Some(match cut.is_empty() {
        true => Check::ok(what, "stay open for the `stream_close_delay` of their handler"),
        false => Check::warn(
            what,
            format!("are cut, for there is no `stream_close_delay` at {}", cut.join(", ")),
            "set `stream_close_delay 5m` in that `reverse_proxy`, as long as a WebSocket may outlive a switch",
        ),
    })
}

fn ghost_check(caddy: &Caddy, config: &Value) -> Check {
    let what = "counting requests in flight";
    match caddy.ghost.dials(config).len() {
        0 => Check::ok(what, format!("the first switch adds the route {}", caddy.ghost.id())),
        _ => Check::ok(what, format!("the route {} is there", caddy.ghost.id())),
    }
}

async fn snippet_check(caddy: &Caddy, live: &Live) -> Check {
    let what = "a restart of Caddy";
    let Some(path) = &caddy.options.snippet else {
        return Check::warn(
            what,
            "comes back to whatever its configuration file dials",
            "run Caddy with `--resume`, or set `router.caddy.snippet` to a file that the Caddyfile imports: `reverse_proxy { import <file> }`",
        );
    };
    let dials = &live.members.first().dials;
    let wanted = match snippet::text(dials) {
        Ok(wanted) => wanted,
        Err(error) => return failed(what, error),
    };
    match caddy.options.host.read(path).await.map(|file| file.content) {
        Ok(Some(content)) if content == wanted.as_bytes() => {
            Check::ok(what, format!("comes back to {} ({path})", dials.join(", ")))
        }
        Ok(Some(_)) => Check::warn(
            what,
            format!("comes back to something else than is live now ({path})"),
            "the next switch writes it anew; until then do not restart Caddy",
        ),
        Ok(None) => Check::warn(
            what,
            format!("{path} does not exist yet"),
            format!("the first switch writes it; the Caddyfile wants `reverse_proxy {{ import {path} }}`"),
        ),
        Err(error) => failed(what, error),
    }
}

/// Nothing to say where the kernel has no such setting (before Linux 5.14) or the host is no Linux.
async fn migration_check(caddy: &Caddy, version: &version::Seen) -> Option<Check> {
    let what = "connections not accepted yet at a switch";
    if version.number().is_some_and(|number| number >= version::SOCKETS_NEVER_MOVE) {
        return Some(Check::warn(
            what,
            format!(
                "can be reset, whatever net.ipv4.tcp_migrate_req says: Caddy {version} (golang/go#75591)"
            ),
            "let the switch be a file (`switch: file`): then its configuration never changes",
        ));
    }
    let flag = match caddy.options.host.read(MIGRATE_FLAG).await {
        Ok(file) => file.content?,
        Err(error) => return Some(failed(what, error)),
    };
    Some(migration_said(what, &flag))
}

fn migration_said(what: &str, flag: &[u8]) -> Check {
    match flag.trim_ascii() {
        b"0" => Check::warn(
            what,
            "can be reset, for the host says net.ipv4.tcp_migrate_req=0: Caddy opens a new listening socket at every \
             change of its configuration",
            "`sysctl -w net.ipv4.tcp_migrate_req=1` on the host hands them to the new socket. A Caddy in a container has \
             a setting of its own, which the host's does not change: `docker run --sysctl net.ipv4.tcp_migrate_req=1`, \
             or in Compose `sysctls: { net.ipv4.tcp_migrate_req: 1 }`",
        ),
        _ => Check::ok(
            what,
            "are handed to Caddy's new socket, for the host says net.ipv4.tcp_migrate_req=1; a Caddy in a container has \
             a setting of its own",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_says_of_connections_is_told_as_the_hosts_and_a_container_has_its_own() {
        let (off, on) = (migration_said("connections", b"0\n"), migration_said("connections", b"1\n"));
        assert!(off.seen.contains("the host says net.ipv4.tcp_migrate_req=0"), "{off:?}");
        let mend = off.mend.unwrap();
        assert!(mend.contains("`docker run --sysctl net.ipv4.tcp_migrate_req=1`"), "{mend}");
        assert!(on.seen.contains("the host says net.ipv4.tcp_migrate_req=1"), "{on:?}");
        assert!(on.seen.contains("a container has a setting of its own"), "{on:?}");
    }

    #[test]
    fn each_version_is_told_what_a_switch_costs_with_it() {
        use lockgate_ports::CheckState::{Ok, Warn};
        for (version, state, told) in [
            (version::Version(2, 6, 2), Warn, "every switch cuts the WebSockets of all its sites"),
            (version::Version(2, 10, 2), Ok, "2.10.2"),
            (version::Version(2, 11, 6), Warn, "it cuts streams after 60 s"),
            (version::Version(2, 11, 7), Ok, "2.11.7"),
        ] {
            let check = version_check(&version::Seen::runs(version));
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.seen.contains(told), "{check:?}");
        }
    }
}
