//! Whose a file is: files are opened so that nobody can make us wait or lead us elsewhere, and what Lockgate relies on
//! must be ours.
//!
//! *Ours* is what belongs to the user who acts or to root, and nobody else may write. Root who acts for somebody by
//! `sudo` also takes what is that user's (`SUDO_UID`), as git does. A group that has nobody else in it does not count as
//! others: where the umask is 002 all that a user makes can be written by such a group.
//!
//! On this machine by [`open`], [`open_own`] and [`own_records`]; on a host by the function `lg_ours` in [`SHELL`], whose
//! report [`Foreign::reported`] reads.
//!
//! Absent: the folders above a file's own. Who may write there can put another folder in its place, but not one of ours.

mod file;
mod foreign;
mod owner;
mod shell;

pub use file::{make_folder, open, open_own, own_file, own_folder, own_open, own_records};
pub use foreign::{Foreign, OwnError};
pub use owner::user_name;
pub use shell::{NOT_OURS, SHELL};
