#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod path;
mod tls;
mod url;

pub use path::{DataPath, Entrance, host_within};
pub use url::{BaseUrl, with_port};
