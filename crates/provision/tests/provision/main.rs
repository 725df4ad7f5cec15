//! A host is made ready, by the real scripts on this machine.

mod bare;
mod cutting;
mod docker;
mod login;
mod making;
mod program;
mod waiting;
