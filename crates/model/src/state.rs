//! Where the store is.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Secret;

/// Longest URL that is read, in bytes.
const URL_BYTES_MAX: usize = 2_000;
/// What may stand behind a URL's `?`. The driver would pass over anything else, and write its value into the log.
const PARAMETERS: &[&str] = &["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "application_name"];
const SSL_MODES: &[&str] = &["disable", "prefer", "require", "verify-ca", "verify-full"];

/// The store of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateLocation {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Postgres(PostgresUrl),
}

impl StateLocation {
    /// Where it is when nothing else is said: a file in the folder of `lockgate.yaml`.
    #[must_use]
    pub fn of_folder(root: &Path) -> Self {
        StateLocation::File(root.join(".lockgate/journal.db"))
    }
}

impl fmt::Display for StateLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateLocation::File(path) => path.display().fmt(f),
            StateLocation::Postgres(url) => url.fmt(f),
        }
    }
}

/// A PostgreSQL database by URL, checked. It is shown without user, password and parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: Secret,
    shown: String,
    passwords: Vec<Secret>,
    is_remote: bool,
    has_ssl_mode: bool,
}

/// Why a text is no store. The text is not in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidState {
    /// What is wrong with it, for people.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

impl PostgresUrl {
    /// Whether a text means a URL and not a file.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.contains("://")
    }

    /// # Errors
    /// [`InvalidState`] for what is no such URL: another scheme, several hosts, no database, an unknown parameter.
    pub fn new(text: &str) -> Result<Self, InvalidState> {
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| {
            invalid("`state` is no store's URL", "write `postgres://USER@HOST/DATABASE`, or a file's name")
        })?;
        if text.len() > URL_BYTES_MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(invalid(
                "the URL in `state` is too long, or has blanks in it",
                "write what is odd in a password as %20, %40 …; it has at most 2000 bytes",
            ));
        }
        if text.contains('#') {
            return Err(invalid("the URL in `state` has a `#`", "write it as %23"));
        }
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = address.split_once('/').unwrap_or((address, ""));
        if database.is_empty() || database.contains('/') {
            return Err(invalid(
                "the URL in `state` names no database",
                "write `postgres://USER@HOST/DATABASE`; a `/` or `?` in a password is %2F or %3F",
            ));
        }
        let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains('@') {
            return Err(invalid(
                "the URL in `state` has two `@` before its host",
                "in a password, write %40",
            ));
        }
        let mut server = check_server(server)?.to_owned();
        let mut has_ssl_mode = false;
        for (name, value) in query.split('&').filter(|one| !one.is_empty()).map(parameter) {
            check_parameter(name, value)?;
            match name {
                "host" => server = percent_decoded(value),
                "sslmode" => has_ssl_mode = true,
                _ => {}
            }
        }
        let decoded = percent_decoded(&server);
        let passwords = user.split_once(':').map(|(_, password)| passwords(password)).unwrap_or_default();
        Ok(Self {
            url: Secret::new(text),
            shown: shown(&decoded, &percent_decoded(database)),
            passwords,
            is_remote: is_remote(&decoded),
            has_ssl_mode,
        })
    }

    /// The whole of it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.url.reveal()
    }

    /// Whether it names files of certificates.
    #[must_use]
    pub fn names_certificates(&self) -> bool {
        let parameters = self.reveal().split_once('?').map_or("", |(_, parameters)| parameters);
        parameters
            .split('&')
            .any(|one| ["sslrootcert=", "sslcert=", "sslkey="].iter().any(|name| one.starts_with(name)))
    }

    /// What must not be told.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.url).chain(&self.passwords)
    }

    /// Whether the server must show a certificate for its name: it is on another machine, and the URL does not say how it
    /// is to be known.
    #[must_use]
    pub fn must_verify(&self) -> bool {
        self.is_remote && !self.has_ssl_mode
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn invalid(message: &str, hint: impl Into<String>) -> InvalidState {
    InvalidState { message: message.to_owned(), hint: hint.into() }
}

/// `host`, `host:port`, `[::1]:port`, a percent-encoded folder of a Unix socket, or nothing for the usual one.
fn check_server(server: &str) -> Result<&str, InvalidState> {
    let host_like = |c: char| c.is_ascii_alphanumeric() || ".-_%:[]".contains(c);
    if server.contains(',') {
        return Err(invalid(
            "the URL in `state` names several servers",
            "name one: where they take over from each other, give them one address",
        ));
    }
    if !server.chars().all(host_like) {
        return Err(invalid(
            "the URL in `state` has no host's name",
            "write `postgres://USER@HOST/DATABASE`",
        ));
    }
    let after_host = server.rsplit_once(']').map_or(server, |(_, rest)| rest);
    if let Some((_, port)) = after_host.rsplit_once(':')
        && !port.parse::<u16>().is_ok_and(|port| port > 0)
    {
        return Err(invalid("the URL in `state` has no port behind its `:`", "write `HOST:5432`"));
    }
    Ok(server)
}

fn parameter(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or((text, ""))
}

fn check_parameter(name: &str, value: &str) -> Result<(), InvalidState> {
    let known = PARAMETERS.join(", ");
    match name {
        "sslmode" if !SSL_MODES.contains(&value) => Err(invalid(
            "`sslmode` in the URL of `state` is none",
            format!("write one of {}", SSL_MODES.join(", ")),
        )),
        "host" if !percent_decoded(value).starts_with('/') => Err(invalid(
            "`host` in the URL of `state` is no folder of a Unix socket",
            "write `postgres:///DATABASE?host=/run/postgresql`; a server's name stands before the `/`",
        )),
        _ if PARAMETERS.contains(&name) => Ok(()),
        // Not quoted: a password with a `?` in it would be here.
        _ => Err(invalid(
            "the URL in `state` has a parameter that is not known",
            format!("known are {known}; a `?` or `&` in a password is %3F or %26"),
        )),
    }
}

/// As it stands there and as it is meant.
fn passwords(raw: &str) -> Vec<Secret> {
    let decoded = percent_decoded(raw);
    let mut all = vec![raw.to_owned()];
    if decoded != raw {
        all.push(decoded);
    }
    all.into_iter().filter(|one| !one.is_empty()).map(Secret::new).collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let hex = match (first, others) {
            (b'%', [high, low, ..]) => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            _ => None,
        };
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_remote(server: &str) -> bool {
    if server.is_empty() || server.starts_with('/') {
        return false;
    }
    let host = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => server.rsplit_once(':').map_or(server, |(host, _)| host),
    };
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    !(is_loopback || host.is_empty() || host.eq_ignore_ascii_case("localhost"))
}

fn shown(server: &str, database: &str) -> String {
    let database = crate::quoted(database, 64);
    match server.starts_with('/') {
        true => format!("postgres:///{database} (socket in {})", crate::quoted(server, 120)),
        false => format!("postgres://{server}/{database}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_is_secret() {
        let url = PostgresUrl::new("postgres://kim:h%40nter2@db.example.com:5433/lockgate?sslmode=require")
            .unwrap();
        assert_eq!(url.to_string(), "postgres://db.example.com:5433/lockgate");
        assert!(!format!("{url:?}").contains("nter2"));
        let secrets: Vec<&str> = url.secrets().map(Secret::reveal).collect();
        assert_eq!(secrets[1..], ["h%40nter2", "h@nter2"]);
        let socket = PostgresUrl::new("postgres:///lockgate?host=/run/postgresql").unwrap();
        assert_eq!(socket.to_string(), "postgres:///lockgate (socket in /run/postgresql)");
        let socket = PostgresUrl::new("postgres://kim@%2Frun%2Fpostgresql/lockgate").unwrap();
        assert_eq!(socket.to_string(), "postgres:///lockgate (socket in /run/postgresql)");
    }

    #[test]
    fn a_server_elsewhere_must_show_a_certificate_unless_the_url_says_how_it_is_known() {
        for (url, must) in [
            ("postgres://db.example.com/x", true),
            ("postgresql://10.0.0.7:5432/x", true),
            ("postgres://[2001:db8::1]:5432/x", true),
            ("postgres://db/x?sslmode=disable", false),
            ("postgres://127.0.0.1:5432/x", false),
            ("postgres://[::1]/x", false),
            ("postgres://localhost/x", false),
            ("postgres:///x", false),
            ("postgres://%2Frun%2Fpostgresql/x", false),
        ] {
            assert_eq!(PostgresUrl::new(url).unwrap().must_verify(), must, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_telling_it() {
        for (url, wanted) in [
            ("mysql://kim:hunter2@db/x", "no store's URL"),
            ("postgres://kim:hunter2@db", "no database"),
            ("postgres://kim:hunter2@db/", "no database"),
            ("postgres://kim:hun/ter2@db/x", "no database"),
            ("postgres://kim:hunter2@a,b/x", "several servers"),
            ("postgres://kim:hunter2@db:x/x", "no port"),
            ("postgres://kim:hunter2@db:0/x", "no port"),
            ("postgres://kim:hunter2@x@db/x", "two `@`"),
            ("postgres://kim:hunter2@d b/x", "blanks"),
            ("postgres://kim:hunter2@db/x#y", "`#`"),
            ("postgres://kim:hunter2@db/x?sslmode=allow", "`sslmode`"),
            ("postgres://kim:hunter2@db/x?hunter2=1", "not known"),
            ("postgres://kim:hunter2@db/x?host=db2", "no folder"),
        ] {
            let error = PostgresUrl::new(url).unwrap_err();
            assert!(error.message.contains(wanted), "{url}: {error}");
            assert!(!format!("{error:?}").contains("ter2"), "{error:?}");
        }
    }
}
