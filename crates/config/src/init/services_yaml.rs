//! System A's `services.yaml`: `services.<name>.{test_url, prod_url, health_endpoint, critical_paths[]}`.

use std::path::Path;

use serde::Deserialize;

use super::{Draft, Found, Gateway, Home, InitError, Proposal, read, slug, write};
use crate::at::Entries;

#[derive(Deserialize)]
struct File {
    services: Entries<Service>,
}

/// Other keys are passed over: the file is somebody else's.
#[derive(Deserialize)]
struct Service {
    test_url: Option<String>,
    prod_url: Option<String>,
    health_endpoint: Option<String>,
    #[serde(default)]
    critical_paths: Vec<String>,
}

/// Makes a `lockgate.yaml` of a file of that form, with system A's Compose folders and Caddy.
///
/// # Errors
/// [`InitError`] when the file cannot be read or is of another form.
pub fn import_services_yaml(path: &Path) -> Result<Proposal, InitError> {
    let text = read(path).ok_or_else(|| InitError::Unreadable {
        path: path.to_owned(),
        reason: "it is not there, or no text file of at most 1 MiB".to_owned(),
    })?;
    let file: File = serde_saphyr::from_str(&text).map_err(|error| InitError::NotServices {
        path: path.to_owned(),
        reason: error.without_snippet().to_string(),
    })?;
    if file.services.0.is_empty() {
        return Err(InitError::NotServices {
            path: path.to_owned(),
            reason: "there is no service".to_owned(),
        });
    }
    let mut notes = Vec::new();
    let mut services: Vec<Found> = Vec::new();
    for (key, service) in &file.services.0 {
        let found = found(&key.value, service, &mut notes);
        if services.iter().any(|other| other.name == found.name) {
            notes.push(format!("`{}` was left out: another service has that name already.", key.value));
        } else {
            services.push(found);
        }
    }
    let regression = services.iter().all(|service| service.urls.iter().any(|(name, _)| *name == "test"));
    notes.push("services.yaml has no ports: put the one inside the container into `port:`.".to_owned());
    notes.push("Images come from ${REGISTRY_URL}: check `image:`.".to_owned());
    let folder = std::path::absolute(path).ok().and_then(|path| Some(path.parent()?.file_name()?.to_owned()));
    let draft = Draft {
        origin: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        project: slug(&folder.unwrap_or_default().to_string_lossy(), "app"),
        services,
        home: Home::Folders("${DEPLOY_COMPOSE_DIR:-/srv/apps}/{service}/{slot}".to_owned()),
        gateway: Gateway::Caddy { id: None, dial: None },
        regression,
        notes,
    };
    Ok(write::proposal(draft))
}

fn found(key: &str, service: &Service, notes: &mut Vec<String>) -> Found {
    let name = slug(key, "app");
    if name != key {
        notes.push(format!("`{key}` became `{name}`: rename its folder on the host too."));
    }
    let urls = [("test", &service.test_url), ("prod", &service.prod_url)];
    let mut kept = Vec::new();
    for (environment, url) in urls {
        match url {
            Some(url) if plain_url(url) => kept.push((environment, url.clone())),
            Some(_) => notes.push(format!("{environment}_url of `{key}` was left out: it is not a URL.")),
            None => {}
        }
    }
    Found {
        name,
        image: None,
        port: None,
        command: None,
        health: service.health_endpoint.as_deref().and_then(path),
        critical_paths: service.critical_paths.iter().filter_map(|text| path(text)).collect(),
        urls: kept,
    }
}

fn plain_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            && !rest.contains(|c: char| c.is_whitespace() || c.is_control() || "\"\\<>".contains(c))
    })
}

/// A path, also from a whole URL or without its leading slash.
fn path(text: &str) -> Option<String> {
    let path = match text.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => text,
    };
    let legal = !path.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
    legal.then(|| format!("/{}", path.trim_start_matches('/')))
}
