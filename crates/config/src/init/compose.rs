//! Compose files: services, images, ports, and whether there is one for each slot.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::shipping::{DOCKERFILE, Source};
use super::{Found, LOOK_ENTRIES_MAX, SERVICES_MAX, left_out, read_yaml, shown, slug, urls};

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
pub fn folders(dir: &Path, notes: &mut Vec<String>) -> Option<Vec<Found>> {
    let mut entries: Vec<_> =
        fs::read_dir(dir).ok()?.take(LOOK_ENTRIES_MAX + 1).flatten().map(|entry| entry.path()).collect();
    if entries.len() > LOOK_ENTRIES_MAX {
        notes.push(format!("Only {LOOK_ENTRIES_MAX} entries of the folder were looked at."));
        entries.truncate(LOOK_ENTRIES_MAX);
    }
    entries.sort();
    let services: Vec<Found> = entries.iter().filter_map(|folder| slots_folder(folder, notes)).collect();
    (!services.is_empty()).then(|| few(services, notes))
}

/// The Compose files in a folder's `blue` and `green`. `shown` is the folder in notes, empty or with a slash behind it.
fn slots(folder: &Path, shown: &str, notes: &mut Vec<String>) -> [Option<Value>; 2] {
    ["blue", "green"].map(|slot| {
        FILES.iter().find_map(|file| {
            read_yaml(&folder.join(slot).join(file), &format!("{shown}{slot}/{file}"), notes)
        })
    })
}

/// The same without a folder for the service: `{blue,green}/docker-compose.yml`. The service is called as its container,
/// which is what a router dials, else as in the file.
pub fn own_slots(dir: &Path, notes: &mut Vec<String>) -> Option<Found> {
    let [blue, green] = slots(dir, "", notes);
    let (present, missing) = match (&blue, &green) {
        (Some(blue), Some(_)) => (blue, None),
        (Some(blue), None) => (blue, Some(("blue", "green"))),
        (None, Some(green)) => (green, Some(("green", "blue"))),
        (None, None) => return None,
    };
    if let Some((there, missing)) = missing {
        notes.push(format!("The folder `{there}` was left out: there is no Compose file for {missing}."));
        return None;
    }
    let services = present["services"].as_object()?;
    let (key, service) =
        services.iter().find(|(_, service)| !infrastructure(service)).or_else(|| services.iter().next())?;
    let others: Vec<&str> = services.keys().filter(|other| *other != key).map(String::as_str).collect();
    notes.extend(
        left_out(&others, "of blue and green").map(|names| format!("{names}: a slot is one service.")),
    );
    let unslotted = |name: &str| name.strip_suffix("-blue").unwrap_or(name).to_owned();
    // Beside others, the runtime finds the service by its name.
    let container = service["container_name"].as_str().filter(|_| others.is_empty()).map(unslotted);
    let name =
        container.filter(|name| slug(name, "") == *name).unwrap_or_else(|| slug(&unslotted(key), "app"));
    Some(found(&name, service))
}

fn slots_folder(folder: &Path, notes: &mut Vec<String>) -> Option<Found> {
    let name = folder.file_name()?.to_string_lossy();
    let (blue, green) = match slots(folder, &format!("{name}/"), notes) {
        [None, None] => return None,
        [blue, green] => (blue, green),
    };
    let mut left_out = |why: &str| notes.push(format!("The folder {} was left out: {why}.", shown(&name)));
    let (Some(blue), Some(_)) = (&blue, &green) else {
        let missing = if blue.is_none() { "blue" } else { "green" };
        left_out(&format!("it has no Compose file for {missing}"));
        return None;
    };
    // The folder's name is used as it is, so another one would not find it.
    if slug(&name, "") != name {
        left_out("a service cannot be called so");
        return None;
    }
    let Some(service) = blue["services"].as_object().and_then(|services| services.values().next()) else {
        left_out("there is no service in its Compose file");
        return None;
    };
    Some(found(&name, service))
}

/// Not more than a proposal may have.
fn few(mut services: Vec<Found>, notes: &mut Vec<String>) -> Vec<Found> {
    let rest = services.split_off(services.len().min(SERVICES_MAX));
    let names: Vec<&str> = rest.iter().map(|found| found.name.as_str()).collect();
    let of = format!("after the first {SERVICES_MAX}");
    notes.extend(left_out(&names, &of).map(|names| format!("{names}: add them like those.")));
    services
}

