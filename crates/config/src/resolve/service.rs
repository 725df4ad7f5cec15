//! One service.

use std::collections::BTreeMap;

use lockgate_model::{
    CommandHealth, DockerHealth, EnvironmentName, Health, HttpHealth, Millis, Service, ServiceName,
    StatusRange, Verify,
};

use super::env;
use super::hooks;
use super::named::{header_name, key_name, unknown_environment};
use super::reader::{Holes, Reader, quote, reference, variable};
use super::{probe_headers, ship};
use crate::at::{At, Either};
use crate::error::Place;
use crate::part::Part;
use crate::{quantity, raw};

const HEALTH_PATH: &str = "/health";
const HEALTH_TIMEOUT: Millis = Millis::from_secs(60);
/// The short form of a container's own health check.
const DOCKER: &str = "docker";
const PASSES_DEFAULT: u32 = 2;
const PASSES_MAX: u32 = 100;

pub fn resolve(
    reader: &mut Reader<'_>,
    key: &At<String>,
    raw: &At<raw::Service>,
    environments: &[&str],
) -> Option<Service> {
    let name: ServiceName = key_name(reader, key)?;
    let raw = &raw.value;
    let cwd = raw.cwd.as_ref().and_then(|cwd| reader.file("`cwd`", cwd, Holes::All));
    let port = raw.port.as_ref().map(|port| reader.whole("`port`", Some(port), 1, u16::MAX, 1));
    let image = image(reader, &name, key.place, raw.image.as_ref());
    let (env, env_from) = reader.part(Part::ServiceEnv, |reader| env::resolve(reader, &raw.env.0));
    Some(Service {
        ship: ship::resolve(reader, raw, image.as_deref()),
        image,
        command: raw
            .command
            .as_ref()
            .and_then(|command| reader.argv("`command`", command))
            .unwrap_or_default(),
        cwd,
        env,
        env_from,
        port,
        health: health(reader, raw.health.as_ref()),
        critical_paths: reader.url_paths("critical path", &raw.critical_paths),
        verify: raw.verify.as_ref().and_then(|verify| self::verify(reader, verify)),
        urls: urls(reader, &raw.urls.0, environments),
        hooks: hooks::resolve(reader, raw),
        name,
    })
}

fn image(
    reader: &mut Reader<'_>,
    name: &ServiceName,
    key: Place,
    source: Option<&At<String>>,
) -> Option<String> {
    let (image, shown, place) = match source {
        Some(source) => (reader.line("`image`", source)?, quote(source), source.place),
        None => {
            let registry = variable(reader.env, "REGISTRY_URL")?;
            let prefix =
                registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
            (format!("{prefix}/{name}"), "from REGISTRY_URL".to_owned(), key)
        }
    };
    if image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        let hint = "leave the tag out: it is what you deploy";
        reader.invalid(place, format!("image {shown} has a tag or digest"), hint);
        return None;
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if !image.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !image.chars().all(legal)
        || image.ends_with('/')
    {
        let hint = "write a repository such as ghcr.io/acme/web";
        reader.invalid(place, format!("image {shown} is not valid"), hint);
        return None;
    }
    Some(image)
}

fn health(reader: &mut Reader<'_>, source: Option<&At<Either<raw::Health>>>) -> Health {
    match source.map(|source| (&source.value, source.place)) {
        None => {
            let timeout = default_timeout(reader).unwrap_or(HEALTH_TIMEOUT);
            Health::Http(HttpHealth { timeout, ..by_path(HEALTH_PATH.to_owned()) })
        }
        Some((Either::Short(word), _)) if word == DOCKER => {
            Health::Docker(DockerHealth { timeout: None, passes: 1 })
        }
        Some((Either::Short(path), place)) => {
            let path = reader.url_path("health path", &At { value: path.clone(), place });
            let timeout = default_timeout(reader).unwrap_or(HEALTH_TIMEOUT);
            Health::Http(HttpHealth { timeout, ..by_path(path.unwrap_or_else(|| HEALTH_PATH.to_owned())) })
        }
        Some((Either::Full(full), place)) => mapped(reader, full, place),
    }
}

fn by_path(path: String) -> HttpHealth {
    HttpHealth {
        path,
        timeout: HEALTH_TIMEOUT,
        passes: PASSES_DEFAULT,
        status: StatusRange::OK,
        body: None,
        headers: BTreeMap::new(),
    }
}

