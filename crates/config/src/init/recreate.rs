//! A Compose file that goes to a host, where the new container takes the old one's place: system C.

use std::fmt::{Result, Write};

use super::write::{dollars, quoted, scalar};
use super::{Draft, Found, Home, SLOTS};

/// Where the host's address comes from: a default would deploy to whatever machine somebody types on.
const HOST: &str = "root@${DROPLET_HOST}";

/// What is done with a Compose file that has each service once: one service that is built here goes to a host as it is, and
/// all else needs slots. With a Caddy in front there are slots, too.
pub fn settle(home: Home, services: &[Found], has_caddy: bool, notes: &mut Vec<String>) -> Home {
    let Home::Unslotted(file) = home else { return home };
    if let ([only], false) = (services, has_caddy)
        && only.shipping.is_some()
        && !only.key.as_ref().is_some_and(|key| key.contains('{'))
    {
        notes.push(format!(
            "{file} has one service that is built here: `lockgate ship` brings it to the host that the variable DROPLET_HOST names, \
             where the new container takes the old one's place. To switch without a gap it needs two slots and a router."
        ));
        if only.reads_env_file {
            notes.push(format!("{file} reads variables from a file: fill in `env`, for only then is .env written on the host."));
        }
        return Home::One(file);
    }
    notes.push(format!(
        "{file} has one service each, and two slots are needed: give each slot a folder with its own \
         docker-compose.yml, or put `<service>-blue` and `<service>-green` into {file}."
    ));
    Home::Folders(SLOTS.to_owned())
}

/// The environment's keys.
pub fn environment(out: &mut String, draft: &Draft, file: &str) -> Result {
    writeln!(out, "    # url: https://example.com           # where users reach it")?;
    writeln!(out, "    hosts: [{}] # check: who logs in, and where; `export DROPLET_HOST=…`", quoted(HOST))?;
    writeln!(out, "    strategy: recreate # the old container stops, then the new one starts")?;
    writeln!(
        out,
        "    # setup: {{ wait_for: /opt/setup_complete, patience: 15m }} # a file that is there when the host has been made"
    )?;
    let dir = scalar(&format!("/opt/{}", draft.project));
    let other = draft.services.first().filter(|only| only.key.as_ref().is_some_and(|key| *key != only.name));
    let service = match other.and_then(|only| only.key.as_ref()) {
        Some(key) => format!(", service: {}", quoted(&dollars(key))),
        None => String::new(),
    };
    writeln!(
        out,
        "    runtime: {{ compose: {{ dir: {dir}, upload: {file}{service} }} }} # check: the folder on the host"
    )
}

/// What is written behind the environments.
pub fn end(out: &mut String, draft: &Draft) -> Result {
    let image = draft.services.first().and_then(|only| only.image.as_deref());
    let (mark, registry) = match image {
        Some(image) => ("", registry(image)),
        None => ("# ", "registry.example.com"),
    };
    let login = "{ user: \"${DOCKER_USERNAME:-}\", password: \"${DOCKER_PASSWORD:-}\" }";
    writeln!(
        out,
        "{mark}registries: {{ {}: {login} }} # not set: what `docker login` left",
        quoted(registry)
    )?;
    writeln!(
        out,
        "ssh: {{ key: \"${{SSH_PRIVATE_KEY:-}}\", known_hosts: \"${{KNOWN_HOSTS:-}}\" }} # for CI; not set: your own ~/.ssh"
    )?;
    writeln!(
        out,
        "notify: [ {{ slack: {{ webhook: \"${{SLACK_WEBHOOK_URL:-}}\" }} }} ] # not set: nobody is told"
    )
}

/// The service's variables, for a comment: which of them are read, and what they hold, a person has to say.
pub fn variables(out: &mut String, draft: &Draft) -> Result {
    if !draft.services.iter().any(|service| service.reads_env_file) {
        return Ok(());
    }
    let names = match draft.variables.as_slice() {
        [] => vec!["NAME".to_owned()],
        names => names.to_vec(),
    };
    let entries: Vec<String> = names.iter().map(|name| format!("{name}: \"${{{name}}}\"")).collect();
    writeln!(out, "    # env: {{ {} }} # check: written to .env on the host (0600)", entries.join(", "))
}

/// What stands in front of an image's first slash, where that is a host.
fn registry(image: &str) -> &str {
    let first = image.split_once('/').map(|(first, _)| first);
    first.filter(|first| first.contains(['.', ':']) || *first == "localhost").unwrap_or("docker.io")
}
