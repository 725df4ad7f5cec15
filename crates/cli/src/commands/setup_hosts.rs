//! `setup`: what the hosts need before their first deployment is looked at, shown, waited for and made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use lockgate_model::{
    Environment, Failure, HostId, HostSetUp, HostSetupLine, SetupHeadway, SetupItem, SetupKind, SetupLine,
    SetupState,
};
use lockgate_orchestrator::lookup;
use lockgate_ports::{Host, PortError};
use lockgate_provision::{HostPlan, Told, Wanted, look, make, ready};
use lockgate_render::{set_up_text, setup_headway_text, setup_text};
use tokio::time::Instant;

use super::Context;
use crate::args::{Format, Setup};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::setup::HostsWant;

/// A wait is told again after this time.
const TOLD_AGAIN_MILLIS: u64 = 10_000;

pub async fn run(context: &Context<'_>, args: &Setup) -> Result<Exit, CliError> {
    let environment = context.deployable()?;
    let sites = sites(context, environment, args)?;
    let began = Instant::now();
    let looks = looks(&sites).await;
    show(context.output, &sites, &looks);
    let hopeless = hopeless(&sites, &looks);
    let is_done = looks.iter().all(|look| look.as_ref().is_ok_and(HostPlan::is_done));
    let ends = if !hopeless.is_empty() {
        // Nothing is begun anywhere.
        let failed = |(id, error): (&HostId, PortError)| end(id, Err(error));
        hopeless.into_iter().map(failed).collect()
    } else if args.dry_run {
        // One that is still booting was not seen, which is no plan.
        let each = sites.iter().zip(looks);
        each.map(|(site, look)| end(site.host.id(), look.map(|_| 0))).collect()
    } else {
        set_up(&sites, looks, began, context.output).await
    };
    Ok(tell(context.output, environment, ends, args.dry_run && !is_done))
}

/// What the hosts of an environment need before a deployment that is about to be begun.
pub struct BeforeDeployment {
    sites: Vec<Site>,
}

impl BeforeDeployment {
    /// Reads this machine's files and asks no host. `None` where the environment says nothing of what its hosts need.
    ///
    /// # Errors
    /// A usage error, as of `setup`.
    pub fn of(
        context: &Context<'_>,
        environment: &Environment,
        skipped: &[HostId],
    ) -> Result<Option<Self>, CliError> {
        let Some(slots) = environment.slots() else { return Ok(None) };
        let Some(setup) = slots.setup.as_deref() else { return Ok(None) };
        let wants = HostsWant::new(&context.project, environment, slots, setup);
        let hosts = lookup::hosts(environment, [])?.into_iter().filter(|id| !skipped.contains(id));
        let sites = hosts.map(|id| site(context, &wants, &id)).collect::<Result<_, _>>()?;
        Ok(Some(Self { sites }))
    }

    /// What of the service's own is otherwise on the hosts than it should be: its variables, its Compose file. Empty where nothing
    /// is, and for a host that does not say.
    pub async fn changes(&self) -> Vec<String> {
        let looks = looks(&self.sites).await;
        let each = self.sites.iter().zip(&looks);
        let of = |(site, look): (&Site, &Look)| -> Vec<String> {
            let Ok(plan) = look else { return Vec::new() };
            let is_own = |item: &&SetupItem| {
                matches!(item.kind, SetupKind::Variables | SetupKind::File) && item.state == SetupState::Make
            };
            plan.items.iter().filter(is_own).map(|item| on_host(&item.name, site.host.id())).collect()
        };
        each.flat_map(of).collect()
    }

    /// Waits and makes as `setup` does, and tells what is made. Where all is there nothing is said.
    ///
    /// # Errors
    /// Of the first host that cannot be made ready. What was made stays, and the next time goes on from there.
    pub async fn make(&self, output: &Output) -> Result<(), Failure> {
        let began = Instant::now();
        let looks = looks(&self.sites).await;
        if let Some((id, error)) = hopeless(&self.sites, &looks).into_iter().next() {
            return Err(Failure::from(error).at(id));
        }
        let ends = set_up(&self.sites, looks, began, output).await;
        ends.into_iter().find_map(|host| host.failure).map_or(Ok(()), Err)
    }
}

fn on_host(name: &str, host: &HostId) -> String {
    match host.is_local() {
        true => name.to_owned(),
        false => format!("{name} on {host}"),
    }
}

type Look = Result<HostPlan, PortError>;

async fn looks(sites: &[Site]) -> Vec<Look> {
    join_all(sites.iter().map(|site| look(site.host.as_ref(), &site.wanted))).await
}

/// Hosts on which something cannot be made, and why.
fn hopeless<'a>(sites: &'a [Site], looks: &[Look]) -> Vec<(&'a HostId, PortError)> {
    let each = sites.iter().zip(looks);
    each.filter_map(|(site, look)| Some((site.host.id(), site.hopeless(look)?))).collect()
}

