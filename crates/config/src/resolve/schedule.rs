//! When releases go live by themselves.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use lockgate_model::{
    Cron, Environment, InvalidCron, InvalidName, Millis, Pick, Repository, Schedule, Service, ServiceName,
    Zone,
};

use super::reader::{Reader, quote};
use crate::at::{At, Span};
use crate::error::{Kind, Problem};
use crate::{raw, words};

const CATCH_UP: Millis = Millis::from_secs(3600);
/// Cron calls at the full minute, and a busy machine gets round to it within another.
const CATCH_UP_MIN: Millis = Millis::from_secs(60);

/// What is different for a service; `None` is as the environment has it.
#[derive(Debug, Default)]
pub struct Change {
    cron: Option<Cron>,
    zone: Option<Zone>,
    pre_releases: Option<bool>,
    catch_up: Option<Millis>,
}

/// What services have of their own, by name.
pub fn changes(reader: &mut Reader<'_>, file: &raw::File) -> BTreeMap<String, Change> {
    let mut changes = BTreeMap::new();
    let is_scheduled = file.environments.value.0.iter().any(|(_, raw)| raw.value.schedule.is_some());
    for (key, service) in &file.services.value.0 {
        let Some(source) = &service.value.schedule else { continue };
        if !is_scheduled {
            let message = format!("`{}` changes a schedule, and no environment has one", key.value);
            let hint = "add it: `prod: { schedule: { cron: \"0 5 * * *\", deploy: latest-semver } }`";
            reader.conflict(source.place, message, hint);
        }
        let raw = &source.value;
        let change = Change {
            cron: raw.cron.as_ref().and_then(|cron| self::cron(reader, cron)),
            zone: raw.time_zone.as_ref().and_then(|zone| self::zone(reader, zone)),
            pre_releases: raw.pre_releases.as_ref().map(|flag| flag.value),
            catch_up: raw.catch_up.as_ref().map(|span| catch_up(reader, Some(span))),
        };
        changes.insert(key.value.clone(), change);
    }
    changes
}

/// The schedules of an environment's services. Every key is read, so that all that is wrong is said at once.
pub fn resolve(
    reader: &mut Reader<'_>,
    raw: &raw::Environment,
    environment: &Environment,
    services: &BTreeMap<ServiceName, Service>,
    changes: &BTreeMap<String, Change>,
) -> BTreeMap<ServiceName, Schedule> {
    let Some(source) = &raw.schedule else { return BTreeMap::new() };
    let schedule = schedule(reader, &source.value);
    let chosen = chosen(reader, source.value.services.as_ref(), services);
    if raw.runtime.is_none() && raw.router.is_none() {
        let message = format!("`{}` has a schedule and is only checked, never deployed to", environment.name);
        reader.conflict(
            source.place,
            message,
            "leave it out, or add `runtime: compose` or `runtime: process`",
        );
    }
    let is_promoted = schedule.as_ref().is_some_and(|schedule| schedule.deploy == Pick::Promoted);
    if is_promoted && environment.from.is_none() {
        let message = "nothing is promoted to where promotions come from nowhere";
        reader.conflict(source.place, message, "give this environment `from:`");
    }
    for service in chosen.iter().filter(|_| !is_promoted) {
        has_tags(reader, source, service);
    }
    let Some(schedule) = schedule else { return BTreeMap::new() };
    let of = |service: &Service| {
        let change = changes.get(service.name.as_str());
        let Schedule { cron, zone, deploy, pre_releases, catch_up } = schedule.clone();
        let own = Schedule {
            cron: change.and_then(|change| change.cron.clone()).unwrap_or(cron),
            zone: change.and_then(|change| change.zone.clone()).or(zone),
            deploy,
            pre_releases: change.and_then(|change| change.pre_releases).unwrap_or(pre_releases),
            catch_up: change.and_then(|change| change.catch_up).unwrap_or(catch_up),
        };
        (service.name.clone(), own)
    };
    chosen.into_iter().map(of).collect()
}

fn schedule(reader: &mut Reader<'_>, raw: &raw::Schedule) -> Option<Schedule> {
    let cron = cron(reader, &raw.cron);
    let deploy = pick(reader, &raw.deploy);
    let zone = raw.time_zone.as_ref().map(|source| zone(reader, source));
    let catch_up = catch_up(reader, raw.catch_up.as_ref());
    Some(Schedule {
        cron: cron?,
        zone: zone.flatten(),
        deploy: deploy?,
        pre_releases: raw.pre_releases.as_ref().is_some_and(|flag| flag.value),
        catch_up,
    })
}

