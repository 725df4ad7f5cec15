#![doc = include_str!("../README.md")]

mod body;
mod challenge;
mod client;
mod keys;
mod link;
mod logins;
mod refusal;
mod retry;
mod token;
mod wire;

pub use client::{RegistryClient, RegistryOptions};
