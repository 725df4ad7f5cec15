//! What the units are made from.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lockgate_model::{
    ComposeLayout, HostId, ListenAt, Project, Router, Runtime, SlotDelivery, StateLocation, Template,
};

use crate::error::CliError;
use crate::wiring;

/// Ports below need a capability.
const OPEN_PORTS_FROM: u16 = 1024;
/// Docker's own group, whose members may use its socket.
const DOCKER_GROUP: &str = "docker";

/// One project's daemon on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Of the project.
    pub project: String,
    /// This executable.
    pub program: String,
    /// Of lockgate.yaml, absolute.
    pub config: String,
    /// The folder of lockgate.yaml.
    pub root: String,
    /// To whom lockgate.yaml belongs: the daemon acts as that user, so that what it writes is theirs as what their own commands do.
    pub user: String,
    /// The group that lets this user use Docker; `None` for root, and where no container is run here.
    pub group: Option<String>,
    pub listen: Vec<ListenAt>,
    /// Folders that it writes to, none within another.
    pub writes: Vec<String>,
    /// Whether containers are run on this machine.
    pub runs_containers: bool,
    /// What it starts that outlives it.
    pub starts: Starts,
}

/// What a daemon starts by itself, as children of its own, beside containers, which are the engine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Starts {
    /// Nothing.
    Nothing,
    /// The built-in proxy. `low_port`: it listens below 1024.
    Proxy { low_port: bool },
    /// Services of the runtime `process`, which would have each of the daemon's walls around them.
    Programs,
}

impl Daemon {
    /// # Errors
    /// A usage error where nothing is served, or where a path cannot stand in a unit.
    pub fn of(project: &Project, config: &Path) -> Result<Self, CliError> {
        let Some(serve) = &project.serve else {
            return Err(CliError::usage(
                "lockgate.yaml has no `serve`, so there is nothing that a daemon would do",
                "add one: `serve: { listen: 0.0.0.0:8443, tls: { cert: …, key: … }, endpoints: { /deploy: { environment: prod, \
                 secrets: [\"${WEBHOOK_SECRET}\"] } } }`",
            ));
        };
        if let Some(any) = serve.listen.iter().find(|at| matches!(at, ListenAt::Tcp(at) if at.port() == 0)) {
            return Err(CliError::usage(
                format!("`serve.listen` is {any}: port 0 is another one at each start"),
                "name the port: `listen: 127.0.0.1:8443`",
            ));
        }
        let uid = std::fs::metadata(config)?.uid();
        let user = lockgate_own::user_name(uid).unwrap_or_else(|| uid.to_string());
        let here: Vec<&SlotDelivery> = project
            .environments
            .iter()
            .filter_map(|one| one.slots())
            .filter(|slots| slots.hosts.iter().any(HostId::is_local))
            .collect();
        let runs_containers = here.iter().any(|slots| matches!(slots.runtime, Runtime::Compose(_)));
        let wants_group = runs_containers && uid != 0 && has_group(DOCKER_GROUP);
        Ok(Self {
            project: project.name.to_string(),
            program: plain(wiring::this_program()?)?,
            config: plain(config.to_string_lossy().into_owned())?,
            root: plain(project.root.to_string_lossy().into_owned())?,
            user,
            group: wants_group.then(|| DOCKER_GROUP.to_owned()),
            listen: serve.listen.clone(),
            writes: writes(project, &here).into_iter().map(plain).collect::<Result<_, _>>()?,
            runs_containers,
            starts: here.iter().map(|slots| starts(slots)).max().unwrap_or(Starts::Nothing),
        })
    }

    /// Of both units, without their ending.
    pub fn unit(&self) -> String {
        format!("lockgate-{}", self.project)
    }

    /// What somebody types to have the same without systemd.
    pub fn command(&self) -> String {
        shell_words::join([&self.program, "-c", &self.config, "serve"])
    }
}

fn starts(slots: &SlotDelivery) -> Starts {
    if matches!(slots.runtime, Runtime::Process(_)) {
        return Starts::Programs;
    }
    match &slots.router {
        Router::Builtin(router) => {
            let port = router.listen.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            Starts::Proxy { low_port: port.is_some_and(|port| port < OPEN_PORTS_FROM) }
        }
        Router::Caddy(_) | Router::Nginx(_) | Router::None => Starts::Nothing,
    }
}

/// A unit is made of lines, and so is a command.
fn plain(path: String) -> Result<String, CliError> {
    match path.chars().any(char::is_control) {
        false => Ok(path),
        true => Err(CliError::usage(
            format!("{path:?} cannot stand in a unit of systemd"),
            "give the folder a name without line breaks",
        )),
    }
}

fn has_group(name: &str) -> bool {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    groups.lines().any(|line| line.split(':').next() == Some(name))
}

/// Where Lockgate keeps its state: the project's own folder, those of Compose files, and those that the configuration names.
fn writes(project: &Project, here: &[&SlotDelivery]) -> Vec<String> {
    let mut folders = vec![project.root.clone()];
    let mut add = |path: &Path| folders.push(project.root.join(path));
    for slots in here {
        match &slots.runtime {
            Runtime::Compose(compose) => match &compose.layout {
                ComposeLayout::Folders(dir) => add(&fixed(dir)),
                ComposeLayout::File(file) => add(&above(&fixed(file))),
            },
            Runtime::Process(process) => process.dir.iter().for_each(|dir| add(&fixed(dir))),
        }
        if let Router::Builtin(router) = &slots.router {
            router.dir.iter().for_each(|dir| add(&fixed(dir)));
        }
    }
    if let StateLocation::File(file) = &project.state {
        add(&above(file));
    }
    project.state_dir.iter().for_each(|dir| add(&fixed(dir)));
    outermost(folders)
}

/// As far as it is the same for all services and slots.
fn fixed(template: &Template) -> PathBuf {
    match template.as_str().split_once('{') {
        None => PathBuf::from(template.as_str()),
        Some((before, _)) => match before.rsplit_once('/') {
            Some(("", _)) => PathBuf::from("/"),
            Some((folder, _)) => PathBuf::from(folder),
            None => PathBuf::from("."),
        },
    }
}

fn above(path: &Path) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}

/// Without those that are within another, in the order of the alphabet.
fn outermost(folders: Vec<PathBuf>) -> Vec<String> {
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| folder.components().collect()).collect();
    folders.sort();
    let mut kept: Vec<PathBuf> = Vec::new();
    for folder in folders {
        if !kept.iter().any(|outer| folder.starts_with(outer)) {
            kept.push(folder);
        }
    }
    kept.iter().map(|folder| folder.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_far_as_they_are_the_same_and_once() {
        let fixed = |text: &str| fixed(&Template::new(text).unwrap()).display().to_string();
        assert_eq!(fixed("/srv/apps/{service}/{slot}"), "/srv/apps");
        assert_eq!(fixed("/srv/app-{service}"), "/srv");
        assert_eq!(fixed("/{service}"), "/");
        assert_eq!(fixed("{service}/x"), ".");
        assert_eq!(fixed("/srv/kelvin"), "/srv/kelvin");
        let folders = ["/srv/kelvin", "/srv/kelvin/.", "/srv/kelvin/.lockgate", "/srv/kelvin2", "/opt/x"];
        assert_eq!(
            outermost(folders.iter().map(PathBuf::from).collect()),
            ["/opt/x", "/srv/kelvin", "/srv/kelvin2"]
        );
    }
}