fn catch_up(reader: &mut Reader<'_>, source: Option<&At<Span>>) -> Millis {
    reader.span("`catch_up`", source, CATCH_UP_MIN, CATCH_UP)
}

fn cron(reader: &mut Reader<'_>, source: &At<String>) -> Option<Cron> {
    let text = reader.line("`cron`", source)?;
    match Cron::new(text) {
        Ok(cron) => Some(cron),
        Err(InvalidCron { reason, .. }) => {
            let message = format!("{} is no cron line: {reason}", quote(source));
            reader.invalid(source.place, message, "write minute, hour, day of the month, month and day of the week: `0 5 * * *` is each day at five, `30 4 * * mon-fri` on working days at half past four");
            None
        }
    }
}

fn pick(reader: &mut Reader<'_>, source: &At<String>) -> Option<Pick> {
    let text = reader.text(source)?;
    let all = [Pick::LatestSemver, Pick::Promoted];
    if let Some(pick) = all.into_iter().find(|pick| text == pick.as_str()) {
        return Some(pick);
    }
    let message = format!("a schedule cannot deploy {}", quote(source));
    let [newest, promoted] = all.map(Pick::as_str);
    reader.invalid(source.place, message, format!("write `{newest}`, or `{promoted}`"));
    None
}

/// By this machine's time zones, which are kept up to date with it; where it has none, by those that came with this program.
fn zone(reader: &mut Reader<'_>, source: &At<String>) -> Option<Zone> {
    let text = reader.line("`time_zone`", source)?;
    match TimeZone::get(&text) {
        Ok(rules) => {
            let name = rules.iana_name().unwrap_or(&text).to_owned();
            Some(Zone::new(name, rules))
        }
        Err(_) => {
            let message = format!("there is no time zone {}", quote(source));
            let hint =
                "write its name in the IANA database, such as `Europe/Berlin`, `America/New_York` or `UTC`";
            reader.invalid(source.place, message, hint);
            None
        }
    }
}

/// The services that are named, or all.
fn chosen<'s>(
    reader: &mut Reader<'_>,
    source: Option<&At<Vec<At<String>>>>,
    services: &'s BTreeMap<ServiceName, Service>,
) -> Vec<&'s Service> {
    let Some(list) = source else { return services.values().collect() };
    if list.value.is_empty() {
        reader.invalid(list.place, "`services` is empty", "leave it out for all, or name one");
    }
    let mut chosen: Vec<&Service> = Vec::new();
    for source in &list.value {
        let Some(text) = reader.text(source) else { continue };
        match ServiceName::new(text).ok().and_then(|name| services.get(&name)) {
            Some(service) if chosen.iter().any(|known| known.name == service.name) => {
                let message = format!("service {} is here twice", quote(source));
                reader.invalid(source.place, message, "keep one of them");
            }
            Some(service) => chosen.push(service),
            None => {
                let known = || services.keys().map(ServiceName::as_str);
                let hint = match words::nearest(&source.value, known()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("services here: {}", known().collect::<Vec<_>>().join(", ")),
                };
                reader.invalid(source.place, format!("there is no service {}", quote(source)), hint);
            }
        }
    }
    chosen
}

/// Tags are looked for in the registry of the service's image.
fn has_tags(reader: &mut Reader<'_>, source: &At<raw::Schedule>, service: &Service) {
    let name = &service.name;
    let hint = format!(
        "give `{name}` an `image`, or name the services that have one: `schedule: {{ services: [NAME], … }}`"
    );
    match service.image.as_deref().map(Repository::new) {
        Some(Ok(_)) => {}
        Some(Err(InvalidName { reason, .. })) => {
            let message = format!("the tags of `{name}` cannot be looked for by its `image`: {reason}");
            reader.invalid(source.place, message, "write a repository such as ghcr.io/acme/web");
        }
        None => {
            let message = format!("`{name}` has no `image`, so there are no tags to choose from");
            reader.report(Problem::new(Kind::MissingKey, source.place, message).hint(hint));
        }
    }
}
