//! Which Caddy it is: the one that runs, not one that happens to be in the host's path.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lockgate_caddy::{Caddy, CaddyOptions};
use lockgate_model::{Millis, Slot};
use lockgate_ports::conformance::router::suite;
use lockgate_ports::{Check, CheckState, Endpoint, Request, Router, http};
use serde_json::json;
use tokio::time::Instant;

use crate::hooked::Hooked;
use crate::support::{ID, Setup, caddy_is_there, free_port, local};

const UP_SECONDS_MAX: u64 = 20;

/// What the real one says of itself: `2.6.2`.
fn installed() -> String {
    let said = Command::new("caddy").arg("version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    said.split_whitespace().next().unwrap().trim_start_matches('v').to_owned()
}

/// A host with a `caddy` in its path that is another one.
fn host_with_another(folder: &Path) -> Arc<Hooked> {
    let program = folder.join("caddy");
    std::fs::write(&program, "#!/bin/sh\necho v2.99.0 h1:another=\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Arc::new(Hooked::with_programs(folder))
}

fn version_of(checks: &[Check]) -> &Check {
    checks.iter().find(|check| check.what == "Caddy's version").unwrap()
}

#[tokio::test]
async fn the_version_is_the_running_processs_and_not_that_of_the_path() {
    if !caddy_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for on_a_socket in [false, true] {
        let mut setup = Setup::new().await;
        if on_a_socket {
            let socket = folder.path().join("admin.sock");
            setup.admin = Endpoint::Unix(socket.to_str().unwrap().to_owned());
        }
        let options = CaddyOptions { host: host_with_another(folder.path()), ..setup.with_id() };
        let config = setup.simple();
        let world = setup.run_json(&config, options).await;
        let checks = world.caddy.check().await;
        let check = version_of(&checks);
        assert!(check.seen.starts_with(&format!("{} (process ", installed())), "{check:?}");
    }
}

/// Said as that, and never taken for a good or a bad one.
#[tokio::test]
async fn a_version_that_cannot_be_known_is_unknown() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let options = CaddyOptions { host: Arc::new(Hooked::without_programs()), ..setup.with_id() };
    let config = setup.simple();
    let checks = setup.run_json(&config, options).await.caddy.check().await;
    let check = version_of(&checks);
    assert_eq!(check.state, CheckState::Warn);
    assert!(check.seen.starts_with("unknown: "), "{check:?}");
    assert!(!checks.iter().any(|check| check.what == "WebSockets at a switch"), "{checks:?}");
}

/// Removed with what was made for it.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let Container(name) = self;
        for argv in [["rm", "-f"], ["network", "rm"], ["image", "rm"]] {
            let _ = Command::new("docker").args(argv).arg(&*name).output();
        }
    }
}

fn docker(argv: &[&str]) -> bool {
    Command::new("docker").args(argv).output().is_ok_and(|output| output.status.success())
}

