//! Concrete drivers for a service in an environment: the composition root.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_builtin::{Builtin, BuiltinOptions, Proxies};
use lockgate_caddy::{CaddyOptions, EitherSwitch, FileOptions};
use lockgate_compose::{Compose, ComposeOptions};
use lockgate_http::HttpProber;
use lockgate_local::{Local, LocalRunner};
use lockgate_model::{
    BuiltinRouter, CaddyRouter, ComposeLayout, Environment, Failure, GateKind, HostId, Monitor, NginxRouter,
    NginxSwitch, Project, Refusal, Router, Runtime, Secret, Service, Slot, SlotDelivery, Strategy, Template,
    Vars,
};
use lockgate_nginx::{Nginx, NginxOptions};
use lockgate_orchestrator::{Site, Wiring};
use lockgate_ports::{
    CommandRunner, Gates, Host, HostPorts, Monitors, NoRouter, Occupants, PortError, Prober, Registry,
};
use lockgate_process::{Process, ProcessOptions};
use lockgate_registry::{RegistryClient, RegistryOptions};
use lockgate_ssh::Ssh;

use crate::secrets;

/// Longest path of a Unix socket (`sun_path` in unix(7) holds 108 bytes with the final zero).
const SOCKET_PATH_MAX: usize = 107;
/// Where state lives on a host that is not this machine, when the configuration names no folder.
const REMOTE_STATE_DIR: &str = "/var/lib/lockgate";

/// One connection per host, however many services are looked at and sessions at work.
#[derive(Default)]
struct Hosts(BTreeMap<HostId, Arc<dyn Host>>);

impl Hosts {
    fn get(&mut self, id: &HostId, project: &Project) -> Arc<dyn Host> {
        let make = || -> Arc<dyn Host> {
            match id.is_local() {
                true => Arc::new(Local::new()),
                false => Arc::new(Ssh::new(id.clone(), &project.ssh)),
            }
        };
        self.0.entry(id.clone()).or_insert_with(make).clone()
    }
}

/// What makes a project's places, with their drivers.
pub struct Wires {
    project: Arc<Project>,
    /// A daemon's sessions share them.
    hosts: Mutex<Hosts>,
}

impl Wires {
    pub fn new(project: Arc<Project>) -> Self {
        Self { project, hosts: Mutex::default() }
    }

    pub fn host(&self, id: &HostId) -> Arc<dyn Host> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(id, &self.project)
    }

    /// The folders of the Compose files on a host, one for each service and slot; none where nothing is run by Compose. Several
    /// services may have one.
    pub fn compose_folders<'a>(
        &'a self,
        environment: &'a Environment,
        id: &HostId,
    ) -> Result<Vec<ComposeFolder<'a>>, Refusal> {
        let Some(slots) = environment.slots() else { return Ok(Vec::new()) };
        let Runtime::Compose(runtime) = &slots.runtime else { return Ok(Vec::new()) };
        let mut folders = Vec::new();
        for service in self.project.services.values() {
            let parts = Parts { project: &self.project, service, environment, slots };
            for slot in slots.strategy.slots().iter().copied() {
                let path = match &runtime.layout {
                    ComposeLayout::Folders(dir) => parts.on_host(id, dir, Some(slot))?,
                    ComposeLayout::File(file) => parent(&parts.on_host(id, file, None)?),
                };
                let path = path.trim_end_matches('/').to_owned();
                folders.push(ComposeFolder { service, slot, path });
            }
        }
        Ok(folders)
    }
}

/// The folder of a slot's Compose file on a host.
pub struct ComposeFolder<'a> {
    pub service: &'a Service,
    pub slot: Slot,
    /// Absolute.
    pub path: String,
}

impl Wiring for Wires {
    fn site(&self, service: &Service, environment: &Environment) -> Result<Site, Refusal> {
        let project = &self.project;
        let ports = match environment.slots() {
            None => Vec::new(),
            Some(slots) => {
                let parts = Parts { project, service, environment, slots };
                let wire = |id| parts.ports(id, self.host(id));
                slots.hosts.iter().map(wire).collect::<Result<Vec<_>, Refusal>>()?
            }
        };
        Ok(Site {
            project: project.clone(),
            service: service.clone(),
            environment: environment.clone(),
            hosts: ports,
            gates: gates(project),
            secrets: secrets::of_project(project),
        })
    }
}

/// The driver of each kind of gate.
fn gates(project: &Project) -> Gates {
    let prober: Arc<dyn Prober> = Arc::new(HttpProber::new(concat!("lockgate/", env!("CARGO_PKG_VERSION"))));
    let runner: Arc<dyn CommandRunner> = Arc::new(LocalRunner { cwd: project.root.clone() });
    Gates::new(move |kind| match kind {
        GateKind::Http(gate) => Arc::new(lockgate_gates::Http::new(gate.clone(), prober.clone())),
        GateKind::Command(gate) => Arc::new(lockgate_gates::Program::new(gate.clone(), runner.clone())),
    })
}

