//! Lanes: a few bodies at a time are moved in large pieces.
//!
//! In pieces of 8 KiB a large body takes two to three times the processor time. But what a client holds that stops reading
//! grows with the pieces, and one that has read so far may stop at any time. So there is a bounded number of lanes, for
//! bodies that have moved a while; whoever gets none is served all the same.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::flow::Flow;

/// How many bodies are moved in large pieces at once. Each may hold some 400 KiB.
pub(crate) const LANES_MAX: usize = 64;
/// How much of a body must have moved before it gets a lane.
pub(crate) const LANE_AFTER_BYTES: u64 = 48 * 1024;
/// How much is read at once in a lane. As everywhere one byte below what hyper's buffer would grow from.
pub(crate) const LANE_READ_BYTES_MAX: usize = 256 * 1024 - 1;
/// A body in a lane is asked for its next piece when its connection holds less than this.
pub(crate) const LANE_UNSENT_BYTES_MAX: usize = 128 * 1024;
/// A connection to a slot that moved more than this in a lane isn't used again, for its buffer has grown. Another one costs
/// little beside it.
pub(crate) const LANE_REUSE_BYTES_MAX: u64 = 1024 * 1024;

/// Makes both connections of a body wide, as long as it is kept.
#[derive(Debug)]
pub(crate) struct Lane {
    flows: [Arc<Flow>; 2],
    _permit: OwnedSemaphorePermit,
}

impl Lane {
    /// `None` when there is none left.
    pub(crate) fn take(lanes: &Arc<Semaphore>, one: &Arc<Flow>, other: &Arc<Flow>) -> Option<Self> {
        let permit = lanes.clone().try_acquire_owned().ok()?;
        let flows = [one.clone(), other.clone()];
        flows.iter().for_each(|flow| flow.widen());
        Some(Self { flows, _permit: permit })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.flows.iter().for_each(|flow| flow.narrow());
    }
}
