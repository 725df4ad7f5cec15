//! An nginx in a container, which sees the service's folder elsewhere.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{FailureKind, NginxSwitch, Slot, Split};
use lockgate_nginx::{Nginx, NginxOptions};
use lockgate_ports::conformance::router::{HeldRequest, RouterFixture, suite};
use lockgate_ports::{CheckState, Router, Upstream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::support::{self, Held, MOMENT, SITE, SNIPPET, local, nginx_is_there, open_folder};

const UP_SECONDS_MAX: u64 = 20;
const LOOK_MILLIS: u64 = 20;

/// A network, an image and a container of one name, removed on drop.
struct Stage(String);

impl Drop for Stage {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.0]);
        docker(&["network", "rm", &self.0]);
        docker(&["image", "rm", "-f", &self.0]);
    }
}

fn docker(args: &[&str]) -> Option<String> {
    let output =
        Command::new("docker").args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Debian's, with the libraries that it needs and the users that it looks for.
fn image(folder: &Path, name: &str) {
    let copy = "mkdir -p root/usr/sbin root/etc root/tmp root/var/log/nginx root/var/lib/nginx root/run
        cp -L \"$(command -v nginx)\" root/usr/sbin/nginx
        printf 'root:x:0:0::/:/\\nnobody:x:65534:65534::/:/\\n' >root/etc/passwd
        printf 'root:x:0:\\nnogroup:x:65534:\\n' >root/etc/group
        ldd root/usr/sbin/nginx | grep -o '/[^ ]*' | while read -r library; do
            mkdir -p \"root$(dirname \"$library\")\" && cp -L \"$library\" \"root$library\"
        done
        printf 'FROM scratch\\nCOPY root /\\nENV PATH=/usr/sbin\\nENTRYPOINT [\"/usr/sbin/nginx\"]\\n' >Dockerfile";
    assert!(Command::new("sh").args(["-ec", copy]).current_dir(folder).status().unwrap().success());
    docker(&["build", "-q", "-t", name, folder.to_str().unwrap()]).expect("the image is built");
}

struct Contained {
    apps: [std::sync::Arc<App>; 2],
    nginx: Nginx,
    address: String,
    options: NginxOptions,
    folder: tempfile::TempDir,
    _config: tempfile::TempDir,
    _stage: Stage,
}

impl Contained {
    /// `None`, said so, without Docker.
    async fn start() -> Option<Contained> {
        if !nginx_is_there() {
            return None;
        }
        if docker(&["version"]).is_none() {
            assert!(std::env::var("LOCKGATE_TEST_REQUIRE_ALL").is_err(), "Docker does not run");
            eprintln!("skipped: Docker does not run");
            return None;
        }
        let name = format!("lockgate-nginx-{}", std::process::id());
        let (stage, folder, config) = (Stage(name.clone()), open_folder(), open_folder());
        image(config.path(), &name);
        docker(&["network", "create", &name]).unwrap();
        let gateway =
            docker(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", &name]).unwrap();
        let apps = [App::start(Slot::Blue, &gateway).await, App::start(Slot::Green, &gateway).await];
        let server = SNIPPET
            .replace("MARKER", "/markers/green_is_live")
            .replace("BLUE", &apps[0].address.to_string())
            .replace("GREEN", &apps[1].address.to_string());
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path /tmp/{kind};\n"))
            .concat();
        let text = format!(
            "user nobody nogroup;\nworker_processes 2;\npid /run/nginx.pid;\nevents {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{temporary}server {{\nlisten 80;\nserver_name {SITE};\n{server}}}\n}}\n"
        );
        std::fs::write(config.path().join("nginx.conf"), text).unwrap();
        let mounts = [
            format!("{}:/markers:ro", folder.path().display()),
            format!("{}/nginx.conf:/etc/nginx/nginx.conf:ro", config.path().display()),
        ];
        let run =
            ["run", "-d", "--name", &name, "--network", &name, "-v", &mounts[0], "-v", &mounts[1], &name];
        docker(&[&run[..], &["-g", "daemon off;"]].concat()).expect("the container starts");
        let inspect = ["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &name];
        let address = docker(&inspect).unwrap();
        let deadline = Instant::now() + Duration::from_secs(UP_SECONDS_MAX);
        while TcpStream::connect((address.as_str(), 80)).await.is_err() {
            assert!(Instant::now() < deadline, "nginx is up: {:?}", docker(&["logs", &name]));
            tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
        }
        let options = NginxOptions {
            host: local(),
            service: "web".to_owned(),
            switch: NginxSwitch::File,
            marker: folder.path().join("green_is_live").to_str().unwrap().to_owned(),
            seen_as: "/markers/green_is_live".to_owned(),
            dial: apps.iter().map(|app| (app.slot, app.address.to_string())).collect(),
            config: None,
            container: Some(name),
            ask: None,
        };
        let nginx = Nginx::new(options.clone()).unwrap();
        Some(Contained { apps, nginx, address, options, folder, _config: config, _stage: stage })
    }
}

#[async_trait]
impl RouterFixture for Contained {
    fn router(&self) -> &dyn Router {
        &self.nginx
    }

    fn upstream(&self, slot: Slot) -> Upstream {
        support::upstream(&self.apps, slot)
    }

    async fn hold_request(&self) -> Box<dyn HeldRequest> {
        let mut seen = self.apps.each_ref().map(|app| app.held.subscribe());
        seen.iter_mut().for_each(|held| held.mark_unchanged());
        let mut stream = TcpStream::connect((self.address.as_str(), 80)).await.unwrap();
        let head = format!("GET /hold HTTP/1.1\r\nhost: {SITE}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let [blue, green] = &mut seen;
        let begun = async {
            tokio::select! {
                _ = blue.changed() => self.apps[0].clone(),
                _ = green.changed() => self.apps[1].clone(),
            }
        };
        let app = timeout(MOMENT.duration(), begun).await.expect("the held request reaches an app");
        Box::new(Held { app, stream })
    }
}

#[tokio::test]
async fn the_suite_passes_with_an_nginx_in_a_container_and_another_path_of_its_marker() {
    let Some(world) = Contained::start().await else { return };
    suite(&world).await;
    let bad: Vec<_> =
        world.nginx.check().await.into_iter().filter(|check| check.state != CheckState::Ok).collect();
    assert!(bad.is_empty(), "{bad:?}");

    // Told a folder that the container does not have, the switch is taken back before anybody got there.
    let elsewhere = open_folder();
    let marker = elsewhere.path().join("green_is_live").to_str().unwrap().to_owned();
    let blind = Nginx::new(NginxOptions { marker, ..world.options.clone() }).unwrap();
    let version = blind.route().await.unwrap().version;
    let error = blind.set(&Split::all_to(world.upstream(Slot::Green)), &version).await.unwrap_err();
    assert!(error.message.contains("put back"), "{error}");
    assert!(error.hints().to_string().contains("a container needs the folder"), "{error:?}");
    assert!(std::fs::read_dir(elsewhere.path()).unwrap().next().is_none());

    let gone = NginxOptions { container: Some("lockgate-no-such".into()), ..world.options.clone() };
    let error = Nginx::new(gone).unwrap().route().await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Unreachable, "{error}");
    assert!(error.hints().to_string().contains("`router.nginx.container`"), "{error:?}");
    assert!(!world.folder.path().join("green_is_live").exists());
}
