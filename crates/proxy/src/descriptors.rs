//! How many descriptors this process may have open, and how many client connections that allows. Who gets them is
//! decided in `places`.

use rustix::process::{Resource, getrlimit};

/// What a client connection is counted with: itself and one connection to a slot.
const PER_CONNECTION: u64 = 2;
/// Never given to clients and slots: for the admin interface (32), looking up names of slots, listeners, logs, files, an
/// upgrade.
const RESERVED: u64 = 128;

/// How many client connections are served at once: `wanted`, or fewer when the limit does not allow that many. More
/// would be accepted and then answered with an error, for nothing would be left to reach the slot with.
pub(crate) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let connections = allowed(limit, wanted);
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            descriptors = limit,
            "the limit of open descriptors (RLIMIT_NOFILE) allows fewer connections at once"
        );
    } else {
        tracing::info!(connections, descriptors = limit, "connections served at once");
    }
    connections
}

fn allowed(limit: Option<u64>, wanted: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    let most = (limit.saturating_sub(RESERVED) / PER_CONNECTION).max(1);
    usize::try_from(most).map_or(wanted, |most| most.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_two_descriptors_and_some_are_left() {
        for (limit, wanted, connections) in [
            (None, 16_384, 16_384),
            (Some(1 << 20), 16_384, 16_384),
            (Some(1_024), 16_384, 448),
            (Some(1_024), 10, 10),
            (Some(64), 10, 1),
        ] {
            assert_eq!(allowed(limit, wanted), connections, "{limit:?}");
        }
    }
}
