//! What is wrong although every part is right: things that need the whole project.

use std::collections::BTreeMap;

use lockgate_model::{
    ComposeLayout, Environment, EnvironmentName, Gate, GateKind, GateTarget, Health, Pick, Project, Router,
    Runtime, Schedule, Service, Slot, SlotDelivery, Strategy, Template, Vars,
};

use crate::at::At;
use crate::error::{Kind, Place, Problem};
use crate::raw;
use crate::resolve::Reader;

/// Reports what does not fit together.
pub fn all(reader: &mut Reader<'_>, file: &raw::File, project: &Project) {
    for (key, raw) in &file.environments.value.0 {
        let found = project.environments.iter().find(|environment| environment.name.as_str() == key.value);
        let Some(environment) = found else { continue };
        origin(reader, &raw.value, environment, project);
        fits(reader, file, &raw.value, environment, project);
        promoted(reader, &raw.value, environment, project);
        urls(reader, &raw.value.before, &environment.before, project);
        urls(reader, &raw.value.after, &environment.after, project);
        unrouted(reader, &raw.value.before, &environment.before, environment, project);
        unrouted(reader, &raw.value.after, &environment.after, environment, project);
    }
    shared(reader, file, project);
}

/// Promotions must start somewhere.
fn origin(reader: &mut Reader<'_>, raw: &raw::Environment, environment: &Environment, project: &Project) {
    let Some(source) = &raw.from else { return };
    let mut chain: Vec<&EnvironmentName> = vec![&environment.name];
    let mut next = environment.from.as_ref();
    while let Some(name) = next {
        if name == &environment.name {
            // Once is enough: at the first of the circle's environments in the file.
            let first = project.environments.iter().find(|environment| chain.contains(&&environment.name));
            if first.is_some_and(|first| first.name != environment.name) {
                return;
            }
            let chain: Vec<&str> = chain.iter().map(|name| name.as_str()).chain([name.as_str()]).collect();
            let message = format!("promotion goes round in a circle: {}", chain.join(" from "));
            reader.conflict(source.place, message, "remove one `from:`");
            return;
        }
        if chain.contains(&name) {
            // A circle further back is reported where it is.
            return;
        }
        chain.push(name);
        next = project.environment(name).and_then(|environment| environment.from.as_ref());
    }
}

/// What is promoted has to be live somewhere before, and comes no other way by itself.
fn promoted(reader: &mut Reader<'_>, raw: &raw::Environment, environment: &Environment, project: &Project) {
    let Some(source) = environment.from.as_ref().and_then(|from| project.environment(from)) else { return };
    let place = raw.before.iter().find_map(|gate| gate.value.soak.as_ref().map(|soak| soak.place));
    let (Some(place), false) = (place, environment.soaks.is_empty()) else { return };
    if source.slots().is_none() {
        let message =
            format!("`{}` is only checked: nothing is ever live there that could soak", source.name);
        reader.conflict(place, message, format!("give `{}` hosts and a runtime", source.name));
    }
    if environment.slots().is_none() {
        let message = format!("`{}` is only checked: nothing is promoted to it", environment.name);
        reader.conflict(place, message, format!("give `{}` hosts and a runtime", environment.name));
    }
    let is_newest = |schedule: &Schedule| schedule.deploy == Pick::LatestSemver;
    if let Some(schedule) = &raw.schedule
        && environment.schedules.values().any(is_newest)
    {
        let message = format!("what goes live in `{}` is promoted from `{}`", environment.name, source.name);
        let hint = format!("write `deploy: promoted`, or move `schedule` to `{}`", source.name);
        reader.conflict(schedule.place, message, hint);
    }
}

