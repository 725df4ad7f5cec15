//! Logins, with the real `docker login` against Debian's registry.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, Millis, RegistryHost, RegistryLogin, Secret};
use lockgate_provision::{Wanted, look, make};

use crate::cutting::{Cutting, Heard};

const READY_SECONDS_MAX: u64 = 20;
const PASSWORD: &str = "c4n4ry $HOME 'x'";

/// A registry that lets `ann` in alone; ends with the test.
struct Registry {
    address: String,
    process: Child,
}

impl Registry {
    /// `None`, said so, where a part is missing.
    fn start(dir: &Path) -> Option<Registry> {
        let has = |program: &str, arguments: &[&str]| {
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .output()
                .is_ok_and(|output| output.status.success())
        };
        if !has("docker", &["version"]) || !has("docker-registry", &["--version"]) {
            return skip("docker with its engine, and docker-registry");
        }
        let Ok(users) = Command::new("htpasswd").args(["-Bbn", "ann", PASSWORD]).output() else {
            return skip("htpasswd");
        };
        fs::write(dir.join("htpasswd"), users.stdout).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = format!(
            "{{\"version\":0.1,\"log\":{{\"level\":\"error\"}},\"storage\":{{\"filesystem\":{{\"rootdirectory\":\"{0}/store\"}}}},\"http\":{{\"addr\":\"{address}\"}},\"auth\":{{\"htpasswd\":{{\"realm\":\"test\",\"path\":\"{0}/htpasswd\"}}}}}}",
            dir.display()
        );
        fs::write(dir.join("registry.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.join("registry.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Registry { address, process: command.spawn().unwrap() };
        let bound = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        while TcpStream::connect(&registry.address).is_err() {
            assert!(Instant::now() < bound, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn skip<T>(what: &str) -> Option<T> {
    assert!(std::env::var_os("LOCKGATE_TEST_REQUIRE_ALL").is_none(), "{what}: not there");
    eprintln!("skipped: {what}: not there");
    None
}

fn wanted(registry: &str, password: &str) -> Wanted {
    let login = RegistryLogin { user: "ann".into(), password: Secret::new(password) };
    let logins = [(RegistryHost::new(registry).unwrap(), login)].into();
    Wanted { logins, ..Wanted::nothing(Millis::from_secs(1)) }
}

#[tokio::test]
async fn a_host_is_logged_in_where_its_own_docker_looks_and_a_second_time_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start(dir.path()) else { return };
    let docker = dir.path().join("docker");
    let host = || Cutting::with("DOCKER_CONFIG", docker.to_str().unwrap());
    let good = wanted(&registry.address, PASSWORD);
    let heard = Heard::default();
    let plan = look(&host(), &good).await.unwrap();
    assert_eq!(make(&host(), &good, &plan, &heard).await.unwrap(), 1);
    assert_eq!(heard.made(), [format!("login {}", registry.address)]);
    let again = host();
    assert!(look(&again, &good).await.unwrap().is_done());
    assert_eq!(again.calls(), 3, "requests on a host that is prepared");
    let bad = wanted(&registry.address, "wr0ng");
    let plan = look(&host(), &bad).await.unwrap();
    assert_eq!(plan.items[0].note.as_deref(), Some("ann has another password there"));
    let error = make(&host(), &bad, &plan, &Heard::default()).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    let said = format!("{error} {:?} {:?}", error.hints(), plan);
    assert!(!said.contains("wr0ng") && !said.contains(PASSWORD), "{said}");
    assert!(look(&host(), &good).await.unwrap().is_done(), "the good one stays");
}
