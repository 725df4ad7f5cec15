//! Lanes: a few connections to slots move large bodies in large pieces.
//!
//! In pieces of 8 KiB a large body takes two to three times the processor time. But what a client holds that stops reading
//! grows with the pieces, and one that has read so far may stop at any time. So there is a bounded number of lanes, for
//! bodies that have moved a while; whoever gets none is served all the same.
//!
//! A connection keeps its lane until it ends: buffers that have grown don't shrink, and neither does a window that the slot
//! was offered (with less room behind it the kernel would drop what the slot sends).

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::flow::Flow;

/// How many connections to slots have a lane at once. Each may hold some 400 KiB, and the kernel another MiB.
pub(crate) const LANES_MAX: usize = 64;
/// How much of a body must have moved before it gets a lane.
pub(crate) const LANE_AFTER_BYTES: u64 = 24 * 1024;
/// How much is read at once in a lane. As everywhere one byte below what hyper's buffer would grow from.
pub(crate) const LANE_READ_BYTES_MAX: usize = 256 * 1024 - 1;
/// A body in a lane is asked for its next piece when its connection holds less than this.
pub(crate) const LANE_UNSENT_BYTES_MAX: usize = 128 * 1024;

/// Makes a client's connection as wide as the slot's, as long as the body is on its way.
#[derive(Debug)]
pub(crate) struct Lane(Arc<Flow>);

impl Lane {
    /// `None` when the slot's connection has no lane and there is none left.
    pub(crate) fn take(lanes: &Arc<Semaphore>, client: &Arc<Flow>, slot: &Flow) -> Option<Self> {
        slot.keep_lane(lanes).then(|| {
            client.widen();
            Self(client.clone())
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.0.narrow();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slots_connection_keeps_its_lane_and_a_clients_does_not() {
        let lanes = Arc::new(Semaphore::new(1));
        let (client, slot, other) = (Arc::new(Flow::default()), Flow::default(), Flow::default());
        let lane = Lane::take(&lanes, &client, &slot);
        assert!(lane.is_some() && client.is_wide() && slot.is_wide());
        drop(lane);
        assert!(!client.is_wide() && slot.is_wide());
        assert!(Lane::take(&lanes, &client, &other).is_none() && !client.is_wide() && !other.is_wide());
        assert!(Lane::take(&lanes, &client, &slot).is_some());
        drop(slot);
        assert!(Lane::take(&lanes, &client, &other).is_some());
    }
}
