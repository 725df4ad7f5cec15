#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod docker;
mod dot_env;
mod elf;
mod install_docker;
mod items;
mod judge;
mod login;
mod look;
mod make;
mod place_program;
mod program;
mod said;
mod seen;
mod wait;
mod wanted;

pub use dot_env::{DotEnv, Unwritable};
pub use elf::Unfit;
pub use look::{HostPlan, look};
pub use make::make;
pub use program::{ProgramFile, WantedProgram};
pub use wait::{Told, ready};
pub use wanted::{UPLOAD_FILE_BYTES_MAX, Wanted, WantedFile, WantedFolder, WantedVariables};