fn mapped(reader: &mut Reader<'_>, full: &raw::Health, place: Place) -> Health {
    let given = full
        .timeout
        .as_ref()
        .map(|timeout| reader.span("`timeout`", Some(timeout), Millis(1), HEALTH_TIMEOUT));
    let docker = full.docker.as_ref().is_some_and(|docker| docker.value);
    let passes = if docker { 1 } else { PASSES_DEFAULT };
    let passes = reader.whole("`passes`", full.passes.as_ref(), 1, PASSES_MAX, passes);
    let path = full.path.as_ref().map(|path| (path.place, reader.url_path("health path", path)));
    let kinds = [path.is_some(), full.command.is_some(), docker];
    if kinds.into_iter().filter(|is_there| *is_there).count() > 1 {
        let message = "a health check is one of `path`, `command` and `docker`";
        reader.conflict(place, message, "keep one of them");
    }
    let of_http = [
        full.status.as_ref().map(|status| status.place),
        full.body.as_ref().map(|body| body.place),
        full.headers.0.first().map(|(name, _)| name.place),
    ];
    if let (Some(place), true) = (of_http.into_iter().flatten().next(), docker || full.command.is_some()) {
        let message = "`status`, `body` and `headers` are of a check by HTTP";
        reader.conflict(place, message, "leave them out, or write `path`");
    }
    if docker {
        return Health::Docker(DockerHealth { timeout: given, passes });
    }
    let timeout = match given {
        Some(timeout) => timeout,
        None => default_timeout(reader).unwrap_or(HEALTH_TIMEOUT),
    };
    if let Some(command) = &full.command {
        if let Some(place) = reference(command) {
            let message = "`command` of a health check cannot have `${…}`: its arguments are shown and kept";
            let hint = "it has the app's environment: write `$NAME` in a script, as in `sh -c '… \"$NAME\"'`";
            reader.invalid(place, message, hint);
        } else if let Some(argv) = reader.argv("`command`", command) {
            return Health::Command(CommandHealth { argv, timeout, passes });
        }
    }
    let path = path.and_then(|(_, path)| path).unwrap_or_else(|| HEALTH_PATH.to_owned());
    let status = reader.status("`status`", full.status.as_ref());
    let body = full.body.as_ref().and_then(|body| reader.text(body));
    let headers = probe_headers::resolve(reader, &full.headers.0);
    Health::Http(HttpHealth { path, timeout, passes, status, body, headers })
}

/// `DEPLOY_TIMEOUT`, where it is set.
fn default_timeout(reader: &mut Reader<'_>) -> Option<Millis> {
    let text = variable(reader.env, "DEPLOY_TIMEOUT")?;
    let timeout = quantity::span(&text).filter(|span| *span > Millis(0));
    if timeout.is_none() {
        let message = "the variable DEPLOY_TIMEOUT is not a length of time";
        let problem = crate::error::Problem::new(crate::error::Kind::InvalidValue, Place::default(), message)
            .hint(format!("write {}", quantity::SPAN_EXPECTS));
        // Every service would say the same.
        if !reader.problems.contains(&problem) {
            reader.report(problem);
        }
    }
    timeout
}

fn verify(reader: &mut Reader<'_>, source: &At<raw::Verify>) -> Option<Verify> {
    let raw = &source.value;
    let path = match &raw.path {
        Some(path) => reader.url_path("`path`", path)?,
        None => "/".to_owned(),
    };
    let body = match &raw.body {
        Some(body) => Some(reader.template("`body`", body, Holes::All)?),
        None => None,
    };
    let header = match raw.header.as_ref().map(|header| (&header.value.0[..], header.place)) {
        None => None,
        Some(([(name, value)], _)) => {
            Some((header_name(reader, name)?, reader.template("the header's value", value, Holes::All)?))
        }
        Some((_, place)) => {
            reader.invalid(place, "`header` takes one header", "write `header: { X-Release: \"{tag}\" }`");
            return None;
        }
    };
    let templates = || body.iter().chain(header.as_ref().map(|(_, value)| value));
    if !templates().any(|template| ["tag", "digest", "slot"].iter().any(|hole| template.names(hole))) {
        let hint = "write `verify: { path: /version, body: \"{tag}\" }`";
        reader.invalid(source.place, "`verify` looks the same for every release", hint);
        return None;
    }
    Some(Verify { path, body, header })
}

fn urls(
    reader: &mut Reader<'_>,
    entries: &[(At<String>, At<String>)],
    environments: &[&str],
) -> BTreeMap<EnvironmentName, String> {
    let mut urls = BTreeMap::new();
    for (key, url) in entries {
        if !environments.contains(&key.value.as_str()) {
            unknown_environment(reader, key, environments);
            continue;
        }
        if let Some(url) = reader.url("URL", url)
            && let Ok(name) = EnvironmentName::new(key.value.clone())
        {
            urls.insert(name, url);
        }
    }
    urls
}
