//! Remembering that the slots' files are free of conflicts, and which ports the only slot's publish, for asking Compose costs
//! 0.2 to 1 s of every plan.
//!
//! Only a good answer is remembered, by a hash over all that Compose makes it from: the bytes of both slots' files and of the
//! `.env` beside them, the variables that they name, and what we ask for. Files whose bytes are not all here (`extends`,
//! `include`), or whose variables we cannot see, are asked about every time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use lockgate_ports::PortError;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::compose::Compose;
use crate::host_ports::HostPort;
use crate::place::{Place, join};

/// Changed when the question to Compose changes.
const FORMAT: &str = "lockgate no-conflicts 3";
const FILE_MODE: u32 = 0o600;
/// Words by which a file takes in others.
const TAKES_IN: [&str; 2] = ["extends", "include"];
/// Of our own environment, what changes how Compose reads files.
const COMPOSES_OWN: &str = "COMPOSE_";

/// The hash, in hex.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

#[derive(Serialize)]
struct Question<'a> {
    format: &'static str,
    port: Option<u16>,
    /// The router that cannot do with several containers.
    unbalanced: Option<&'static str>,
    /// Where the router listens.
    proxied: Option<SocketAddr>,
    slots: [Definition<'a>; 2],
    /// Variables of ours that the files name, and Compose's own.
    environment: BTreeMap<String, Option<String>>,
}

#[derive(Serialize)]
struct Definition<'a> {
    dir: &'a str,
    files: &'a [String],
    contents: &'a [Vec<u8>],
    /// `.env` beside the files.
    dot_env: Option<&'a [u8]>,
    service: &'a str,
    project: Option<&'a str>,
    interpolation: BTreeMap<String, String>,
}

impl Key {
    /// `None` when the answer may change without what we see of it changing.
    ///
    /// # Errors
    /// `Other` for what does not serialise.
    pub(crate) fn of(compose: &Compose, blue: &Place, green: &Place) -> Result<Option<Key>, PortError> {
        let contents: Vec<&[u8]> = blue.contents.iter().chain(&green.contents).map(Vec::as_slice).collect();
        let Some(named) = variables(&contents) else { return Ok(None) };
        let given = compose.interpolation(blue.slot, None);
        let open: BTreeSet<String> = named.into_iter().filter(|name| !given.contains_key(name)).collect();
        let local = compose.host.id().is_local();
        if !local && !open.is_empty() {
            return Ok(None);
        }
        let environment = if local { environment(&open) } else { BTreeMap::new() };
        let question = Question {
            format: FORMAT,
            port: compose.service.port,
            unbalanced: compose.unbalanced,
            proxied: compose.proxied,
            slots: [blue, green].map(|place| definition(compose, place)),
            environment,
        };
        let bytes = serde_json::to_vec(&question)
            .map_err(|error| PortError::other(format!("the slots' files do not serialise: {error}")))?;
        let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Key(hex)))
    }

    pub(crate) async fn is_remembered(&self, compose: &Compose, blue: &Place) -> bool {
        let read = compose.host.read_own(&path(compose, blue)).await;
        read.is_ok_and(|file| file.content.as_deref() == Some(self.0.as_bytes()))
    }

    /// The host ports that the only slot publishes; `None` when that is not known for these files.
    pub(crate) async fn remembered_ports(&self, compose: &Compose, place: &Place) -> Option<Vec<HostPort>> {
        let content = compose.host.read_own(&path(compose, place)).await.ok()?.content?;
        let (key, ports) = std::str::from_utf8(&content).ok()?.split_once(' ')?;
        (key == self.0).then(|| serde_json::from_str(ports).ok()).flatten()
    }

    /// As [`Key::remember`], with the host ports that the only slot publishes.
    pub(crate) async fn remember_ports(&self, compose: &Compose, place: &Place, ports: &[HostPort]) {
        match serde_json::to_string(ports) {
            Ok(ports) => self.keep(compose, place, &format!("{} {ports}", self.0)).await,
            Err(error) => tracing::debug!(%error, "a slot's host ports are not remembered"),
        }
    }

    /// Where it cannot be written, Compose is asked again next time.
    pub(crate) async fn remember(&self, compose: &Compose, blue: &Place) {
        self.keep(compose, blue, &self.0).await;
    }

    async fn keep(&self, compose: &Compose, place: &Place, content: &str) {
        let path = path(compose, place);
        if let Err(error) = compose.host.write_own(&path, content.as_bytes(), FILE_MODE).await {
            tracing::debug!(%error, path, "that the slots do not conflict is not remembered");
        }
    }
}

