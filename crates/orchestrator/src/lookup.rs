//! Names that somebody typed, found in the project.

use lockgate_model::{Environment, EnvironmentName, HostId, Project, Refusal, Service, ServiceName};

/// The environment asked for, else the only one that is deployed to.
///
/// # Errors
/// `Usage`, with those that there are.
pub fn environment<'p>(project: &'p Project, asked: Option<&str>) -> Result<&'p Environment, Refusal> {
    if let Some(asked) = asked {
        let found = EnvironmentName::new(asked).ok().and_then(|name| project.environment(&name));
        return found.ok_or_else(|| {
            let all: Vec<&Environment> = project.environments.iter().collect();
            Refusal::usage(
                format!("there is no environment {asked:?}"),
                format!("there are: {}", names(&all)),
            )
        });
    }
    match deployed(project).as_slice() {
        [only] => Ok(only),
        [] => {
            Err(Refusal::usage("no environment has hosts to deploy to", "give one `hosts`, or a `runtime`"))
        }
        several => Err(Refusal::usage(
            "several environments can be deployed to",
            format!("choose one with --env: {}", names(several)),
        )),
    }
}

/// As [`environment`], of those that are deployed to.
///
/// # Errors
/// As there, and for one that is only checked.
pub fn deployable<'p>(project: &'p Project, asked: Option<&str>) -> Result<&'p Environment, Refusal> {
    let environment = environment(project, asked)?;
    if environment.slots().is_some() {
        return Ok(environment);
    }
    Err(Refusal::usage(
        format!("environment {} is only checked, never deployed to", environment.name),
        match deployed(project).as_slice() {
            [] => "give it `hosts`, or a `runtime`".to_owned(),
            others => format!("choose one with --env: {}", names(others)),
        },
    ))
}

/// # Errors
/// `Usage`, with those that there are.
pub fn service<'p>(project: &'p Project, name: &str) -> Result<&'p Service, Refusal> {
    let found = ServiceName::new(name).ok().and_then(|name| project.services.get(&name));
    found.ok_or_else(|| {
        let names: Vec<String> = project.services.keys().map(ToString::to_string).collect();
        Refusal::usage(format!("there is no service {name:?}"), format!("there are: {}", names.join(", ")))
    })
}

/// The service named, or all.
///
/// # Errors
/// As [`service`].
pub fn services<'p>(project: &'p Project, name: Option<&str>) -> Result<Vec<&'p Service>, Refusal> {
    match name {
        Some(name) => Ok(vec![service(project, name)?]),
        None => Ok(project.services.values().collect()),
    }
}

/// The hosts named, as the environment names them and in its order; all where none is named.
///
/// # Errors
/// `Usage` for one that it does not have.
pub fn hosts<'n>(
    environment: &Environment,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<HostId>, Refusal> {
    let hosts = environment.hosts();
    let mut named: Vec<&HostId> = Vec::new();
    for name in names {
        let found = hosts.iter().find(|host| host.as_str() == name);
        named.push(found.ok_or_else(|| {
            let there: Vec<&str> = hosts.iter().map(HostId::as_str).collect();
            Refusal::usage(
                format!("{} has no host {name:?}", environment.name),
                format!("there are: {}", there.join(", ")),
            )
        })?);
    }
    Ok(hosts.iter().filter(|host| named.is_empty() || named.contains(host)).cloned().collect())
}

/// The hosts that are to be left out, as the environment names them.
///
/// # Errors
/// `Usage` for one that it does not have, and where none would be left.
pub fn skipped<'n>(
    environment: &Environment,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<HostId>, Refusal> {
    let hosts = environment.hosts();
    let listed = |hosts: &[HostId]| hosts.iter().map(HostId::as_str).collect::<Vec<_>>().join(", ");
    let there_are = || format!("there are: {}", listed(hosts));
    let mut skipped: Vec<HostId> = Vec::new();
    for name in names {
        let host = hosts.iter().find(|host| host.as_str() == name).ok_or_else(|| {
            Refusal::usage(
                format!("{} has no host {name:?} that could be left out", environment.name),
                there_are(),
            )
        })?;
        if !skipped.contains(host) {
            skipped.push(host.clone());
        }
    }
    if !hosts.is_empty() && skipped.len() == hosts.len() {
        let message = format!("without {} no host of {} is left", listed(&skipped), environment.name);
        return Err(Refusal::usage(message, there_are()));
    }
    Ok(skipped)
}

fn deployed(project: &Project) -> Vec<&Environment> {
    project.environments.iter().filter(|one| one.slots().is_some()).collect()
}

fn names(environments: &[&Environment]) -> String {
    environments.iter().map(|environment| environment.name.to_string()).collect::<Vec<_>>().join(", ")
}
