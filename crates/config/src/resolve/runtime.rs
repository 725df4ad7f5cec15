//! What runs a slot.

use lockgate_model::{ComposeLayout, ComposeRuntime, ProcessRuntime, Runtime, Strategy};

use super::named::short;
use super::reader::{Holes, Reader, quote, variable};
use crate::at::{At, Either};
use crate::error::Place;
use crate::raw;

const COMPOSE_DIR: &str = "/srv/apps";

pub fn resolve(
    reader: &mut Reader<'_>,
    source: &At<Either<raw::Runtime>>,
    strategy: Strategy,
) -> Option<Runtime> {
    let Either::Full(raw) = &source.value else {
        return match short(reader, "runtime", source, &["process", "compose"])? {
            0 => Some(Runtime::Process(ProcessRuntime { dir: None })),
            _ => {
                let layout = default_layout(reader, source.place, strategy)?;
                Some(Runtime::Compose(ComposeRuntime {
                    layout,
                    service: None,
                    project: None,
                    docker_host: None,
                }))
            }
        };
    };
    match (&raw.compose, &raw.process) {
        (Some(compose), None) => self::compose(reader, compose, strategy).map(Runtime::Compose),
        (None, Some(process)) => {
            let dir = process.value.dir.as_ref().and_then(|dir| reader.file("`dir`", dir, Holes::Fixed));
            Some(Runtime::Process(ProcessRuntime { dir }))
        }
        _ => {
            reader.invalid(source.place, "a runtime is either `compose` or `process`", "write exactly one");
            None
        }
    }
}

fn default_layout(reader: &mut Reader<'_>, place: Place, strategy: Strategy) -> Option<ComposeLayout> {
    let base = variable(reader.env, "DEPLOY_COMPOSE_DIR").unwrap_or_else(|| COMPOSE_DIR.to_owned());
    let slot = match strategy {
        Strategy::BlueGreen => "/{slot}",
        Strategy::Recreate => "",
    };
    let dir = format!("{}/{{service}}{slot}", base.trim_end_matches('/'));
    reader.template_of("DEPLOY_COMPOSE_DIR", dir, place, Holes::Slot).map(ComposeLayout::Folders)
}

fn compose(reader: &mut Reader<'_>, source: &At<raw::Compose>, strategy: Strategy) -> Option<ComposeRuntime> {
    let raw = &source.value;
    let has_two_slots = strategy.slots().len() > 1;
    let service = raw
        .service
        .as_ref()
        .map(|service| (reader.template("`service`", service, Holes::Slot), service.place));
    let (layout, project_holes) = match (&raw.dir, &raw.file) {
        (Some(_), Some(file)) => {
            let hint = "`dir` is a folder for each slot, `file` one file for both: keep one of them";
            reader.conflict(file.place, "`dir` and `file` exclude each other", hint);
            return None;
        }
        (Some(dir), None) => {
            let template = reader.file("`dir`", dir, Holes::Slot)?;
            if has_two_slots && !template.names("slot") {
                let hint =
                    "write it like /srv/apps/{service}/{slot}; for one file with both slots use `file`";
                reader.conflict(dir.place, "both slots would share this `dir`", hint);
            }
            (ComposeLayout::Folders(template), Holes::Slot)
        }
        (None, Some(file)) => {
            let template = reader.file("`file`", file, Holes::Fixed)?;
            (ComposeLayout::File(template), Holes::Fixed)
        }
        (None, None) => (default_layout(reader, source.place, strategy)?, Holes::Slot),
    };
    let project = raw
        .project
        .as_ref()
        .map(|project| (reader.template("`project`", project, project_holes), project.place));
    let folders = matches!(layout, ComposeLayout::Folders(_));
    let (what, part, hint) = match folders {
        true => ("project", &project, "write it like `{service}-{slot}`, or leave it out"),
        false => ("service", &service, "write it like `{service}-{slot}`, or leave it out"),
    };
    if let Some((Some(template), place)) = part
        && has_two_slots
        && !template.names("slot")
    {
        reader.conflict(*place, format!("both slots would be the same Compose {what}"), hint);
    }
    let docker_host = raw.docker_host.as_ref().and_then(|docker_host| self::docker_host(reader, docker_host));
    Some(ComposeRuntime {
        layout,
        docker_host,
        service: service.and_then(|(service, _)| service),
        project: project.and_then(|(project, _)| project),
    })
}

fn docker_host(reader: &mut Reader<'_>, source: &At<String>) -> Option<String> {
    let text = reader.line("`docker_host`", source)?;
    if let Some(destination) = text.strip_prefix("ssh://") {
        let hint = match destination.contains(['"', '\\']) {
            true => "name the machine in `hosts` instead".to_owned(),
            false => format!("name the machine in `hosts: [\"ssh://{destination}\"]` instead"),
        };
        reader.invalid(source.place, "`docker_host` is an engine as seen from its host, not over SSH", hint);
        return None;
    }
    let rest = text.strip_prefix("unix://").or_else(|| text.strip_prefix("tcp://")).unwrap_or(&text);
    let is_socket = !text.starts_with("tcp://") && rest.starts_with('/');
    let is_address = text.starts_with("tcp://") && !rest.is_empty() && !rest.contains('@');
    if !(is_socket || is_address) {
        reader.invalid(
            source.place,
            format!("`docker_host` {} is not valid", quote(source)),
            "write unix:///path/to/docker.sock or tcp://HOST:PORT",
        );
        return None;
    }
    Some(text)
}
