//! A draft as YAML with comments.

use std::fmt::Write;

use super::shipping::{DOCKERFILE, Shipping};
use super::{Draft, Found, Gateway, Home, Proposal, TEST, recreate};

/// Stands in for an unknown port.
const PORT: u16 = 8080;
/// When system A looked for new releases.
const DAILY: &str = "0 5 * * *";

pub fn proposal(draft: Draft) -> Proposal {
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    let _ = write(&mut out, &draft);
    let cron = draft.daily.then_some(DAILY);
    let ships = matches!(draft.home, Home::One(_));
    Proposal { text: out, notes: draft.notes, cron, ships }
}

fn write(out: &mut String, draft: &Draft) -> std::fmt::Result {
    writeln!(out, "# Made by `lockgate init` from {}.", comment(&draft.origin))?;
    for note in &draft.notes {
        writeln!(out, "# - {}", comment(note))?;
    }
    writeln!(out, "project: {}", scalar(&draft.project))?;
    writeln!(out, "services:")?;
    // The best guess for a service without.
    let ports: Vec<u16> = draft.services.iter().filter_map(|service| service.port).collect();
    let common = ports.first().copied().unwrap_or(PORT);
    for found in &draft.services {
        service(out, draft, found, common)?;
    }
    writeln!(out, "environments:")?;
    if draft.regression {
        writeln!(out, "  {TEST}: {{}} # only checked, never deployed to")?;
    }
    writeln!(out, "  {}:", scalar(&draft.environment))?;
    match &draft.home {
        Home::One(file) => {
            recreate::environment(out, draft, file)?;
            recreate::end(out, draft)
        }
        _ => environment(out, draft),
    }
}

fn service(out: &mut String, draft: &Draft, found: &Found, common: u16) -> std::fmt::Result {
    writeln!(out, "  {}:", scalar(&found.name))?;
    match draft.home {
        Home::Process => {
            let command = found.command.as_deref().unwrap_or("./server");
            writeln!(out, "    command: {} # listens on the port in PORT", scalar(&dollars(command)))?;
        }
        _ => {
            match &found.image {
                Some(image) => writeln!(out, "    image: {}", scalar(image))?,
                None => {
                    let image = format!("${{REGISTRY_URL:-registry.example.com}}/{}", found.name);
                    writeln!(out, "    image: {} # check: repository without tag", scalar(&image))?;
                }
            }
            match found.port {
                Some(port) => writeln!(out, "    port: {port}")?,
                None => writeln!(out, "    port: {common} # check: the port inside the container")?,
            }
        }
    }
    match &found.health {
        Some(health) => writeln!(out, "    health: {}", scalar(health))?,
        None => writeln!(out, "    health: /health # check: a path that answers 2xx when it is ready")?,
    }
    if !found.critical_paths.is_empty() {
        let paths: Vec<String> = found.critical_paths.iter().map(|path| scalar(path)).collect();
        writeln!(out, "    critical_paths: [{}]", paths.join(", "))?;
    }
    let unknown = draft.regression && found.test_url.is_none();
    // Nothing answers below `invalid` (RFC 6761): the gate fails until somebody who knows has filled it in.
    let test = match unknown {
        true => Some(format!("https://{}.test.invalid", found.name.replace('_', "-"))),
        false => found.test_url.clone(),
    };
    let urls = [(TEST, test), (draft.environment.as_str(), found.prod_url.clone())];
    let urls: Vec<String> = urls
        .into_iter()
        .filter_map(|(name, url)| Some(format!("{}: {}", scalar(name), scalar(&url?))))
        .collect();
    if !urls.is_empty() {
        let check = if unknown { " # check: where is it tested?" } else { "" };
        writeln!(out, "    urls: {{ {} }}{check}", urls.join(", "))?;
    }
    if let Home::One(_) = draft.home {
        recreate::variables(out, draft)?;
    }
    found.shipping.as_ref().map_or(Ok(()), |shipping| self::shipping(out, shipping))
}

