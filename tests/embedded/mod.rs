//! The embedded default: processes behind the built-in proxy, on this machine.

mod apps;
mod configuration;
mod demo;
mod everyday;
mod hostile;
mod interrupted;
mod journal;
mod killed;
mod leases;
mod load;
mod router;
