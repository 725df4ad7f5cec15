//! What `ssh` and the programs on the other side say, as errors that tell what to type.

use lockgate_model::{FailureKind, HostId, Ssh};
use lockgate_ports::{Output, PortError};

use crate::identity::user;

/// Options whose value may hold more than how to connect: left out of what people are told to type.
const UNTOLD: [&str; 2] = ["proxycommand", "setenv"];
const SSH_PORT: u16 = 22;

/// An error of opening the connection, from what `ssh` wrote.
pub(crate) fn connecting(host: &HostId, settings: &Ssh, said: &str) -> PortError {
    let (name, typed) = (bare(host), typed(host, settings, None));
    let loudly = self::typed(host, settings, Some("-v"));
    let (kind, what, hint) = if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let port = settings.port.or_else(|| port_in(host)).filter(|port| *port != SSH_PORT);
        let known = port.map_or_else(|| name.to_owned(), |port| format!("'[{name}]:{port}'"));
        (
            FailureKind::Unauthorized,
            "its host key has changed",
            match settings.known_hosts {
                Some(_) => format!(
                    "if the machine was made anew, put the key that {} prints into `ssh.known_hosts` in the place of the old \
                     one; else somebody may be in between",
                    keyscan(host, settings, said)
                ),
                None => format!(
                    "if the machine was made anew, forget the old key and compare the new one: `ssh-keygen -R {known}`, then \
                     {typed}; else somebody may be in between"
                ),
            },
        )
    } else if said.contains("host key is known for") || said.contains("Host key verification failed") {
        let scan = scan(host, settings, said);
        (
            FailureKind::Unauthorized,
            "its host key is not known",
            match settings.known_hosts {
                Some(_) => format!(
                    "`ssh.known_hosts` has no key of it: add what {} prints, from a network you trust",
                    keyscan(host, settings, said)
                ),
                None => format!(
                    "compare its fingerprint once: {typed} (or {scan}, from a network you trust, or \
                     ssh.accept_new_host_keys: true); in CI its lines are given to `ssh.known_hosts`"
                ),
            },
        )
    } else if settings.key.is_some() && said.contains("Load key ") {
        (
            FailureKind::Unauthorized,
            "ssh cannot read `ssh.key`",
            "give it whole, as `cat KEY` prints it; `ssh-keygen -y -f KEY` tells whether it is good"
                .to_owned(),
        )
    } else if settings.key.is_some() && said.contains("Permission denied") {
        let who = user(host, settings).map(|user| format!(" of {user}")).unwrap_or_default();
        (
            FailureKind::Unauthorized,
            "it does not let us in",
            format!(
                "the public half of `ssh.key` (`ssh-keygen -y -f KEY`) has to be in ~/.ssh/authorized_keys{who} there"
            ),
        )
    } else if said.contains("Too many authentication failures") {
        (
            FailureKind::Unauthorized,
            "it was offered too many keys",
            format!("name the one in `ssh.options`: -i KEY -o IdentitiesOnly=yes; see {loudly}"),
        )
    } else if said.contains("Permission denied") {
        (
            FailureKind::Unauthorized,
            "it does not let us in",
            format!(
                "see {typed}; a key with a passphrase must be in the agent (ssh-add), another one is given in \
                 `ssh.options` with -i KEY"
            ),
        )
    } else if said.contains("Could not resolve hostname") {
        (
            FailureKind::Unreachable,
            "its name is not known",
            format!("check the spelling, ~/.ssh/config and DNS: {typed}"),
        )
    } else if said.contains("Connection refused") {
        (
            FailureKind::Unreachable,
            "it refuses connections",
            format!("does sshd run there, on that port? {typed}"),
        )
    } else if said.contains("timed out") {
        (
            FailureKind::TimedOut,
            "it does not answer",
            format!("is it up, and does a firewall let ssh through? {loudly}"),
        )
    } else if said.contains("onfiguration option")
        || said.contains("keyword")
        || said.contains("Can't open user config")
    {
        (FailureKind::Other, "ssh does not understand its options", format!("see {typed}"))
    } else {
        (FailureKind::Unreachable, "no connection", format!("see {loudly}"))
    };
    let last = last_line(said);
    let detail = if last.is_empty() { String::new() } else { format!(": {last}") };
    PortError::new(kind, format!("ssh {host}: {what}{detail}")).hint(hint)
}

