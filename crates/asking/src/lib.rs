#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod authority;
mod connections;
mod entrance;
mod path;
mod tls;
mod url;

pub use authority::with_port;
pub use connections::{address_of, connections};
pub use entrance::Entrance;
pub use path::{DataPath, host_within};
pub use url::BaseUrl;
