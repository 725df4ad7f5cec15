//! Where a slot answers: each of its containers, or its process, and whose the address is.

use std::collections::BTreeMap;

use lockgate_model::SlotState;

use crate::Endpoint;

/// One of the containers of a slot, or its process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// For people: the container's name; `None` for a process.
    pub name: Option<String>,
    /// Whether it runs.
    pub state: SlotState,
    /// Where it answers as seen from the host; `None` while it does not run, and where that cannot be said.
    pub endpoint: Option<Endpoint>,
    /// Whose that address is; `None` where the runtime cannot say, or a router could not find out anything by it.
    pub owner: Option<Owner>,
}

/// Whose an address is, for a router that looks again before it sends requests there: once the owner has ended anybody may
/// get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A container of an engine on the host. It may come back with another address.
    Container {
        /// Path of the engine's socket on the host.
        engine: String,
        /// Its whole id.
        id: String,
        /// What another container has that is made in its place, in the same slot; empty where that cannot be told.
        labels: BTreeMap<String, String>,
        /// The network whose address is meant; `None`: the host's own, or where the port is published.
        network: Option<String>,
        /// Where it listens inside.
        port: u16,
    },
    /// A process on the host.
    Process {
        /// Its number.
        pid: u32,
        /// Field 22 of `/proc/PID/stat`: clock ticks after the boot.
        began: u64,
        /// `/proc/sys/kernel/random/boot_id`.
        boot_id: String,
    },
}

impl Replica {
    /// It runs; whether it answers is another question.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.state == SlotState::Running
    }
}

/// Where all of them answer, in one order whatever theirs is: `172.18.0.2:80, 172.18.0.3:80`. `None` where none does.
#[must_use]
pub fn all_dials<'a>(dials: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut dials: Vec<&str> = dials.into_iter().collect();
    dials.sort_unstable();
    (!dials.is_empty()).then(|| dials.join(", "))
}