/// The driver of each kind of monitor.
pub fn monitors() -> Monitors {
    let prober: Arc<dyn Prober> = Arc::new(HttpProber::new(concat!("lockgate/", env!("CARGO_PKG_VERSION"))));
    Monitors::new(move |soak| match &soak.monitor {
        Monitor::Prometheus(monitor) => {
            Arc::new(lockgate_prometheus::Prometheus::new(monitor.clone(), prober.clone()))
        }
    })
}

/// Image registries, asked from this machine with the configuration's logins, Docker's, or `GITHUB_TOKEN`.
pub fn registry(project: &Project) -> Arc<dyn Registry> {
    let github_token = std::env::var("GITHUB_TOKEN").ok().filter(|token| !token.trim().is_empty());
    Arc::new(RegistryClient::new(RegistryOptions {
        logins: project.registries.clone(),
        host: Arc::new(Local::new()),
        docker_config: None,
        github_token: github_token.map(Secret::new),
    }))
}

struct Parts<'a> {
    project: &'a Project,
    service: &'a Service,
    environment: &'a Environment,
    slots: &'a SlotDelivery,
}

impl Parts<'_> {
    fn ports(&self, id: &HostId, host: Arc<dyn Host>) -> Result<HostPorts, Refusal> {
        let home = self.home(id)?;
        let runtime: Arc<dyn lockgate_ports::Runtime> = match &self.slots.runtime {
            Runtime::Compose(runtime) => Arc::new(self.compose(id, host.clone(), runtime)?),
            Runtime::Process(_) => Arc::new(Process::new(ProcessOptions {
                host: host.clone(),
                project: self.project.name.clone(),
                environment: self.environment.name.clone(),
                service: self.service.clone(),
                slots: self.slots.strategy.slots(),
                dir: format!("{home}/run"),
                root: self.base(id),
                proxied: self.proxied(),
                occupants: Some(self.occupants(id, host.clone())),
            })),
        };
        let router: Arc<dyn lockgate_ports::Router> = match &self.slots.router {
            Router::None => Arc::new(NoRouter),
            Router::Caddy(router) => Arc::new(self.caddy(id, host.clone(), router)?),
            Router::Nginx(router) => Arc::new(self.nginx(id, host.clone(), router)?),
            Router::Builtin(router) => Arc::new(self.builtin(id, host.clone(), router)?),
        };
        Ok(HostPorts { id: id.clone(), host, runtime, router, home, mask: lockgate_model::Mask::default() })
    }

    /// The service's home, which no other service has: lease, slots and releases in it are this one's. Where the slots'
    /// folders are `blue` and `green`, it is the folder that holds them, as in system A.
    fn home(&self, id: &HostId) -> Result<String, Refusal> {
        let own = |dir: String| format!("{dir}/{}/{}", self.environment.name, self.service.name);
        let beside = |path: String| own(format!("{}/.lockgate", parent(&path)));
        match &self.slots.runtime {
            Runtime::Compose(runtime) => match &runtime.layout {
                ComposeLayout::Folders(dir) => {
                    let first = self.slots.strategy.slots().first().copied();
                    let slot = self.on_host(id, dir, first)?;
                    if self.slots.strategy == Strategy::Recreate && !dir.names("slot") {
                        return Ok(own(format!("{slot}/.lockgate")));
                    }
                    let is_named_by_slot = Path::new(dir.as_str()).ends_with("{slot}");
                    Ok(if is_named_by_slot { parent(&slot) } else { beside(slot) })
                }
                ComposeLayout::File(file) => Ok(beside(self.on_host(id, file, None)?)),
            },
            Runtime::Process(runtime) => match &runtime.dir {
                Some(dir) => Ok(own(self.on_host(id, dir, None)?)),
                None => Ok(own(self.state_dir(id))),
            },
        }
    }

    fn compose(
        &self,
        id: &HostId,
        host: Arc<dyn Host>,
        runtime: &lockgate_model::ComposeRuntime,
    ) -> Result<Compose, Refusal> {
        let occupants = self.occupants(id, host.clone());
        let mut runtime = runtime.clone();
        // Relative paths start at lockgate.yaml's folder; the driver knows hosts only.
        runtime.layout = match &runtime.layout {
            ComposeLayout::Folders(dir) => ComposeLayout::Folders(self.absolute(id, dir)?),
            ComposeLayout::File(file) => ComposeLayout::File(self.absolute(id, file)?),
        };
        Ok(Compose::new(ComposeOptions {
            host,
            project: self.project.name.clone(),
            environment: self.environment.name.clone(),
            service: self.service.clone(),
            slots: self.slots.strategy.slots(),
            runtime,
            disk_free_mib: self.slots.disk_free_mib,
        })
        .dialled(self.dialled()?)
        .unbalanced(self.unbalanced())
        .proxied(self.proxied())
        .occupants(occupants))
    }

    /// Where the built-in proxy listens for the service.
    fn proxied(&self) -> Option<SocketAddr> {
        match &self.slots.router {
            Router::Builtin(router) => router.listen.parse().ok(),
            Router::Caddy(_) | Router::Nginx(_) | Router::None => None,
        }
    }

    /// For a runtime that finds a port taken.
    fn occupants(&self, id: &HostId, host: Arc<dyn Host>) -> Arc<dyn Occupants> {
        Arc::new(Proxies { host, dirs: self.proxy_dirs(id), route_id: self.route_id() })
    }

    /// Folders in which a proxy of this project may run on the host, also one that no environment has any more.
    fn proxy_dirs(&self, id: &HostId) -> Vec<String> {
        let mut dirs = vec![self.default_proxy_dir(id)];
        let routers = self.project.environments.iter().filter_map(|environment| environment.slots());
        for slots in routers.filter(|slots| slots.hosts.contains(id)) {
            let Router::Builtin(BuiltinRouter { dir: Some(dir), .. }) = &slots.router else { continue };
            // One that cannot be filled in is refused where it is used.
            dirs.extend(self.on_host(id, dir, None).ok().filter(|dir| !dirs.contains(dir)));
        }
        dirs
    }

    fn default_proxy_dir(&self, id: &HostId) -> String {
        format!("{}/proxy", self.state_dir(id))
    }

    fn route_id(&self) -> String {
        format!("{}-{}-{}", self.project.name, self.environment.name, self.service.name)
    }

    /// A router that cannot be asked whether each of several containers of a slot answers. A name that resolves to all of
    /// them is dialled at one, then another, and which one answered nobody can say.
    fn unbalanced(&self) -> Option<&'static str> {
        match &self.slots.router {
            Router::Caddy(_) => Some("caddy"),
            Router::Nginx(_) => Some("nginx"),
            Router::Builtin(_) | Router::None => None,
        }
    }

    /// The names by which Caddy or nginx finds the slots; none where it dials addresses.
    fn dialled(&self) -> Result<BTreeMap<Slot, String>, Refusal> {
        let dial = match &self.slots.router {
            Router::Caddy(router) => &router.dial,
            Router::Nginx(router) => &router.dial,
            Router::Builtin(_) | Router::None => return Ok(BTreeMap::new()),
        };
        let mut names = BTreeMap::new();
        for slot in self.slots.strategy.slots().iter().copied() {
            let dial = self.fill(dial, Some(slot))?;
            names.extend(dialled_name(&dial).map(|name| (slot, name.to_owned())));
        }
        // One name for both slots would be no container's.
        let is_told_apart = names.get(&Slot::Blue) != names.get(&Slot::Green);
        Ok(if is_told_apart { names } else { BTreeMap::new() })
    }

    /// What is dialled for each slot.
    fn dials(&self, dial: &Template) -> Result<BTreeMap<Slot, String>, Refusal> {
        let slots = self.slots.strategy.slots().iter().copied();
        slots.map(|slot| Ok((slot, self.fill(dial, Some(slot))?))).collect()
    }

    fn nginx(&self, id: &HostId, host: Arc<dyn Host>, router: &NginxRouter) -> Result<Nginx, Refusal> {
        let fill =
            |template: &Option<Template>| template.as_ref().map(|text| self.fill(text, None)).transpose();
        let name = match router.switch {
            NginxSwitch::File => "green_is_live",
            NginxSwitch::Reload => "nginx_live.conf",
        };
        let marker = format!("{}/{name}", self.home(id)?);
        let options = NginxOptions {
            host,
            service: self.service.name.to_string(),
            switch: router.switch,
            seen_as: fill(&router.marker)?.unwrap_or_else(|| marker.clone()),
            marker,
            dial: self.dials(&router.dial)?,
            config: fill(&router.config)?,
            container: fill(&router.container)?,
            ask: fill(&router.ask)?,
        };
        Nginx::new(options).map_err(|error| Refusal::Usage { failure: error.into() })
    }

    fn caddy(&self, id: &HostId, host: Arc<dyn Host>, router: &CaddyRouter) -> Result<EitherSwitch, Refusal> {
        let dial = self.dials(&router.dial)?;
        let fill =
            |template: &Option<Template>| template.as_ref().map(|text| self.fill(text, None)).transpose();
        let active_color = format!("{}/active_color", self.home(id)?);
        let file = FileOptions {
            switch: router.switch,
            seen_as: fill(&router.active_color)?.unwrap_or_else(|| active_color.clone()),
            active_color,
            config: fill(&router.config)?,
        };
        let options = CaddyOptions {
            host,
            label: format!("{}_{}_{}", self.project.name, self.environment.name, self.service.name),
            admin: router.admin.clone(),
            id: fill(&router.id)?,
            dial,
            ask: fill(&router.ask)?,
            snippet: fill(&router.snippet)?,
        };
        EitherSwitch::new(options, file).map_err(|error| Refusal::Usage { failure: error.into() })
    }

    fn builtin(&self, id: &HostId, host: Arc<dyn Host>, router: &BuiltinRouter) -> Result<Builtin, Refusal> {
        let dir = match &router.dir {
            Some(dir) => self.on_host(id, dir, None)?,
            None => self.default_proxy_dir(id),
        };
        if dir.len() + "/admin.sock".len() > SOCKET_PATH_MAX {
            return Err(Refusal::usage(
                format!("{dir} is too long for the proxy's socket"),
                "set `router.builtin.dir` to a shorter path, such as /run/lockgate",
            ));
        }
        let program = if id.is_local() { this_program()? } else { "lockgate".to_owned() };
        let launch =
            [&program, "proxy", "--supervise", "--dir", &dir, "--listen", &router.listen].map(str::to_owned);
        let hosts = router.hosts.iter().map(|name| self.fill(name, None)).collect::<Result<_, _>>()?;
        Ok(Builtin::new(BuiltinOptions {
            host,
            dir,
            route_id: self.route_id(),
            listen: router.listen.clone(),
            hosts,
            path: router.path.clone(),
            response_timeout: router.response_timeout,
            stall_timeout: router.stall_timeout,
            trusted_proxies: router.trusted_proxies.clone(),
            launch: Some(launch.to_vec()),
        }))
    }

    /// Folder for state that the configuration places nowhere.
    fn state_dir(&self, id: &HostId) -> String {
        match id.is_local() {
            true => path_text(&self.project.root.join(".lockgate")),
            false => format!("{REMOTE_STATE_DIR}/{}", self.project.name),
        }
    }

    /// Where relative paths start on a host.
    fn base(&self, id: &HostId) -> String {
        match id.is_local() {
            true => path_text(&self.project.root),
            false => self.state_dir(id),
        }
    }

    fn absolute(&self, id: &HostId, template: &Template) -> Result<Template, Refusal> {
        Template::new(self.below(id, template.as_str()))
            .map_err(|error| Refusal::usage(error.to_string(), "check the path in lockgate.yaml"))
    }

    fn on_host(&self, id: &HostId, template: &Template, slot: Option<Slot>) -> Result<String, Refusal> {
        Ok(self.below(id, &self.fill(template, slot)?))
    }

    /// Without a `./`, for Docker tells paths without.
    fn below(&self, id: &HostId, path: &str) -> String {
        match Path::new(path).is_absolute() {
            true => path.to_owned(),
            false => format!("{}/{}", self.base(id), path.strip_prefix("./").unwrap_or(path)),
        }
    }

    fn fill(&self, template: &Template, slot: Option<Slot>) -> Result<String, Refusal> {
        let vars = Vars {
            service: Some(&self.service.name),
            environment: Some(&self.environment.name),
            slot,
            port: self.service.port,
            tag: None,
            digest: None,
        };
        template.fill(&vars).map_err(|error| {
            Refusal::usage(
                format!("{:?}: {error}", template.as_str()),
                "use only placeholders that are known there",
            )
        })
    }
}

/// The name in what is dialled: `web-blue` of `web-blue:5000`. `None` for addresses and for this machine.
fn dialled_name(dial: &str) -> Option<&str> {
    let (name, _port) = dial.rsplit_once(':')?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let is_address = name.parse::<std::net::IpAddr>().is_ok() || name == "localhost";
    (is_name && !name.is_empty() && !is_address).then_some(name)
}

/// The path of this executable. After it was replaced by an upgrade, Linux says ` (deleted)` behind the name, and the
/// new one stands at the name.
pub fn this_program() -> Result<String, Refusal> {
    let path: PathBuf = std::env::current_exe().map_err(|error| Failure::from(PortError::from(error)))?;
    let text = path_text(&path);
    Ok(text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned())
}

fn parent(path: &str) -> String {
    Path::new(path).parent().map_or_else(|| "/".to_owned(), path_text)
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
