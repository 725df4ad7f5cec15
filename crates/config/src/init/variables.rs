//! The variables that a configuration names: what each is for, and which of `ship`'s jobs need it.

use std::collections::BTreeMap;

use super::given;
use crate::Purpose;
use crate::at::At;
use crate::interpolate::references;
use crate::part::Part;
use crate::tree::{Node, Scalar};

/// A variable whose value is a secret of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// What it is for, for people: of the first value that names it, in the order of the file.
    pub what: String,
    pub form: Form,
    /// A default stands wherever it is named.
    pub is_optional: bool,
    pub test: bool,
    pub build: bool,
    pub deploy: bool,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    /// A private key, which lies in a file.
    Key,
    /// What `ssh-keyscan` prints.
    KnownHosts,
}

/// By name.
pub type Variables = BTreeMap<String, Variable>;

/// What is shipped.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    pub service: &'a str,
    /// As it is written.
    pub image: &'a str,
}

/// All of a file.
pub fn of_file(tree: &At<Node>, about: About<'_>) -> Variables {
    let mut found = Variables::new();
    walk(&tree.value, &mut Vec::new(), about, &mut found);
    found
}

/// Whether a runner has to be given what is optional elsewhere: it has no `~/.ssh`, and no login that `docker login` left.
fn lacks(path: &[&str], about: About<'_>) -> bool {
    match path {
        ["ssh", "key" | "known_hosts"] => true,
        ["registries", registry, ..] => {
            about.image.strip_prefix(registry).is_some_and(|rest| rest.starts_with('/'))
        }
        _ => false,
    }
}

fn walk<'n>(node: &'n Node, path: &mut Vec<&'n str>, about: About<'_>, found: &mut Variables) {
    match node {
        Node::Scalar(Scalar::Text(text)) => read(path, text, about, found),
        Node::Scalar(_) => {}
        Node::List(items) => {
            for item in items {
                path.push("");
                walk(&item.value, path, about, found);
                path.pop();
            }
        }
        Node::Map(entries) => {
            for (key, node) in entries {
                path.push(&key.value);
                walk(&node.value, path, about, found);
                path.pop();
            }
        }
    }
}

fn read(path: &[&str], text: &str, about: About<'_>, found: &mut Variables) {
    match path {
        // For the daemon alone; and what is not filled in here, or is for the container's environment.
        ["serve", ..]
        | ["services", _, "env", _, "command", ..]
        | ["services", _, "health", "command" | "headers", ..]
        | ["services", _, "before_switch" | "after_switch"]
        | ["services", _, "before_switch" | "after_switch", "run", ..] => {}
        // A shell reads it, in its own environment.
        ["services", name, "test"] | ["services", name, "test", "run"] => {
            if *name == about.service {
                let what = format!("read by the test of {name}");
                let of_test = |one: &mut Variable| (one.test, one.deploy) = (true, false);
                read_by_a_program(text, &what, of_test, found);
            }
        }
        ["environments", name, "before" | "after", _, "command", ..] => {
            read_by_a_program(text, &format!("read by a gate of {name}"), |_| {}, found);
        }
        _ => {
            for (name, has_default) in references(text) {
                let part = Part::at(path);
                let needed = |purpose| part.is_none_or(|part| part.is_needed(purpose));
                let (test, build) = (needed(Purpose::Test), needed(Purpose::Build));
                let form = match path {
                    ["ssh", "key"] => Form::Key,
                    ["ssh", "known_hosts"] => Form::KnownHosts,
                    _ => Form::Text,
                };
                let is_optional = has_default && !lacks(path, about);
                let (name, what) = (name.to_owned(), what(path, name));
                add(found, Variable { name, what, form, is_optional, test, build, deploy: true });
            }
        }
    }
}

/// One more that is named; what is named twice is needed where either is.
pub fn add(found: &mut Variables, more: Variable) {
    match found.get_mut(&more.name) {
        None => {
            found.insert(more.name.clone(), more);
        }
        Some(one) => {
            one.is_optional &= more.is_optional;
            one.test |= more.test;
            one.build |= more.build;
            one.deploy |= more.deploy;
        }
    }
}

/// `$NAME` and `${NAME…}` of a command, as far as they are written as variables of an environment are, and the command does not
/// set them itself.
fn read_by_a_program(text: &str, what: &str, mark: impl Fn(&mut Variable), found: &mut Variables) {
    for (at, _) in text.match_indices('$') {
        let rest = &text[at + 1..];
        let (rest, is_braced) = rest.strip_prefix('{').map_or((rest, false), |rest| (rest, true));
        let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let is_name = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
        if !is_name || behind.starts_with(|c: char| c.is_ascii_lowercase()) || sets(text, name) {
            continue;
        }
        let is_optional = is_braced && behind.starts_with([':', '-', '+']);
        let (name, what) = (name.to_owned(), what.to_owned());
        let form = Form::Text;
        let mut one = Variable { name, what, form, is_optional, test: false, build: false, deploy: true };
        mark(&mut one);
        if given::by_runner(&one.name) != Some(given::Given::Always) {
            add(found, one);
        }
    }
}

/// Whether a command sets a variable itself: `NAME=…`.
fn sets(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(&format!("{name}=")).any(|(at, _)| !text[..at].ends_with(is_part))
}

/// What a value is for, by the keys that lead to it. Names of the file's author are a part of it.
fn what(path: &[&str], name: &str) -> String {
    match path {
        ["environments", environment, "hosts", ..] => format!("where {environment} is: a host's name or address"),
        ["environments", environment, "url"] => format!("where users reach {environment}"),
        ["ssh", "key"] => "the private key that hosts are shown, whole and without a passphrase".to_owned(),
        ["ssh", "known_hosts"] => {
            "the hosts' own keys, as `ssh-keyscan HOST` prints them: compare them with what the host's console shows".to_owned()
        }
        ["ssh", "user"] => "who logs in on hosts".to_owned(),
        ["registries", registry, "user"] => format!("the account at {registry}"),
        ["registries", registry, "password"] => format!("the password, or a token, for {registry}"),
        ["services", service, "env", key, ..] if *key == name => format!("a variable of {service}"),
        ["services", service, "env", key, ..] => format!("{key} of {service}"),
        ["services", service, "build", "args", key] => format!("the build argument {key} of {service}"),
        ["services", service, "image"] => format!("a part of the name of {service}'s image"),
        ["notify", _, "slack", "webhook"] => "the URL of an incoming webhook of Slack".to_owned(),
        ["notify", _, "slack", "token"] => "the token of a bot of Slack that may write (`chat:write`)".to_owned(),
        ["notify", _, "slack", "channel"] => "the channel in Slack".to_owned(),
        ["notify", _, "email", "smtp"] => "the mail server, such as smtps://mail.example.com".to_owned(),
        ["notify", _, "email", key, ..] => format!("`{key}` of the mail that tells people"),
        ["notify", _, "github", "token"] => "a token of GitHub that may write deployments".to_owned(),
        ["notify", _, "webhook", key, ..] => format!("`{key}` of the webhook that is told"),
        path => {
            let keys: Vec<&str> = path.iter().copied().filter(|key| !key.is_empty()).collect();
            format!("`{}` in lockgate.yaml", keys.join("."))
        }
    }
}
