#![doc = include_str!("../README.md")]

mod advice;
mod check;
mod container;
mod counts;
mod dials;
mod files;
mod follows;
mod included;
mod nginx;
mod options;
mod reload;
mod router;
mod scope;
mod site;
mod switch;
mod syntax;
mod tree;
mod version;

pub use nginx::Nginx;
pub use options::NginxOptions;
