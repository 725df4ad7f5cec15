//! nginx as a router.

use std::collections::BTreeMap;

use lockgate_model::{NginxRouter, NginxSwitch, Service, ServiceName, Template};

use super::reader::{Holes, Reader, quote};
use super::router::dialled_ports;
use crate::at::At;
use crate::error::Place;
use crate::raw_nginx::Nginx;

/// An upstream group, as nginx's own people name one.
const GROUP: &str = "{service}_{slot}";
/// A container's name on Docker's networks.
const ADDRESS: &str = "{service}-{slot}:{port}";

pub const DEFAULT: Nginx =
    Nginx { switch: None, dial: None, marker: None, config: None, container: None, ask: None };

pub fn resolve(
    reader: &mut Reader<'_>,
    raw: &Nginx,
    place: Place,
    services: &BTreeMap<ServiceName, Service>,
) -> Option<NginxRouter> {
    let switch = match &raw.switch {
        Some(source) => switch(reader, source)?,
        None => NginxSwitch::File,
    };
    let container = match &raw.container {
        Some(source) => Some(container(reader, source)?),
        None => None,
    };
    let dial = match (&raw.dial, &container) {
        (Some(source), _) => dial(reader, source)?,
        (None, None) => reader.template_of("`dial`", GROUP.to_owned(), place, Holes::Address)?,
        (None, Some(_)) => reader.template_of("`dial`", ADDRESS.to_owned(), place, Holes::Address)?,
    };
    dialled_ports(reader, "nginx", &dial, place, services)?;
    let ask = match &raw.ask {
        Some(source) => {
            reader.url("`ask`", source)?;
            Some(reader.template("`ask`", source, Holes::Fixed)?)
        }
        None => None,
    };
    let marker = absolute(reader, "`marker`", raw.marker.as_ref());
    let config = absolute(reader, "`config`", raw.config.as_ref());
    Some(NginxRouter { switch, dial, marker, config, container, ask })
}

fn switch(reader: &mut Reader<'_>, source: &At<String>) -> Option<NginxSwitch> {
    match source.value.as_str() {
        "file" => Some(NginxSwitch::File),
        "reload" => Some(NginxSwitch::Reload),
        _ => {
            let what = format!("`switch` {} is not known", quote(source));
            reader.invalid(source.place, what, "write `file` or `reload`");
            None
        }
    }
}

/// nginx looks for a relative path somewhere else than we would.
fn absolute(reader: &mut Reader<'_>, what: &str, source: Option<&At<String>>) -> Option<Template> {
    let source = source?;
    let path = reader.file(what, source, Holes::Fixed)?;
    if path.as_str().starts_with('/') {
        return Some(path);
    }
    let hint = "write the whole path, beginning with `/`";
    reader.invalid(source.place, format!("{what} {} is not an absolute path", quote(source)), hint);
    None
}

/// As Docker names them.
fn container(reader: &mut Reader<'_>, source: &At<String>) -> Option<Template> {
    let template = reader.template("`container`", source, Holes::Fixed)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-{}".contains(c);
    let text = template.as_str();
    if text.chars().all(legal) && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '{') {
        return Some(template);
    }
    let what = format!("`container` {} is not valid", quote(source));
    reader.invalid(source.place, what, "write the container's name, as `docker ps` shows it");
    None
}

fn dial(reader: &mut Reader<'_>, source: &At<String>) -> Option<Template> {
    let template = reader.template("`dial`", source, Holes::Address)?;
    if !template.names("slot") {
        let hint = "write it like {service}_{slot}, an upstream group each, or {service}-{slot}:{port}";
        reader.conflict(source.place, "both slots would have the same `dial`", hint);
        return None;
    }
    let text = template.as_str();
    let legal = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-{}:[]".contains(c));
    let is_port = |port: &str| port == "{port}" || port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_address = text.rsplit_once(':').is_none_or(|(_, port)| is_port(port));
    if legal && is_address {
        return Some(template);
    }
    let hint =
        "write an upstream group, like {service}_{slot}, or host and port, like {service}-{slot}:{port}";
    reader.invalid(source.place, format!("`dial` {} is not valid", quote(source)), hint);
    None
}