/// Whether a master said at its end that the host had fallen silent.
pub(crate) fn is_silence(said: &str) -> bool {
    said.lines().any(|line| line.starts_with("Timeout, server ") && line.contains("not responding"))
}

/// The host answered until a moment ago.
pub(crate) fn silent(host: &HostId) -> PortError {
    PortError::unreachable(format!("ssh {host}: it does not answer any more"))
        .hint("is the host up? The next command connects anew; `lockgate doctor` says what it finds there")
}

/// What a person types to come there the same way, in backticks: with the configured port and options, quoted for a
/// shell.
fn typed(host: &HostId, settings: &Ssh, more: Option<&str>) -> String {
    let port = settings.port.map(|port| ["-p".to_owned(), port.to_string()]);
    let (options, is_whole) = told(&settings.options);
    let user = user(host, settings).map(|user| ["-l".to_owned(), user.to_owned()]);
    let words = std::iter::once("ssh").chain(more).map(str::to_owned);
    let words = words.chain(user.into_iter().flatten()).chain(port.into_iter().flatten()).chain(options);
    let words: Vec<String> = words.chain([host.to_string()]).collect();
    let rest = match (is_whole, &settings.key) {
        (true, None) => "",
        (false, None) => " with the rest of `ssh.options`",
        (true, Some(_)) => " with the key of `ssh.key`",
        (false, Some(_)) => " with the key of `ssh.key` and the rest of `ssh.options`",
    };
    format!("`{}`{rest}", shell_words::join(words))
}

/// How to learn a host's key, and where to: as ssh itself names the host, for its name and port may come from files that
/// only ssh has read.
fn scan(host: &HostId, settings: &Ssh, said: &str) -> String {
    let (name, port) = meant(host, settings, said);
    let scan = keyscan_of(name, port);
    match known_hosts(&settings.options) {
        // ssh expands a `~` there itself, and a shell only one that is not quoted.
        Some(file) if file.starts_with("~/") => format!("`{scan} >> {file}`"),
        Some(file) => format!("`{scan} >> {}`", shell_words::quote(file)),
        None => format!(
            "add what `{scan}` prints to the known_hosts file that your ssh uses (~/.ssh/known_hosts, if its \
             configuration names none)"
        ),
    }
}

/// What prints a host's key, in backticks.
fn keyscan(host: &HostId, settings: &Ssh, said: &str) -> String {
    let (name, port) = meant(host, settings, said);
    format!("`{}`", keyscan_of(name, port))
}

fn keyscan_of(name: &str, port: Option<u16>) -> String {
    let port = port.filter(|port| *port != SSH_PORT).map(|port| format!("-p {port} ")).unwrap_or_default();
    format!("ssh-keyscan {port}{}", shell_words::quote(name))
}

/// Name and port of a host as ssh itself has them, where it said so.
fn meant<'a>(host: &'a HostId, settings: &Ssh, said: &'a str) -> (&'a str, Option<u16>) {
    let meant = said.split_once("host key is known for ").and_then(|(_, rest)| rest.split_once(" and you"));
    match meant.map(|(meant, _)| meant) {
        Some(meant) => match meant.strip_prefix('[').and_then(|meant| meant.split_once("]:")) {
            Some((name, port)) => (name, port.parse().ok()),
            None => (meant, None),
        },
        None => (bare(host), settings.port.or_else(|| port_in(host))),
    }
}

/// The first file that `UserKnownHostsFile` in the options names, if it can be typed as it is.
fn known_hosts(options: &[String]) -> Option<&str> {
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let setting =
            if option == "-o" { rest.next()? } else { option.strip_prefix("-o").unwrap_or_default() };
        let Some((name, files)) = setting.trim_start().split_once(['=', ' ']) else { continue };
        if name.eq_ignore_ascii_case("UserKnownHostsFile") {
            let file = files.trim_start_matches(['=', ' ']).split_whitespace().next()?;
            let is_plain = file.chars().all(|c| c.is_ascii_alphanumeric() || "~/._-".contains(c));
            return (is_plain && file != "none" && file != "/dev/null").then_some(file);
        }
    }
    None
}

