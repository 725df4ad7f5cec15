//! The client against Debian's `docker-registry`: open, with htpasswd, with TLS, and with a token server.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lockgate_local::Local;
use lockgate_model::{Digest, FailureKind, Reference, Repository};
use lockgate_ports::conformance::registry::{RegistryFixture, suite};
use lockgate_ports::{CheckState, Manifest, Registry};
use lockgate_registry::{RegistryClient, RegistryOptions};
use support::{
    Debian, Double, OCI_MANIFEST, PASSWORD, Reply, Seen, USER, WithPrograms, certificate, client,
    client_with, fresh, htpasswd, ready, run, tag,
};

struct Fixture {
    registry: Debian,
    client: RegistryClient,
}

#[async_trait]
impl RegistryFixture for Fixture {
    fn registry(&self) -> &dyn Registry {
        &self.client
    }

    fn repository(&self) -> Repository {
        Repository::new(format!("{}/acme/{}", self.registry.address, fresh("web"))).unwrap()
    }

    async fn push_blob(&self, repository: &Repository, bytes: &[u8]) -> Digest {
        self.registry.push_blob(repository, bytes)
    }
}

#[tokio::test]
async fn an_open_registry_passes_the_suite() {
    if !ready(&["docker-registry"]) {
        return;
    }
    let registry = Debian::start(|_, _| {});
    let client = client(&registry.address, None);
    suite(&Fixture { registry, client }).await;
}

#[tokio::test]
async fn a_registry_with_htpasswd_passes_the_suite_with_the_login_of_the_configuration() {
    if !ready(&["docker-registry", "htpasswd"]) {
        return;
    }
    let registry = Debian::start(htpasswd);
    let client = client(&registry.address, Some((USER, PASSWORD)));
    suite(&Fixture { registry, client }).await;
}

#[tokio::test]
async fn the_login_that_docker_left_opens_the_registry() {
    if !ready(&["docker-registry", "htpasswd"]) {
        return;
    }
    let registry = Debian::start(htpasswd);
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = serde_json::json!({ "auths": { &registry.address: { "auth": auth } } });
    std::fs::write(registry.path().join("config.json"), config.to_string()).unwrap();
    let client = client_with(&registry.address, None, registry.path().to_str().unwrap());
    let place = Repository::new(format!("{}/acme/web", registry.address)).unwrap();
    let check = client.check(place.registry()).await;
    assert!(
        check.state == CheckState::Ok && check.seen.contains("ann (") && check.seen.contains("config.json"),
        "{check:?}"
    );
    let error = client.tags(&place).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound, "{error}");
    assert!(error.message.contains("NAME_UNKNOWN"), "{error}");
}

