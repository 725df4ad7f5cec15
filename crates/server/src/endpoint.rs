//! The signed endpoint.

mod answer;
mod arrive;
mod body;
mod bounds;
mod configured;
mod github;
mod refused;
mod signature;