fn path(compose: &Compose, blue: &Place) -> String {
    let name = format!(".lockgate/no-conflicts.{}.{}", compose.environment, compose.service.name);
    join(&blue.dir, &name)
}

fn definition<'a>(compose: &Compose, place: &'a Place) -> Definition<'a> {
    Definition {
        dir: &place.dir,
        files: &place.files,
        contents: &place.contents,
        dot_env: place.dot_env.as_deref(),
        service: &place.service,
        project: place.project.as_deref(),
        interpolation: compose.interpolation(place.slot, None),
    }
}

/// Names behind a `$`, as Compose interpolates them; `None` for files that take in others or are no text.
fn variables(contents: &[&[u8]]) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for content in contents {
        let text = std::str::from_utf8(content).ok()?;
        if TAKES_IN.iter().any(|word| text.contains(word)) {
            return None;
        }
        // `$$` is a dollar sign; a name too many does no harm.
        for behind in text.split('$').skip(1) {
            let behind = behind.strip_prefix('{').unwrap_or(behind);
            let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(behind.len());
            if end > 0 {
                names.insert(behind[..end].to_owned());
            }
        }
    }
    Some(names)
}

fn environment(named: &BTreeSet<String>) -> BTreeMap<String, Option<String>> {
    let value = |name: &String| (name.clone(), std::env::var(name).ok());
    let own = std::env::vars().filter(|(name, _)| name.starts_with(COMPOSES_OWN));
    named.iter().map(value).chain(own.map(|(name, value)| (name, Some(value)))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use lockgate_local::Local;
    use lockgate_model::{
        ComposeLayout, ComposeRuntime, EnvironmentName, Health, HostId, HttpHealth, Millis, ProjectName,
        Service, ServiceName, StatusRange, Strategy, Template,
    };
    use lockgate_ports::{Command, Endpoint, Host, HostFile, HostStream, Output, Runtime, Swapped};

    use super::*;
    use crate::ComposeOptions;

    /// This machine with a Compose that counts how often it is asked, and always finds one service without ports.
    struct Counting {
        local: Local,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Host for Counting {
        fn id(&self) -> &HostId {
            self.local.id()
        }
        async fn exec(&self, command: &Command) -> Result<Output, PortError> {
            let is_config = command.argv.iter().any(|word| word == "config");
            self.asked.fetch_add(usize::from(is_config), Ordering::Relaxed);
            let said = if is_config { r#"{"services":{"web":{}}}"# } else { "2.26.1" };
            Ok(Output { code: 0, stdout: said.into(), stderr: Vec::new() })
        }
        async fn read(&self, path: &str) -> Result<HostFile, PortError> {
            self.local.read(path).await
        }
        async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
            self.local.write(path, content, mode).await
        }
        async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
            self.local.read_own(path).await
        }

        async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
            self.local.write_own(path, content, mode).await
        }

        async fn exec_lines(
            &self,
            command: &lockgate_ports::Command,
            sink: &mut dyn lockgate_ports::LineSink,
        ) -> Result<lockgate_ports::Ended, PortError> {
            self.local.exec_lines(command, sink).await
        }

        async fn upload(
            &self,
            upload: lockgate_ports::Upload<'_>,
        ) -> Result<lockgate_ports::Uploaded, PortError> {
            self.local.upload(upload).await
        }

        async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
            self.local.names(folder, prefix).await
        }

        async fn remove(&self, path: &str) -> Result<(), PortError> {
            self.local.remove(path).await
        }
        async fn swap(
            &self,
            path: &str,
            expected: Option<&[u8]>,
            content: &[u8],
        ) -> Result<Swapped, PortError> {
            self.local.swap(path, expected, content).await
        }
        async fn connect(
            &self,
            endpoint: &Endpoint,
            timeout: Millis,
        ) -> Result<Box<dyn HostStream>, PortError> {
            self.local.connect(endpoint, timeout).await
        }
        async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
            self.local.disk_free_mib(path).await
        }
    }

    fn service() -> Service {
        let health = Health::Http(HttpHealth {
            path: "/".into(),
            timeout: Millis(1),
            passes: 1,
            status: StatusRange::OK,
            body: None,
            headers: BTreeMap::new(),
        });
        Service {
            name: ServiceName::new("web").unwrap(),
            image: Some("web".into()),
            command: Vec::new(),
            cwd: None,
            env: BTreeMap::new(),
            env_from: BTreeMap::new(),
            port: Some(80),
            health,
            critical_paths: Vec::new(),
            verify: None,
            urls: BTreeMap::new(),
            ship: lockgate_model::Ship::default(),
            hooks: lockgate_model::Hooks::default(),
        }
    }

    struct World {
        dir: tempfile::TempDir,
        host: Arc<Counting>,
        compose: Compose,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let host = Arc::new(Counting { local: Local::new(), asked: AtomicUsize::new(0) });
            let layout = Template::new(format!("{}/{{slot}}", dir.path().display())).unwrap();
            let compose = Compose::new(ComposeOptions {
                host: host.clone(),
                project: ProjectName::new("p").unwrap(),
                environment: EnvironmentName::new("prod").unwrap(),
                service: service(),
                slots: Strategy::BlueGreen.slots(),
                runtime: ComposeRuntime {
                    layout: ComposeLayout::Folders(layout),
                    service: None,
                    project: None,
                    docker_host: None,
                },
                disk_free_mib: 0,
            });
            let world = Self { dir, host, compose };
            world.write("blue", "docker-compose.yml", "services: { web: { image: 'web:${TAG}' } }");
            world.write("green", "docker-compose.yml", "services: { web: { image: 'web:${TAG}' } }");
            world
        }

        fn write(&self, slot: &str, name: &str, text: &str) {
            std::fs::create_dir_all(self.dir.path().join(slot)).unwrap();
            std::fs::write(self.dir.path().join(slot).join(name), text).unwrap();
        }

        /// Asks for conflicts and tells how often Compose was asked for that.
        async fn asked(&self) -> usize {
            let before = self.host.asked.load(Ordering::Relaxed);
            assert_eq!(self.compose.conflicts().await.unwrap(), Vec::<String>::new());
            self.host.asked.load(Ordering::Relaxed) - before
        }
    }

    #[tokio::test]
    async fn compose_is_asked_once_about_the_same_files() {
        let world = World::new();
        assert_eq!(world.asked().await, 2);
        assert_eq!(world.asked().await, 0);
    }

    #[tokio::test]
    async fn whatever_may_change_the_answer_has_compose_asked_again() {
        let world = World::new();
        world.asked().await;
        for (slot, name, text) in [
            ("green", "docker-compose.yml", "services: { web: { image: 'web:${TAG}', ports: ['80:80'] } }"),
            ("green", "docker-compose.override.yml", "services: { web: { container_name: web } }"),
            ("blue", ".env", "PORT=80"),
        ] {
            world.write(slot, name, text);
            assert_eq!((world.asked().await, world.asked().await), (2, 0), "{slot}/{name}");
        }
    }

    #[tokio::test]
    async fn files_that_take_in_others_are_asked_about_every_time() {
        let world = World::new();
        world.write(
            "blue",
            "docker-compose.yml",
            "services: { web: { extends: { file: base.yml, service: web } } }",
        );
        assert_eq!((world.asked().await, world.asked().await), (2, 2));
    }

    #[test]
    fn variables_are_found_in_every_form() {
        let text = b"a: $A\nb: ${B:-${C}}\nd: $$D\ne: ${E?no}";
        let names = variables(&[text]).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["A", "B", "C", "D", "E"]);
        assert_eq!(variables(&[b"include: [x.yml]"]), None);
    }
}