/// Services must suit the runtime, and runtime and router each other.
fn fits(
    reader: &mut Reader<'_>,
    file: &raw::File,
    raw: &raw::Environment,
    environment: &Environment,
    project: &Project,
) {
    let Some(SlotDelivery { runtime, router, strategy, .. }) = environment.slots() else { return };
    let name = &environment.name;
    let place_of = |service: &Service| {
        let entry = file.services.value.0.iter().find(|(key, _)| key.value == service.name.as_str());
        entry.map_or(Place::default(), |(key, _)| key.place)
    };
    for service in project.services.values() {
        let missing = |key: &str| {
            Problem::new(Kind::MissingKey, place_of(service), format!("`{}` has no `{key}`", service.name))
        };
        match runtime {
            Runtime::Process(_) if service.command.is_empty() => reader.report(missing("command").hint(
                format!("`{name}` runs processes: add `command: ./server`, or give it another runtime"),
            )),
            Runtime::Process(_) if matches!(service.health, Health::Docker(_)) => {
                let message =
                    format!("`{name}` runs processes, and `{}` asks a container's HEALTHCHECK", service.name);
                reader.conflict(
                    place_of(service),
                    message,
                    "write `health: /path` or `health: { command: … }`",
                );
            }
            Runtime::Process(_) if service.port.is_some() && strategy.slots().len() > 1 => {
                let message =
                    format!("both slots of `{}` would listen on the same port in `{name}`", service.name);
                let hint = "leave `port` out: each process gets a free one as PORT";
                reader.conflict(place_of(service), message, hint);
            }
            Runtime::Compose(_) if service.image.is_none() => reader.report(missing("image").hint(format!(
                "`{name}` runs images: add `image: ghcr.io/acme/{}`, or export REGISTRY_URL=ghcr.io/acme",
                service.name
            ))),
            _ => {}
        }
    }
    let theirs = match router {
        Router::Caddy(_) => Some("Caddy"),
        Router::Nginx(_) => Some("nginx"),
        Router::Builtin(_) | Router::None => None,
    };
    let Some(theirs) = theirs else { return };
    if let Runtime::Process(_) = runtime {
        let place = raw.router.as_ref().map_or(Place::default(), |router| router.place);
        let message =
            format!("{theirs} cannot follow processes: each gets another port, and `dial` is fixed");
        reader.conflict(place, message, "write `router: builtin`");
    }
    if let Strategy::Recreate = strategy {
        let place = raw.router.as_ref().map_or(Place::default(), |router| router.place);
        let message = format!("{theirs} cannot let requests wait while `recreate` has nothing running");
        let hint = "write `router: builtin`, which lets them wait, `router: none`, or `strategy: blue-green`";
        reader.conflict(place, message, hint);
    }
}

/// A gate that looks at its own environment asks through the routers where there is no URL; without a router it needs one.
fn unrouted(
    reader: &mut Reader<'_>,
    sources: &[At<raw::Gate>],
    gates: &[Gate],
    environment: &Environment,
    project: &Project,
) {
    let is_unrouted = environment.slots().is_some_and(|slots| matches!(slots.router, Router::None));
    if !is_unrouted || environment.url.is_some() {
        return;
    }
    for (source, gate) in sources.iter().zip(gates) {
        let GateKind::Http(http) = &gate.kind else { continue };
        let without = project.services.values().find(|service| !service.urls.contains_key(&environment.name));
        if let (GateTarget::Here, Some(service)) = (&http.target, without) {
            let name = &environment.name;
            let message = format!(
                "the gate has nothing to ask for `{}`: `{name}` has no router and no `url`",
                service.name
            );
            let hint = format!("add `url:` to `{name}` or to the gate, or write a `command` gate");
            reader.conflict(source.place, message, hint);
        }
    }
}

/// A gate that looks at another environment needs its URL.
fn urls(reader: &mut Reader<'_>, sources: &[At<raw::Gate>], gates: &[Gate], project: &Project) {
    for (source, gate) in sources.iter().zip(gates) {
        let GateKind::Http(http) = &gate.kind else { continue };
        let GateTarget::Environment(target) = &http.target else { continue };
        if project.environment(target).is_some_and(|environment| environment.url.is_some()) {
            continue;
        }
        let without = project.services.values().find(|service| !service.urls.contains_key(target));
        if let Some(service) = without {
            let named = source.value.http.as_ref().and_then(|http| http.value.environment.as_ref());
            let place = named.map_or(source.place, |named| named.place);
            let message = format!("the gate has no URL to look at `{}` in `{target}`", service.name);
            reader.conflict(place, message, format!("add `url:` to the environment `{target}`"));
        }
    }
}

