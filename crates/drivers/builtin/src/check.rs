//! What a deployment will need of the proxy.

use std::io::ErrorKind;
use std::net::SocketAddr;

use lockgate_model::{Millis, Slot};
use lockgate_own::{Foreign, SHELL};
use lockgate_ports::{Check, Command, Endpoint, listens};
use lockgate_proxy::{ProxyState, StatusView};
use tokio::net::TcpSocket;

use crate::admin::Admin;
use crate::listeners;
use crate::options::{BuiltinOptions, reachable};

/// The longest path that a Unix socket can have on Linux.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How long a look at the listen address may take.
const CONNECT_MILLIS_MAX: u64 = 1000;
const FOREIGN: &str = include_str!("sh/foreign.sh");
const UPGRADE_HINT: &str = "lockgate proxy --upgrade replaces it without losing a request";

/// `beside`: the slot of the service that has the address now.
pub(crate) async fn checks(admin: &Admin<'_>, options: &BuiltinOptions, beside: Option<Slot>) -> Vec<Check> {
    let socket = format!("{}/admin.sock", options.dir);
    if socket.len() > SOCKET_PATH_BYTES_MAX {
        let seen = format!("{socket} has {} bytes, {SOCKET_PATH_BYTES_MAX} are possible", socket.len());
        return vec![Check::bad("proxy socket", seen, "set router.builtin.dir to a shorter path")];
    }
    let Ok(listen) = options.listen.parse::<SocketAddr>() else {
        let seen = format!("{:?} is not an address", options.listen);
        return vec![Check::bad("proxy address", seen, "write it as 127.0.0.1:8080 or [::1]:8080")];
    };
    let (status, foreign) = tokio::join!(admin.status(), foreign(admin));
    let mut checks = match status {
        Ok(Some(status)) => {
            [version(&status), address(&status, options)].into_iter().chain(alone(&status, options)).collect()
        }
        Ok(None) => not_running(admin, options, listen, beside).await,
        Err(error) => {
            vec![Check::bad("proxy", error.to_string(), "see whether something else has the socket")]
        }
    };
    checks.extend(foreign);
    checks
}

/// The folder or a file in it that is not ours: no proxy starts there. `None` when all is, or nothing is there yet.
async fn foreign(admin: &Admin<'_>) -> Option<Check> {
    let script = format!("lg_me=; {SHELL}{FOREIGN}");
    let output = admin.host.exec(&Command::new(["sh", "-c", &script, "sh", admin.dir])).await.ok()?;
    let Foreign { message, hint } = Foreign::reported(&output.stderr_text())?;
    Some(Check::bad("proxy folder", message, hint))
}

fn version(status: &StatusView) -> Check {
    let ours = env!("CARGO_PKG_VERSION");
    let (theirs, pid) = (&status.version, status.pid);
    if status.state == ProxyState::Draining {
        return Check::bad("proxy", format!("process {pid} is stopping"), "start it again: lockgate proxy");
    }
    if theirs != ours {
        return Check::warn("proxy", format!("version {theirs} runs, this is {ours}"), UPGRADE_HINT);
    }
    Check::ok("proxy", format!("version {theirs} runs as process {pid}"))
}

/// Nobody starts the proxy again when it dies. A supervisor may be started beside one that runs.
fn alone(status: &StatusView, options: &BuiltinOptions) -> Option<Check> {
    let seen = "when it dies nobody starts it again until the next command that changes something";
    let mend = format!(
        "start a supervisor beside it on its host: setsid -f lockgate proxy --supervise --dir {} --listen {}",
        options.dir, options.listen
    );
    // What runs another version is upgraded first: it may not know of supervisors.
    let told = status.version == env!("CARGO_PKG_VERSION") && status.state == ProxyState::Serving;
    (told && !status.supervised).then(|| Check::warn("proxy supervisor", seen, mend))
}

