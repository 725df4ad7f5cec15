//! A host with its port, as a URL and a `Host` header have it.

/// The authority without its port and brackets.
pub(crate) fn name_of(authority: &str) -> &str {
    if let Some(inner) = authority.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    authority.rsplit_once(':').map_or(authority, |(name, _)| name)
}

/// `authority` with a port, `port` where it names none. Knows `[::1]` and `[::1]:80`.
#[must_use]
pub fn with_port(authority: &str, port: u16) -> String {
    let after_bracket = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    if after_bracket.contains(':') { authority.to_owned() } else { format!("{authority}:{port}") }
}
