//! Logins for registries.

use std::collections::BTreeMap;

use lockgate_model::{InvalidName, RegistryHost, RegistryLogin, Secret};

use super::reader::{Reader, missing_hint};
use crate::at::{At, Entries};
use crate::raw;

/// Longest host that is written into a hint.
const HOST_CHARS_MAX: usize = 60;

pub fn resolve(
    reader: &mut Reader<'_>,
    entries: &Entries<At<raw::RegistryLogin>>,
) -> BTreeMap<RegistryHost, RegistryLogin> {
    let mut logins = BTreeMap::new();
    let mut seen = Vec::new();
    for (key, entry) in &entries.0 {
        let Some(registry) = host(reader, key) else { continue };
        if seen.contains(&registry) {
            let message = format!("`{registry}` has a second login here");
            reader.conflict(key.place, message, "keep one of them");
            continue;
        }
        seen.push(registry.clone());
        logins.extend(login(reader, &entry.value).map(|login| (registry, login)));
    }
    logins
}

fn host(reader: &mut Reader<'_>, key: &At<String>) -> Option<RegistryHost> {
    let InvalidName { reason, .. } = match RegistryHost::new(key.value.as_str()) {
        Ok(host) => return Some(host),
        Err(invalid) => invalid,
    };
    // The text itself is not quoted: where lines are indented wrongly, it may be a part of a login.
    let bare = key.value.trim_start_matches("https://").trim_start_matches("http://");
    let meant = RegistryHost::new(bare.split('/').next().unwrap_or_default()).ok();
    let hint = match meant
        .filter(|host| bare.len() < key.value.len() && host.as_str().len() <= HOST_CHARS_MAX)
    {
        Some(host) => format!("write `{host}`"),
        None => "write the host that stands before the first `/` of the image, such as `ghcr.io`".to_owned(),
    };
    reader.invalid(key.place, format!("this key is not a registry: {reason}"), hint);
    None
}

/// `None` where there is none or it is wrong. An empty password is no login, so that `${NAME:-}` makes it optional on each
/// machine.
fn login(reader: &mut Reader<'_>, raw: &raw::RegistryLogin) -> Option<RegistryLogin> {
    let source = &raw.password;
    let optional = |name: &str| match source.value.starts_with("${") {
        true => format!(
            "export {name}=…, or write ${{{name}:-}} to take what `docker login` left where it is not set"
        ),
        false => missing_hint(name),
    };
    let password = reader.fill_or(&source.value, source.place, optional)?;
    if password.trim().is_empty() {
        return None;
    }
    if password.contains(char::is_control) {
        let hint = "write it on one line; where it comes from a file, mind the line break at its end";
        reader.invalid(source.place, "the password has a line break or control character", hint);
        return None;
    }
    let user = reader.text(&raw.user)?;
    if user.trim().is_empty() {
        reader.invalid(raw.user.place, "the user is empty", "write the account's name");
        return None;
    }
    if user.contains(char::is_control) {
        reader.invalid(
            raw.user.place,
            "the user has a line break or control character",
            "write it on one line",
        );
        return None;
    }
    if user.contains(':') {
        reader.invalid(raw.user.place, "the user has a `:` in it", "write the part before it as the user");
        return None;
    }
    Some(RegistryLogin { user, password: Secret::new(password) })
}
