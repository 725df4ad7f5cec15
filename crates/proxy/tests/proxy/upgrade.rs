//! Upgrades between real processes: this test binary, run again as the proxy.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use lockgate_proxy::{ErrorView, InFlight, ProxyConfig, StatusView, UpgradeView};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::backend::Backend;
use crate::client::{Admin, connect, get, once, socket, text};
use crate::load::Load;
use crate::{eventually, spec};

/// Names the state folder for [`as_the_proxy`].
const DIR: &str = "LOCKGATE_TEST_PROXY_DIR";
const ARGS: [&str; 5] = ["upgrade::as_the_proxy", "--exact", "--ignored", "--nocapture", "--quiet"];

/// Not a test: what the other tests run as a process of its own.
#[test]
#[ignore = "run by the other tests as a process of its own"]
fn as_the_proxy() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let mut config = ProxyConfig::new(dir).listen([([127, 0, 0, 1], 0).into()]);
    config.lame_duck = Duration::from_secs(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let served = runtime.block_on(lockgate_proxy::serve(config));
    assert!(served.is_ok(), "{}", served.unwrap_err());
}

/// The first process of a folder; whoever has the folder's lock is killed in the end.
pub struct Process {
    pub child: Child,
    pub admin: Admin,
    dir: std::path::PathBuf,
}

impl Process {
    async fn start(dir: &Path) -> Self {
        Self::spawn(dir, program(dir)).await
    }

    async fn spawn(dir: &Path, mut command: Command) -> Self {
        let child = command.spawn().unwrap();
        let process = Self { child, admin: Admin::of(dir), dir: dir.to_owned() };
        eventually("the proxy starts", async || process.try_status().await.is_some()).await;
        process
    }

    /// One that a shell starts, after these commands.
    pub async fn after(dir: &Path, commands: &str) -> Self {
        let mut command = Command::new("sh");
        let script = format!("{commands}; exec \"$@\"");
        command.args(["-c", &script, "sh"]).arg(std::env::current_exe().unwrap()).args(ARGS);
        command.env(DIR, dir).stdout(Stdio::null());
        Self::spawn(dir, command).await
    }

    async fn try_status(&self) -> Option<StatusView> {
        let (_, text) = self.admin.raw(Method::GET, "/v1/status", None, Vec::new()).await.ok()?;
        serde_json::from_str(&text).ok()
    }

    pub async fn upgrade(&self, body: &str) -> Result<UpgradeView, ErrorView> {
        let upgrade = self.admin.raw(Method::POST, "/v1/upgrade", None, body.into());
        let (status, text) = upgrade.await.expect("the upgrade is answered");
        if status == StatusCode::OK {
            Ok(serde_json::from_str(&text).unwrap())
        } else {
            Err(serde_json::from_str(&text).unwrap())
        }
    }

    pub async fn ended(&mut self) {
        let child = std::cell::RefCell::new(&mut self.child);
        eventually("the first process ends", async || {
            let status = child.borrow_mut().try_wait().unwrap();
            assert!(status.is_none_or(|status| status.success()), "{status:?}");
            status.is_some()
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let successor = std::fs::read_to_string(self.dir.join("proxy.lock")).ok();
        let pid = successor.and_then(|text| text.trim().parse::<u32>().ok());
        // Only a process that serves this very folder is one that this test started.
        let environment = |pid: u32| std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let ours = format!("{DIR}={}", self.dir.display());
        let is_ours =
            |pid: &u32| environment(*pid).split(|byte| *byte == 0).any(|entry| entry == ours.as_bytes());
        if let Some(pid) = pid.filter(is_ours).filter(|pid| *pid != self.child.id()) {
            signal(pid, "-KILL");
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("the first process can't be killed: {error}");
        }
    }
}

fn program(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(ARGS).env(DIR, dir).stdout(Stdio::null());
    command
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

async fn address_of(process: &Process) -> SocketAddr {
    process.admin.status().await.listeners[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_and_switches_under_load_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path()).await;
    let slots = [("blue", Backend::start("blue").await), ("green", Backend::start("green").await)];
    process.admin.put("app", &spec("blue", slots[0].1.address)).await;
    let before = process.admin.status().await;
    let address = before.listeners[0];
    let load = Load::start(address);

    let begun = Instant::now();
    let mut rounds = 0;
    while rounds < 4 || begun.elapsed() < Duration::from_secs(2) {
        let pid = process.upgrade("").await.unwrap().pid;
        assert_eq!(process.admin.status().await.pid, pid);
        // While the predecessor still answers on its old connections, a switch must count for it too.
        let (old, new) = (&slots[rounds % 2], &slots[(rounds + 1) % 2]);
        new.1.state.closed.store(false, SeqCst);
        process.admin.put("app", &spec(new.0, new.1.address)).await;
        eventually("the old slot drains", async || process.admin.in_flight("app", old.0).await.is_zero())
            .await;
        old.1.state.closed.store(true, SeqCst);
        rounds += 1;
    }
    let after = process.admin.status().await;
    let answered = load.end().await;
    assert!(answered > 100, "only {answered} requests");
    assert_eq!((after.listeners, &after.ask_token), (before.listeners, &before.ask_token));
    assert_ne!(after.pid, before.pid);
    for (name, slot) in &slots {
        assert_eq!(slot.state.mistakes.load(SeqCst), 0, "{name} was asked after it had drained");
    }
    process.ended().await;
}

#[tokio::test]
async fn what_the_predecessor_still_serves_is_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path()).await;
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    process.admin.put("app", &spec("blue", blue.address)).await;
    let address = address_of(&process).await;
    let first = process.admin.status().await.pid;
    let held = tokio::spawn(once(address, get("/hold")));
    let mut web_socket = socket(address).await;
    eventually("it is held", async || blue.state.busy.load(SeqCst) == 1).await;

    process.upgrade("{}").await.unwrap();
    assert_eq!(process.admin.status().await.predecessor, Some(first));
    let view = process.admin.put("app", &spec("green", green.address)).await;
    assert_eq!(view.in_flight["blue"], InFlight { requests: 1, upgraded: 1 });
    assert_eq!(once(address, get("/")).await.1, "green");
    blue.state.released.store(true, SeqCst);
    assert_eq!(held.await.unwrap().1, "blue");
    let still = InFlight { requests: 0, upgraded: 1 };
    eventually("the request ends", async || process.admin.in_flight("app", "blue").await == still).await;

    web_socket.write_all(b"alive").await.unwrap();
    let mut bytes = [0; 5];
    web_socket.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"alive");
    drop(web_socket);
    eventually("the WebSocket ends", async || process.admin.in_flight("app", "blue").await.is_zero()).await;
    eventually("the predecessor ends", async || process.admin.status().await.predecessor.is_none()).await;
    process.ended().await;
}

