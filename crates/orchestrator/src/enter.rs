//! A person's own program where a service's app runs, with the person's terminal.

use lockgate_model::{Failure, FailureKind, HostId, Release, Slot};
use lockgate_perform::glimpse;
use lockgate_ports::HostPorts;

use crate::Site;

/// What is to be run, and where.
#[derive(Debug, Clone)]
pub struct Entering {
    /// `None`: the first host of the environment.
    pub host: Option<HostId>,
    /// Program and arguments. Not empty. No shell reads them on the way.
    pub argv: Vec<String>,
    /// By itself, beside what the slots hold, in the release that went live last; else in the live slot.
    pub is_new: bool,
    /// It has a terminal.
    pub is_tty: bool,
}

/// Runs it with this process's own standard input, output and error, to its end. Its exit code.
///
/// # Errors
/// What kept it from being run: another code than 0 is none.
pub async fn enter(site: &Site, entering: &Entering) -> Result<i32, Failure> {
    let Entering { host, argv, is_new, is_tty } = entering;
    let ports = chosen(site, host.as_ref())?;
    let (seen, _) = glimpse(ports).await?;
    let service = &site.service.name;
    let live = seen.live().and_then(|(slot, live)| Some((slot, live.release.clone()?)));
    let (slot, release) = match is_new {
        false => {
            let Some((slot, _)) = seen.live() else {
                let message = format!("nothing of {service} is live on {}", ports.id);
                return Err(Failure::new(FailureKind::NotFound, message).at(&ports.id).hint(
                    "`lockgate status` says what is there; `--new` runs it by itself, beside what is live",
                ));
            };
            (slot, None)
        }
        true => newest(&seen, live).map(|(slot, release)| (slot, Some(release))).ok_or_else(|| {
            let message = format!("no release of {service} has been live on {}", ports.id);
            Failure::new(FailureKind::NotFound, message).at(&ports.id).hint("deploy one first")
        })?,
    };
    let command = match &release {
        None => ports.runtime.entering(slot, argv, *is_tty).await,
        Some(release) => ports.runtime.beside(slot, release, argv, *is_tty).await,
    };
    let command = command.map_err(|error| Failure::from(error).at(&ports.id).slot(slot))?;
    ports.host.attach(&command, *is_tty).await.map_err(|error| Failure::from(error).at(&ports.id))
}

fn chosen<'s>(site: &'s Site, host: Option<&HostId>) -> Result<&'s HostPorts, Failure> {
    let environment = &site.environment.name;
    let found = match host {
        None => site.hosts.first(),
        Some(host) => site.hosts.iter().find(|ports| ports.id == *host),
    };
    found.ok_or_else(|| match host {
        None => {
            let message = format!("environment {environment} has no hosts");
            Failure::new(FailureKind::Refused, message).hint("choose another with --env")
        }
        Some(host) => {
            let known: Vec<&str> = site.hosts.iter().map(|ports| ports.id.as_str()).collect();
            let message = format!("environment {environment} has no host {host}");
            Failure::new(FailureKind::NotFound, message).hint(format!("it has {}", known.join(", ")))
        }
    })
}

/// What went live last, and in whose place.
fn newest(seen: &lockgate_model::HostObserved, live: Option<(Slot, Release)>) -> Option<(Slot, Release)> {
    if live.is_some() {
        return live;
    }
    Some((seen.should_be_live()?, seen.last_live()?.clone()))
}
