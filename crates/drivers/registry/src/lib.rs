//! Image registries: a small client of our own for the OCI distribution specification
//! (<https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md>), as far as Lockgate needs it: what a tag leads
//! to, which tags there are, and a tag moved by putting a manifest's own bytes again. No layer is ever read or sent.
//!
//! The parts: [`RegistryClient`] is the port's implementation; `wire` is one exchange with its redirects, `keys` the
//! authorization of a repository (challenge → token server → header), `logins` where user and password come from,
//! `challenge`, `link` and `retry` what headers say, `refusal` what a status and its error codes mean for people.
//!
//! A login is looked for in this order: `registries:` of the configuration, Docker's `config.json` (`credHelpers`,
//! `credsStore`, `auths`), and for `ghcr.io` the token that the caller gives (`GITHUB_TOKEN`). Without one the registry is
//! asked as anybody may. An identity token is exchanged at the token server by POST, everything else by GET.
//!
//! Invariants:
//! - A login goes to its registry and to the token server that this registry names, over TLS. Plain HTTP is spoken with
//!   registries on this machine alone (loopback), past any proxy of the environment; their token server must be here too.
//! - `Authorization` is sent to no other host than the registry's: redirects (of blobs, mostly) are followed without it,
//!   and a challenge from elsewhere is not answered. A token server's redirect is not followed.
//! - Bytes are compared with their digest, the registry's own and the one asked for, before they are given to anybody.
//! - Bodies, pages, tags, redirects, tries, waits and calls have bounds. `Retry-After` is obeyed when it is short, else it is
//!   in the error. What may have been done is not done again: a put only when nothing was sent or it was refused.
//! - No password, token or header is in an error, also where the registry echoes it.
//!
//! Limits: digests are SHA-256; manifests of Docker's first schema are refused; plain HTTP and certificates of a private
//! authority beyond this machine's own are not configurable yet.
//!
//! Absent: the choice of a TLS provider, which the binary (or a test) installs once with
//! `rustls::crypto::ring::default_provider().install_default()`.

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
