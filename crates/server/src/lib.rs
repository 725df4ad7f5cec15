#![doc = include_str!("../README.md")]

mod certificate;
mod connection;
mod endpoint;
mod error;
mod limits;
mod listen;
mod peer;
mod places;
mod server;
mod tls;

pub use certificate::{Certificate, CertificateError};
pub use endpoint::{Bounds, Endpoints, Unprotected};
pub use error::ServeError;
pub use limits::Limits;
pub use listen::Listeners;
pub use peer::Peer;
pub use server::{Answer, AnswerBody, Server};
pub use tls::{CertificateState, Tls};
