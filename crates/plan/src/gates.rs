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
            // What is not probed by HTTP may not answer at `/`; where there are critical paths, they are enough.
            let health = service.health.http().map(|health| health.path.as_str());
            let first = health.or_else(|| service.critical_paths.is_empty().then_some("/"));
            http.paths.extend(first.map(str::to_owned));
            http.paths
                .extend(service.critical_paths.iter().filter(|path| Some(path.as_str()) != first).cloned());
        }
    }
    Ok(gate)
}

/// Gates after a wave, `done` being the hosts that have the release by then. Of several hosts those that have it are
/// asked, each through its router: behind the environment's URL any host may answer, with or without the release. The
/// URL is asked as well once `all` have it. A single host is what its URL leads to.
///
/// # Errors
/// As for [`resolve`].
pub(crate) fn after_wave(
    project: &Project,
    service: &Service,
    here: &Environment,
    done: &[HostId],
    all: bool,
) -> Result<Vec<Gate>, Failure> {
    let mut gates = Vec::new();
    for gate in &here.after {
        let by_url = resolve_one(project, service, here, gate)?;
        let GateKind::Http(http) = &gate.kind else {
            gates.push(by_url);
            continue;
        };
        let looks_here = match &http.target {
            GateTarget::Here => true,
            GateTarget::Environment(name) => *name == here.name,
            GateTarget::Url(_) | GateTarget::Hosts(_) => false,
        };
        let has_url =
            matches!(&by_url.kind, GateKind::Http(http) if matches!(http.target, GateTarget::Url(_)));
        if looks_here && (here.hosts().len() > 1 || !has_url) {
            gates.push(on(done, by_url.clone()));
        }
        if has_url && (all || !looks_here || here.hosts().len() == 1) {
            gates.push(by_url);
        }
    }
    Ok(gates)
}

fn on(hosts: &[HostId], mut gate: Gate) -> Gate {
    if let GateKind::Http(http) = &mut gate.kind {
        http.target = GateTarget::Hosts(hosts.to_vec());
    }
    gate
}

