//! The switch that is a file: Caddy reads `active_color` at each request, and its configuration never changes.

mod advice;
mod check;
mod configuration;
mod costs;
mod counts;
mod matcher;
mod reading;
mod router;
mod switch;

pub(crate) use costs::recommended;
pub use switch::FileOptions;
pub(crate) use switch::FileSwitch;
