#![doc = include_str!("../README.md")]

mod app;
mod certificate;
mod connection;
mod endpoint;
mod error;
mod folder;
mod handover;
mod life;
mod limits;
mod listen;
mod metrics;
mod peer;
mod places;
mod server;
mod service_manager;
mod shared;
mod tls;

pub use app::{AppParts, StoreLook};
pub use certificate::{Certificate, CertificateError};
pub use endpoint::{Bounds, Endpoints, Unprotected};
pub use error::ServeError;
pub use folder::{Folder, Served};
pub use handover::HANDOVER;
pub use life::{Ended, Parts, Wish, serve, signals};
pub use limits::Limits;
pub use listen::Listeners;
pub use metrics::Metrics;
pub use peer::Peer;
pub use service_manager::ServiceManager;
pub use shared::{Answer, AnswerBody};
pub use tls::{CertificateState, Now, Tls};
