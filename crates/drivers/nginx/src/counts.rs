//! Requests in flight: the connections that nginx holds to the slot, for it does not count them itself.

use lockgate_asking::{address_of, connections};
use lockgate_model::Slot;
use lockgate_ports::{Endpoint, Host, InFlight, PortError};

use crate::follows::Routes;
use crate::version::{GROUPS_KEEP_ALIVE, Version};

/// `dial`: what nginx dials for the slot. `endpoint`: where the slot answers as seen from the host, for a dial that is a name.
pub(crate) async fn in_flight(
    host: &dyn Host,
    slot: Slot,
    dial: &str,
    endpoint: Option<&Endpoint>,
) -> Result<InFlight, PortError> {
    let address = address_of(dial, endpoint).ok_or_else(|| {
        unknown(slot, &format!("no address of {dial} is known on the host"))
            .hint("dial an address (`router.nginx.dial`); until then draining takes until its deadline")
    })?;
    let open = connections(host, "nginx", address).await?;
    open.map(|requests| InFlight { requests, upgraded: 0 }).ok_or_else(|| {
        unknown(slot, "no process called nginx is seen on the host, whose connections could be counted")
            .hint("see that nginx runs there; until then draining takes until its deadline")
    })
}

fn unknown(slot: Slot, why: &str) -> PortError {
    PortError::other(format!("the requests in flight on {slot} cannot be counted: {why}")).without_effect()
}

/// Why a count may be another one than that of the requests, a sentence each. Empty where it is exact.
pub(crate) fn inexact(routes: &Routes, version: Option<Version>) -> Vec<String> {
    let keeps = |keepalive: Option<u64>| match keepalive {
        Some(connections) => connections > 0,
        // Unknown is the newest.
        None => version.is_none_or(|version| version >= GROUPS_KEEP_ALIVE),
    };
    let mut sentences = Vec::new();
    let kept: Vec<&str> = routes
        .groups
        .iter()
        .filter(|(_, group)| keeps(group.keepalive))
        .map(|(name, _)| name.as_str())
        .collect();
    if !kept.is_empty() {
        sentences.push(format!(
            "the upstream group {} keeps connections that carry no request (`keepalive`), and a slot is drained until nginx holds none to \
             it, so this takes until they idle out or until the deadline: `keepalive 0` there, or dial the addresses without a group",
            kept.join(" and ")
        ));
    }
    if let Some(place) = routes.places().find(|place| place.buffers) {
        sentences.push(format!(
            "a request whose body nginx is still reading is not counted, and is lost if the old slot stops meanwhile: \
             `proxy_request_buffering off;` beside the `proxy_pass` ({}) has nginx connect first",
            place.at
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dials::Group;

    #[test]
    fn groups_that_keep_connections_are_told_as_each_version_has_them() {
        let with = |keepalive| Routes {
            groups: [("web_blue".to_owned(), Group { keepalive, ..Group::default() })].into(),
            ..Routes::default()
        };
        let (old, new) = (Some(Version(1, 22, 1)), Some(Version(1, 30, 0)));
        assert!(inexact(&Routes::default(), new).is_empty());
        assert!(inexact(&with(None), old).is_empty() && inexact(&with(Some(0)), new).is_empty());
        for (routes, version) in [(with(None), new), (with(None), None), (with(Some(8)), old)] {
            assert!(inexact(&routes, version)[0].contains("group web_blue keeps connections"));
        }
    }
}
