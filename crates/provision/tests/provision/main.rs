//! A host is made ready, by the real scripts on this machine.

mod cutting;
mod login;
mod making;
mod waiting;
