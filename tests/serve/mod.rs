//! `lockgate serve`: the daemon as it is started, replaced and stopped.

mod calls;
mod daemon;
mod life;
mod replaced;
mod users;
mod wrong;
