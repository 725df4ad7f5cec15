//! System B on real parts: one Compose file as its team has it, with Compose v2 and v1. What a script shows well is in
//! `examples/b-signed-endpoint/run`.

mod changed;
mod host;
mod recreate;
