//! The file as written → the project as meant: variables filled in, defaults made, values checked.
//!
//! `reader` reads single values, `named` what refers to something; on them stands one file for each part, and this one
//! on those. No part knows one above it.

mod env;
mod environment;
mod gate;
mod hooks;
mod named;
mod nginx;
mod notify;
mod probe_headers;
mod reader;
mod registries;
mod router;
mod runtime;
mod schedule;
mod serve;
mod serve_secret;
mod service;
mod setup;
mod ship;
mod soak;
mod ssh;
mod state;
mod state_dir;

use std::collections::BTreeMap;
use std::path::Path;

use lockgate_model::{Project, Service, ServiceName};

use crate::error::{Kind, Problem};
use crate::part::Part;
use crate::raw;

pub use reader::Reader;
pub use ship::TEST_TIMEOUT;

/// The project, or `None` when something without a default was wrong; then `reader` has the problems.
pub fn project(reader: &mut Reader<'_>, file: &raw::File, root: &Path) -> Option<Project> {
    let name = reader.name(&file.project);
    let services = services(reader, file);
    let names: Vec<&str> = file.environments.value.0.iter().map(|(key, _)| key.value.as_str()).collect();
    if names.is_empty() {
        let hint = "add one: `environments: { prod: { runtime: process } }`";
        reader.report(
            Problem::new(Kind::MissingKey, file.environments.place, "there is no environment").hint(hint),
        );
    }
    let changes = schedule::changes(reader, file);
    let mut environments = Vec::new();
    for (key, raw) in &file.environments.value.0 {
        let Some(mut environment) = environment::resolve(reader, key, raw, &services, &names) else {
            continue;
        };
        environment.schedules = schedule::resolve(reader, &raw.value, &environment, &services, &changes);
        environments.push(environment);
    }
    let notify = notify::resolve(reader, file.notify.as_deref(), &names);
    let registries = reader.part(Part::Registries, |reader| registries::resolve(reader, &file.registries));
    let ssh = reader.part(Part::Ssh, |reader| ssh::resolve(reader, file.ssh.as_ref()));
    let state = state::resolve(reader, file.state.as_ref(), root);
    let state_dir = state_dir::resolve(reader, file.state_dir.as_ref(), &environments);
    let known = serve::Known { root, names: &names, services: &services, environments: &environments };
    let serve = serve::resolve(reader, file.serve.as_ref(), &known);
    Some(Project {
        name: name?,
        root: root.to_owned(),
        services,
        environments,
        notify,
        registries,
        ssh,
        state: state?,
        state_dir,
        serve,
    })
}

fn services(reader: &mut Reader<'_>, file: &raw::File) -> BTreeMap<ServiceName, Service> {
    if file.services.value.0.is_empty() {
        let hint = "add one: `services: { web: { command: ./server } }`";
        reader.report(Problem::new(Kind::MissingKey, file.services.place, "there is no service").hint(hint));
    }
    let environments: Vec<&str> =
        file.environments.value.0.iter().map(|(key, _)| key.value.as_str()).collect();
    let resolved = file.services.value.0.iter().filter_map(|(key, raw)| {
        let service = service::resolve(reader, key, raw, &environments)?;
        Some((service.name.clone(), service))
    });
    resolved.collect()
}
