//! System A on real parts: Docker Compose, Caddy and sshd, on one host and on two. What a script shows well is in
//! `examples/a-caddy-blue-green/run`.

mod dials;
mod engine;
mod fleet;
mod here;
mod killed;
mod registry;
mod scene;
mod two_hosts;
