//! Compose files: services, images, ports, and whether there is one for each slot.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Found, LOOK_ENTRIES_MAX, SERVICES_MAX, read_yaml, slug};

const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// Images that are somebody else's and are not deployed with the project.
const INFRASTRUCTURE: [&str; 16] = [
    "adminer",
    "caddy",
    "elasticsearch",
    "grafana",
    "haproxy",
    "mariadb",
    "memcached",
    "minio",
    "mongo",
    "mysql",
    "nginx",
    "postgres",
    "prometheus",
    "rabbitmq",
    "redis",
    "traefik",
];

/// System A's layout, `<service>/{blue,green}/docker-compose.yml`: the services.
pub fn folders(dir: &Path) -> Option<Vec<Found>> {
    let mut entries: Vec<_> =
        fs::read_dir(dir).ok()?.take(LOOK_ENTRIES_MAX).flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let services: Vec<Found> =
        entries.iter().filter_map(|folder| slots_folder(folder)).take(SERVICES_MAX).collect();
    (!services.is_empty()).then_some(services)
}

fn slots_folder(folder: &Path) -> Option<Found> {
    let slot = |slot: &str| FILES.iter().find_map(|file| read_yaml(&folder.join(slot).join(file)));
    let (blue, _green) = (slot("blue")?, slot("green")?);
    let name = folder.file_name()?.to_str()?;
    // The folder's name is used as it is, so another one would not find it.
    if slug(name, "") != name {
        return None;
    }
    let service = blue["services"].as_object().and_then(|services| services.values().next())?;
    Some(found(name, service))
}

/// A Compose file: its name, the services in it, and whether each has a blue and a green one.
pub fn file(dir: &Path) -> Option<(String, Vec<Found>, bool)> {
    let (name, yaml) = FILES.iter().find_map(|file| Some((*file, read_yaml(&dir.join(file))?)))?;
    let services = yaml["services"].as_object()?;
    let mut paired = Vec::new();
    for (key, service) in services {
        if let Some(base) = key.strip_suffix("-blue")
            && services.contains_key(&format!("{base}-green"))
            && slug(base, "") == base
        {
            paired.push(found(base, service));
        }
    }
    if !paired.is_empty() {
        paired.truncate(SERVICES_MAX);
        return Some((name.to_owned(), paired, true));
    }
    let any_built = services.values().any(|service| !service["build"].is_null());
    let ours = services.iter().filter(|(_, service)| match any_built {
        true => !service["build"].is_null(),
        false => !infrastructure(service),
    });
    // Two keys may become one name.
    let named: BTreeMap<String, Found> = ours
        .map(|(key, service)| (slug(key, "app"), service))
        .map(|(name, service)| (name.clone(), found(&name, service)))
        .collect();
    let services: Vec<Found> = named.into_values().take(SERVICES_MAX).collect();
    (!services.is_empty()).then(|| (name.to_owned(), services, false))
}

fn infrastructure(service: &Value) -> bool {
    let image = service["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default();
    INFRASTRUCTURE.contains(&name)
}

fn found(name: &str, service: &Value) -> Found {
    Found {
        name: name.to_owned(),
        image: service["image"].as_str().and_then(repository),
        port: port(service),
        health: health(&service["healthcheck"]["test"]),
        ..Found::default()
    }
}

/// `ghcr.io/acme/web:${TAG:-latest}` → `ghcr.io/acme/web`; `None` when the repository itself has variables.
fn repository(image: &str) -> Option<String> {
    let plain = image.split("${").next()?;
    let start = plain.rfind('/').map_or(0, |slash| slash + 1);
    let end = plain[start..].find([':', '@']).map_or(plain.len(), |at| start + at);
    let cut_by_variable = end == plain.len() && plain.len() < image.len();
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    let repository = &plain[..end];
    let valid = repository.starts_with(|c: char| c.is_ascii_alphanumeric())
        && repository.chars().all(legal)
        && !repository.ends_with('/');
    (valid && !cut_by_variable).then(|| repository.to_owned())
}

/// The port inside the container, from `expose` or `ports`.
fn port(service: &Value) -> Option<u16> {
    let first = |key: &str| service[key].as_array().and_then(|ports| ports.first().cloned());
    let entry = first("expose").or_else(|| first("ports"))?;
    let number = match &entry {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.split('/').next()?.rsplit(':').next()?.to_owned(),
        Value::Object(long) => long.get("target")?.to_string().trim_matches('"').to_owned(),
        _ => return None,
    };
    number.parse().ok().filter(|port| *port > 0)
}

/// The path that a health check asks for with curl or wget.
fn health(test: &Value) -> Option<String> {
    let text = match test {
        Value::String(text) => text.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => return None,
    };
    let url = &text[text.find("http://")? + "http://".len()..];
    let path = &url[url.find('/')?..];
    let end = path.find(|c: char| !(c.is_ascii_alphanumeric() || "/_-.".contains(c))).unwrap_or(path.len());
    // A host without path, followed by other words with a slash.
    let host = &url[..url.find('/')?];
    (!host.contains(' ')).then(|| path[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_cut_off_images() {
        for (image, expected) in [
            ("ghcr.io/acme/web:v1", Some("ghcr.io/acme/web")),
            ("localhost:5000/web", Some("localhost:5000/web")),
            ("localhost:5000/web:${TAG:-latest}", Some("localhost:5000/web")),
            ("web@sha256:00", Some("web")),
            ("${REGISTRY}/web:v1", None),
            ("acme/web-${VARIANT}:v1", None),
            ("", None),
        ] {
            assert_eq!(repository(image).as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn ports_and_health_paths_are_those_inside_the_container() {
        for (service, expected) in [
            (r#"{"ports": ["127.0.0.1:8080:80/tcp"]}"#, Some(80)),
            (r#"{"ports": [3000]}"#, Some(3000)),
            (r#"{"ports": [{"target": 5000, "published": "80"}]}"#, Some(5000)),
            (r#"{"expose": ["9000"], "ports": ["1:2"]}"#, Some(9000)),
            (r#"{"ports": ["${PORT}"]}"#, None),
        ] {
            assert_eq!(port(&serde_json::from_str(service).unwrap()), expected, "{service}");
        }
        let test = serde_json::json!(["CMD", "curl", "-f", "http://localhost:5000/ready?x=1"]);
        assert_eq!(health(&test).as_deref(), Some("/ready"));
        assert_eq!(health(&serde_json::json!("curl http://localhost || exit /1")), None);
    }
}
