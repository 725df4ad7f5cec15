//! What `ssh` and the programs on the other side say, as errors that tell what to type.

use lockgate_model::{FailureKind, HostId};
use lockgate_ports::{Output, PortError};

/// An error of opening the connection, from what `ssh` wrote.
pub(crate) fn connecting(host: &HostId, said: &str) -> PortError {
    let name = bare(host);
    let (kind, what, hint) = if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        (
            FailureKind::Unauthorized,
            "its host key has changed",
            format!(
                "if the machine was made anew, forget the old key and compare the new one: ssh-keygen -R {name} && ssh {host}; \
                     else somebody may be in between"
            ),
        )
    } else if said.contains("host key is known for") || said.contains("Host key verification failed") {
        (
            FailureKind::Unauthorized,
            "its host key is not known",
            format!(
                "compare its fingerprint once: ssh {host} (or ssh-keyscan {name} >> ~/.ssh/known_hosts from a network \
                     you trust, or ssh.accept_new_host_keys: true)"
            ),
        )
    } else if said.contains("Too many authentication failures") {
        (
            FailureKind::Unauthorized,
            "it was offered too many keys",
            format!("name the one: -i KEY -o IdentitiesOnly=yes; see ssh -v {host}"),
        )
    } else if said.contains("Permission denied") {
        (
            FailureKind::Unauthorized,
            "it does not let us in",
            format!(
                "see ssh {host}; a key with a passphrase must be in the agent (ssh-add), another one is given with -i KEY"
            ),
        )
    } else if said.contains("Could not resolve hostname") {
        (
            FailureKind::Unreachable,
            "its name is not known",
            format!("check the spelling, ~/.ssh/config and DNS: ssh {host}"),
        )
    } else if said.contains("Connection refused") {
        (
            FailureKind::Unreachable,
            "it refuses connections",
            format!("does sshd run there, on that port? ssh {host}"),
        )
    } else if said.contains("timed out") {
        (
            FailureKind::TimedOut,
            "it does not answer",
            format!("is it up, and does a firewall let ssh through? ssh -v {host}"),
        )
    } else if said.contains("onfiguration option")
        || said.contains("keyword")
        || said.contains("Can't open user config")
    {
        (FailureKind::Other, "ssh does not understand its options", format!("see ssh {host}"))
    } else {
        (FailureKind::Unreachable, "no connection", format!("see ssh -v {host}"))
    };
    let last = last_line(said);
    let detail = if last.is_empty() { String::new() } else { format!(": {last}") };
    PortError::new(kind, format!("ssh {host}: {what}{detail}")).hint(hint)
}

/// An error of a small program on the other side, from what it wrote.
pub(crate) fn program(what: &str, path: &str, output: &Output) -> PortError {
    let said = output.stderr_text();
    let last = last_line(&said);
    let message = format!("cannot {what} {path}: {last} (exit code {})", output.code);
    if said.contains("No space left on device") || said.contains("quota exceeded") {
        PortError::new(FailureKind::DiskFull, message)
            .hint(format!("make room on the host's file system of {path}: df -h {path}"))
    } else if said.contains("Permission denied") || said.contains("Operation not permitted") {
        PortError::new(FailureKind::Unauthorized, message)
            .hint(format!("see who may, on the host: ls -ld {path}"))
    } else if said.contains("not found") {
        PortError::new(FailureKind::Other, message)
            .hint("install it on the host: util-linux or busybox has flock")
    } else {
        PortError::other(message)
    }
}

/// The connection broke while something was under way.
pub(crate) fn broken(host: &HostId, error: &dyn std::error::Error) -> PortError {
    let mut message = format!("ssh {host}: the connection broke: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    PortError::unreachable(message).hint(format!("see ssh {host}"))
}

/// A host without user, scheme and port, as `ssh-keygen -R` wants it.
fn bare(host: &HostId) -> &str {
    let text = host.as_str();
    let uri = text.strip_prefix("ssh://");
    let text = uri.unwrap_or(text);
    let text = text.rsplit_once('@').map_or(text, |(_, name)| name);
    match (uri, text.rsplit_once(':')) {
        (Some(_), Some((name, _))) => name,
        _ => text,
    }
}

/// The last line that says something; ssh ends lines with a carriage return.
pub(crate) fn last_line(said: &str) -> &str {
    said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_host_as_the_tools_want_it() {
        for (text, name) in
            [("h", "h"), ("u@h", "h"), ("ssh://u@h:22", "h"), ("ssh://h", "h"), ("u@::1", "::1")]
        {
            assert_eq!(bare(&HostId::new(text).unwrap()), name);
        }
    }

    #[test]
    fn a_full_disk_is_said_so() {
        let said = b"cat: write error: No space left on device\n".to_vec();
        let error = program("write", "/x", &Output { code: 1, stdout: Vec::new(), stderr: said });
        assert_eq!(error.kind, FailureKind::DiskFull);
    }
}