/// This machine's Caddy in an image, with what it is linked to.
fn image(folder: &Path, name: &str, config: &str) {
    std::fs::write(folder.join("caddy.json"), config).unwrap();
    std::fs::write(
        folder.join("Dockerfile"),
        "FROM scratch\nCOPY root /\nCOPY caddy.json /\nENV HOME=/data XDG_DATA_HOME=/data XDG_CONFIG_HOME=/data\n\
         ENTRYPOINT [\"/usr/bin/caddy\", \"run\", \"--config\", \"/caddy.json\"]\n",
    )
    .unwrap();
    let copy = "mkdir -p root/usr/bin root/data && cp -L \"$(command -v caddy)\" root/usr/bin/caddy
        { ldd root/usr/bin/caddy 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
            mkdir -p \"root$(dirname \"$library\")\" && cp -L \"$library\" \"root$library\"
        done";
    assert!(Command::new("sh").args(["-c", copy]).current_dir(folder).status().unwrap().success());
    assert!(docker(&["build", "-q", "-t", name, folder.to_str().unwrap()]), "the image is built");
}

#[tokio::test]
async fn the_version_of_a_caddy_in_a_container_is_its_own() {
    if !caddy_is_there() {
        return;
    }
    if !docker(&["version"]) {
        assert!(std::env::var("LOCKGATE_TEST_REQUIRE_ALL").is_err(), "Docker does not run");
        eprintln!("skipped: Docker does not run");
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let name = format!("lockgate-caddy-version-{}", std::process::id());
    let admin = Endpoint::Tcp(format!("127.0.0.1:{port}"));
    let config = json!({"admin": {"listen": format!("0.0.0.0:{port}"), "origins": [admin.to_string()]},
        "apps": {"http": {"servers": {"web": {"listen": [":80"], "routes": [
            {"handle": [{"@id": ID, "handler": "reverse_proxy", "upstreams": [{"dial": "web-blue:5000"}]}]}]}}}}});
    image(folder.path(), &name, &config.to_string());
    let _container = Container(name.clone());
    assert!(docker(&["network", "create", &name]));
    let publish = format!("127.0.0.1:{port}:{port}");
    assert!(docker(&["run", "-d", "--name", &name, "--network", &name, "-p", &publish, &name]));
    let deadline = Instant::now() + Duration::from_secs(UP_SECONDS_MAX);
    let up =
        async || http::send(&*local(), &admin, Request::get("/config/", Millis::from_secs(2))).await.is_ok();
    while !up().await {
        assert!(Instant::now() < deadline, "Caddy answers within {UP_SECONDS_MAX} s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let dial = [Slot::Blue, Slot::Green].map(|slot| (slot, format!("web-{slot}:5000"))).into();
    let options = CaddyOptions {
        host: host_with_another(folder.path()),
        admin: format!("http://{admin}"),
        dial,
        ..Setup::new().await.with_id()
    };
    let checks = Caddy::new(options).unwrap().check().await;
    let check = version_of(&checks);
    assert!(check.seen.starts_with(&format!("{} (container ", installed())), "{check:?}");
}

/// `admin { enforce_origin }` wants to be told who asks.
#[tokio::test]
async fn the_suite_passes_where_caddy_enforces_an_origin() {
    if !caddy_is_there() {
        return;
    }
    let sockets = tempfile::tempdir().unwrap();
    for on_a_socket in [false, true] {
        let mut setup = Setup::new().await;
        if on_a_socket {
            let socket = sockets.path().join("admin.sock");
            setup.admin = Endpoint::Unix(socket.to_str().unwrap().to_owned());
        }
        let mut config = setup.simple();
        config["admin"]["enforce_origin"] = json!(true);
        if on_a_socket {
            config["admin"]["origins"] = json!(["127.0.0.1"]);
        }
        let options = setup.with_id();
        suite(&setup.run_json(&config, options).await).await;
    }
}

#[tokio::test]
async fn an_origin_that_caddy_does_not_allow_is_named_with_what_to_write() {
    if !caddy_is_there() {
        return;
    }
    let setup = Setup::new().await;
    let mut config = setup.simple();
    config["admin"]["enforce_origin"] = json!(true);
    config["admin"]["origins"] = json!(["elsewhere.example"]);
    let (options, admin) = (setup.with_id(), setup.admin.to_string());
    let world = setup.run_json(&config, options).await;
    let refused = world.caddy.route().await.unwrap_err();
    assert_eq!(refused.kind, lockgate_model::FailureKind::Unauthorized, "{refused}");
    assert!(
        refused.hints().to_string().contains(&format!("`admin {{ origins http://{admin} }}`")),
        "{}",
        refused.hints()
    );
}

/// Only where Caddy has such a setting.
#[tokio::test]
async fn a_handler_without_a_stream_close_delay_is_told_of() {
    if !caddy_is_there() {
        return;
    }
    let has_it = !installed().starts_with("2.6.");
    for delay in [None, Some(json!("5m"))] {
        if delay.is_some() && !has_it {
            continue;
        }
        let setup = Setup::new().await;
        let mut config = setup.simple();
        if let Some(delay) = &delay {
            config["apps"]["http"]["servers"]["srv0"]["routes"][0]["handle"][0]["stream_close_delay"] =
                delay.clone();
        }
        let options = setup.with_id();
        let checks = setup.run_json(&config, options).await.caddy.check().await;
        let check = checks.iter().find(|check| check.what == "WebSockets at a switch");
        let wanted = if delay.is_some() { CheckState::Ok } else { CheckState::Warn };
        assert_eq!(check.map(|check| check.state), has_it.then_some(wanted), "{checks:?}");
        let version = version_of(&checks);
        assert_eq!(version.state, if has_it { CheckState::Ok } else { CheckState::Warn }, "{version:?}");
    }
}
