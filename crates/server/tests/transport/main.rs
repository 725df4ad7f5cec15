//! The transport over real sockets: limits, TLS, places, the end.

mod bounds;
mod end;
mod idle;
mod support;
mod tls;
mod unix_socket;
