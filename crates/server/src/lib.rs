#![doc = include_str!("../README.md")]

mod endpoint;

pub use endpoint::{AnswerBody, Bounds, Endpoints, Unprotected};
