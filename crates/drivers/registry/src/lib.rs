#![doc = include_str!("../README.md")]

mod authorization;
mod body;
mod challenge;
mod client;
mod link;
mod logins;
mod refusal;
mod retry;
mod token;
mod wire;

pub use client::{RegistryClient, RegistryOptions};