fn address(status: &StatusView, options: &BuiltinOptions) -> Check {
    match listeners::public(status, options) {
        Err(error) => {
            let mend = error.hints().to_string();
            Check::bad("proxy address", error.message, mend)
        }
        Ok(_) => Check::ok("proxy address", format!("listens on {}", listeners::bound(status))),
    }
}

async fn not_running(
    admin: &Admin<'_>,
    options: &BuiltinOptions,
    listen: SocketAddr,
    beside: Option<Slot>,
) -> Vec<Check> {
    let Some(argv) = &options.launch else {
        let mend = format!("start it on the host: lockgate proxy --dir {} --listen {listen}", options.dir);
        return vec![Check::bad("proxy", "does not run", mend)];
    };
    let address = match beside {
        Some(slot) => {
            Check::ok("proxy address", format!("{listen} is what {slot} publishes until it is stopped"))
        }
        None => free(admin, listen).await,
    };
    vec![program(admin, argv).await, address]
}

async fn program(admin: &Admin<'_>, argv: &[String]) -> Check {
    match crate::program::demand(admin, argv).await {
        Ok(()) => Check::ok("proxy", "does not run; the first deployment starts it"),
        Err(error) => {
            let mend = error.hints().joined().unwrap_or_else(|| "make the host reachable".to_owned());
            Check::bad("proxy", error.message, mend)
        }
    }
}

/// As the proxy would take it, and given back at once.
fn bindable(listen: SocketAddr) -> Check {
    let bound = match listen {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .and_then(|socket| {
        socket.set_reuseaddr(true)?;
        socket.bind(listen)
    });
    let elsewhere = "set router.builtin.listen to another address";
    let Err(error) = bound else { return Check::ok("proxy address", format!("{listen} is free")) };
    let (seen, mend) = match error.kind() {
        ErrorKind::AddrInUse => (
            format!("another program listens on {listen}"),
            format!("stop what listens there, or {elsewhere}"),
        ),
        ErrorKind::PermissionDenied => (
            format!("this user may not listen on {listen}"),
            format!(
                "ports below 1024 are root's (`sysctl net.ipv4.ip_unprivileged_port_start`); {elsewhere}"
            ),
        ),
        ErrorKind::AddrNotAvailable => (
            format!("{} is no address of this machine", listen.ip()),
            format!("see `ip address`; {elsewhere}"),
        ),
        _ => (format!("{listen} cannot be taken: {error}"), elsewhere.to_owned()),
    };
    Check::bad("proxy address", seen, mend)
}

async fn free(admin: &Admin<'_>, listen: SocketAddr) -> Check {
    if admin.host.id().is_local() {
        return bindable(listen);
    }
    let endpoint = Endpoint::Tcp(reachable(listen).to_string());
    match listens(admin.host, &endpoint, Millis(CONNECT_MILLIS_MAX)).await {
        // Whether a proxy could listen there is not tried, so it is not said.
        Ok(false) => Check::ok("proxy address", format!("nobody listens on {listen}")),
        Err(error) => Check::warn("proxy address", error.to_string(), "see whether the host can be reached"),
        Ok(true) => {
            let mend = "stop what listens there, or set router.builtin.listen to another address";
            Check::bad("proxy address", format!("another program listens on {listen}"), mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use lockgate_ports::CheckState;

    use super::*;

    #[test]
    fn an_address_is_called_free_only_where_it_could_be_taken() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let said = |address: SocketAddr| {
            let check = bindable(address);
            (check.state, check.seen)
        };
        assert_eq!(said(address), (CheckState::Bad, format!("another program listens on {address}")));
        drop(taken);
        assert_eq!(said(address), (CheckState::Ok, format!("{address} is free")));
        // TEST-NET-1 of RFC 5737: nobody's.
        let foreign = "192.0.2.1:8080".parse().unwrap();
        assert_eq!(said(foreign), (CheckState::Bad, "192.0.2.1 is no address of this machine".to_owned()));
    }
}
