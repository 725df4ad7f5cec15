//! Which Caddy it is that runs: the one at the admin address, not one that happens to be in the host's path. Its admin API
//! does not say.

use lockgate_model::Millis;
use lockgate_ports::{Command, Endpoint};

use crate::caddy::Caddy;

/// Longest wait for the answer; a container is asked by `docker exec`.
const VERSION_SECONDS_MAX: u64 = 10;
const LOOK: &str = include_str!("sh/version.sh");
/// Longest name of what was asked that is shown.
const WHAT_CHARS_MAX: usize = 80;

/// Major, minor and patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub u32, pub u32, pub u32);

/// The first version in which a change of configuration leaves requests of `flush_interval -1` alone, and in which
/// `stream_close_delay` can spare WebSockets.
pub(crate) const STREAMS_SURVIVE: Version = Version(2, 7, 0);
/// Cuts streams after 60 s and panics on bodies of HTTP/2 requests.
pub(crate) const CUTS_STREAMS: Version = Version(2, 11, 6);

/// The first version that reads a file at each request: `{file.…}`.
pub(crate) const FILES_ARE_READ: Version = Version(2, 8, 0);

/// From here on a connection that is just being opened cannot be handed to the new listening socket
/// (golang/go#75591).
pub(crate) const SOCKETS_NEVER_MOVE: Version = Version(2, 10, 2);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What is known of the Caddy that runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    number: Option<Version>,
    /// `process 812`, `container 1f3a5b7c9d0e`; `None` where nothing was found at the admin address.
    of: Option<String>,
}

impl Seen {
    #[cfg(test)]
    pub(crate) fn runs(number: Version) -> Self {
        Self { number: Some(number), of: None }
    }

    /// `None` where it cannot be known.
    pub(crate) fn number(&self) -> Option<Version> {
        self.number
    }
}

/// `2.7.6 (process 812)`.
impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.number, &self.of) {
            (Some(number), Some(of)) => write!(f, "{number} ({of})"),
            (Some(number), None) => write!(f, "{number}"),
            (None, Some(of)) => write!(f, "{of} does not say it"),
            (None, None) => write!(f, "what listens at the admin address cannot be seen"),
        }
    }
}

/// The version of the Caddy that listens at the admin address.
pub(crate) async fn detect(caddy: &Caddy) -> Seen {
    let place: Vec<String> = match caddy.admin.endpoint() {
        Endpoint::Unix(path) => vec!["unix".into(), path.clone()],
        Endpoint::Tcp(address) => match address.rsplit_once(':') {
            Some((host, port)) => vec!["tcp".into(), host.into(), port.into()],
            None => return Seen::default(),
        },
    };
    let argv = ["sh", "-c", LOOK, "version.sh"].map(str::to_owned).into_iter().chain(place);
    let command = Command::new(argv).timeout(Millis::from_secs(VERSION_SECONDS_MAX));
    match caddy.options.host.exec(&command).await {
        Ok(output) => seen(&output.stdout_text()),
        Err(error) => {
            tracing::debug!(%error, "which Caddy runs cannot be looked at");
            Seen::default()
        }
    }
}

fn seen(text: &str) -> Seen {
    let mut seen = Seen::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("version", said)) => seen.number = parse(said),
            Some(("of", what)) => seen.of = Some(shown(what)),
            _ => {}
        }
    }
    seen
}

/// A container's id as Docker shows it; what else the host says, within bounds.
fn shown(what: &str) -> String {
    if let Some(id) = what.strip_prefix("container ") {
        return format!(
            "container {}",
            id.chars().filter(char::is_ascii_hexdigit).take(12).collect::<String>()
        );
    }
    what.chars().filter(|c| !c.is_control()).take(WHAT_CHARS_MAX).collect()
}

/// `v2.7.6 h1:w0NymbG2m9PcvKWsrXO6EEkY9Ru4FJK8uQbYcev1p3A=`, or Debian's `2.6.2`; `v2.8.0-rc.1` is 2.8.0.
fn parse(text: &str) -> Option<Version> {
    let word = text.split_whitespace().next()?;
    let word = word.trim_start_matches('v').split(['-', '+']).next()?;
    let mut numbers = word.split('.');
    let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some(Version(major, minor, numbers.next().map_or(Some(0), |patch| patch.parse().ok())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_caddy_prints_them() {
        assert_eq!(parse("v2.7.6 h1:w0Nym=\n"), Some(Version(2, 7, 6)));
        assert_eq!(parse("2.6.2\n"), Some(Version(2, 6, 2)));
        assert_eq!(parse("v2.8.0-rc.1"), Some(Version(2, 8, 0)));
        assert_eq!(parse("2.10"), Some(Version(2, 10, 0)));
        for text in ["(devel)", "", "v2.7.x", "latest"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(Version(2, 6, 9) < STREAMS_SURVIVE && Version(2, 10, 0) >= STREAMS_SURVIVE);
    }

    #[test]
    fn what_the_host_says_is_shown_within_bounds_and_unknown_is_said_as_that() {
        let id = "1f3a5b7c9d0e".repeat(5);
        let known = seen(&format!("of container {id}abcd\nversion v2.11.7 h1:x=\n"));
        assert_eq!(known.to_string(), "2.11.7 (container 1f3a5b7c9d0e)");
        assert_eq!(seen("of process 812\n").to_string(), "process 812 does not say it");
        assert_eq!(seen("hello\n").number(), None);
        let long = seen(&format!("of \x1b[2J{}\n", "x".repeat(500))).to_string();
        assert!(long.len() < 120 && !long.contains('\x1b'), "{long}");
    }
}
