#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod dot_env;
mod judge;
mod login;
mod look;
mod make;
mod seen;
mod wait;
mod wanted;

pub use dot_env::{DotEnv, Unwritable};
pub use look::{HostPlan, look};
pub use make::make;
pub use wait::{Told, ready};
pub use wanted::{UPLOAD_FILE_BYTES_MAX, Wanted, WantedFile, WantedFolder, WantedVariables};
