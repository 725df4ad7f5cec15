//! Why an engine does not answer: it is down, elsewhere, or not for this user. Each has its own command to type.

use lockgate_model::{FailureKind, Millis, quoted};
use lockgate_ports::{Command, Host, PortError};

use crate::engine_address::{EngineAddress, ToldBy};

/// Looks at the socket as this user.
const SOCKET: &str = include_str!("sh/socket.sh");
const SOCKET_SECONDS_MAX: u64 = 10;
const SHOWN_CHARS_MAX: usize = 200;

/// What a host says of a socket that does not answer.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    state: String,
    user: String,
    /// The socket's, where this user may not use it.
    group: String,
    /// The user is in the group by now, and this session is from before.
    is_member: bool,
    /// The socket of a rootless engine of this user; empty where there is none.
    rootless: String,
}

impl Seen {
    fn of(text: &str) -> Self {
        let mut lines = text.lines().map(|line| quoted(line, SHOWN_CHARS_MAX).to_string());
        let mut line = || lines.next().unwrap_or_default();
        let (state, user, group) = (line(), line(), line());
        Self { state, user, group, is_member: line() == "member", rootless: line() }
    }
}

/// `error` in the words of what is the matter; one of another kind as it is.
pub(crate) async fn explain(host: &dyn Host, address: &EngineAddress, error: PortError) -> PortError {
    let is_no_answer = matches!(error.kind, FailureKind::NotFound | FailureKind::Unreachable);
    if !is_no_answer && error.kind != FailureKind::Unauthorized {
        return error;
    }
    let Some(socket) = address.socket() else { return over_network(host, address, error) };
    let command = Command::new(["sh", "-c", SOCKET, "socket.sh", socket])
        .timeout(Millis::from_secs(SOCKET_SECONDS_MAX));
    let seen = match host.exec(&command).await {
        Ok(output) => Seen::of(&output.stdout_text()),
        // The host itself is gone: nothing is said of Docker.
        Err(lost) if lost.is_silence() => return error,
        Err(_) => Seen::default(),
    };
    in_words(host, address, socket, &seen, error)
}

fn over_network(host: &dyn Host, address: &EngineAddress, error: PortError) -> PortError {
    let (id, told_by) = (host.id(), &address.told_by);
    // It did not show that it is the one meant.
    if error.kind == FailureKind::Unauthorized {
        return error.context(format!("the engine where {told_by} has it"));
    }
    error
        .of_kind(FailureKind::Unreachable)
        .context(format!("Docker does not answer {id} at {address}, which is where {told_by} has it"))
        .or_hint(|| {
            format!("see `docker -H {address} version` on {id}; without {told_by} its own socket is used")
        })
}

