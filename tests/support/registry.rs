//! Debian's `docker-registry` on a port of this machine, with tags as a builder's push would have left them.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use lockgate_model::Digest;
use tempfile::TempDir;

use super::{skipped, wait_for};

const READY_SECONDS_MAX: u64 = 20;

pub struct Registry {
    pub address: String,
    child: Option<Child>,
    dir: TempDir,
}

impl Registry {
    /// `None`, with the reason printed, where the program is not installed.
    pub fn start() -> Option<Registry> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&paths).any(|dir| dir.join("docker-registry").is_file()) {
            skipped("docker-registry is not installed");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (dir, address) = (tempfile::tempdir().unwrap(), format!("127.0.0.1:{port}"));
        let config = serde_json::json!({
            "version": 0.1, "log": { "level": "error" },
            "storage": { "filesystem": { "rootdirectory": dir.path().join("store") } },
            "http": { "addr": address },
        });
        std::fs::write(dir.path().join("registry.yml"), config.to_string()).unwrap();
        let mut registry = Registry { address, child: None, dir };
        registry.up();
        Some(registry)
    }

    pub fn up(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.dir.path().join("registry.yml"));
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        wait_for("the registry", READY_SECONDS_MAX, || TcpStream::connect(&self.address).ok());
    }

    pub fn down(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("store/docker/registry/v2")
    }

    /// A manifest without layers under this tag. What stands for it differs from tag to tag.
    pub fn push(&self, repository: &str, tag: &str) {
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let config = self.blob(format!("{{\"tag\":\"{tag}\"}}").as_bytes());
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind, "layers": [],
            "config": { "mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": config },
        });
        let digest = self.blob(manifest.to_string().as_bytes());
        let hex = digest.trim_start_matches("sha256:");
        let own = self.root().join("repositories").join(repository);
        for link in [
            format!("_layers/sha256/{}", config.trim_start_matches("sha256:")),
            format!("_manifests/revisions/sha256/{hex}"),
            format!("_manifests/tags/{tag}/current"),
            format!("_manifests/tags/{tag}/index/sha256/{hex}"),
        ] {
            let of = if link.starts_with("_layers") { &config } else { &digest };
            write(&own.join(link).join("link"), of.as_bytes());
        }
    }

    fn blob(&self, bytes: &[u8]) -> String {
        let digest = Digest::of(bytes);
        let hex = digest.as_str().trim_start_matches("sha256:");
        write(&self.root().join(format!("blobs/sha256/{}/{hex}/data", &hex[..2])), bytes);
        digest.to_string()
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.down();
    }
}
