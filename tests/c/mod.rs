//! System C on real parts: git, Docker's builders, registries with and without a login.

mod builders;
mod ship;
mod stops;
mod yard;
