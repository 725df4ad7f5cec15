//! Caddy's configuration: whether Caddy is in front, and how the route is found.

use std::path::Path;

use serde_json::Value;

use super::{Found, Gateway, read};

/// Deepest nesting of a Caddy configuration that is followed.
const DEPTH_MAX: usize = 64;

/// Also takes over the ports that Caddy dials, where the services' own files name none.
pub fn look(dir: &Path, services: &mut [Found], notes: &mut Vec<String>) -> Option<Gateway> {
    match read(&dir.join("caddy.json")).map(|text| serde_json::from_str::<Value>(&text)) {
        Some(Ok(json)) => return Some(from_json(&json, services, notes)),
        Some(Err(error)) => {
            let (line, column) = (error.line(), error.column());
            notes.push(format!("`caddy.json:{line}:{column}` was passed over: it is not JSON."));
        }
        None => {}
    }
    let caddyfile = read(&dir.join("Caddyfile"))?;
    let dials: Vec<&str> = caddyfile
        .lines()
        .filter_map(|line| line.trim().strip_prefix("reverse_proxy "))
        .flat_map(str::split_whitespace)
        .collect();
    if dials.is_empty() {
        return None;
    }
    notes.push(match reads_the_switch(&caddyfile) {
        true => READS_THE_SWITCH.to_owned(),
        false => {
            "The Caddyfile's route is found by what it dials; `lockgate doctor` shows how Caddy reads the switch itself."
                .to_owned()
        }
    });
    Some(Gateway::Caddy { id: Some(String::new()), dial: dial(&dials, services) })
}

const READS_THE_SWITCH: &str = "Caddy reads the services' `active_color` at each request: that is the switch, and nothing of it is changed.";

/// It has a matcher for system A's file.
fn reads_the_switch(text: &str) -> bool {
    text.split("{file.")
        .skip(1)
        .any(|rest| rest.split('}').next().is_some_and(|path| path.ends_with("/active_color")))
}

fn from_json(json: &Value, services: &mut [Found], notes: &mut Vec<String>) -> Gateway {
    let (mut ids, mut dials) = (Vec::new(), Vec::new());
    collect(json, 0, &mut ids, &mut dials);
    let by_file = reads_the_switch(&json.to_string());
    if by_file {
        notes.push(READS_THE_SWITCH.to_owned());
    }
    let id = match (ids.as_slice(), &*services) {
        _ if services.iter().all(|service| ids.contains(&format!("{}_upstream", service.name).as_str())) => {
            None
        }
        ([id], [_]) if plain(id) => Some((*id).to_owned()),
        _ if by_file => Some(String::new()),
        _ => {
            notes.push(
                "No `@id` in caddy.json is a service's: routes are found by what they dial.".to_owned(),
            );
            Some(String::new())
        }
    };
    Gateway::Caddy { id, dial: dial(&dials, services) }
}

/// `@id`s of objects with `upstreams`, and all that is dialled.
fn collect<'a>(value: &'a Value, depth: usize, ids: &mut Vec<&'a str>, dials: &mut Vec<&'a str>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, depth + 1, ids, dials)),
        Value::Object(map) => {
            if map.contains_key("upstreams") {
                ids.extend(map.get("@id").and_then(Value::as_str));
            }
            dials.extend(map.get("dial").and_then(Value::as_str));
            map.values().for_each(|item| collect(item, depth + 1, ids, dials));
        }
        _ => {}
    }
}

/// The dial with placeholders, when one of the services has a slot's name in it.
fn dial(dials: &[&str], services: &mut [Found]) -> Option<String> {
    let mut first = None;
    let mut own_ports = true;
    for service in services {
        let Some(port) = dialled_port(dials, &service.name) else { continue };
        own_ports &= *service.port.get_or_insert(port) == port;
        first.get_or_insert(port);
    }
    first.map(|port| match own_ports {
        true => "{service}-{slot}:{port}".to_owned(),
        false => format!("{{service}}-{{slot}}:{port}"),
    })
}

fn dialled_port(dials: &[&str], service: &str) -> Option<u16> {
    ["blue", "green"].iter().find_map(|slot| {
        let named = format!("{service}-{slot}:");
        let port = dials.iter().find_map(|dial| dial.strip_prefix(named.as_str()))?;
        port.parse::<u16>().ok().filter(|port| *port > 0)
    })
}

fn plain(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}
