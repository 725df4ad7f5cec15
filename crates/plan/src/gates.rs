//! Fills in what a gate leaves open: its URL and its paths.

use lockgate_model::{
    Environment, Failure, FailureKind, Gate, GateKind, GateTarget, HostId, Project, Service,
};

/// Gates with their targets resolved to a URL, or to `Here` when the environment has none and every host's router is
/// asked instead.
///
/// # Errors
/// `Refused` when a gate looks at an environment without a URL.
pub fn resolve(
    project: &Project,
    service: &Service,
    environment: &Environment,
    gates: &[Gate],
) -> Result<Vec<Gate>, Failure> {
    gates.iter().map(|gate| resolve_one(project, service, environment, gate)).collect()
}

fn resolve_one(
    project: &Project,
    service: &Service,
    here: &Environment,
    gate: &Gate,
) -> Result<Gate, Failure> {
    let mut gate = gate.clone();
    if let GateKind::Http(http) = &mut gate.kind {
        http.target = match &http.target {
            GateTarget::Url(url) => GateTarget::Url(url.clone()),
            GateTarget::Hosts(hosts) => GateTarget::Hosts(hosts.clone()),
            GateTarget::Here => url_of(service, here).map_or(GateTarget::Here, GateTarget::Url),
            GateTarget::Environment(name) => {
                let url = project.environment(name).and_then(|environment| url_of(service, environment));
                GateTarget::Url(url.ok_or_else(|| {
                    Failure::new(
                        FailureKind::Refused,
                        format!("gate {:?} looks at environment {name}, which has no url", gate.name),
                    )
                    .hint(format!("set environments.{name}.url in lockgate.yaml"))
                })?)
            }
        };
        if http.paths.is_empty() {
            http.paths.push(service.health.path.clone());
            http.paths
                .extend(service.critical_paths.iter().filter(|path| **path != service.health.path).cloned());
        }
    }
    Ok(gate)
}

/// Gates that look here look only at `hosts`, those that have the release by then: the others cannot tell about it.
pub(crate) fn only_on(hosts: &[HostId], gates: &[Gate]) -> Vec<Gate> {
    let narrowed = |gate: &Gate| {
        let mut gate = gate.clone();
        if let GateKind::Http(http) = &mut gate.kind
            && http.target == GateTarget::Here
        {
            http.target = GateTarget::Hosts(hosts.to_vec());
        }
        gate
    };
    gates.iter().map(narrowed).collect()
}

fn url_of(service: &Service, environment: &Environment) -> Option<String> {
    service.urls.get(&environment.name).or(environment.url.as_ref()).cloned()
}
