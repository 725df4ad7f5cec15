//! `serve:`: where it listens, and which signed calls deploy what.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lockgate_model::{
    Endpoint, EndpointPath, Environment, EnvironmentName, InvalidTagTemplate, ListenAt, Millis, Serve,
    Service, ServiceName, TagTemplate, TlsFiles,
};

use super::named::{self, key_name};
use super::reader::{Holes, Reader, quote};
use super::serve_secret;
use crate::Purpose;
use crate::at::{At, Words};
use crate::error::{Kind, Problem};
use crate::{raw_serve, words};

const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 8443);
const LISTEN_HINT: &str = "write address and port, such as 0.0.0.0:8443, or unix:/run/lockgate/serve.sock";
const LISTEN_PLACES_MAX: usize = 16;
/// Longest path of a Unix socket (`sun_path` in unix(7) holds 108 bytes with the final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;
const ENDPOINTS_MAX: usize = 64;
const TIMEOUT: Millis = Millis::from_secs(600);
const TIMEOUT_MIN: Millis = Millis::from_secs(1);
const TIMEOUT_MAX: Millis = Millis::from_secs(3600);
const REPEATED: Millis = Millis::from_secs(600);
const REPEATED_MIN: Millis = Millis::from_secs(1);
const REPEATED_MAX: Millis = Millis::from_secs(24 * 3600);
const BRANCHES_MAX: usize = 64;
/// As long as GitHub's may be.
const BRANCH_BYTES_MAX: usize = 244;

/// The other parts of the file that endpoints name.
pub struct Known<'a> {
    pub root: &'a Path,
    /// Of the whole file, as keys.
    pub names: &'a [&'a str],
    pub services: &'a BTreeMap<ServiceName, Service>,
    pub environments: &'a [Environment],
}

/// `None` where there is none, or it is wrong. Where the file is read for something else, variables that only serving needs
/// may be missing.
pub fn resolve(
    reader: &mut Reader<'_>,
    source: Option<&At<raw_serve::Serve>>,
    known: &Known<'_>,
) -> Option<Serve> {
    let source = source?;
    let before = reader.problems.len();
    let serve = section(reader, source, known);
    if reader.purpose != Purpose::Serve {
        let later = reader.problems.split_off(before);
        reader.problems.extend(later.into_iter().filter(|problem| problem.kind != Kind::MissingVariable));
    }
    serve
}

fn section(reader: &mut Reader<'_>, source: &At<raw_serve::Serve>, known: &Known<'_>) -> Option<Serve> {
    let raw = &source.value;
    let places = listen(reader, raw.listen.as_ref(), known.root);
    let tls = match &raw.tls {
        None => None,
        Some(files) => {
            let cert = pem(reader, "`cert`", &files.value.cert, known.root);
            let key = pem(reader, "`key`", &files.value.key, known.root);
            cert.zip(key).map(|(cert, key)| TlsFiles { cert, key })
        }
    };
    let plain_http = raw.plain_http.as_ref().is_some_and(|flag| flag.value);
    transport(reader, raw, &places);
    let endpoints = endpoints(reader, &raw.endpoints, known);
    if raw.tls.is_some() && tls.is_none() || places.is_empty() {
        return None;
    }
    Some(Serve { listen: places.into_iter().map(|at| at.value).collect(), tls, plain_http, endpoints })
}

/// Signatures keep a call from being changed, not from being read and sent again; and what is answered is no stranger's.
fn transport(reader: &mut Reader<'_>, raw: &raw_serve::Serve, places: &[At<ListenAt>]) {
    match (&raw.tls, &raw.plain_http) {
        (Some(_), Some(flag)) if flag.value => {
            reader.conflict(flag.place, "`plain_http` and `tls` exclude each other", "keep one of them");
        }
        (None, flag) if flag.as_ref().is_none_or(|flag| !flag.value) => {
            for at in places.iter().filter(|at| !at.value.is_here_only()) {
                let message = format!("`listen` {} would be plain HTTP that others can reach", at.value);
                let hint = "add `tls: { cert: fullchain.pem, key: key.pem }`, listen at 127.0.0.1, or, where something in front has the certificate, add `plain_http: true`";
                reader.conflict(at.place, message, hint);
            }
        }
        _ => {}
    }
}

