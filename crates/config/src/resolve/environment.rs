//! One environment.

use std::collections::BTreeMap;

use lockgate_model::{
    Delivery, Environment, EnvironmentName, HostId, InvalidName, Millis, Router, Runtime, STOP_GRACE_DEFAULT,
    Service, ServiceName, SlotDelivery, Strategy, Wave,
};

use super::named::{environment, key_name};
use super::reader::{Reader, quote, variable};
use super::{gate, router, runtime, setup, soak};
use crate::at::{At, Span, WaveText};
use crate::error::{Kind, Place, Problem};
use crate::part::Part;
use crate::{raw, words};

/// Stands for hosts whose variables are not set, where nothing is done on hosts: no name below `invalid` leads anywhere
/// (RFC 6761).
const UNSET_HOST: &str = "unset.invalid";
const DRAIN: Millis = Millis::from_secs(30);
const KEEP_WARM: Millis = Millis(0);
const KEEP_RELEASES: u32 = 5;
/// The live release and the one to roll back to.
const KEEP_RELEASES_MIN: u32 = 2;
const KEEP_RELEASES_MAX: u32 = 1000;
const DISK_FREE_MIB: u64 = 500;
const WAVES: [Wave; 3] = [Wave::Hosts(1), Wave::Percent(25), Wave::Rest];

type Services = BTreeMap<ServiceName, Service>;

pub fn resolve(
    reader: &mut Reader<'_>,
    key: &At<String>,
    source: &At<raw::Environment>,
    services: &Services,
    environments: &[&str],
) -> Option<Environment> {
    let name: EnvironmentName = key_name(reader, key)?;
    let raw = &source.value;
    let from = raw.from.as_ref().and_then(|from| environment(reader, from, environments));
    soak::refuse(reader, &raw.after);
    Some(Environment {
        delivery: delivery(reader, key, raw, services),
        schedules: BTreeMap::new(),
        url: raw.url.as_ref().and_then(|url| reader.url("`url`", url)),
        soaks: soak::resolve(reader, &raw.before, from.as_ref(), environments),
        from,
        before: gate::resolve(reader, &raw.before, &name, environments),
        after: gate::resolve(reader, &raw.after, &name, environments),
        name,
    })
}

/// Every key is read, so that all that is wrong is said at once, also where something that is missing keeps it from
/// being of use.
fn delivery(
    reader: &mut Reader<'_>,
    key: &At<String>,
    raw: &raw::Environment,
    services: &Services,
) -> Delivery {
    let strategy = strategy(reader, raw.strategy.as_ref());
    let parts = parts(reader, key, raw, services, strategy);
    let deploys = raw.runtime.is_some() || raw.router.is_some();
    let hosts = hosts(reader, key, raw.hosts.as_ref(), deploys);
    let waves = waves(reader, raw.waves.as_ref());
    let mut span =
        |what, source: &Option<At<Span>>, default| reader.span(what, source.as_ref(), Millis(0), default);
    let drain = span("`drain`", &raw.drain, DRAIN);
    let keep_warm = span("`keep_warm`", &raw.keep_warm, KEEP_WARM);
    let stop_grace =
        raw.stop_grace.is_some().then(|| span("`stop_grace`", &raw.stop_grace, STOP_GRACE_DEFAULT));
    let keep_releases = reader.whole(
        "`keep_releases`",
        raw.keep_releases.as_ref(),
        KEEP_RELEASES_MIN,
        KEEP_RELEASES_MAX,
        KEEP_RELEASES,
    );
    let disk_free_mib = reader.size_mib("`disk_free`", raw.disk_free.as_ref(), DISK_FREE_MIB);
    let setup = setup::resolve(reader, raw, parts.as_ref());
    let Some((runtime, router)) = parts else { return Delivery::CheckOnly };
    Delivery::Slots(Box::new(SlotDelivery {
        hosts,
        strategy,
        runtime,
        router,
        waves,
        drain,
        keep_warm,
        stop_grace,
        keep_releases,
        disk_free_mib,
        setup,
    }))
}

