//! The signed endpoint over real sockets, with a queue on a real store: what a caller may do, and what nobody may.

mod bodies;
mod call;
mod daemon;
mod document;
mod framing;
mod github;
mod manners;
mod paths;
mod public;
mod records;
mod repeats;
mod signatures;