/// A Compose file: its name, the services in it, and whether each has a blue and a green one.
pub fn file(dir: &Path, notes: &mut Vec<String>) -> Option<(String, Vec<Found>, bool)> {
    let (name, yaml) =
        FILES.iter().find_map(|file| Some((*file, read_yaml(&dir.join(file), file, notes)?)))?;
    let Some(services) = yaml["services"].as_object() else {
        notes.push(format!("{name} was passed over: it has no `services`."));
        return None;
    };
    let mut left_out = |keys: &[&str], one: &str, several: &str| {
        let why = if keys.len() == 1 { one } else { several };
        notes.extend(left_out(keys, &format!("of {name}")).map(|keys| format!("{keys}: {why}.")));
    };
    let (pairs, others) = pairs(services);
    if !pairs.is_empty() {
        left_out(&others, "it has no blue and green of its own", "they have no blue and green of their own");
        return Some((name.to_owned(), few(pairs, notes), true));
    }
    let built = |service: &Value| !service["build"].is_null();
    let any_built = services.values().any(built);
    let (ours, others): (Vec<_>, Vec<_>) = services.iter().partition(|(_, service)| match any_built {
        true => built(service),
        false => !infrastructure(service),
    });
    let (one, several) = match any_built {
        true => ("it is not built here", "they are not built here"),
        false => ("its image is not made for this project", "their images are not made for this project"),
    };
    left_out(&others.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), one, several);
    let mut named: BTreeMap<String, Found> = BTreeMap::new();
    let mut unbuilt = Vec::new();
    for (key, service) in ours {
        let short = slug(key, "app");
        if named.contains_key(&short) {
            let why = format!("another service is called `{short}` already");
            left_out(&[key], &why, &why);
            continue;
        }
        let source = source(key, service, &mut unbuilt);
        named.insert(short.clone(), Found { key: Some(key.clone()), source, ..found(&short, service) });
    }
    notes.extend(unbuilt);
    let services: Vec<Found> = named.into_values().collect();
    (!services.is_empty()).then(|| (name.to_owned(), few(services, notes), false))
}

/// What its image is built from, where that lies below the folder.
fn source(key: &str, service: &Value, notes: &mut Vec<String>) -> Option<Source> {
    let build = &service["build"];
    let context = build.as_str().or_else(|| build["context"].as_str());
    let context = match build {
        Value::Object(_) => context.unwrap_or("."),
        _ => context?,
    };
    let text = |key: &str| build[key].as_str().map(str::to_owned);
    let plain = |path: &str| {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        let is_below = !path.starts_with('/')
            && !path.split('/').any(|part| part == "..")
            && !path.contains(|c: char| c.is_control() || ":$*?[]{}\\".contains(c));
        is_below.then(|| if path == "." { String::new() } else { path.to_owned() })
    };
    let dockerfile = text("dockerfile").unwrap_or_else(|| DOCKERFILE.to_owned());
    match (plain(context), plain(&dockerfile).filter(|file| !file.is_empty()), text("dockerfile_inline")) {
        (Some(folder), Some(dockerfile), None) => Some(Source { folder, dockerfile }),
        _ => {
            let why = "its Dockerfile is not a file below this folder";
            notes.push(format!("No `build` is proposed for {}: {why}.", shown(key)));
            None
        }
    }
}

/// Services that have a `-blue` and a `-green`, and the keys of those that do not.
fn pairs(services: &Map<String, Value>) -> (Vec<Found>, Vec<&str>) {
    let base = |key: &str| {
        let base = key.strip_suffix("-blue").or_else(|| key.strip_suffix("-green"))?;
        let both = ["blue", "green"].iter().all(|slot| services.contains_key(&format!("{base}-{slot}")));
        (both && slug(base, "") == base).then(|| base.to_owned())
    };
    let (mut paired, mut others) = (Vec::new(), Vec::new());
    for (key, service) in services {
        match base(key) {
            Some(base) if key.ends_with("-blue") => paired.push(found(&base, service)),
            Some(_) => {}
            None => others.push(key.as_str()),
        }
    }
    (paired, others)
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
        reads_env_file: !service["env_file"].is_null(),
        ..Found::default()
    }
}

/// `ghcr.io/acme/web:${TAG:-latest}` → `ghcr.io/acme/web`; `None` when the repository itself has variables.
fn repository(image: &str) -> Option<String> {
    let (repository, _) = urls::image(image).ok()?;
    (!repository.contains('$')).then_some(repository)
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
