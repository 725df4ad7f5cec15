//! Engines that are not at the usual socket: Lockgate and the Compose that it starts speak to the same one.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockgate_compose::{Compose, ComposeCli};
use lockgate_model::{FailureKind, Slot, SlotState};
use lockgate_ports::{CheckState, Runtime};
use sha2::{Digest, Sha256};
use support::{World, ready, tag};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

const ENGINE: &str = "/var/run/docker.sock";

/// A context of Docker's own, current in a folder of its own.
fn context(folder: &Path, name: &str, host: &str) -> std::path::PathBuf {
    let id: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    let meta = folder.join("contexts/meta").join(&id);
    std::fs::create_dir_all(&meta).unwrap();
    let endpoint = serde_json::json!({ "Host": host, "SkipTLSVerify": false });
    let content = serde_json::json!({ "Name": name, "Metadata": {}, "Endpoints": { "docker": endpoint } });
    std::fs::write(meta.join("meta.json"), content.to_string()).unwrap();
    std::fs::write(folder.join("config.json"), format!(r#"{{ "currentContext": "{name}" }}"#)).unwrap();
    folder.join("contexts/tls").join(id).join("docker")
}

/// Starts and stops a release, and tells how often the engine was reached by the way that `connections` counts.
async fn deploys(world: &World, compose: &Compose, connections: &AtomicUsize) {
    let release = compose.resolve(&tag("v1")).await.unwrap();
    compose.fetch(&release).await.unwrap();
    let before = connections.load(Ordering::Relaxed);
    assert!(before > 0, "our own requests went another way");
    compose.start(Slot::Blue, &release).await.unwrap();
    let seen = compose.slots().await.unwrap();
    assert_eq!(seen[0].state, SlotState::Running, "{seen:?}");
    assert!(connections.load(Ordering::Relaxed) > before + 4, "Compose went another way");
    let body = world.body(seen[0].endpoint.as_ref().unwrap(), "/").await;
    assert_eq!(body, format!("{} v1\n", world.name));
}

#[tokio::test]
async fn dockers_current_context_leads_to_its_own_socket() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let (socket, connections) = (world.path("engine.sock"), Arc::new(AtomicUsize::new(0)));
    let listener = UnixListener::bind(&socket).unwrap();
    let counted = connections.clone();
    let relay = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut engine = UnixStream::connect(ENGINE).await.unwrap();
                copy_bidirectional(&mut client, &mut engine).await.ok();
            });
        }
    });
    let config = world.path("docker-config");
    context(&config, "rootless", &format!("unix://{}", socket.display()));
    let compose = world.compose(world.folders()).docker_config(config.to_str().unwrap());
    deploys(&world, &compose, &connections).await;
    let checks = compose.check().await;
    let engine = checks.iter().find(|check| check.what.starts_with("Docker Engine")).unwrap();
    assert!(engine.seen.ends_with("as Docker's context rootless says"), "{engine:?}");
    relay.abort();
}

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate authority, and what an engine and its user show each other.
fn certificates(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {key} -keyout ca-key.pem -out ca.pem -subj /CN=ca -days 2"));
    for (name, file) in [("engine", "engine"), ("user", "cert")] {
        let private = if file == "cert" { "key" } else { "engine-key" };
        openssl(folder, &format!("req {key} -keyout {private}.pem -out {file}.csr -subj /CN={name}"));
        let signed = format!(
            "x509 -req -in {file}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out {file}.pem -days 2 -extfile san"
        );
        openssl(folder, &signed);
    }
}

/// An engine that only speaks TLS with who shows a certificate of its authority, in front of the real one.
fn tls(folder: &Path) -> TlsAcceptor {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let certificate = |name: &str| CertificateDer::from_pem_slice(&read(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("engine-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate("engine.pem")], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn over_tls(cli: ComposeCli) {
    if !ready(Some(cli)) {
        return;
    }
    let world = World::new();
    world.publish("v1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = world.path("docker-config");
    let folder = context(&config, "build", &format!("tcp://{address}"));
    certificates(&folder);
    let (acceptor, connections) = (tls(&folder), Arc::new(AtomicUsize::new(0)));
    let counted = connections.clone();
    let relay = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, counted) = (acceptor.clone(), counted.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                counted.fetch_add(1, Ordering::Relaxed);
                let mut engine = UnixStream::connect(ENGINE).await.unwrap();
                copy_bidirectional(&mut client, &mut engine).await.ok();
            });
        }
    });
    let compose = || {
        let compose = world.compose(world.folders()).compose_cli(cli);
        compose.docker_config(config.to_str().unwrap())
    };
    deploys(&world, &compose(), &connections).await;
    // Another authority: whoever answers is not told anything.
    let other = world.path("other");
    certificates(&other);
    std::fs::copy(other.join("ca.pem"), folder.join("ca.pem")).unwrap();
    let refused = compose().slots().await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unauthorized, "{refused}");
    assert!(refused.hints().to_string().contains("ca.pem must vouch"), "{refused:?}");
    relay.abort();
}

#[tokio::test]
async fn an_engine_behind_tls_is_spoken_to_by_us_and_by_compose_v2() {
    over_tls(ComposeCli::Plugin).await;
}

#[tokio::test]
async fn an_engine_behind_tls_is_spoken_to_by_us_and_by_compose_v1() {
    over_tls(ComposeCli::Standalone).await;
}

#[tokio::test]
async fn an_engine_over_ssh_is_refused_before_anything_is_changed() {
    if !ready(None) {
        return;
    }
    let world = World::new();
    let config = world.path("docker-config");
    context(&config, "web", "ssh://ann@web1");
    let compose = world.compose(world.folders()).docker_config(config.to_str().unwrap());
    let refused = compose.slots().await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Refused, "{refused}");
    assert!(refused.hints().to_string().contains("`hosts: [\"ann@web1\"]`"), "{refused:?}");
    let checks = compose.check().await;
    let engine = checks.iter().find(|check| check.what.starts_with("Docker Engine")).unwrap();
    assert_eq!(engine.state, CheckState::Bad, "{engine:?}");
}

/// As another user of this machine, whom the real socket refuses.
#[test]
fn a_user_outside_the_group_docker_is_told_what_to_type() {
    if !ready(None) || !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sh/socket.sh");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"])
        .arg(script)
        .arg(ENGINE)
        .current_dir("/")
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["denied", "nobody"], "{output:?}");
    assert_eq!(lines[3..], ["", ""], "{output:?}");
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}