/// What a service takes for itself on a host, and who took it.
type Taken = BTreeMap<String, (String, &'static str)>;

/// No two services, in one environment or in two on the same host, on one route, folder or container.
fn shared(reader: &mut Reader<'_>, file: &raw::File, project: &Project) {
    let mut taken = Taken::new();
    for (key, raw) in &file.environments.value.0 {
        let found = project.environments.iter().find(|environment| environment.name.as_str() == key.value);
        let Some(environment) = found else { continue };
        let place = raw.value.router.as_ref().map_or(key.place, |router| router.place);
        for service in project.services.values() {
            claim(reader, &mut taken, &route(environment, service), "route", environment, service, place);
        }
        let place = raw.value.runtime.as_ref().map_or(key.place, |runtime| runtime.place);
        for service in project.services.values() {
            claim(reader, &mut taken, &home(environment, service), "place", environment, service, place);
        }
    }
}

fn claim(
    reader: &mut Reader<'_>,
    taken: &mut Taken,
    claims: &[(String, &'static str)],
    what: &str,
    environment: &Environment,
    service: &Service,
    place: Place,
) {
    let me = format!("`{}` in `{}`", service.name, environment.name);
    for host in environment.hosts() {
        for (claim, hint) in claims {
            let key = format!("{host} {claim}");
            if let Some((other, _)) = taken.get(&key) {
                let message = format!("{other} and {me} would share one {what} ({claim})");
                reader.conflict(place, message, *hint);
                // The first of several says enough.
                return;
            }
            taken.insert(key, (me.clone(), hint));
        }
    }
}

/// What sends this service its requests.
fn route(environment: &Environment, service: &Service) -> Vec<(String, &'static str)> {
    match environment.slots().map(|slots| &slots.router) {
        Some(Router::Builtin(router)) => {
            let path = router.path.as_deref().unwrap_or("/");
            let hosts = match router.hosts.as_slice() {
                [] => vec!["any host".to_owned()],
                hosts => hosts.iter().map(|host| fill(host, environment, service, Slot::Blue)).collect(),
            };
            let hint = "tell them apart: `router: { builtin: { host: \"{service}.example.com\" } }`, or another `listen`";
            let claims = hosts.into_iter().map(|host| format!("{} {host} {path}", router.listen));
            claims.map(|claim| (claim, hint)).collect()
        }
        Some(Router::Caddy(router)) => {
            let hint = "name {service} (and {environment}, if both are on one host) in `id` and `dial`";
            let mut claims = Vec::new();
            if let Some(id) = &router.id {
                claims
                    .push((format!("{} {}", router.admin, fill(id, environment, service, Slot::Blue)), hint));
            }
            let dial = fill(&router.dial, environment, service, Slot::Blue);
            claims.push((format!("{} {dial}", router.admin), hint));
            if let Some(path) = &router.active_color {
                let path = fill(path, environment, service, Slot::Blue);
                let hint = "name {service} in `active_color`: each service has a switch of its own";
                claims.push((format!("{} {path}", router.admin), hint));
            }
            claims
        }
        Some(Router::Nginx(router)) => {
            let filled = |template| fill(template, environment, service, Slot::Blue);
            let whose = router
                .container
                .as_ref()
                .map_or("nginx".to_owned(), |name| format!("nginx {}", filled(name)));
            let hint = "name {service} (and {environment}, if both are on one host) in `dial`";
            let mut claims = vec![(format!("{whose} {}", filled(&router.dial)), hint)];
            if let Some(path) = &router.marker {
                let hint = "name {service} in `marker`: each service has a switch of its own";
                claims.push((format!("{whose} {}", filled(path)), hint));
            }
            claims
        }
        Some(Router::None) | None => Vec::new(),
    }
}

/// Where this service runs.
fn home(environment: &Environment, service: &Service) -> Vec<(String, &'static str)> {
    let Some(SlotDelivery { runtime: Runtime::Compose(compose), strategy, .. }) = environment.slots() else {
        return Vec::new();
    };
    let slot = strategy.slots().first().copied().unwrap_or(Slot::Main);
    let filled = |template: &Template| fill(template, environment, service, slot);
    match (&compose.layout, strategy) {
        (ComposeLayout::Folders(dir), Strategy::Recreate) => {
            vec![(filled(dir), "name {service} (and {environment}, if both are on one host) in `dir`")]
        }
        (ComposeLayout::Folders(dir), Strategy::BlueGreen) => {
            // Compose knows containers by their project: of two with one name, each would replace the other's.
            let project = compose.project.as_ref().map_or(format!("{}-{slot}", service.name), filled);
            vec![
                (filled(dir), "name {service} (and {environment}, if both are on one host) in `dir`"),
                (
                    format!("Compose project {project}"),
                    "tell them apart: `project: \"{environment}-{service}-{slot}\"` beside `dir`",
                ),
            ]
        }
        (ComposeLayout::File(file), strategy) => {
            let default = match strategy {
                Strategy::BlueGreen => format!("{}-{slot}", service.name),
                Strategy::Recreate => service.name.to_string(),
            };
            let name = compose.service.as_ref().map_or(default, filled);
            vec![(format!("{} {name}", filled(file)), "name {service} in `service`, or use another `file`")]
        }
    }
}

/// Routes and homes have no `{tag}` or `{digest}`: that was refused before.
fn fill(template: &Template, environment: &Environment, service: &Service, slot: Slot) -> String {
    let vars = Vars {
        service: Some(&service.name),
        environment: Some(&environment.name),
        slot: Some(slot),
        port: service.port,
        ..Vars::default()
    };
    template.fill(&vars).unwrap_or_else(|_| template.as_str().to_owned())
}
