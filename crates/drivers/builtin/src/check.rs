//! What a deployment will need of the proxy.

use std::net::SocketAddr;

use lockgate_model::Millis;
use lockgate_own::{Foreign, SHELL};
use lockgate_ports::{Check, Command, Endpoint, listens};
use lockgate_proxy::{ProxyState, StatusView};

use crate::admin::Admin;
use crate::listeners;
use crate::options::{BuiltinOptions, reachable};

/// The longest path that a Unix socket can have on Linux.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// How long a look at the listen address may take.
const CONNECT_MILLIS_MAX: u64 = 1000;
const FOREIGN: &str = include_str!("sh/foreign.sh");
const UPGRADE_HINT: &str = "lockgate proxy --upgrade replaces it without losing a request";

pub(crate) async fn checks(admin: &Admin<'_>, options: &BuiltinOptions) -> Vec<Check> {
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
        Ok(None) => not_running(admin, options, listen).await,
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

async fn not_running(admin: &Admin<'_>, options: &BuiltinOptions, listen: SocketAddr) -> Vec<Check> {
    let Some(argv) = &options.launch else {
        let mend = format!("start it on the host: lockgate proxy --dir {} --listen {listen}", options.dir);
        return vec![Check::bad("proxy", "does not run", mend)];
    };
    vec![program(admin, argv).await, free(admin, listen).await]
}

async fn program(admin: &Admin<'_>, argv: &[String]) -> Check {
    let program = argv.first().map_or("", String::as_str);
    let script = "command -v \"$1\" && command -v setsid";
    let command = Command::new(["sh", "-c", script, "sh", program]);
    match admin.host.exec(&command).await {
        Ok(output) if output.ok() => Check::ok("proxy", "does not run; the first deployment starts it"),
        Ok(_) => {
            let mend = format!("install {program} and setsid (util-linux) on the host");
            Check::bad("proxy", format!("does not run, and {program} is not there to start it"), mend)
        }
        Err(error) => Check::bad("proxy", error.to_string(), "make the host reachable"),
    }
}

async fn free(admin: &Admin<'_>, listen: SocketAddr) -> Check {
    let endpoint = Endpoint::Tcp(reachable(listen).to_string());
    match listens(admin.host, &endpoint, Millis(CONNECT_MILLIS_MAX)).await {
        Ok(false) => Check::ok("proxy address", format!("{listen} is free")),
        Err(error) => Check::warn("proxy address", error.to_string(), "see whether the host can be reached"),
        Ok(true) => {
            let mend = "stop what listens there, or set router.builtin.listen to another address";
            Check::bad("proxy address", format!("another program listens on {listen}"), mend)
        }
    }
}