async fn set_up(sites: &[Site], looks: Vec<Look>, began: Instant, output: &Output) -> Vec<HostSetUp> {
    let told = Progress { output, waits: Mutex::default() };
    join_all(sites.iter().zip(looks).map(|(site, look)| site.set_up(look, began, &told))).await
}

/// One host, and what it needs.
struct Site {
    host: Arc<dyn Host>,
    wanted: Wanted,
}

fn sites(context: &Context<'_>, environment: &Environment, args: &Setup) -> Result<Vec<Site>, CliError> {
    let (named, overwrite_env) = (&args.hosts, args.overwrite_env);
    let nothing = || {
        CliError::usage(
            format!("{} says nothing of what its hosts need", environment.name),
            "add `setup: {}` to it, with `wait_for`, `docker: install` or `folders`, or `upload: docker-compose.yml` to its `compose`",
        )
    };
    let slots = environment.slots().ok_or_else(nothing)?;
    let setup = slots.setup.as_deref().ok_or_else(nothing)?;
    let hosts = lookup::hosts(environment, named.iter().map(String::as_str))?;
    let mut wants = HostsWant::new(&context.project, environment, slots, setup);
    wants.overwrite_env = overwrite_env;
    hosts.iter().map(|id| site(context, &wants, id)).collect()
}

fn site(context: &Context<'_>, wants: &HostsWant<'_>, id: &HostId) -> Result<Site, CliError> {
    Ok(Site { host: context.wires.host(id), wanted: wants.on(&context.wires, id)? })
}

impl Site {
    /// Why nothing need be begun: it cannot be asked, or one thing cannot be made. `None` too for one that is waited for.
    fn hopeless(&self, look: &Look) -> Option<PortError> {
        match look {
            Ok(plan) => plan.require().err(),
            Err(error) if error.is_silence() && self.wanted.wait_for.is_some() => None,
            Err(error) => Some(error.clone()),
        }
    }

    async fn set_up(&self, look: Look, began: Instant, told: &Progress<'_>) -> HostSetUp {
        let host = self.host.as_ref();
        let made = async {
            let plan = match look {
                Ok(plan) if !plan.waits() => plan,
                Ok(_) | Err(_) => ready(host, &self.wanted, began, told).await?,
            };
            make(host, &self.wanted, &plan, told).await
        };
        end(host.id(), made.await)
    }
}

fn end(host: &HostId, made: Result<usize, PortError>) -> HostSetUp {
    let (made, failure) = match made {
        Ok(made) => (made, None),
        Err(error) => (0, Some(Failure::from(error).at(host))),
    };
    HostSetUp { host: host.clone(), made, failure }
}

fn show(output: &Output, sites: &[Site], looks: &[Look]) {
    let line = |(site, look): (&Site, &Look)| {
        let (items, failure): (Vec<SetupItem>, _) = match look {
            Ok(plan) => (plan.items.clone(), None),
            Err(error) => (Vec::new(), Some(Failure::from(error.clone()).at(site.host.id()))),
        };
        HostSetupLine { event: "plan".to_owned(), host: site.host.id().clone(), items, failure }
    };
    let lines: Vec<HostSetupLine> = sites.iter().zip(looks).map(line).collect();
    match output.format {
        Format::Json => lines.iter().for_each(|line| output.json(line)),
        Format::Text => output.text(&setup_text(&lines, output.paint)),
    }
}

/// `is_plan`: there is something to do, and it was not done.
fn tell(output: &Output, environment: &Environment, hosts: Vec<HostSetUp>, is_plan: bool) -> Exit {
    let failures = || hosts.iter().filter_map(|host| host.failure.clone());
    for failure in failures() {
        output.error(&CliError::from(failure));
    }
    let exit = if failures().next().is_some() { Exit::Failed } else { Exit::Succeeded };
    match output.format {
        Format::Json => output.json(&SetupLine {
            event: "result".to_owned(),
            environment: environment.name.clone(),
            hosts,
            exit: exit.code(),
        }),
        Format::Text if is_plan => {}
        Format::Text => set_up_text(&hosts).iter().for_each(|text| output.text(text)),
    }
    exit
}

/// Tells what is made, and from time to time what is waited for.
struct Progress<'a> {
    output: &'a Output,
    /// When each host's wait was told last, and what of it.
    waits: Mutex<BTreeMap<HostId, (u64, String)>>,
}

impl Progress<'_> {
    fn is_worth_telling(&self, headway: &SetupHeadway) -> bool {
        let SetupHeadway::Waits { host, why, waited_millis, .. } = headway else { return true };
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |(at, told): &(u64, String)| *at + TOLD_AGAIN_MILLIS <= *waited_millis || told != why;
        let is_new = waits.get(host).is_none_or(is_old);
        if is_new {
            waits.insert(host.clone(), (*waited_millis, why.clone()));
        }
        is_new
    }
}

impl Told for Progress<'_> {
    fn headway(&self, headway: &SetupHeadway) {
        if !self.is_worth_telling(headway) {
            return;
        }
        match self.output.format {
            Format::Json => self.output.json(headway),
            Format::Text => self.output.say(&setup_headway_text(headway)),
        }
    }
}