/// The helper is a real program: it is started with `get`, reads the registry's name, and writes what it knows of it.
#[tokio::test]
async fn a_credential_helper_opens_the_registry_and_a_failing_one_is_told_of() {
    if !ready(&["docker-registry", "htpasswd"]) {
        return;
    }
    let registry = Debian::start(htpasswd);
    let (dir, address) = (registry.path().to_owned(), &registry.address);
    let program = dir.join("docker-credential-lgtest");
    let config = serde_json::json!({ "credHelpers": { address: "lgtest" } });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let client = || {
        let _ = rustls::crypto::ring::default_provider().install_default();
        RegistryClient::new(RegistryOptions {
            logins: BTreeMap::new(),
            host: Arc::new(WithPrograms(Local::new(), dir.clone())),
            docker_config: Some(dir.to_str().unwrap().to_owned()),
            github_token: None,
        })
    };
    let place = Repository::new(format!("{address}/acme/web")).unwrap();
    let known = format!("[ \"$*\" = get ] && [ \"$(cat)\" = {address} ] || exit 3\n");
    let gives = format!("echo '{{ \"Username\": \"{USER}\", \"Secret\": \"{PASSWORD}\" }}'\n");
    let write = |script: &str| {
        std::fs::write(&program, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    write(&format!("{known}{gives}"));
    let check = client().check(place.registry()).await;
    assert!(check.state == CheckState::Ok && check.seen.contains("ann ("), "{check:?}");
    write("echo 'credentials not found in native keychain'; exit 1\n");
    let error = client().tags(&place).await.unwrap_err();
    assert!(error.message.contains("wants a login") && !error.message.contains("lgtest"), "{error}");
    write("cat >/dev/null; echo 'the vault is locked'; exit 1\n");
    let error = client().tags(&place).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
    assert!(error.message.contains("docker-credential-lgtest on local failed with exit code 1"), "{error}");
}

#[tokio::test]
async fn without_a_login_and_with_a_wrong_one_htpasswd_lets_nobody_in() {
    if !ready(&["docker-registry", "htpasswd"]) {
        return;
    }
    let registry = Debian::start(htpasswd);
    let place = Repository::new(format!("{}/acme/web", registry.address)).unwrap();
    let log_in = format!("`docker login {}`", registry.address);
    let check_it = format!("check user and password of {} below `registries`", registry.address);
    for (login, said, hint) in [
        (None, "wants a login, and there is none", &log_in),
        (Some((USER, "wr0ng-pass")), "refuses the login of ann", &check_it),
    ] {
        let client = client(&registry.address, login);
        let error = client.resolve(&place, &tag("v1")).await.unwrap_err();
        assert_eq!(error.kind, FailureKind::Unauthorized, "{error}");
        assert!(error.message.contains(said) && !format!("{error:?}").contains("wr0ng-pass"), "{error:?}");
        assert!(error.hints().to_string().contains(hint), "{}", error.hints());
        let check = client.check(place.registry()).await;
        assert!(check.state == CheckState::Bad && check.seen.contains(said), "{check:?}");
    }
}

/// A TLS registry is on this machine here, which changes nothing: it is never asked without TLS.
#[tokio::test]
async fn a_registry_with_tls_passes_the_suite_and_one_that_nobody_vouches_for_is_not_asked() {
    if !ready(&["docker-registry", "htpasswd", "openssl"]) {
        return;
    }
    let registry = Debian::start(|config, dir| {
        certificate(dir);
        htpasswd(config, dir);
        config["http"]["tls"] =
            serde_json::json!({ "certificate": dir.join("cert.pem"), "key": dir.join("key.pem") });
    });
    let stranger = client(&registry.address, Some((USER, PASSWORD)));
    let place = Repository::new(format!("{}/acme/web", registry.address)).unwrap();
    let error = stranger.tags(&place).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    assert!(error.hints().to_string().contains("does not trust the certificate"), "{error:?}");
    let authority = std::fs::read(registry.path().join("ca.pem")).unwrap();
    let client = client(&registry.address, Some((USER, PASSWORD))).trusting(&authority).unwrap();
    suite(&Fixture { registry, client }).await;
}

/// A token server for a real registry: it signs JSON web tokens as the registry's documentation has them
/// (<https://distribution.github.io/distribution/spec/auth/jwt/>), for what was asked, to [`USER`] with [`PASSWORD`]; to
/// anybody else it gives a token for nothing. Made from that page and
/// <https://distribution.github.io/distribution/spec/auth/token/>; the real registry judges whether it is right.
fn token_server(dir: &Path) -> Double {
    let dir = dir.to_owned();
    Double::start(move |request| {
        let login = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let is_known = request.authorization() == Some(login.as_str());
        let access: Vec<serde_json::Value> = match request.query("scope") {
            Some(scope) if is_known => {
                let [kind, name, actions] = scope.split(':').collect::<Vec<_>>().try_into().unwrap();
                let actions: Vec<&str> = actions.split(',').collect();
                vec![serde_json::json!({ "type": kind, "name": name, "actions": actions })]
            }
            _ => Vec::new(),
        };
        let claims = serde_json::json!({
            "iss": "lockgate-test", "sub": "ann", "aud": request.query("service"), "jti": fresh("id"),
            "nbf": 0, "iat": 0, "exp": 4_000_000_000_u64, "access": access,
        });
        Reply::json(200, &serde_json::json!({ "token": sign(&dir, &claims), "expires_in": 300 }))
    })
}

fn sign(dir: &Path, claims: &serde_json::Value) -> String {
    let pem = std::fs::read_to_string(dir.join("token-cert.pem")).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let header = serde_json::json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let text = [header, claims.clone()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let key = dir.join("token-key.pem");
    let signature = run("openssl", &["dgst", "-sha256", "-sign", key.to_str().unwrap()], text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn token_key(dir: &Path) {
    let (key, cert) = (dir.join("token-key.pem"), dir.join("token-cert.pem"));
    let files = ["-keyout", key.to_str().unwrap(), "-out", cert.to_str().unwrap()];
    let args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=lockgate-test"];
    run("openssl", &[&args[..], &files[..]].concat(), b"");
}

#[tokio::test]
async fn a_registry_with_a_token_server_passes_the_suite_and_gets_no_password() {
    if !ready(&["docker-registry", "openssl"]) {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    token_key(keys.path());
    let server = token_server(keys.path());
    let registry = Debian::start(|config, _| {
        config["auth"] = serde_json::json!({ "token": {
            "realm": server.url("/token"), "service": "test-registry", "issuer": "lockgate-test",
            "rootcertbundle": keys.path().join("token-cert.pem"),
        } });
    });
    let place = Repository::new(format!("{}/acme/web", registry.address)).unwrap();
    let nobody = client(&registry.address, None).tags(&place).await.unwrap_err();
    assert_eq!(nobody.kind, FailureKind::Unauthorized, "{nobody}");
    assert!(nobody.message.contains("lets nobody read"), "{nobody}");
    let wrong = client(&registry.address, Some((USER, "wr0ng-pass"))).tags(&place).await.unwrap_err();
    assert!(wrong.kind == FailureKind::Unauthorized && wrong.message.contains("ann (registries:"), "{wrong}");

    let client = client(&registry.address, Some((USER, PASSWORD)));
    let fixture = Fixture { registry, client };
    suite(&fixture).await;
    let asked: Vec<Seen> = server.seen();
    assert!(asked.iter().all(|request| request.method == "GET"));
    let scopes: Vec<String> = asked.iter().filter_map(|request| request.query("scope")).collect();
    assert!(scopes.iter().any(|scope| scope.ends_with(":pull")), "{scopes:?}");
    assert!(scopes.iter().any(|scope| scope.ends_with("push") && scope.contains("pull")), "{scopes:?}");
    // 120 tags were put into one repository with one token.
    assert!(asked.len() < 40, "a token is used for as long as it holds: {}", asked.len());
}

/// What other programs pushed and what they see afterwards: bytes and digests are theirs.
#[tokio::test]
async fn skopeo_sees_the_tag_that_was_moved_with_the_digest_that_it_pushed() {
    if !ready(&["docker-registry", "skopeo"]) {
        return;
    }
    let registry = Debian::start(|_, _| {});
    let place = Repository::new(format!("{}/acme/{}", registry.address, fresh("web"))).unwrap();
    let layout = registry.path().join("layout");
    oci_layout(&layout);
    let (from, to) = (format!("oci:{}:v1", layout.display()), format!("docker://{place}:green"));
    run("skopeo", &["copy", "--dest-tls-verify=false", "--insecure-policy", &from, &to], b"");
    let client = client(&registry.address, None);
    let green = client.manifest(&place, &tag("green")).await.unwrap();
    for moved in ["blue", "current"] {
        client.put_manifest(&place, &tag(moved), &green).await.unwrap();
        let there = format!("docker://{place}:{moved}");
        let seen = run(
            "skopeo",
            &["inspect", "--tls-verify=false", "--format", "{{.Digest}} {{.Architecture}}", &there],
            b"",
        );
        assert_eq!(String::from_utf8(seen).unwrap().trim(), format!("{} riscv64", green.digest()));
    }
    let resolved = client.resolve(&place, &tag("blue")).await.unwrap();
    assert_eq!(resolved.platforms[0].to_string(), "linux/riscv64");
}

/// An image without layers in an OCI layout, as the image specification has it.
fn oci_layout(dir: &Path) {
    let blob = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        let folder = dir.join("blobs/sha256");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(&digest.as_str()["sha256:".len()..]), bytes).unwrap();
        serde_json::json!({ "digest": digest, "size": bytes.len() })
    };
    let config =
        br#"{"os":"linux","architecture":"riscv64","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let mut config = blob(config);
    config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    let manifest =
        serde_json::json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [] });
    let mut manifest = blob(manifest.to_string().as_bytes());
    manifest["mediaType"] = OCI_MANIFEST.into();
    manifest["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "v1" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Debian's registry gives all tags in one page, so a double stands before it that cuts the list into pages as the
/// distribution specification has them ("Listing Tags"), and gives a short one in between.
#[tokio::test]
async fn a_real_list_cut_into_pages_is_whole_again() {
    if !ready(&["docker-registry"]) {
        return;
    }
    let registry = Debian::start(|_, _| {});
    let place = Repository::new(format!("{}/acme/web", registry.address)).unwrap();
    let config = registry.push_blob(&place, b"{}");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","layers":[],"config":{{"mediaType":"x/y","digest":"{config}","size":2}}}}"#
    );
    let manifest = Manifest::new(OCI_MANIFEST, text.into_bytes()).unwrap();
    let direct = client(&registry.address, None);
    for number in 0..25 {
        direct.put_manifest(&place, &tag(&format!("v{number}")), &manifest).await.unwrap();
    }
    let whole = direct.tags(&place).await.unwrap();
    let (list, pages) = (whole.clone(), Arc::new(Mutex::new(0)));
    let counted = pages.clone();
    let paging = Double::start(move |request| {
        *counted.lock().unwrap() += 1;
        let last = request.query("last");
        let start = last.map_or(0, |last| list.iter().position(|tag| tag.as_str() == last).unwrap() + 1);
        let size = if start == 10 { 1 } else { 5 };
        let page: Vec<&str> = list.iter().skip(start).take(size).map(|tag| tag.as_str()).collect();
        let reply = Reply::json(200, &serde_json::json!({ "name": "acme/web", "tags": page }));
        match page.last().filter(|_| start + size < list.len()) {
            Some(last) => {
                reply.header("link", format!("</v2/acme/web/tags/list?last={last}&n={size}>; rel=\"next\""))
            }
            None => reply,
        }
    });
    let through = Repository::new(format!("{}/acme/web", paging.address)).unwrap();
    assert_eq!(client(&paging.address, None).tags(&through).await.unwrap(), whole);
    assert_eq!((whole.len(), *pages.lock().unwrap()), (25, 6));
    assert!(matches!(direct.resolve(&place, &tag("v1")).await.unwrap().platforms.as_slice(), []));
    let digest = Reference::Digest(manifest.digest().clone());
    assert_eq!(direct.manifest(&place, &digest).await.unwrap(), manifest);
}
