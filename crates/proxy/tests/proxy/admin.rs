//! The admin interface: compare-and-swap, durability, refusals.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use hyper::{Method, StatusCode};
use lockgate_proxy::{ErrorKind, ProxyError, ProxyState, RouteSpec, start};

use crate::backend::Backend;
use crate::client::{Admin, get, once};
use crate::{config, eventually, spec, start_in};

/// What must be refused is refused within this: nobody waits for the other end of a FIFO.
const REFUSED_SECONDS_MAX: u64 = 10;

#[tokio::test]
async fn a_change_is_conditional_on_the_version_and_repeatable() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let (blue, green) = (spec("blue", "127.0.0.1:1"), spec("green", "127.0.0.1:2"));
    let create = Some(("if-none-match", "*"));
    let first = admin.try_put("app", &blue, create).await.unwrap();
    let (status, error) = admin.try_put("app", &green, create).await.unwrap_err();
    assert_eq!((status, error.kind), (StatusCode::PRECONDITION_FAILED, ErrorKind::VersionMismatch));

    assert_eq!(admin.put("app", &blue).await.version, first.version, "the same target keeps the version");
    let tag = format!("\"{}\"", first.version);
    let second = admin.try_put("app", &green, Some(("if-match", &tag))).await.unwrap();
    assert!(second.version > first.version);
    let (status, error) = admin.try_put("app", &blue, Some(("if-match", &tag))).await.unwrap_err();
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(error.current.unwrap().target, green.target);
    assert_eq!(admin.route("app").await.target, green.target);

    assert_eq!(admin.delete("app", &tag).await.unwrap_err().0, StatusCode::PRECONDITION_FAILED);
    admin.delete("app", &format!("\"{}\"", second.version)).await.unwrap();
    let (status, error) = admin.try_put("app", &blue, Some(("if-match", &tag))).await.unwrap_err();
    assert_eq!((status, error.current), (StatusCode::PRECONDITION_FAILED, None));
    assert!(admin.put("app", &blue).await.version > second.version, "a version is never used again");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn routes_and_versions_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    let proxy = start_in(dir.path()).await;
    let api = RouteSpec { path_prefix: Some("/api".into()), ..spec("green", "127.0.0.1:1") };
    let before = [admin.put("api", &api).await, admin.put("app", &spec("blue", blue.address)).await];
    proxy.shutdown().await.unwrap();
    assert!(!dir.path().join("admin.sock").exists());

    let proxy = start_in(dir.path()).await;
    assert_eq!([admin.route("api").await, admin.route("app").await], before);
    assert_eq!(once(proxy.addresses()[0], get("/")).await.1, "blue");
    assert!(admin.put("app", &spec("green", blue.address)).await.version > before[1].version);
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_change_that_cannot_be_stored_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    let before = admin.put("app", &spec("blue", blue.address)).await;
    let stored = std::fs::read(dir.path().join("routes.json")).unwrap();
    // A folder where the temporary file should be stands for a full disk.
    std::fs::create_dir(dir.path().join("routes.json.tmp")).unwrap();
    let (status, error) = admin.try_put("app", &spec("green", "127.0.0.1:1"), None).await.unwrap_err();
    assert_eq!((status, error.kind), (StatusCode::INSUFFICIENT_STORAGE, ErrorKind::StorageFailed));
    assert_eq!(admin.route("app").await, before);
    assert_eq!(std::fs::read(dir.path().join("routes.json")).unwrap(), stored);
    assert_eq!(once(proxy.addresses()[0], get("/")).await.1, "blue");
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_corrupt_routes_file_is_an_error_and_left_alone() {
    let stored = r#"{"format":1,"next_version":1,"routes":[{"id":"app","version":7,"spec":
        {"target":{"slot":"blue","release":"r","dial":"a:1"}}}]}"#;
    for content in ["{\"format\":1,", "{\"format\":9,\"next_version\":1,\"routes\":[]}", stored, ""] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("routes.json");
        std::fs::write(&path, content).unwrap();
        let error = start(config(dir.path())).await.expect_err("it must not start");
        assert!(matches!(error, ProxyError::RoutesCorrupt { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
}

#[tokio::test]
async fn a_folder_or_file_that_others_can_have_written_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("it's proxy");
    start_in(&dir).await.shutdown().await.unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let refused = async |wanted: &str| {
        let started =
            tokio::time::timeout(Duration::from_secs(REFUSED_SECONDS_MAX), start(config(&dir))).await;
        let error = started.expect("it waits").expect_err(wanted);
        assert!(matches!(error, ProxyError::NotOurs { .. }), "{wanted}: {error}");
        assert!(error.to_string().contains(wanted) && error.hint().contains("it"), "{wanted}: {error}");
    };
    mode(&dir, 0o777);
    refused("it's proxy can be written by every user").await;
    mode(&dir, 0o755);
    for name in ["routes.json", "proxy.lock"] {
        let path = dir.join(name);
        std::fs::write(&path, "").unwrap();
        mode(&path, 0o666);
        refused(&format!("{name} can be written by every user")).await;
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        refused(&format!("{name} is a symbolic link")).await;
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        refused(&format!("{name} is a FIFO")).await;
        std::fs::remove_file(&path).unwrap();
    }
    start_in(&dir).await.shutdown().await.unwrap();
}

#[tokio::test]
async fn files_are_for_who_runs_the_proxy_and_a_killed_save_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    // Where the next save writes first: not even through a link.
    std::os::unix::fs::symlink("target", dir.path().join("routes.json.tmp")).unwrap();
    Admin::of(dir.path()).put("app", &spec("blue", "127.0.0.1:1")).await;
    let mode = |name| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["routes.json", "proxy.lock", "access.log"].map(mode), [0o600, 0o600, 0o640]);
    assert!(!dir.path().join("target").exists() && !dir.path().join("routes.json.tmp").exists());
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_second_proxy_in_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let error = start(config(dir.path())).await.expect_err("it must not start");
    assert!(
        matches!(error, ProxyError::AlreadyRunning { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    proxy.shutdown().await.unwrap();
    start_in(dir.path()).await.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_socket_is_private_and_nonsense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let mode = std::fs::metadata(proxy.admin_socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    admin.put("app", &spec("blue", "127.0.0.1:1")).await;
    let (status, error) = admin.try_put("other", &spec("blue", "127.0.0.1:1"), None).await.unwrap_err();
    assert_eq!((status, error.kind), (StatusCode::CONFLICT, ErrorKind::Conflict));
    let cases = [
        (Method::PUT, "/v1/routes/x", "{", StatusCode::BAD_REQUEST),
        (Method::PUT, "/v1/routes/x", "", StatusCode::BAD_REQUEST),
        (Method::PUT, "/v1/routes/x", "{\"nonsense\":1}", StatusCode::BAD_REQUEST),
        (Method::POST, "/v1/routes/x", "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v1/routes/x", "", StatusCode::NOT_FOUND),
        (Method::DELETE, "/v1/routes/x", "", StatusCode::NOT_FOUND),
        (Method::GET, "/v1/shutdown", "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/nowhere", "", StatusCode::NOT_FOUND),
    ];
    for (method, path, body, expected) in cases {
        let (status, text) = admin.raw(method, path, None, body.into()).await.unwrap();
        assert_eq!(status, expected, "{path}: {text}");
        serde_json::from_str::<lockgate_proxy::ErrorView>(&text).unwrap();
    }
    let large = admin.raw(Method::PUT, "/v1/routes/x", None, vec![b' '; 100_000]).await.unwrap();
    assert_eq!(large.0, StatusCode::PAYLOAD_TOO_LARGE);
    let tag = admin.raw(Method::DELETE, "/v1/routes/app", Some(("if-match", "7")), Vec::new()).await.unwrap();
    assert_eq!(tag.0, StatusCode::BAD_REQUEST);
    proxy.shutdown().await.unwrap();
}

#[tokio::test]
async fn metrics_and_access_log_tell_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &RouteSpec { path_prefix: Some("/app".into()), ..spec("blue", blue.address) }).await;
    for path in ["/app", "/app?secret=1", "/elsewhere"] {
        once(proxy.addresses()[0], get(path)).await;
    }
    eventually("both are counted", async || {
        let (_, text) = admin.raw(Method::GET, "/metrics", None, Vec::new()).await.unwrap();
        text.contains("lockgate_proxy_requests_total{route=\"app\",slot=\"blue\",status=\"2xx\"} 2")
            && text.contains("lockgate_proxy_unrouted_requests_total 1")
            && text
                .contains("lockgate_proxy_latency_seconds_bucket{le=\"+Inf\",route=\"app\",slot=\"blue\"} 2")
            && text.contains("lockgate_proxy_in_flight{route=\"app\",slot=\"blue\",kind=\"request\"} 0")
    })
    .await;
    proxy.shutdown().await.unwrap();
    let log = std::fs::read_to_string(dir.path().join("access.log")).unwrap();
    assert_eq!(log.lines().count(), 3, "{log}");
    assert_eq!(log.matches("\"release\":\"blue-1\"").count(), 2);
    assert!(!log.contains("secret"));
}

#[tokio::test]
async fn a_shutdown_finishes_what_is_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = start_in(dir.path()).await;
    let admin = Admin::of(dir.path());
    let blue = Backend::start("blue").await;
    admin.put("app", &spec("blue", blue.address)).await;
    let held = tokio::spawn(once(proxy.addresses()[0], get("/hold")));
    eventually("it is held", async || blue.state.busy.load(SeqCst) == 1).await;
    let (status, _) = admin.raw(Method::POST, "/v1/shutdown", None, Vec::new()).await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED);
    eventually("it drains", async || admin.status().await.state == ProxyState::Draining).await;
    blue.state.released.store(true, SeqCst);
    assert_eq!(held.await.unwrap(), (StatusCode::OK, "blue".to_owned()));
    proxy.wait().await.unwrap();
}