fn parts(
    reader: &mut Reader<'_>,
    key: &At<String>,
    raw: &raw::Environment,
    services: &Services,
    strategy: Strategy,
) -> Option<(Runtime, Router)> {
    match (&raw.runtime, &raw.router) {
        (None, None) => None,
        (None, Some(router)) => {
            let message = format!("`{}` has a router and no runtime", key.value);
            let hint = "add `runtime: compose` or `runtime: process`";
            reader.report(Problem::new(Kind::MissingKey, router.place, message).hint(hint));
            None
        }
        (Some(source), router) => {
            let runtime = runtime::resolve(reader, source, strategy);
            let router = match (router, strategy) {
                (Some(router), _) => router::resolve(reader, router, services),
                (None, Strategy::BlueGreen) => Some(router::builtin_default()),
                (None, Strategy::Recreate) => Some(Router::None),
            };
            runtime.zip(router)
        }
    }
}

fn hosts(
    reader: &mut Reader<'_>,
    key: &At<String>,
    source: Option<&At<Vec<At<String>>>>,
    deploys: bool,
) -> Vec<HostId> {
    let Some(list) = source else {
        return if deploys { vec![default_host(reader)] } else { Vec::new() };
    };
    if !deploys {
        let message = format!("`{}` has hosts and no runtime", key.value);
        let hint = "add `runtime: compose` or `runtime: process`; to check only, leave `hosts` out";
        reader.report(Problem::new(Kind::MissingKey, list.place, message).hint(hint));
    } else if list.value.is_empty() {
        reader.invalid(list.place, "`hosts` is empty", "leave it out for this machine, or name one");
    }
    let mut hosts: Vec<HostId> = Vec::new();
    for source in &list.value {
        match reader.part(Part::Hosts, |reader| reader.name::<HostId>(source)) {
            Some(host) if hosts.contains(&host) => {
                reader.invalid(
                    source.place,
                    format!("host {} is here twice", quote(source)),
                    "keep one of them",
                );
            }
            host => hosts.extend(host),
        }
    }
    if hosts.is_empty() && !list.value.is_empty() && !Part::Hosts.is_needed(reader.purpose) {
        hosts.extend(HostId::new(UNSET_HOST));
    }
    hosts
}

fn default_host(reader: &mut Reader<'_>) -> HostId {
    let Some(value) = variable(reader.env, "DEPLOY_HOST") else { return HostId::local() };
    HostId::new(value).unwrap_or_else(|InvalidName { reason, .. }| {
        let message = "the variable DEPLOY_HOST is not a host";
        let problem = Problem::new(Kind::InvalidValue, Place::default(), message).hint(reason);
        // Every environment would say the same.
        if !reader.problems.contains(&problem) {
            reader.report(problem);
        }
        HostId::local()
    })
}

fn strategy(reader: &mut Reader<'_>, source: Option<&At<String>>) -> Strategy {
    if let Some(source) = source
        && let Some(text) = reader.text(source)
    {
        match text.as_str() {
            "blue-green" => return Strategy::BlueGreen,
            "recreate" => return Strategy::Recreate,
            _ => {}
        }
        match words::later(&text) {
            Some(when) => {
                let message = format!("the strategy {} is known but not built yet", quote(source));
                reader.report(Problem::new(Kind::NotBuilt, source.place, message).hint(when));
            }
            None => {
                reader.invalid(
                    source.place,
                    format!("unknown strategy {}", quote(source)),
                    "write `blue-green` or `recreate`",
                );
            }
        }
    }
    Strategy::BlueGreen
}

fn waves(reader: &mut Reader<'_>, source: Option<&At<Vec<At<WaveText>>>>) -> Vec<Wave> {
    let Some(list) = source else { return WAVES.to_vec() };
    let mut waves = Vec::new();
    for source in &list.value {
        if waves.last() == Some(&Wave::Rest) {
            reader.invalid(source.place, "nothing comes after `rest`", "put `rest` last");
        }
        waves.extend(reader.wave(source));
    }
    if waves.last() != Some(&Wave::Rest) {
        waves.push(Wave::Rest);
    }
    waves
}
