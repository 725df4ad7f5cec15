//! System A on real parts: Docker Compose, Caddy and sshd, on one host and on two. What a script shows well is in
//! `examples/a-caddy-blue-green/run`.

mod chaos;
mod dials;
mod engine;
mod fleet;
mod here;
mod killed;
mod nginx;
mod owned;
mod registry;
pub(crate) mod scene;
mod several;
mod two_hosts;
