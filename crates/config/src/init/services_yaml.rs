//! System A's `services.yaml`: `services.<name>.{test_url, prod_url, health_endpoint, critical_paths[]}`.
//!
//! Invariant: nothing in it is lost without a word. What has no place in a `lockgate.yaml` is named in a note.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::path::Path;

use lockgate_model::{EnvironmentName, Repository};
use lockgate_own::OwnError;

use super::{
    Draft, Found, Gateway, Home, InitError, LOOK_BYTES_MAX, Proposal, TEST, left_out, list, shown, slug,
    urls, write,
};
use crate::at::At;
use crate::error::{ConfigError, Kind, Place, Problem};
use crate::read;
use crate::tree::{Node, Plain, Scalar};

const FORM: &str =
    "write `services: { NAME: { test_url: …, prod_url: …, health_endpoint: …, critical_paths: [/] } }`";

/// Makes a `lockgate.yaml` of a file of that form, with system A's Compose folders and Caddy. It is to lie in `folder`,
/// and what is deployed to is called `environment`.
///
/// # Errors
/// [`InitError`] when the file cannot be read or is of another form, or `environment` is `test`.
pub fn import_services_yaml(
    path: &Path,
    folder: &Path,
    environment: &EnvironmentName,
) -> Result<Proposal, InitError> {
    if environment.as_str() == TEST {
        return Err(InitError::OnlyChecked);
    }
    let text = text(path)?;
    let wrong = |problems: Vec<Problem>| {
        let problems = problems.into_iter().map(|problem| match problem.hint {
            Some(_) => problem,
            None => problem.hint(FORM),
        });
        let file = path.display().to_string();
        InitError::Wrong(Box::new(ConfigError::new(&file, String::new(), problems.collect())))
    };
    let tree = read::foreign_tree(&text).map_err(|problem| wrong(vec![problem]))?;
    let mut import = Import {
        file: path.file_name().unwrap_or_default().to_string_lossy().escape_debug().to_string(),
        services: Vec::new(),
        variables: BTreeSet::new(),
        notes: Vec::new(),
        problems: Vec::new(),
    };
    import.root(&tree);
    match import.problems.is_empty() {
        true => Ok(write::proposal(import.draft(folder, environment))),
        false => Err(wrong(import.problems)),
    }
}