fn url_of(service: &Service, environment: &Environment) -> Option<String> {
    service.urls.get(&environment.name).or(environment.url.as_ref()).cloned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_model::{
        Action, BuiltinRouter, Delivery, Digest, EnvironmentName, Health, HttpGate, HttpHealth, Millis,
        Moment, ProcessRuntime, ProjectName, Release, Router, Runtime, Sampling, ServiceName, SlotDelivery,
        Ssh, StatusRange, Strategy, Tag,
    };

    use super::*;

    fn smoke(target: GateTarget) -> Gate {
        let paths = vec!["/".to_owned()];
        let (sampling, timeout) = (Sampling::Count { samples: 1, interval: Millis(1) }, Millis(1));
        let http = HttpGate {
            target,
            paths,
            status: StatusRange::OK,
            body: None,
            latency_p95: None,
            sampling,
            timeout,
        };
        Gate { name: "smoke".into(), kind: GateKind::Http(http) }
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
            image: None,
            command: Vec::new(),
            cwd: None,
            env: BTreeMap::new(),
            env_from: BTreeMap::new(),
            port: None,
            health,
            critical_paths: Vec::new(),
            verify: None,
            urls: BTreeMap::new(),
            ship: lockgate_model::Ship::default(),
            hooks: lockgate_model::Hooks::default(),
        }
    }

    fn environment(name: &str, url: Option<&str>, hosts: &[HostId], after: Vec<Gate>) -> Environment {
        Environment {
            name: EnvironmentName::new(name).unwrap(),
            url: url.map(str::to_owned),
            from: None,
            before: Vec::new(),
            after,
            schedules: BTreeMap::new(),
            soaks: Vec::new(),
            delivery: match hosts {
                [] => Delivery::CheckOnly,
                hosts => Delivery::Slots(Box::new(slots(hosts))),
            },
        }
    }

    fn slots(hosts: &[HostId]) -> SlotDelivery {
        SlotDelivery {
            hosts: hosts.to_vec(),
            strategy: Strategy::BlueGreen,
            runtime: Runtime::Process(ProcessRuntime { dir: None }),
            router: Router::Builtin(BuiltinRouter::on("127.0.0.1:8080")),
            waves: Vec::new(),
            drain: Millis(0),
            keep_warm: Millis(0),
            stop_grace: Some(Millis(0)),
            keep_releases: 2,
            disk_free_mib: 0,
            setup: None,
        }
    }

    fn hosts(names: &[&str]) -> Vec<HostId> {
        names.iter().map(|name| HostId::new(*name).unwrap()).collect()
    }

    /// Where a smoke gate with this target looks after a wave of `prod`.
    fn looked_at(target: GateTarget, url: Option<&str>, of: &[&str], done: &[&str]) -> Vec<GateTarget> {
        let prod = environment("prod", url, &hosts(of), vec![smoke(target)]);
        let test = environment("test", Some("https://test"), &[], Vec::new());
        let project = Project {
            name: ProjectName::new("shop").unwrap(),
            root: "/".into(),
            services: BTreeMap::new(),
            environments: vec![test, prod.clone()],
            notify: Vec::new(),
            registries: BTreeMap::new(),
            ssh: Ssh::default(),
            state: lockgate_model::StateLocation::of_folder("/".as_ref()),
            state_dir: None,
            serve: None,
        };
        let all = of.len() == done.len();
        let gates = after_wave(&project, &service(), &prod, &hosts(done), all).unwrap();
        let target = |gate: Gate| match gate.kind {
            GateKind::Http(http) => http.target,
            GateKind::Command(_) => unreachable!("the gate asks by HTTP"),
        };
        gates.into_iter().map(target).collect()
    }

    #[test]
    fn of_several_hosts_those_with_the_release_are_asked_and_the_url_in_the_end() {
        let on = |names: &[&str]| GateTarget::Hosts(hosts(names));
        let url = GateTarget::Url("https://prod".into());
        for target in [GateTarget::Here, GateTarget::Environment(EnvironmentName::new("prod").unwrap())] {
            let looked = |done: &[&str]| looked_at(target.clone(), Some("https://prod"), &["a", "b"], done);
            assert_eq!(looked(&["a"]), [on(&["a"])]);
            assert_eq!(looked(&["a", "b"]), [on(&["a", "b"]), url.clone()]);
        }
        assert_eq!(looked_at(GateTarget::Here, None, &["a", "b"], &["a"]), [on(&["a"])]);
        assert_eq!(looked_at(GateTarget::Here, None, &["a", "b"], &["a", "b"]), [on(&["a", "b"])]);
    }

    #[test]
    fn the_steps_of_one_gate_that_asks_hosts_and_the_url_read_differently() {
        let on = |target| {
            let release = Release {
                service: ServiceName::new("web").unwrap(),
                tag: Tag::new("v1").unwrap(),
                digest: Digest::new(format!("sha256:{}", "1".repeat(64))).unwrap(),
                image: None,
                commit: None,
                provenance: None,
            };
            Action::Gate { gate: smoke(target), moment: Moment::After, release }.title()
        };
        assert_eq!(on(GateTarget::Url("https://prod".into())), "gate after: smoke");
        assert_eq!(on(GateTarget::Hosts(hosts(&["a", "b"]))), "gate after: smoke on a and b");
        assert_eq!(on(GateTarget::Hosts(hosts(&["a", "b", "c"]))), "gate after: smoke on 3 hosts");
    }

    #[test]
    fn a_single_host_is_asked_by_its_url_where_it_has_one() {
        let by_url = looked_at(GateTarget::Here, Some("https://prod"), &["a"], &["a"]);
        assert_eq!(by_url, [GateTarget::Url("https://prod".into())]);
        assert_eq!(looked_at(GateTarget::Here, None, &["a"], &["a"]), [GateTarget::Hosts(hosts(&["a"]))]);
    }

    #[test]
    fn a_gate_that_looks_elsewhere_looks_there_after_every_wave() {
        let test = GateTarget::Environment(EnvironmentName::new("test").unwrap());
        let url = [GateTarget::Url("https://test".into())];
        for done in [&["a"][..], &["a", "b"]] {
            assert_eq!(looked_at(test.clone(), Some("https://prod"), &["a", "b"], done), url);
        }
    }
}
