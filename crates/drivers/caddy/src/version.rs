//! Which Caddy it is.

use lockgate_model::Millis;
use lockgate_ports::{Command, Host};

/// Longest wait for `caddy version`.
const VERSION_SECONDS_MAX: u64 = 5;

/// Major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub u32, pub u32);

/// The first version in which a change of configuration leaves requests of `flush_interval -1` alone, and in which
/// `stream_close_delay` can spare WebSockets.
pub(crate) const STREAMS_SURVIVE: Version = Version(2, 7);

/// The first version that reads a file at each request: `{file.…}`.
pub(crate) const FILES_ARE_READ: Version = Version(2, 8);

/// From its second patch on a connection that is just being opened cannot be handed to the new listening socket
/// (golang/go#75591).
pub(crate) const SOCKETS_NEVER_MOVE: Version = Version(2, 10);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The version of the `caddy` in the host's path. `None` when it cannot be known: no such program, as when Caddy runs
/// in a container, or unreadable output. It is the installed program's version; a process that was started before an
/// upgrade is older than it says.
pub(crate) async fn detect(host: &dyn Host) -> Option<Version> {
    let command = Command::new(["caddy", "version"]).timeout(Millis::from_secs(VERSION_SECONDS_MAX));
    match host.exec(&command).await {
        Ok(output) if output.ok() => parse(&output.stdout_text()),
        Ok(output) => {
            tracing::debug!(code = output.code, "`caddy version` failed; the version stays unknown");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "`caddy version` cannot be run; the version stays unknown");
            None
        }
    }
}

/// `v2.7.6 h1:w0NymbG2m9PcvKWsrXO6EEkY9Ru4FJK8uQbYcev1p3A=`, or Debian's `2.6.2`.
fn parse(text: &str) -> Option<Version> {
    let word = text.split_whitespace().next()?;
    let mut numbers = word.trim_start_matches('v').split('.');
    Some(Version(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_caddy_prints_them() {
        assert_eq!(parse("v2.7.6 h1:w0Nym=\n"), Some(Version(2, 7)));
        assert_eq!(parse("2.6.2\n"), Some(Version(2, 6)));
        assert_eq!(parse("(devel)"), None);
        assert_eq!(parse(""), None);
        assert!(Version(2, 6) < STREAMS_SURVIVE && Version(2, 10) >= STREAMS_SURVIVE);
    }
}
