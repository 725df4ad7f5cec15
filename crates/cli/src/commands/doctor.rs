//! `doctor`: all that a deployment will need, looked at on every host, each with how to mend it.

use lockgate_model::{Environment, HostId, Service};
use lockgate_perform::glimpse;
use lockgate_ports::{Check, CheckState, Command, HostPorts};
use lockgate_render::live_text;

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::wiring::Hosts;

pub async fn run(context: &Context<'_>, service: Option<&str>) -> Result<Exit, CliError> {
    let environment = context.environment()?;
    let services = context.services(service)?;
    let mut hosts = Hosts::default();
    let mut worst = CheckState::Ok;
    let gates = check_gates(context, &services, &mut hosts).await?;
    if !gates.is_empty() {
        let about = About { environment, host: &HostId::local(), service: None, title: "gates" };
        worst = show(context, &about, &gates, worst);
    }
    for id in &environment.hosts {
        let checks = hosts.get(id, &context.project).check().await;
        let reachable = checks.iter().all(|check| check.state != CheckState::Bad);
        let about = About { environment, host: id, service: None, title: "" };
        worst = show(context, &about, &checks, worst);
        if !reachable {
            continue;
        }
        for service in &services {
            let site = context.site(service, &mut hosts)?;
            let Some(ports) = site.hosts.iter().find(|ports| &ports.id == id) else { continue };
            let (mut checks, router) = tokio::join!(ports.runtime.check(), ports.router.check());
            checks.extend(router);
            checks.push(home(ports).await);
            checks.push(live(service, ports).await);
            let title = service.name.as_str();
            let about = About { environment, host: id, service: Some(title), title };
            worst = show(context, &about, &checks, worst);
        }
    }
    Ok(match worst {
        CheckState::Ok | CheckState::Warn => Exit::Succeeded,
        CheckState::Bad => Exit::Failed,
    })
}

/// What the gates of any of the services need, each thing once.
async fn check_gates(
    context: &Context<'_>,
    services: &[&Service],
    hosts: &mut Hosts,
) -> Result<Vec<Check>, CliError> {
    let mut checks = Vec::new();
    for service in services {
        for check in context.site(service, hosts)?.check_gates().await? {
            if !checks.contains(&check) {
                checks.push(check);
            }
        }
    }
    Ok(checks)
}

/// Succeeds when this user may make and replace files in the folder, or make it where it is missing. Looks only.
const MAY_WRITE: &str = r#"
folder=$1
while [ ! -e "$folder" ]; do folder=$(dirname -- "$folder"); done
[ -d "$folder" ] && [ -w "$folder" ] && [ -x "$folder" ] || { echo "$folder"; exit 1; }
"#;

/// The lease must be writable, or nothing can run.
async fn home(ports: &HostPorts) -> Check {
    let folder = format!("{}/.lockgate", ports.home);
    let mend = format!("let this user write {}: `sudo install -d -o $USER {0}`", ports.home);
    match ports.host.exec(&Command::new(["sh", "-c", MAY_WRITE, "sh", &folder])).await {
        Ok(output) if output.ok() => Check::ok("state folder", format!("{} can be written", ports.home)),
        Ok(output) => {
            let seen = format!("this user may not write {}", output.stdout_text().trim());
            Check::bad("state folder", seen, mend)
        }
        Err(error) => Check::bad("state folder", error.to_string(), mend),
    }
}

/// That what should be live is: otherwise all else may be well and users see nothing.
async fn live(service: &Service, ports: &HostPorts) -> Check {
    let what = "live release";
    let seen = match glimpse(ports).await {
        Ok((seen, _)) => seen,
        Err(failure) => return Check::warn(what, failure.to_string(), "mend what is said above first"),
    };
    if seen.live().is_some() {
        return Check::ok(what, live_text(&seen));
    }
    let Some(slot) = seen.should_be_live() else {
        return Check::ok(what, "none yet");
    };
    let why = seen.router.unreachable.unwrap_or_else(|| "it does not run".to_owned());
    let tag = seen.slots.get(&slot).and_then(|held| held.release.as_ref()).or(seen.releases.first());
    let tag = tag.map_or("TAG", |release| release.tag.as_str());
    Check::bad(
        what,
        format!("{slot} should be live: {why}"),
        format!("bring it back: `lockgate deploy {} {tag}`", service.name),
    )
}

/// What checks are about.
struct About<'a> {
    environment: &'a Environment,
    host: &'a HostId,
    service: Option<&'a str>,
    /// For people, behind the host's name; may be empty.
    title: &'a str,
}

fn show(context: &Context<'_>, about: &About<'_>, checks: &[Check], mut worst: CheckState) -> CheckState {
    let output = context.output;
    if output.format == Format::Text {
        let parts = [about.host.as_str(), about.title];
        let heading: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        output.text(&output.paint.bold(&heading.join(" · ")));
    }
    for check in checks {
        worst = match (worst, check.state) {
            (CheckState::Bad, _) | (_, CheckState::Bad) => CheckState::Bad,
            (CheckState::Warn, _) | (_, CheckState::Warn) => CheckState::Warn,
            (CheckState::Ok, CheckState::Ok) => CheckState::Ok,
        };
        if output.format == Format::Json {
            output.json(&serde_json::json!({
                "environment": about.environment.name, "host": about.host, "service": about.service,
                "check": check,
            }));
            continue;
        }
        let mark = match check.state {
            CheckState::Ok => output.paint.green("✓"),
            CheckState::Warn => output.paint.yellow("!"),
            CheckState::Bad => output.paint.red("✗"),
        };
        output.text(&format!("  {mark} {}: {}", check.what, check.seen));
        if let Some(mend) = &check.mend {
            output.text(&format!("      {mend}"));
        }
    }
    worst
}