#[tokio::test]
async fn two_upgrades_in_a_row_still_tell_what_the_first_process_serves() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path()).await;
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    process.admin.put("app", &spec("blue", blue.address)).await;
    let address = address_of(&process).await;
    let mut kept = connect(address).await.unwrap();
    assert_eq!(text(kept.send_request(get("/")).await.unwrap()).await.unwrap().1, "blue");
    let held = tokio::spawn(once(address, get("/hold")));
    eventually("it is held", async || blue.state.busy.load(SeqCst) == 1).await;

    process.upgrade("").await.unwrap();
    process.upgrade("").await.unwrap();
    let view = process.admin.put("app", &spec("green", green.address)).await;
    assert_eq!(view.in_flight["blue"], InFlight { requests: 1, upgraded: 0 });
    // This connection is still the first process's, which follows the third one's switch, and says goodbye.
    let response = kept.send_request(get("/")).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(text(response).await.unwrap().1, "green");
    blue.state.released.store(true, SeqCst);
    assert_eq!(held.await.unwrap().1, "blue");
    eventually("the slot drains", async || process.admin.in_flight("app", "blue").await.is_zero()).await;
    eventually("both have ended", async || process.admin.status().await.predecessor.is_none()).await;
    process.ended().await;
}

#[tokio::test]
async fn a_successor_that_fails_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path()).await;
    let blue = Backend::start("blue").await;
    process.admin.put("app", &spec("blue", blue.address)).await;
    let address = address_of(&process).await;
    for body in [r#"{"exe":"/nonexistent"}"#, r#"{"exe":"/bin/false","args":[]}"#, r#"{"exe":"/bin/true"}"#] {
        let error = process.upgrade(body).await.unwrap_err();
        assert_eq!(error.kind, lockgate_proxy::ErrorKind::UpgradeFailed, "{error:?}");
    }
    // The successor refuses to start when it can't read the routes.
    let path = dir.path().join("routes.json");
    let stored = std::fs::read(&path).unwrap();
    std::fs::write(&path, "{").unwrap();
    process.upgrade("").await.unwrap_err();
    std::fs::write(&path, stored).unwrap();
    assert_eq!(process.admin.status().await.pid, process.child.id());
    assert_eq!(once(address, get("/")).await.1, "blue");
    process.admin.put("app", &spec("green", blue.address)).await;
    // It still holds the lock: a second proxy is refused, by name.
    let second = program(dir.path()).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success());
    assert!(
        said.contains(&format!("already running in {}, pid {}", dir.path().display(), process.child.id())),
        "{said}"
    );
}

#[tokio::test]
async fn signals_upgrade_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path()).await;
    let first = process.child.id();
    signal(first, "-HUP");
    eventually("the successor serves", async || {
        process.try_status().await.is_some_and(|status| status.pid != first)
    })
    .await;
    process.ended().await;
    let second = process.admin.status().await.pid;
    signal(second, "-TERM");
    eventually("the socket is gone", async || !dir.path().join("admin.sock").exists()).await;
    // The lock is free as soon as the process has ended.
    let config = || ProxyConfig::new(dir.path()).listen([([127, 0, 0, 1], 0).into()]);
    eventually("the folder is free", async || match lockgate_proxy::start(config()).await {
        Ok(proxy) => proxy.shutdown().await.is_ok(),
        Err(_) => false,
    })
    .await;
}

#[tokio::test]
async fn sockets_from_systemd_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The standard library passes the socket on as standard input; a shell puts it where systemd would, and its own
    // process id, which `exec` keeps, into the variable.
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap()).args(ARGS);
    command
        .env(DIR, dir.path())
        .stdout(Stdio::null())
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
    let child = command.spawn().unwrap();
    let process = Process { child, admin: Admin::of(dir.path()), dir: dir.path().to_owned() };
    eventually("the proxy starts", async || process.try_status().await.is_some()).await;
    assert_eq!(address_of(&process).await, address);
    assert_eq!(once(address, get("/")).await.0, StatusCode::NOT_FOUND);
}
