//! How hosts are reached.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_model::{Secret, Ssh};

use super::reader::{Reader, variable};
use crate::at::{At, Words};
use crate::error::Place;
use crate::raw;

pub fn resolve(reader: &mut Reader<'_>, section: Option<&At<raw::Ssh>>) -> Ssh {
    let section = section.map(|section| &section.value);
    let options = match section.and_then(|section| section.options.as_ref()) {
        Some(options) => ssh_options(reader, options).unwrap_or_default(),
        None => split_variable(reader, "DEPLOY_SSH_OPTS"),
    };
    let port = match section.and_then(|section| section.port.as_ref()) {
        Some(port) => Some(reader.whole("ssh port", Some(port), 1, u16::MAX, 22)),
        None => port_variable(reader, "DEPLOY_SSH_PORT"),
    };
    let accept = section.and_then(|section| section.accept_new_host_keys.as_ref());
    let accept_new_host_keys = accept.is_some_and(|accept| accept.value);
    let known = section.and_then(|section| section.known_hosts.as_ref());
    let known_hosts = known.and_then(|source| known_hosts(reader, source));
    if let (Some(known), Some(_), true) = (known, &known_hosts, accept_new_host_keys) {
        let message =
            "`known_hosts` are the only keys that are believed, and `accept_new_host_keys` believes any";
        reader.conflict(known.place, message, "keep one of them");
    }
    Ssh {
        options,
        port,
        accept_new_host_keys,
        key: section.and_then(|section| section.key.as_ref()).and_then(|source| key(reader, source)),
        known_hosts,
        user: section.and_then(|section| section.user.as_ref()).and_then(|source| user(reader, source)),
    }
}

/// What to do about a variable that is not set; each may be left out.
fn optional_hint(name: &str, what: &str) -> String {
    format!("export {name}={what}, or write ${{{name}:-}} to do without where it is not set")
}

/// `None` where there is none or it is wrong. No message holds a part of it.
fn key(reader: &mut Reader<'_>, source: &At<String>) -> Option<Secret> {
    let text =
        reader.fill_or(&source.value, source.place, |name| optional_hint(name, "\"$(cat ~/.ssh/KEY)\""))?;
    // Secrets of CI come with the line ends of where they were copied, and without the last one.
    let text = text.replace("\r\n", "\n").trim().to_owned();
    if text.is_empty() {
        return None;
    }
    if let Some((message, hint)) = key_trouble(&text) {
        reader.invalid(source.place, message, hint);
        return None;
    }
    Some(Secret::new(text + "\n"))
}

fn key_trouble(text: &str) -> Option<(&'static str, &'static str)> {
    const AS_WHOLE: &str =
        "give it whole, from `-----BEGIN …` to `-----END …`, with its line breaks, as `cat KEY` prints it";
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let (first, last) = (lines.first()?, lines.last()?);
    let is_begun = first.starts_with("-----BEGIN ");
    if text.starts_with("PuTTY-User-Key-File") {
        return Some((
            "`key` is PuTTY's, which ssh does not read",
            "have puttygen export it as an OpenSSH key",
        ));
    }
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind)) {
        return Some(("`key` is a public key", "the private one is the file without `.pub`"));
    }
    if !is_begun && lines.len() == 1 {
        return Some((
            "`key` is no private key",
            "it is the key itself; a file is named by `options: [-i, FILE]`",
        ));
    }
    if is_begun && lines.len() == 1 {
        return Some(("`key` has lost its line breaks", AS_WHOLE));
    }
    if !is_begun || !first.ends_with("PRIVATE KEY-----") || !last.starts_with("-----END ") {
        return Some(("`key` is no private key, or not the whole of it", AS_WHOLE));
    }
    has_passphrase(&lines).then_some((
        "`key` has a passphrase, which nobody can type here",
        "make one without, for this alone: `ssh-keygen -t ed25519 -N '' -f KEY`; or leave `key` out and use an agent",
    ))
}

/// By what OpenSSH's own form and the older ones say at their beginning (PROTOCOL.key; RFC 1421).
fn has_passphrase(lines: &[&str]) -> bool {
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    if lines.iter().any(|line| line.contains("ENCRYPTED")) {
        return true;
    }
    let body: String = lines.iter().filter(|line| !line.starts_with("-----")).copied().collect();
    let Ok(bytes) = STANDARD.decode(body) else { return false };
    // The length of the cipher's name, in four bytes, and the name.
    bytes.strip_prefix(MAGIC).is_some_and(|rest| rest.get(4..8) != Some(b"none"))
}

/// `None` where there are none or they are wrong.
fn known_hosts(reader: &mut Reader<'_>, source: &At<String>) -> Option<String> {
    let text =
        reader.fill_or(&source.value, source.place, |name| optional_hint(name, "\"$(ssh-keyscan HOST)\""))?;
    let text = text.replace("\r\n", "\n").trim().to_owned();
    let is_comment = |line: &&str| line.is_empty() || line.starts_with('#');
    let mut lines = text.lines().map(str::trim).filter(|line| !is_comment(line)).peekable();
    lines.peek()?;
    let is_entry = |line: &str| {
        let words = line.split_ascii_whitespace().count();
        words >= if line.starts_with('@') { 4 } else { 3 }
    };
    if !lines.all(is_entry) {
        let hint =
            "write what `ssh-keyscan HOST` prints: a host, the kind of its key, and the key, on one line";
        reader.invalid(source.place, "`known_hosts` has a line that is no host with its key", hint);
        return None;
    }
    Some(text + "\n")
}

/// `None` where there is none or it is wrong.
fn user(reader: &mut Reader<'_>, source: &At<String>) -> Option<String> {
    let text = reader.fill_or(&source.value, source.place, |name| optional_hint(name, "root"))?;
    if text.is_empty() {
        return None;
    }
    let is_name = !text.starts_with('-')
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"@:/\\'\"`$;&|<>(){}%".contains(c));
    if !is_name {
        reader.invalid(
            source.place,
            "`user` is no name to log in with",
            "write the name alone, such as root or deploy",
        );
        return None;
    }
    Some(text)
}

/// Unlike a command's, text is split after variables are filled in: `${DEPLOY_SSH_OPTS}` holds several options.
fn ssh_options(reader: &mut Reader<'_>, source: &At<Words>) -> Option<Vec<String>> {
    match &source.value {
        Words::List(list) => list.iter().map(|option| reader.line("an ssh option", option)).collect(),
        Words::Line(line) => {
            let line = reader.fill(line, source.place)?;
            let words = shell_words::split(&line).ok();
            if words.is_none() {
                reader.invalid(
                    source.place,
                    "the ssh options have an open quote",
                    "close it, or write a list",
                );
            }
            words
        }
    }
}

fn split_variable(reader: &mut Reader<'_>, name: &str) -> Vec<String> {
    let Some(value) = variable(reader.env, name) else { return Vec::new() };
    shell_words::split(&value).unwrap_or_else(|_| {
        reader.invalid(Place::default(), format!("the variable {name} has an open quote"), "close it");
        Vec::new()
    })
}

fn port_variable(reader: &mut Reader<'_>, name: &str) -> Option<u16> {
    let value = variable(reader.env, name)?;
    let port = value.trim().parse().ok().filter(|port| *port > 0);
    if port.is_none() {
        let hint = format!("export {name}=22");
        reader.invalid(Place::default(), format!("the variable {name} is not a port"), hint);
    }
    port
}
