//! The prober: HTTP and HTTPS from this machine, as a user's browser would reach a URL.
//!
//! Invariants: a redirect is never followed, an answer is read to its last byte or not at all, every request ends
//! within its own timeout, and no error shows a URL's credentials or query. Proxies named in the environment
//! (`HTTPS_PROXY`, `NO_PROXY`) are honoured, and certificates are checked against the machine's own roots.
//!
//! Absent: judging. What an answer means is the gate's business. Absent too: the choice of a TLS provider, which the
//! binary (or a test) installs once with `rustls::crypto::ring::default_provider().install_default()`.

mod error;
mod prober;

pub use prober::HttpProber;
