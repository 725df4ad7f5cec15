//! All that a deployment will need, looked at on every host, and what is out of order now; each with how to mend it.
//!
//! Hosts are looked at side by side, and told in the configuration's order. Changes nothing.

mod home;
mod live;
mod trouble;

use async_trait::async_trait;
use futures_util::future::{FutureExt, join_all};
use lockgate_model::{EnvironmentName, HostId, Mask, Refusal, ServiceName};
use lockgate_ports::{Check, CheckState, HostPorts};

use crate::session::{Session, Tools};
use crate::{Examined, Site, StateFiles, Teller};

/// What a project has beside its hosts. Its drivers are known to the composition root alone.
#[async_trait]
pub trait Beside: Send + Sync {
    /// Why the store would not be used, or that a server answers; `None` for a file that would be used. Makes and changes
    /// nothing.
    async fn store(&self) -> Option<Check>;

    /// The registries that the configuration has logins for, each with its login.
    async fn registries(&self) -> Vec<Check>;

    /// What `lockgate setup` would make on the host, which answers; empty where the environment says nothing of what its hosts
    /// need. Makes and changes nothing.
    async fn set_up(&self, environment: &EnvironmentName, host: &HostId) -> Vec<Check>;
}

/// What is looked at beside the hosts.
pub(crate) struct Around<'a> {
    pub(crate) state_files: Option<&'a StateFiles>,
    pub(crate) beside: Option<&'a dyn Beside>,
    pub(crate) teller: &'a Teller,
}

/// `sites` are those of the services that are asked for, in one environment.
///
/// # Errors
/// Gates that cannot be filled in.
pub(crate) async fn examine(
    sites: &[Site],
    around: &Around<'_>,
    tools: &Tools,
) -> Result<Vec<Examined>, Refusal> {
    let Some(first) = sites.first() else { return Ok(Vec::new()) };
    let gates = gates(first, sites).await?;
    let here = here(sites, around);
    let hosts = first.hosts.iter().map(|ports| host(sites, ports, around.beside, tools).boxed());
    let (here, hosts) = tokio::join!(here, join_all(hosts.collect::<Vec<_>>()));
    let mut all: Vec<Examined> = [("gates", gates)]
        .into_iter()
        .chain(here)
        .filter_map(|(title, checks)| {
            (!checks.is_empty()).then(|| examined(first, &HostId::local(), None, title, checks))
        })
        .collect();
    all.extend(hosts.into_iter().flatten());
    let mask = Mask::of(sites.iter().flat_map(|site| site.service.env.values().chain(&site.secrets)));
    all.iter_mut().for_each(|one| one.mask(&mask));
    Ok(all)
}

fn examined(
    site: &Site,
    host: &HostId,
    service: Option<&ServiceName>,
    title: &str,
    checks: Vec<Check>,
) -> Examined {
    Examined {
        environment: site.environment.name.clone(),
        host: host.clone(),
        service: service.cloned(),
        title: title.to_owned(),
        checks,
    }
}

/// What the gates of any of the services need, each thing once. An environment without hosts is said to be one, for nothing
/// else of it is looked at.
async fn gates(first: &Site, sites: &[Site]) -> Result<Vec<Check>, Refusal> {
    let mut checks = Vec::new();
    for site in sites {
        for check in site.check_gates().await.map_err(Refusal::from)? {
            if !checks.contains(&check) {
                checks.push(check);
            }
        }
    }
    if first.environment.slots().is_none() {
        let name = &first.environment.name;
        let seen = match checks.is_empty() {
            true => format!("{name} has neither hosts nor a url nor gates: there is nothing to look at"),
            false => format!("{name} is only checked, never deployed to: there are no hosts to look at"),
        };
        checks.insert(0, Check::ok("environment", seen));
    }
    Ok(checks)
}

/// What is beside the hosts, on this machine and from here.
async fn here(sites: &[Site], around: &Around<'_>) -> [(&'static str, Vec<Check>); 3] {
    let store = async {
        match around.beside {
            Some(beside) => beside.store().await,
            None => None,
        }
    };
    let registries = async {
        match around.beside {
            Some(beside) => beside.registries().await,
            None => Vec::new(),
        }
    };
    let state_files = async {
        let Some(files) = around.state_files else { return Vec::new() };
        let checks = sites.iter().map(|site| files.check(&site.service.name, &site.environment.name));
        join_all(checks).await
    };
    let (store, state_files, registries, told) =
        tokio::join!(store, state_files, registries, around.teller.check());
    let folder = store.into_iter().chain(state_files).collect();
    [("this folder", folder), ("registries", registries), ("notifications", told)]
}

/// The host itself, and where that is well each service on it.
async fn host(
    sites: &[Site],
    ports: &HostPorts,
    beside: Option<&dyn Beside>,
    tools: &Tools,
) -> Vec<Examined> {
    let Some(first) = sites.first() else { return Vec::new() };
    let mut checks = ports.host.check().await;
    let is_well = checks.iter().all(|check| check.state != CheckState::Bad);
    if let Some(beside) = beside.filter(|_| is_well) {
        checks.extend(beside.set_up(&first.environment.name, &ports.id).await);
    }
    let mut all = vec![examined(first, &ports.id, None, "", checks)];
    if is_well {
        let services = sites.iter().map(|site| service(site, &ports.id, tools).boxed());
        all.extend(join_all(services.collect::<Vec<_>>()).await.into_iter().flatten());
    }
    all
}

/// One service on one host.
async fn service(site: &Site, host: &HostId, tools: &Tools) -> Option<Examined> {
    let ports = site.hosts.iter().find(|ports| ports.id == *host)?;
    let alone = Site { hosts: vec![ports.clone()], ..site.clone() };
    // Only looks: no run is begun by that name.
    let session = Session::new(&alone, tools, (tools.new_run)());
    let (runtime, router, home, looked) = tokio::join!(
        ports.runtime.check(),
        ports.router.check(),
        home::check(ports),
        session.status_closely()
    );
    let mut checks = runtime;
    let seen = looked.status.observed.hosts.get(host);
    let beside = seen.filter(|seen| seen.router.direct.is_some()).and_then(|seen| seen.router.target);
    checks.extend(match beside {
        Some(slot) => ports.router.check_beside(slot).await,
        None => router,
    });
    checks.push(home);
    checks.push(live::check(site, host, &looked.status));
    checks.extend(live::unfinished(site, host, &looked.status));
    checks.extend(trouble::checks(site, ports, &looked).await);
    let name = &site.service.name;
    Some(examined(site, host, Some(name), name.as_str(), checks))
}