fn listen(reader: &mut Reader<'_>, source: Option<&At<Words>>, root: &Path) -> Vec<At<ListenAt>> {
    let Some(source) = source else {
        return vec![At { value: ListenAt::Tcp(SocketAddr::from(LISTEN)), place: Default::default() }];
    };
    let texts = match &source.value {
        Words::Line(line) => vec![At { value: line.clone(), place: source.place }],
        Words::List(list) => list.clone(),
    };
    if texts.is_empty() || texts.len() > LISTEN_PLACES_MAX {
        let message = format!("`listen` has {} places", texts.len());
        reader.invalid(source.place, message, format!("name 1 to {LISTEN_PLACES_MAX}"));
        return Vec::new();
    }
    let mut places: Vec<At<ListenAt>> = Vec::new();
    for text in &texts {
        let Some(value) = place(reader, text, root) else { continue };
        let is_twice = |at: &At<ListenAt>| at.value == value && !is_any_port(&value);
        if places.iter().any(is_twice) {
            reader.conflict(text.place, format!("`listen` has {value} twice"), "keep one of them");
            continue;
        }
        places.push(At { value, place: text.place });
    }
    places
}

fn is_any_port(place: &ListenAt) -> bool {
    matches!(place, ListenAt::Tcp(address) if address.port() == 0)
}

fn place(reader: &mut Reader<'_>, source: &At<String>, root: &Path) -> Option<ListenAt> {
    let text = reader.line("`listen`", source)?;
    if let Some(path) = text.strip_prefix("unix:") {
        let path = root.join(path);
        let is_file = !text.ends_with('/') && text != "unix:";
        if !is_file || path.components().any(|part| part.as_os_str() == "..") {
            reader.invalid(source.place, format!("`listen` {} names no socket", quote(source)), LISTEN_HINT);
            return None;
        }
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let message = format!("`listen` {} is too long for a socket", quote(source));
            let hint = format!(
                "write a path of at most {SOCKET_PATH_BYTES_MAX} bytes, such as unix:/run/lockgate/serve.sock"
            );
            reader.invalid(source.place, message, hint);
            return None;
        }
        return Some(ListenAt::Unix(path));
    }
    if let Ok(address) = text.parse() {
        return Some(ListenAt::Tcp(address));
    }
    // A name could mean several, or another one tomorrow.
    let hint = match text.strip_prefix("localhost:") {
        Some(port) => format!("write an address instead of a name: 127.0.0.1:{port}"),
        None => LISTEN_HINT.to_owned(),
    };
    reader.invalid(source.place, format!("`listen` {} is not valid", quote(source)), hint);
    None
}

/// A PEM file on this machine, by its absolute path.
fn pem(reader: &mut Reader<'_>, what: &str, source: &At<String>, root: &Path) -> Option<PathBuf> {
    let text = reader.line(what, source)?;
    if text.contains("-----BEGIN") || text.ends_with('/') {
        reader.invalid(source.place, format!("{what} names no file"), "write the path of a PEM file");
        return None;
    }
    Some(root.join(text))
}

fn endpoints(
    reader: &mut Reader<'_>,
    source: &At<crate::at::Entries<At<raw_serve::Endpoint>>>,
    known: &Known<'_>,
) -> BTreeMap<EndpointPath, Endpoint> {
    let entries = &source.value.0;
    if entries.is_empty() {
        let hint =
            "add one: `endpoints: { /deploy: { environment: prod, secrets: [\"${WEBHOOK_SECRET}\"] } }`";
        reader.report(Problem::new(Kind::MissingKey, source.place, "`serve` has no endpoint").hint(hint));
    }
    if entries.len() > ENDPOINTS_MAX {
        let message = format!("`serve` has {} endpoints", entries.len());
        reader.invalid(source.place, message, format!("at most {ENDPOINTS_MAX} are served"));
    }
    let mut endpoints = BTreeMap::new();
    let mut taken = serve_secret::Taken::default();
    for (key, raw) in entries {
        let path = path(reader, key);
        let endpoint = endpoint(reader, raw, path, known, &mut taken);
        endpoints.extend(endpoint.map(|endpoint| (endpoint.path.clone(), endpoint)));
    }
    endpoints
}

fn path(reader: &mut Reader<'_>, key: &At<String>) -> Option<EndpointPath> {
    match EndpointPath::new(key.value.as_str()) {
        Ok(path) => Some(path),
        Err(invalid) => {
            reader.invalid(key.place, format!("{} is no path of an endpoint", quote(key)), invalid.reason);
            None
        }
    }
}

