//! The file as written → the project as meant: variables filled in, defaults made, values checked.
//!
//! `reader` reads single values, `named` what refers to something; on them stands one file for each part, and this one
//! on those. No part knows one above it.

mod environment;
mod gate;
mod hooks;
mod named;
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
mod state;
mod state_dir;

use std::collections::BTreeMap;
use std::path::Path;

use lockgate_model::{Project, Service, ServiceName, Ssh};

use crate::at::{At, Words};
use crate::error::{Kind, Place, Problem};
use crate::raw;

use reader::variable;

pub use reader::Reader;

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
    let registries = registries::resolve(reader, &file.registries);
    let ssh = ssh(reader, file.ssh.as_ref());
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

fn ssh(reader: &mut Reader<'_>, section: Option<&At<raw::Ssh>>) -> Ssh {
    let section = section.map(|section| &section.value);
    let options = match section.and_then(|section| section.options.as_ref()) {
        Some(options) => ssh_options(reader, options).unwrap_or_default(),
        None => split_variable(reader, "DEPLOY_SSH_OPTS"),
    };
    let port = match section.and_then(|section| section.port.as_ref()) {
        Some(port) => Some(reader.whole("ssh port", Some(port), 1, u16::MAX, 22)),
        None => port_variable(reader, "DEPLOY_SSH_PORT"),
    };
    let accept = section.and_then(|section| section.accept_new_host_keys.as_ref());
    Ssh { options, port, accept_new_host_keys: accept.is_some_and(|accept| accept.value) }
}

/// Unlike a command's, text is split after variables are filled in: `${DEPLOY_SSH_OPTS}` holds several options.
fn ssh_options(reader: &mut Reader<'_>, source: &At<Words>) -> Option<Vec<String>> {
    match &source.value {
        Words::List(list) => list.iter().map(|option| reader.line("an ssh option", option)).collect(),
        Words::Line(line) => {
            let line = reader.fill(line, source.place)?;
            let words = shell_words::split(&line).ok();
            if words.is_none() {
                reader.invalid(
                    source.place,
                    "the ssh options have an open quote",
                    "close it, or write a list",
                );
            }
            words
        }
    }
}

fn split_variable(reader: &mut Reader<'_>, name: &str) -> Vec<String> {
    let Some(value) = variable(reader.env, name) else { return Vec::new() };
    shell_words::split(&value).unwrap_or_else(|_| {
        reader.invalid(Place::default(), format!("the variable {name} has an open quote"), "close it");
        Vec::new()
    })
}

fn port_variable(reader: &mut Reader<'_>, name: &str) -> Option<u16> {
    let value = variable(reader.env, name)?;
    let port = value.trim().parse().ok().filter(|port| *port > 0);
    if port.is_none() {
        let hint = format!("export {name}=22");
        reader.invalid(Place::default(), format!("the variable {name} is not a port"), hint);
    }
    port
}
