#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod builder;
mod check;
pub mod conformance;
pub mod docker_login;
mod error;
pub mod fake;
mod gate;
mod git;
mod host;
pub mod http;
mod lines;
mod lock;
mod monitor;
mod notify;
mod occupant;
mod one_off;
pub mod registry;
mod replica;
mod router;
mod runtime;
mod store;
mod tail;
mod upload;
mod values;

use std::sync::Arc;

pub use builder::{Builder, Building};
pub use check::{Check, CheckState};
pub use error::{CAUSES, Effect, PortError};
pub use gate::{CommandRunner, Gate, GateAnswer, GateSubject, Gates, OnHeadway, Prober};
pub use git::{Between, Changed, GIT_TAGS_MAX, Git, Head, UNCLEAN_MAX};
pub use host::{
    Command, Endpoint, FILE_BYTES_MAX, Host, HostFile, HostStream, NAMES_MAX, Output, STATE_FREE_MIB_MIN,
    Swapped, TEMPORARY_SECONDS_MAX, listens, readable,
};
pub use http::{Answer, Request};
pub use lines::{Ended, LINE_BYTES_MAX, LINES_KEPT_MAX, Line, LineSink, Lines, Pipe};
pub use lock::LockHolder;
pub use monitor::{Monitor, Monitors, WatchedPlace};
pub use notify::{Message, MessageKind, Notifier, Posted};
pub use occupant::{Occupant, Occupants};
pub use one_off::{OneOff, OneOffId, OneOffState, OneOffs};
pub use registry::{Made, Manifest, Registry, Resolved};
pub use replica::{Owner, Replica, all_dials};
pub use router::{
    InFlight, NoRouter, Route, RouteVersion, Router, RouterAnswer, Tried, Upstream, only_upstream,
};
pub use runtime::{
    Diagnosis, Finding, OWN_GRACE_SECONDS_MAX, OwnHealth, OwnHealthState, Runtime, RuntimeSlot, Variables,
};
pub use store::{Answering, AuditFilter, Batch, Kept, LookFilter, RECORDS_MAX, RecordFilter, Store};
pub use tail::Tail;
pub use upload::{PIECE_BYTES, Pieces, UPLOAD_BYTES_MAX, Upload, Uploaded};
pub use values::demand_values;

use lockgate_model::HostId;

/// All that concerns one service in one environment on one host.
#[derive(Clone)]
pub struct HostPorts {
    /// Its name in the configuration.
    pub id: HostId,
    /// The machine itself.
    pub host: Arc<dyn Host>,
    /// What runs the service's slots there.
    pub runtime: Arc<dyn Runtime>,
    /// What sends traffic to them there.
    pub router: Arc<dyn Router>,
    /// The service's home on the host: holds `active_color`, `previous_color` and `.lockgate/`.
    pub home: String,
    /// Hides the service's secrets in what its app answers; hides nothing until somebody says what is secret.
    pub mask: lockgate_model::Mask,
}
