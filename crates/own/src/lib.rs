#![doc = include_str!("../README.md")]

mod file;
mod foreign;
mod owner;
mod shell;

pub use file::{make_folder, open, open_own, own_file, own_folder, own_open, own_records};
pub use foreign::{Foreign, OwnError};
pub use owner::user_name;
pub use shell::{NOT_OURS, SHELL};