fn text(path: &Path) -> Result<String, InitError> {
    let unreadable = |reason: String| InitError::Unreadable { path: path.to_owned(), reason };
    // Never waits, as opening a FIFO would, and reads no more than it wants, whatever the size is said to be.
    let file = lockgate_own::open(path).map_err(|error| match error {
        OwnError::Io(error) if error.kind() != ErrorKind::IsADirectory => unreadable(error.to_string()),
        _ => unreadable("it is not a file".to_owned()),
    })?;
    let mut bytes = Vec::new();
    file.take(LOOK_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > LOOK_BYTES_MAX {
        return Err(unreadable("it is larger than 1 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))
}

struct Import {
    /// Its name, for notes.
    file: String,
    services: Vec<Found>,
    /// Those that must be set before the proposal can be used.
    variables: BTreeSet<String>,
    notes: Vec<String>,
    problems: Vec<Problem>,
}

/// What one service has, as far as Lockgate has a place for it.
#[derive(Default)]
struct Given<'a> {
    test_url: Option<&'a At<Node>>,
    prod_url: Option<&'a At<Node>>,
    health_endpoint: Option<&'a At<Node>>,
    critical_paths: Option<&'a At<Node>>,
    port: Option<&'a At<Node>>,
    image: Option<&'a At<Node>>,
}

impl Import {
    fn root(&mut self, tree: &At<Node>) {
        if let Node::Scalar(Scalar::Nothing) = &tree.value {
            return self.wrong(Kind::MissingKey, tree.place, "the file is empty");
        }
        let Node::Map(entries) = &tree.value else {
            return self.wrong(Kind::WrongType, tree.place, "expected a mapping (`key: value`)");
        };
        let mut other = Vec::new();
        let mut services = None;
        for (key, node) in entries {
            match key.value.as_str() {
                "services" => services = Some(node),
                name => leaves(name, &node.value, &mut other),
            }
        }
        self.left_out("beside `services`", &other);
        match services.map(|node| (&node.value, node.place)) {
            None => self.wrong(Kind::MissingKey, tree.place, "`services` is missing"),
            Some((Node::Map(entries), place)) if entries.is_empty() => {
                self.wrong(Kind::MissingKey, place, "there is no service");
            }
            Some((Node::Scalar(Scalar::Nothing), place)) => {
                self.wrong(Kind::MissingKey, place, "there is no service");
            }
            Some((Node::Map(entries), _)) => entries.iter().for_each(|(key, node)| self.service(key, node)),
            Some((_, place)) => {
                self.wrong(Kind::WrongType, place, "expected a mapping with a key for each service");
            }
        }
    }

    fn service(&mut self, key: &At<String>, node: &At<Node>) {
        let entries: &[_] = match &node.value {
            Node::Map(entries) => entries,
            Node::Scalar(Scalar::Nothing) => &[],
            _ => {
                let message =
                    format!("expected a mapping (`key: value`) as the service {}", shown(&key.value));
                return self.wrong(Kind::WrongType, node.place, &message);
            }
        };
        let mut given = Given::default();
        let mut other = Vec::new();
        for (key, node) in entries {
            match key.value.as_str() {
                "test_url" => given.test_url = Some(node),
                "prod_url" => given.prod_url = Some(node),
                "health_endpoint" => given.health_endpoint = Some(node),
                "critical_paths" => given.critical_paths = Some(node),
                "port" => given.port = Some(node),
                "image" => given.image = Some(node),
                name => leaves(name, &node.value, &mut other),
            }
        }
        let of = format!("of {}", shown(&key.value));
        let name = self.name(&key.value);
        let raw_urls = [(TEST, given.test_url), ("prod", given.prod_url)]
            .map(|(name, node)| (name, self.text(&format!("`{name}_url` {of}"), node)));
        let own: Vec<&str> = raw_urls.iter().filter_map(|(_, url)| *url).collect();
        let health = self.text(&format!("`health_endpoint` {of}"), given.health_endpoint);
        let found = Found {
            name,
            image: self.image(&of, given.image),
            port: self.port(&of, given.port),
            health: health.and_then(|text| self.path(&format!("`health_endpoint` {of}"), text, &own)),
            critical_paths: self.critical_paths(&of, given.critical_paths, &own),
            test_url: raw_urls[0].1.and_then(|url| self.url(&format!("`test_url` {of}"), url)),
            prod_url: raw_urls[1].1.and_then(|url| self.url(&format!("`prod_url` {of}"), url)),
            ..Found::default()
        };
        self.left_out(&of, &other);
        let texts = [&found.image, &found.health, &found.test_url, &found.prod_url];
        for text in texts.into_iter().flatten().chain(&found.critical_paths) {
            self.variables.extend(urls::variables(text).map(str::to_owned));
        }
        self.services.push(found);
    }

    /// A name that no other service has.
    fn name(&mut self, key: &str) -> String {
        let mut name = slug(key, "");
        if name.is_empty() {
            name = slug(&format!("service-{key}"), "service");
        }
        let taken = |name: &str| self.services.iter().any(|other| other.name == name);
        if taken(&name) {
            // One of the first `len + 2` numbers is free.
            let numbered = (2..self.services.len() + 3).map(|number| format!("{name}-{number}"));
            name = numbered.into_iter().find(|name| !taken(name)).unwrap_or(name);
        }
        if name != key {
            self.notes.push(format!("{} became `{name}`: rename its folder on the host too.", shown(key)));
        }
        name
    }

    /// Text that is not empty. A number may be meant as text, but not as a URL or path.
    fn text<'a>(&mut self, what: &str, node: Option<&'a At<Node>>) -> Option<&'a str> {
        let node = node?;
        match &node.value {
            Node::Scalar(Scalar::Nothing) => None,
            Node::Scalar(Scalar::Text(text)) if text.trim().is_empty() => {
                self.notes.push(format!("{what} was left out: it is empty."));
                None
            }
            Node::Scalar(Scalar::Text(text)) => Some(text.trim()),
            Node::Scalar(Scalar::Flag(_) | Scalar::Number(_)) => {
                self.notes.push(format!("{what} was left out: it is not text."));
                None
            }
            Node::List(_) | Node::Map(_) => {
                let message = format!("expected text as {what}");
                self.wrong(Kind::WrongType, node.place, &message);
                None
            }
        }
    }

    fn url(&mut self, what: &str, text: &str) -> Option<String> {
        self.taken(what, urls::url(text))
    }

    fn path(&mut self, what: &str, text: &str, own: &[&str]) -> Option<String> {
        let taken = self.taken(what, urls::path(text, own))?;
        if let Some(fragment) = taken.fragment {
            let fragment = shown(&format!("#{fragment}"));
            self.notes.push(format!("{fragment} of {what} was left out: it is never sent."));
        }
        Some(taken.path)
    }

    fn critical_paths(&mut self, of: &str, node: Option<&At<Node>>, own: &[&str]) -> Vec<String> {
        let items = match node.map(|node| (&node.value, node.place)) {
            None | Some((Node::Scalar(Scalar::Nothing), _)) => return Vec::new(),
            Some((Node::List(items), _)) => items,
            Some((_, place)) => {
                let message = format!("expected a list as `critical_paths` {of}");
                let hint = "write each path on a line of its own, with `- ` before it";
                self.problems.push(Problem::new(Kind::WrongType, place, message).hint(hint));
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for item in items {
            match &item.value {
                Node::Scalar(Scalar::Text(text)) => {
                    let what = format!("the critical path {} {of}", quoted_unless_secret(text));
                    paths.extend(self.path(&what, text.trim(), own));
                }
                Node::Scalar(Scalar::Number(Plain { text, .. })) => {
                    self.notes.push(format!("the critical path `{text}` {of} was left out: it is a number."));
                }
                _ => {
                    let line = item.place.line;
                    self.notes
                        .push(format!("the critical path {of} in line {line} was left out: it is not text."));
                }
            }
        }
        paths
    }

    fn port(&mut self, of: &str, node: Option<&At<Node>>) -> Option<u16> {
        let port = match &node?.value {
            Node::Scalar(Scalar::Nothing) => return None,
            Node::Scalar(Scalar::Text(text) | Scalar::Number(Plain { text, .. })) => text.trim().parse().ok(),
            _ => None,
        };
        let port = port.filter(|port| *port > 0);
        if port.is_none() {
            self.notes.push(format!("`port` {of} was left out: it is not a number from 1 to 65535."));
        }
        port
    }

    fn image(&mut self, of: &str, node: Option<&At<Node>>) -> Option<String> {
        let what = format!("`image` {of}");
        let text = self.text(&what, node)?;
        let (image, tag) = self.taken(&what, urls::image(text))?;
        if let Some(tag) = tag {
            self.notes.push(format!("{} of {what} was left out: the tag is what you deploy.", shown(&tag)));
        }
        Some(image)
    }

    fn taken<T>(&mut self, what: &str, taken: Result<T, &'static str>) -> Option<T> {
        taken.map_err(|reason| self.notes.push(format!("{what} was left out: {reason}."))).ok()
    }

    fn wrong(&mut self, kind: Kind, place: Place, message: &str) {
        self.problems.push(Problem::new(kind, place, message));
    }

    fn left_out(&mut self, of: &str, keys: &[String]) {
        if let Some(keys) = left_out(keys, of) {
            self.notes.push(format!("{keys}: there is no such key in lockgate.yaml."));
        }
    }

    fn draft(mut self, folder: &Path, environment: &EnvironmentName) -> Draft {
        let missing = |has: fn(&Found) -> bool| {
            let names = self.services.iter().filter(|found| !has(found)).map(|found| found.name.as_str());
            (!self.services.iter().all(has)).then(|| list(names))
        };
        let port = missing(|found| found.port.is_some());
        let image = missing(|found| found.image.is_some());
        let test = missing(|found| found.test_url.is_some());
        let regression = self.services.iter().any(|found| found.test_url.is_some());
        let file = &self.file;
        self.notes.extend(port.map(|names| {
            format!("{file} has no port for {names}: put the one inside the container into `port`.")
        }));
        self.notes.extend(image.map(|names| {
            format!("{file} has no image for {names}: they come from ${{REGISTRY_URL}}, check `image`.")
        }));
        self.notes.extend(test.map(|names| match regression {
            true => format!(
                "{file} has no test_url for {names}: the regression gate fails until `urls: {{ test: … }}` is right."
            ),
            false => format!("{file} has no test_url: there is no regression gate before a deployment."),
        }));
        if !self.variables.is_empty() {
            let names = list(self.variables.iter().map(String::as_str));
            self.notes.push(format!(
                "lockgate.yaml needs the variables {names}; `${{NAME:-x}}` gives one a default."
            ));
        }
        let daily = self.services.iter().all(has_tags);
        Draft {
            origin: self.file,
            project: super::project(folder),
            environment: environment.to_string(),
            services: self.services,
            home: Home::Folders("${DEPLOY_COMPOSE_DIR:-/srv/apps}/{service}/{slot}".to_owned()),
            gateway: Gateway::Caddy { id: None, dial: None },
            regression,
            daily,
            variables: Vec::new(),
            notes: self.notes,
        }
    }
}

/// Whether the tags of its image can be looked for. What stands for a variable is not known here.
fn has_tags(found: &Found) -> bool {
    let image = found.image.clone().unwrap_or_else(|| format!("registry.example.com/{}", found.name));
    image.contains('$') || Repository::new(image).is_ok()
}

/// The keys that lead to values, joined by dots.
fn leaves(prefix: &str, node: &Node, keys: &mut Vec<String>) {
    match node {
        Node::Map(entries) if !entries.is_empty() => {
            entries
                .iter()
                .for_each(|(key, node)| leaves(&format!("{prefix}.{}", key.value), &node.value, keys));
        }
        _ => keys.push(prefix.to_owned()),
    }
}

/// A URL may have a password in it.
fn quoted_unless_secret(text: &str) -> String {
    if text.contains('@') { "with an `@`".to_owned() } else { shown(text) }
}
