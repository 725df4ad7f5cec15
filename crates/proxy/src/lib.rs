#![doc = include_str!("../README.md")]

mod access_log;
mod admin;
mod body;
mod claims;
mod client_stream;
mod config;
mod descriptors;
mod engine;
mod engines;
mod flow;
mod forward;
mod handover;
mod headers;
mod hold;
mod host;
mod lanes;
mod listen;
mod log_limit;
mod metrics;
mod owner;
mod places;
mod pool;
mod predecessor;
mod reach;
mod replica;
mod replicas;
mod router;
mod serve;
mod server;
mod shared;
mod slots;
mod socket;
mod stall_timer;
mod store;
mod streams;
mod supervise;
mod table;
mod trial;
mod tunnel;
mod wire;

pub use config::{ProxyConfig, ProxyError};
pub use serve::{ProxyHandle, serve, start};
pub use supervise::{Supervised, supervise};
pub use wire::{
    ASK_HEADER, ContainerOwner, ErrorKind, ErrorView, HoldRequest, HoldView, InFlight, InFlightByRoute,
    InFlightBySlot, Owner, ProcessOwner, ProxyState, RELEASE_HEADER, REPLICA_HEADER, Replica, ReplicaView,
    RouteSpec, RouteView, RoutesView, SLOT_HEADER, StatusView, Target, TryRequest, TryView, UpgradeRequest,
    UpgradeView,
};