fn in_words(
    host: &dyn Host,
    address: &EngineAddress,
    socket: &str,
    seen: &Seen,
    error: PortError,
) -> PortError {
    let id = host.id();
    let Seen { state, user, group, is_member, rootless } = seen;
    let by = match &address.told_by {
        ToldBy::Default => String::new(),
        told_by => format!(", where {told_by} has it,"),
    };
    let use_rootless = || {
        format!(
            "for the rootless engine of {user}: `docker_host: unix://{rootless}` in `runtime.compose` of lockgate.yaml, or \
             `docker context use rootless` on {id}"
        )
    };
    let is_denied = state == "denied" || error.kind == FailureKind::Unauthorized;
    if is_denied {
        let user = if user.is_empty() { "the user" } else { user };
        let group = if group.is_empty() { "docker" } else { group };
        let join = match (*is_member, id.is_local()) {
            (true, true) => {
                format!(
                    "{user} is in the group {group} since this session began: log out and in, or `newgrp {group}`"
                )
            }
            (true, false) => format!(
                "{user} is in the group {group} since the connection began: run this again, and if a connection of your own \
                 is shared, end it first: `ssh -O exit {id}`"
            ),
            (false, true) => format!("`sudo usermod -aG {group} {user}`, then log out and in"),
            (false, false) => format!("on {id}: `sudo usermod -aG {group} {user}`, then run this again"),
        };
        let message = format!("{user} may not use Docker's socket {socket} on {id}{by}");
        let denied = error.of_kind(FailureKind::Unauthorized).context(message.trim_end_matches(','));
        let denied = denied.with_hints(lockgate_model::Hints::from_iter([join]));
        return if rootless.is_empty() { denied } else { denied.hint(use_rootless()) };
    }
    let silent = error.of_kind(FailureKind::Unreachable);
    if state == "missing" && !rootless.is_empty() {
        let message = format!(
            "there is no {socket} on {id}{by} but a rootless engine of {user} has {rootless}",
            by = if by.is_empty() { "," } else { &by },
        );
        return silent.context(message).or_hint(use_rootless);
    }
    silent.context(format!("Docker does not answer at {socket} on {id}{}", by.trim_end_matches(','))).or_hint(
        || match &address.told_by {
            ToldBy::Default => {
                format!("start Docker on {id} (`sudo systemctl start docker`), then `lockgate doctor`")
            }
            told_by => {
                format!("does an engine listen there? {told_by} says so: see `docker version` on {id}")
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use lockgate_local::Local;
    use lockgate_ports::Endpoint;

    use super::*;

    fn address(told_by: ToldBy) -> EngineAddress {
        let at = Endpoint::Unix("/var/run/docker.sock".into());
        EngineAddress { at, told_by, certificates: None, elsewhere: None }
    }

    fn told(said: &str, told_by: ToldBy) -> (FailureKind, String, String) {
        let error = PortError::unreachable("the connection broke");
        let address = address(told_by);
        let error = in_words(&Local::new(), &address, "/var/run/docker.sock", &Seen::of(said), error);
        (error.kind, error.message.clone(), error.hints().to_string())
    }

    #[test]
    fn a_user_outside_the_group_is_told_which_and_never_to_start_docker() {
        let (kind, message, hints) = told("denied\nann\ndocker\n\n\n", ToldBy::Default);
        assert_eq!(kind, FailureKind::Unauthorized);
        assert!(
            message.starts_with("ann may not use Docker's socket /var/run/docker.sock on local:"),
            "{message}"
        );
        assert_eq!(hints, "`sudo usermod -aG docker ann`, then log out and in");
        let (_, _, hints) = told("denied\nann\ndocker\nmember\n\n", ToldBy::Default);
        assert!(hints.contains("since this session began") && hints.contains("`newgrp docker`"), "{hints}");
        let (_, _, hints) = told("denied\nann\nroot\n\n/run/user/1000/docker.sock\n", ToldBy::Default);
        assert!(hints.contains("`docker_host: unix:///run/user/1000/docker.sock`"), "{hints}");
    }

    #[test]
    fn a_rootless_engine_is_named_with_the_key_that_leads_to_it() {
        let (kind, message, hints) = told("missing\nann\n\n\n/run/user/1000/docker.sock\n", ToldBy::Default);
        assert_eq!(kind, FailureKind::Unreachable);
        assert!(message.contains("a rootless engine of ann has /run/user/1000/docker.sock"), "{message}");
        assert!(hints.contains("`docker context use rootless` on local"), "{hints}");
    }

    #[test]
    fn docker_is_to_be_started_only_where_nothing_else_is_the_matter() {
        for said in ["missing\nann\n\n\n\n", "silent\nann\n\n\n\n", ""] {
            let (kind, message, hints) = told(said, ToldBy::Default);
            assert_eq!(kind, FailureKind::Unreachable);
            assert!(
                message.starts_with("Docker does not answer at /var/run/docker.sock on local:"),
                "{message}"
            );
            assert!(hints.contains("start Docker on local"), "{hints}");
        }
        let (_, message, hints) = told("missing\nann\n\n\n\n", ToldBy::Variable);
        assert!(message.contains("on local, where DOCKER_HOST has it:"), "{message}");
        assert!(!hints.contains("start Docker"), "{hints}");
    }

    /// The script against real sockets, as the user of this test.
    #[tokio::test]
    async fn a_socket_is_looked_at_on_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let _silent = std::os::unix::net::UnixListener::bind(path("silent")).unwrap();
        for (name, wanted) in [("silent", "silent"), ("none", "missing")] {
            let command = Command::new(["sh", "-c", SOCKET, "socket.sh", &path(name)]);
            let command = command.env("XDG_RUNTIME_DIR", dir.path().to_str().unwrap());
            let output = Local::new().exec(&command).await.unwrap();
            let seen = Seen::of(&output.stdout_text());
            assert_eq!((seen.state.as_str(), seen.rootless.as_str()), (wanted, ""), "{output:?}");
            assert!(!seen.user.is_empty());
        }
        let rootless = std::os::unix::net::UnixListener::bind(path("docker.sock")).unwrap();
        let command = Command::new(["sh", "-c", SOCKET, "socket.sh", &path("none")]);
        let command = command.env("XDG_RUNTIME_DIR", dir.path().to_str().unwrap());
        let output = Local::new().exec(&command).await.unwrap();
        assert_eq!(Seen::of(&output.stdout_text()).rootless, path("docker.sock"));
        drop(rootless);
    }
}
