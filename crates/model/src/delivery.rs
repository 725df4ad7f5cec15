//! An environment, and how it is delivered to: each way owns what it needs, so that nothing half can be written down.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, Gate, HostId, HostSetup, Millis, Schedule, ServiceName, Slot, Soak, Template};

/// From SIGTERM to SIGKILL where neither the configuration nor the slot's own definition says.
pub const STOP_GRACE_DEFAULT: Millis = Millis::from_secs(10);

/// A place a release can be live in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Unique within the project.
    pub name: EnvironmentName,
    /// Where users reach it; gates look here.
    pub url: Option<String>,
    /// Where promotions come from.
    pub from: Option<EnvironmentName>,
    /// Regression: before anything is touched.
    pub before: Vec<Gate>,
    /// How long, and how healthy, a release must have been live in `from` before it is promoted to here. Empty where `from` is
    /// `None`.
    pub soaks: Vec<Soak>,
    /// Smoke: on live traffic, after the switch and before the old slot is stopped.
    pub after: Vec<Gate>,
    /// When which services' releases go live by themselves; a service that is missing is deployed by people alone.
    pub schedules: BTreeMap<ServiceName, Schedule>,
    /// Where its releases go.
    pub delivery: Delivery,
}

impl Environment {
    /// How releases go to slots; `None` for an environment that is only checked.
    #[must_use]
    pub fn slots(&self) -> Option<&SlotDelivery> {
        match &self.delivery {
            Delivery::CheckOnly => None,
            Delivery::Slots(slots) => Some(slots),
        }
    }

    /// As if it did not name these hosts.
    #[must_use]
    pub fn without(&self, hosts: &[HostId]) -> Environment {
        let mut fewer = self.clone();
        if let Delivery::Slots(slots) = &mut fewer.delivery {
            slots.hosts.retain(|host| !hosts.contains(host));
        }
        fewer
    }

    /// The hosts that have slots of this environment; none for one that is only checked.
    #[must_use]
    pub fn hosts(&self) -> &[HostId] {
        self.slots().map_or(&[], |slots| slots.hosts.as_slice())
    }
}

/// Where an environment's releases go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Nowhere: gates look at it, and nothing is ever deployed to it.
    CheckOnly,
    /// To slots on hosts.
    Slots(Box<SlotDelivery>),
}

/// Slots on hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotDelivery {
    /// At least one, none twice.
    pub hosts: Vec<HostId>,
    /// How a release goes live in the slots.
    pub strategy: Strategy,
    /// What runs the slots.
    pub runtime: Runtime,
    /// What sends traffic to the slots.
    pub router: Router,
    /// Which hosts go together, in order. Empty: all at once.
    pub waves: Vec<Wave>,
    /// Longest wait for requests in flight on a slot that lost the traffic.
    pub drain: Millis,
    /// How long the old slot keeps running after a success; zero stops it at once.
    pub keep_warm: Millis,
    /// From SIGTERM to SIGKILL; `None`: what the slot's own definition says (a Compose file's `stop_grace_period`), else
    /// [`STOP_GRACE_DEFAULT`].
    pub stop_grace: Option<Millis>,
    /// Releases whose images stay on a host, at least 2: the live one and the one to roll back to.
    pub keep_releases: u32,
    /// Free space wanted on a host before an image is pulled, in MiB.
    pub disk_free_mib: u64,
    /// What `lockgate setup` makes on the hosts. `None`: they are as they are.
    pub setup: Option<Box<HostSetup>>,
}

/// How a release goes live in slots. Each has its recipe in `plan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Beside each other: the old release serves until the new one does.
    BlueGreen,
    /// In one place: the old release stops before the new one starts.
    Recreate,
}

impl Strategy {
    /// The slots that it uses, in the order in which they are tried.
    #[must_use]
    pub fn slots(self) -> &'static [Slot] {
        match self {
            Strategy::BlueGreen => &[Slot::Blue, Slot::Green],
            Strategy::Recreate => &[Slot::Main],
        }
    }
}

/// As in `lockgate.yaml`.
impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::BlueGreen => "blue-green",
            Strategy::Recreate => "recreate",
        })
    }
}

/// What a hold may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HoldBounds {
    /// Longest that one request waits, and that a hold lasts which nobody asks for again.
    pub time: Millis,
    /// Requests that wait at once; one more is refused.
    pub requests_max: u32,
}

/// What runs a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    /// A service of a Docker Compose project.
    Compose(ComposeRuntime),
    /// A plain process on the host.
    Process(ProcessRuntime),
}

