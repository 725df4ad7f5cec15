//! Several hosts behind real sshds, each with network and files of its own on this machine, that run processes behind the
//! built-in proxy: what becomes of the others when one is gone or falls silent.

mod black_hole;
mod exec;
mod gone;
mod hosts;
