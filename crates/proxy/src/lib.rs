#![doc = include_str!("../README.md")]

mod access_log;
mod admin;
mod body;
mod claims;
mod client_stream;
mod config;
mod descriptors;
mod flow;
mod forward;
mod handover;
mod headers;
mod hold;
mod host;
mod inherit;
mod lanes;
mod listen;
mod lock;
mod log_limit;
mod metrics;
mod places;
mod pool;
mod predecessor;
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
    ASK_HEADER, ErrorKind, ErrorView, HoldRequest, HoldView, InFlight, InFlightByRoute, InFlightBySlot,
    ProxyState, RELEASE_HEADER, RouteSpec, RouteView, RoutesView, SLOT_HEADER, StatusView, Target,
    TryRequest, TryView, UpgradeRequest, UpgradeView,
};
