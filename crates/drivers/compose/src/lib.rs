//! The runtime `compose`: a slot is one service of a Docker Compose project.
//!
//! Looking is done by Docker's Engine API over the host's stream to the socket, changing a slot by the user's own Compose
//! (v2 plugin or v1) on the host; both go through [`lockgate_ports::Host`], so this machine and one behind SSH are alike.
//!
//! Invariants:
//! - A container is only ever started from `repository@sha256:…` or a local image id, never from a tag (P5). The digest
//!   is set by an override file of ours; the user's files are read and never written.
//! - What a slot holds is read from containers (labels `lockgate.*`, else Compose's own labels for containers that
//!   somebody's script made), never from a record.
//! - An image that Lockgate fetched carries a tag `lockgate.internal/keep/<project>/<environment>/<service>:<digest>`.
//!   The tag is the claim of one project and environment on those bytes, visible to every other: [`Compose`] removes an
//!   image only when its last claim is gone, no other tag names it and no container uses it. It also keeps
//!   `docker image prune`, which takes untagged images, away from the release to roll back to.
//! - A slot's container is replaced only by a start of that slot; what would replace the other slot's or another
//!   environment's is refused. A start that was cut off anywhere is finished by the next (P4), although Compose itself
//!   stumbles over the half-replaced containers that it leaves.
//! - Values of `services.<name>.env` are in one file of mode 0600 on the host and in the container, nowhere else.
//!
//! An image that was built on the host and never pushed has no registry digest: its release's digest is the local image
//! id, which is as immutable, but means something on this host only.
//!
//! Paths are the host's own; a relative one starts where commands on that host start.
//!
//! Absent: builds, `COMPOSE_FILE`, `scale` above one, Swarm; dependencies of the service are not started (`--no-deps`).

mod api;
mod auth;
mod check;
mod cli;
mod cli_cache;
mod compose;
mod conflict_cache;
mod conflicts;
mod containers;
mod diagnose;
mod engine;
mod found_cli;
mod health;
mod held;
mod image;
mod images;
mod labels;
mod layout;
mod logs;
mod overlay;
mod per_slot;
mod place;
mod plain;
mod pull;
mod runtime;
mod start;

pub use compose::{Compose, ComposeOptions};
pub use found_cli::ComposeCli;