/// How Compose finds a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeRuntime {
    /// Where the Compose files are.
    pub layout: ComposeLayout,
    /// The Compose service within the file; default `{service}` for folders and where there is one slot, `{service}-{slot}`
    /// for one file with two.
    pub service: Option<Template>,
    /// The Compose project name; default `{service}-{slot}` for folders with two slots, else the folder's own.
    pub project: Option<Template>,
    /// Where the hosts' engine is: `unix:///path`, `tcp://host:port` or the path of a socket. `None`: where `docker` on the
    /// host finds it.
    pub docker_host: Option<String>,
}

/// Where the Compose files are: paths on the host, filled in for each slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComposeLayout {
    /// A folder per slot with its own `docker-compose.yml` (system A): `/srv/apps/{service}/{slot}`.
    Folders(Template),
    /// One file that holds the slots' services (systems B and D): `/srv/app/compose.yaml`.
    File(Template),
}

/// How a service runs as a plain process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRuntime {
    /// Where pid files and logs live on the host, in `<environment>/<service>`; default `<root>/.lockgate`.
    pub dir: Option<Template>,
}

/// What sends traffic to slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Router {
    /// Nothing sends requests: a worker, or a service whose users reach its port themselves. What is live is what runs.
    None,
    /// Lockgate's own proxy.
    Builtin(BuiltinRouter),
    /// Caddy 2, by a file that it reads or its admin API.
    Caddy(CaddyRouter),
    /// nginx, by a file that it looks for or by a reload.
    Nginx(NginxRouter),
}

/// A route in Lockgate's own proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltinRouter {
    /// Address the proxy listens on.
    pub listen: String,
    /// Host names that lead to this service; empty: any.
    pub hosts: Vec<Template>,
    /// Path prefix that leads to this service.
    pub path: Option<String>,
    /// How long a slot may take to begin its response; absent: a minute.
    pub response_timeout: Option<Millis>,
    /// How long a request's or a response's body may stand still; absent: a minute.
    pub stall_timeout: Option<Millis>,
    /// Networks of the proxies in front whose `X-Forwarded-*` is passed on.
    pub trusted_proxies: Vec<IpNet>,
    /// Where the proxy's socket and state live on the host; default `<root>/.lockgate/proxy`.
    pub dir: Option<Template>,
}

impl BuiltinRouter {
    /// For any host and path, with the proxy's own bounds.
    pub fn on(listen: impl Into<String>) -> Self {
        Self {
            listen: listen.into(),
            hosts: Vec::new(),
            path: None,
            response_timeout: None,
            stall_timeout: None,
            trusted_proxies: Vec::new(),
            dir: None,
        }
    }
}

/// What is changed when Caddy sends the traffic elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaddySwitch {
    /// Its configuration, through its admin API.
    Admin,
    /// System A's `active_color`, which it reads at each request.
    File,
}

/// A route in a Caddy that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaddyRouter {
    /// What sends the traffic elsewhere; `None`: the file where Caddy's configuration goes by it, else the admin API.
    pub switch: Option<CaddySwitch>,
    /// `active_color` as Caddy sees it; `None`: as the host does.
    pub active_color: Option<Template>,
    /// Path on the host of the Caddyfile (or JSON) that Caddy was started with, looked at where the admin API cannot be asked;
    /// `None`: `/etc/caddy/Caddyfile`.
    pub config: Option<Template>,
    /// Admin API as seen from the host.
    pub admin: String,
    /// `@id` of the object that has `upstreams`; absent: found by its `dial`.
    pub id: Option<Template>,
    /// What Caddy dials for a slot.
    pub dial: Template,
    /// URL on the host for asking through the router; default: found in Caddy's config.
    pub ask: Option<Template>,
    /// A Caddyfile snippet to keep in step, so that a restart with `--config` comes back to the live slot.
    pub snippet: Option<Template>,
}

/// What is changed when nginx sends the traffic elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NginxSwitch {
    /// Whether a file is there, for which it looks at each request.
    #[default]
    File,
    /// A file that its configuration includes, which it then loads anew.
    Reload,
}

/// A route in an nginx that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NginxRouter {
    /// What sends the traffic elsewhere.
    pub switch: NginxSwitch,
    /// What nginx dials for a slot: an upstream group of its configuration, or host and port.
    pub dial: Template,
    /// The file that is the switch, as nginx sees it; `None`: as the host does.
    pub marker: Option<Template>,
    /// Path of the first file of nginx's configuration; `None`: where nginx itself looks for it.
    pub config: Option<Template>,
    /// Name of the container that nginx runs in; `None`: on the host.
    pub container: Option<Template>,
    /// URL on the host for asking through nginx; `None`: found in its configuration.
    pub ask: Option<Template>,
}

/// How many hosts one wave takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wave {
    /// So many hosts, at least 1.
    Hosts(u32),
    /// Of all hosts, rounded up, at least one.
    Percent(u8),
    /// All hosts that are left.
    Rest,
}