/// Every key is read, so that all that is wrong is said at once.
fn endpoint(
    reader: &mut Reader<'_>,
    source: &At<raw_serve::Endpoint>,
    path: Option<EndpointPath>,
    known: &Known<'_>,
    taken: &mut serve_secret::Taken,
) -> Option<Endpoint> {
    let raw = &source.value;
    let environment = environment(reader, &raw.environment, known);
    let services = services(reader, raw.services.as_ref(), known.services);
    let secrets = serve_secret::all(reader, &raw.secrets, taken);
    let tag = match &raw.tag {
        Some(source) => tag(reader, source),
        None => Some(TagTemplate::whole()),
    };
    let mut within = |what, source: &Option<_>, least, most, default| match source {
        Some(source) => reader.span_within(what, source, least, most),
        None => Some(default),
    };
    let timeout = within("`timeout`", &raw.timeout, TIMEOUT_MIN, TIMEOUT_MAX, TIMEOUT);
    let repeated = within("`repeated`", &raw.repeated, REPEATED_MIN, REPEATED_MAX, REPEATED);
    let branches = branches(reader, raw.branches.as_ref());
    let mut fixed = |what, source: &Option<At<String>>| {
        source.as_ref().and_then(|source| reader.template(what, source, Holes::Fixed))
    };
    let container_name = fixed("`container_name`", &raw.container_name);
    let healthcheck_url = fixed("`healthcheck_url`", &raw.healthcheck_url);
    Some(Endpoint {
        path: path?,
        environment: environment?,
        services: services?,
        secrets,
        tag: tag?,
        timeout: timeout?,
        repeated: repeated?,
        branches: branches?,
        container_name,
        healthcheck_url,
    })
}

fn environment(reader: &mut Reader<'_>, source: &At<String>, known: &Known<'_>) -> Option<EnvironmentName> {
    let name = named::environment(reader, source, known.names)?;
    let found = known.environments.iter().find(|environment| environment.name == name);
    // One that is not there was wrong itself, which is said.
    if found.is_some_and(|environment| environment.slots().is_none()) {
        let message = format!("`{name}` is only checked, never deployed to");
        let hint = format!("name another, or add `runtime: compose` to `{name}`");
        reader.conflict(source.place, message, hint);
        return None;
    }
    Some(name)
}

fn services(
    reader: &mut Reader<'_>,
    source: Option<&At<Vec<At<String>>>>,
    known: &BTreeMap<ServiceName, Service>,
) -> Option<Vec<ServiceName>> {
    let Some(list) = source else { return Some(known.keys().cloned().collect()) };
    if list.value.is_empty() {
        reader.invalid(list.place, "`services` is empty", "leave it out for all, or name one");
    }
    let mut chosen: Vec<ServiceName> = Vec::new();
    for source in &list.value {
        let text = At { value: reader.text(source)?, place: source.place };
        let Some(name) = key_name::<ServiceName>(reader, &text) else { continue };
        if chosen.contains(&name) {
            reader.conflict(
                source.place,
                format!("service {} is here twice", quote(source)),
                "keep one of them",
            );
        } else if known.contains_key(&name) {
            chosen.push(name);
        } else {
            let names = || known.keys().map(ServiceName::as_str);
            let hint = match words::nearest(&source.value, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("services here: {}", names().collect::<Vec<_>>().join(", ")),
            };
            reader.invalid(source.place, format!("there is no service {}", quote(source)), hint);
        }
    }
    Some(chosen)
}

fn tag(reader: &mut Reader<'_>, source: &At<String>) -> Option<TagTemplate> {
    let text = reader.line("`tag`", source)?;
    match TagTemplate::new(&text) {
        Ok(tag) => Some(tag),
        Err(InvalidTagTemplate(reason)) => {
            let message = format!("`tag` {} makes no tag of a commit: {reason}", quote(source));
            reader.invalid(source.place, message, "write `\"{image_sha}\"` or `\"sha-{image_sha:.8}\"`");
            None
        }
    }
}

/// Names of branches, which are compared as they are.
fn branches(reader: &mut Reader<'_>, source: Option<&At<Vec<At<String>>>>) -> Option<Vec<String>> {
    let Some(list) = source else { return Some(Vec::new()) };
    if list.value.is_empty() || list.value.len() > BRANCHES_MAX {
        let message = format!("`branches` has {} names", list.value.len());
        let hint = format!("name 1 to {BRANCHES_MAX}, or leave it out for the default branch");
        reader.invalid(list.place, message, hint);
    }
    let mut branches = Vec::new();
    for source in &list.value {
        let branch = reader.line("a branch", source)?;
        if let Some(short) = branch.strip_prefix("refs/heads/") {
            reader.invalid(
                source.place,
                format!("{} is a ref", quote(source)),
                format!("write the branch: `{short}`"),
            );
            continue;
        }
        // What `git check-ref-format` refuses; a `*` is a pattern elsewhere.
        let is_odd = |c: char| c.is_whitespace() || "~^:?*[\\".contains(c);
        if branch.contains(is_odd)
            || branch.contains("..")
            || branch.starts_with('-')
            || branch.len() > BRANCH_BYTES_MAX
        {
            let hint = "write each branch by its whole name, such as `main`";
            reader.invalid(source.place, format!("{} is no branch's name", quote(source)), hint);
            continue;
        }
        branches.push(branch);
    }
    Some(branches)
}