/// The options without [`UNTOLD`], and whether that is all of them.
fn told(options: &[String]) -> (Vec<String>, bool) {
    let mut kept: Vec<String> = Vec::new();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        let apart = if option == "-o" { rest.next() } else { None };
        let setting = apart.map_or(option.strip_prefix("-o").unwrap_or_default(), String::as_str);
        let name = setting.trim_start().split(['=', ' ']).next().unwrap_or_default();
        if !UNTOLD.iter().any(|untold| name.eq_ignore_ascii_case(untold)) {
            kept.push(option.clone());
            kept.extend(apart.cloned());
        }
    }
    let is_whole = kept.len() == options.len();
    (kept, is_whole)
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
pub(crate) fn broken(host: &HostId, error: impl std::error::Error + Send + Sync + 'static) -> PortError {
    let mut message = format!("ssh {host}: the connection broke: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    PortError::unreachable(message)
        .caused_by(error)
        .hint("is the host up? The next command connects anew; `lockgate doctor` says what it finds there")
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

/// The port in `ssh://host:port`.
fn port_in(host: &HostId) -> Option<u16> {
    host.as_str().strip_prefix("ssh://")?.rsplit_once(':')?.1.parse().ok()
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

    fn hint(settings: &Ssh) -> String {
        connecting(&HostId::new("deploy@web1").unwrap(), settings, "Connection refused").hints().to_string()
    }

    fn settings(port: Option<u16>, options: &[&str]) -> Ssh {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Ssh { options, port, ..Ssh::default() }
    }

    #[test]
    fn what_is_to_be_typed_has_the_configured_options_quoted_for_a_shell() {
        let hint = hint(&settings(Some(2222), &["-F", "my ssh config", "-o", "IdentitiesOnly=yes"]));
        assert!(
            hint.ends_with("`ssh -p 2222 -F 'my ssh config' -o 'IdentitiesOnly=yes' deploy@web1`"),
            "{hint}"
        );
    }

    #[test]
    fn an_unknown_key_is_scanned_at_the_port_and_added_to_the_file_that_ssh_looks_in() {
        let known =
            "No ED25519 host key is known for [10.0.0.7]:2222 and you have requested strict checking.\r\n";
        let plain = "No ED25519 host key is known for web1 and you have requested strict checking.\r\n";
        let failed = "Host key verification failed.\r\n";
        let file = ["-o", "UserKnownHostsFile=~/.ssh/shop ~/.ssh/other"];
        for (host, port, options, said, wanted) in [
            ("deploy@web1", None, &file[..], known, "`ssh-keyscan -p 2222 10.0.0.7 >> ~/.ssh/shop`"),
            (
                "deploy@web1",
                Some(22),
                &["-ouserknownhostsfile /etc/k"],
                plain,
                "`ssh-keyscan web1 >> /etc/k`",
            ),
            (
                "deploy@web1",
                Some(2222),
                &[],
                failed,
                "add what `ssh-keyscan -p 2222 web1` prints to the known_hosts",
            ),
            ("ssh://deploy@web1:2022", None, &[], failed, "`ssh-keyscan -p 2022 web1` prints"),
        ] {
            let error = connecting(&HostId::new(host).unwrap(), &settings(port, options), said);
            let hint = error.hints().to_string();
            assert!(hint.contains(wanted), "{hint}");
        }
    }

    #[test]
    fn what_may_hold_a_secret_is_not_told() {
        for options in [
            &["-4", "-o", "ProxyCommand=connect --password hush"][..],
            &["-4", "-oproxycommand connect hush"],
            &["-4", "-o", "SetEnv TOKEN=hush"],
        ] {
            let hint = hint(&settings(None, options));
            assert!(!hint.contains("hush"), "{hint}");
            assert!(hint.ends_with("`ssh -4 deploy@web1` with the rest of `ssh.options`"), "{hint}");
        }
    }

    #[test]
    fn silence_is_told_from_other_ends() {
        assert!(is_silence("Timeout, server 127.0.0.1 not responding.\r\n"));
        assert!(!is_silence("Connection to 127.0.0.1 closed by remote host.\r\n"));
    }

    #[test]
    fn a_full_disk_is_said_so() {
        let said = b"cat: write error: No space left on device\n".to_vec();
        let error = program("write", "/x", &Output { code: 1, stdout: Vec::new(), stderr: said });
        assert_eq!(error.kind, FailureKind::DiskFull);
    }
}