fn shipping(out: &mut String, shipping: &Shipping) -> std::fmt::Result {
    if let Some(test) = &shipping.test {
        writeln!(out, "    test: {} # check: by {}", quoted(&test.command), comment(&test.because))?;
    }
    let source = &shipping.source;
    let mut build = vec!["tags: [\"{sha}\", latest]".to_owned()];
    if !source.folder.is_empty() {
        build.push(format!("context: {}", scalar(&source.folder)));
    }
    if source.dockerfile != DOCKERFILE {
        build.push(format!("file: {}", scalar(&source.dockerfile)));
    }
    writeln!(out, "    build: {{ {} }} # check: by {}", build.join(", "), comment(&source.dockerfile))?;
    if !shipping.watch.is_empty() {
        let globs: Vec<String> = shipping.watch.iter().map(|glob| scalar(&dollars(glob))).collect();
        writeln!(out, "    watch: [{}] # check: changes of other files ship nothing", globs.join(", "))?;
    }
    if let Some((command, because)) = shipping.before_switch {
        writeln!(
            out,
            "    # before_switch: {} # check: by {because}; once, in the new image, before it takes traffic",
            quoted(command)
        )?;
    }
    Ok(())
}

fn environment(out: &mut String, draft: &Draft) -> std::fmt::Result {
    writeln!(out, "    # url: https://example.com           # where users reach it")?;
    writeln!(out, "    # hosts: [deploy@app.example.com]    # SSH destinations; default: this machine")?;
    match &draft.home {
        // The one has its own keys, and the other has become something else.
        Home::One(_) | Home::Unslotted(_) => {}
        Home::Process => writeln!(out, "    runtime: process")?,
        Home::Folders(dir) => writeln!(out, "    runtime: {{ compose: {{ dir: {} }} }}", quoted(dir))?,
        Home::File(file) => {
            let file = quoted(&dollars(file));
            writeln!(
                out,
                "    runtime: {{ compose: {{ file: {file}, service: \"{{service}}-{{slot}}\" }} }}"
            )?;
        }
    }
    router(out, draft)?;
    if draft.regression {
        writeln!(out, "    before: [ {{ http: {{ in: test }} }} ]   # regression")?;
    }
    writeln!(out, "    after: [ {{ http: {{ latency_p95: 500ms }} }} ] # smoke, on live traffic")?;
    let daily = format!("schedule: {{ cron: \"{DAILY}\", deploy: latest-semver }}");
    match (&draft.home, draft.daily) {
        // Without an image there are no tags.
        (Home::Process, _) => {}
        (_, true) => writeln!(out, "    {daily} # by cron: `lockgate schedule --crontab`")?,
        (_, false) => writeln!(out, "    # {daily} # the newest version each day at five")?,
    }
    writeln!(out, "    drain: 30s")
}

fn router(out: &mut String, draft: &Draft) -> std::fmt::Result {
    match &draft.gateway {
        Gateway::Builtin if draft.services.len() > 1 => {
            writeln!(
                out,
                "    router: {{ builtin: {{ listen: \"127.0.0.1:8080\", host: \"{{service}}.example.com\" }} }}"
            )
        }
        Gateway::Builtin => writeln!(out, "    router: {{ builtin: {{ listen: \"127.0.0.1:8080\" }} }}"),
        Gateway::Caddy { id: None, dial: None } => {
            writeln!(out, "    router: caddy # `@id` {{service}}_upstream, dials {{service}}-{{slot}}:<port>")
        }
        Gateway::Caddy { id, dial } => {
            let dial = dial.as_deref().unwrap_or("{service}-{slot}:{port}");
            let id = id.as_deref().unwrap_or("{service}_upstream");
            writeln!(out, "    router: {{ caddy: {{ id: {}, dial: {} }} }}", quoted(id), quoted(dial))
        }
    }
}

/// Text as it will be read back: a dollar sign stands for itself.
pub fn dollars(text: &str) -> String {
    text.replace('$', "$$")
}

/// Plain where that cannot be misread, else in quotes.
pub fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.');
    let word =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if starts && !word && text.chars().all(plain) { text.to_owned() } else { quoted(text) }
}

/// A JSON string is a YAML double-quoted scalar.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// On one line, whatever a reader takes for the end of one.
pub fn comment(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')).collect()
}
