//! The embedded default: processes behind the built-in proxy, on this machine.

mod apps;
mod clock;
mod configuration;
mod demo;
mod died;
mod everyday;
mod forged;
mod guide;
mod held;
mod hostile;
mod interrupted;
mod journal;
mod killed;
mod leases;
mod load;
mod notifications;
mod postgres;
mod recreate;
mod rejected;
mod router;
mod schedule;
mod secrets;
mod slack;
mod stuck;
mod watch;
mod workers;
