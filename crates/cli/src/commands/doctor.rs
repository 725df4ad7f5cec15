//! `doctor`: all that a deployment will need, looked at on every host, each with how to mend it.

use futures_util::future::join_all;
use lockgate_model::{
    Environment, HostId, HostObserved, Project, Router, Service, ServiceName, SlotState, Timestamp,
};
use lockgate_orchestrator::Diagnosed;
use lockgate_own::{Foreign, NOT_OURS, SHELL};
use lockgate_perform::glimpse;
use lockgate_ports::{Check, CheckState, Command, HostPorts, STATE_FREE_MIB_MIN};
use lockgate_render::{clean, deploy_again, escaped, live_text};

use super::Context;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::tools;
use crate::wiring;

/// What the last of a service's checks is about.
const LIVE: &str = "live release";

pub async fn run(context: &Context<'_>, service: Option<&str>) -> Result<Exit, CliError> {
    let environment = context.environment()?;
    let services = context.services(service)?;
    let mut all = Vec::new();
    let gates = check_gates(context, &services).await?;
    if environment.slots().is_none() || !gates.is_empty() {
        let gates = only_checked(environment, gates);
        let about = About { environment, host: &HostId::local(), service: None, title: "gates" };
        all.extend(show(context, &about, &gates));
    }
    if let Some(check) = tools::store_check(&context.project).await {
        let about = About { environment, host: &HostId::local(), service: None, title: "this folder" };
        all.extend(show(context, &about, &[check]));
    }
    let registries = check_registries(&context.project).await;
    if !registries.is_empty() {
        let about = About { environment, host: &HostId::local(), service: None, title: "registries" };
        all.extend(show(context, &about, &registries));
    }
    let told = check_notifiers(&context.project).await;
    if !told.is_empty() {
        let about = About { environment, host: &HostId::local(), service: None, title: "notifications" };
        all.extend(show(context, &about, &told));
    }
    for id in environment.hosts() {
        let checks = context.wires.host(id).check().await;
        let reachable = checks.iter().all(|check| check.state != CheckState::Bad);
        let about = About { environment, host: id, service: None, title: "" };
        all.extend(show(context, &about, &checks));
        if !reachable {
            continue;
        }
        for service in &services {
            let site = context.site(service)?;
            let Some(ports) = site.hosts.iter().find(|ports| &ports.id == id) else { continue };
            let (mut checks, router) = tokio::join!(ports.runtime.check(), ports.router.check());
            checks.extend(router);
            checks.push(home(ports).await);
            checks.push(live(service, environment, ports).await);
            let title = service.name.as_str();
            let about = About { environment, host: id, service: Some(&service.name), title };
            all.extend(show(context, &about, &checks));
        }
    }
    Ok(Diagnosed::exit(&all))
}

/// An environment without hosts is said to be one, for nothing else of it is looked at.
fn only_checked(environment: &Environment, mut gates: Vec<Check>) -> Vec<Check> {
    if environment.slots().is_some() {
        return gates;
    }
    let name = &environment.name;
    let seen = match gates.is_empty() {
        true => format!("{name} has neither hosts nor a url nor gates: there is nothing to look at"),
        false => format!("{name} is only checked, never deployed to: there are no hosts to look at"),
    };
    gates.insert(0, Check::ok("environment", seen));
    gates
}

/// The registries that the configuration has logins for, each with its login, asked side by side.
async fn check_registries(project: &Project) -> Vec<Check> {
    let registry = wiring::registry(project);
    join_all(project.registries.keys().map(|host| registry.check(host))).await
}

/// Those who are told of runs, asked side by side.
async fn check_notifiers(project: &Project) -> Vec<Check> {
    join_all(tools::notifiers(project).iter().map(|notifier| notifier.check())).await
}

/// What the gates of any of the services need, each thing once.
async fn check_gates(context: &Context<'_>, services: &[&Service]) -> Result<Vec<Check>, CliError> {
    let mut checks = Vec::new();
    for service in services {
        for check in context.site(service)?.check_gates().await? {
            if !checks.contains(&check) {
                checks.push(check);
            }
        }
    }
    Ok(checks)
}

const MAY_WRITE: &str = include_str!("../sh/may-write.sh");

/// What makes that succeed. Slots' folders may be in `home`, with files of apps that are to keep their owners.
fn let_write(home: &str) -> String {
    let (home, within) =
        (shell_words::quote(home).into_owned(), shell_words::quote(&state_folder(home)).into_owned());
    format!(
        "let this user write there: `sudo mkdir -p {within} && sudo chown \"$USER\" {home} && sudo chown -R \"$USER\" \
         {within}`"
    )
}

fn state_folder(home: &str) -> String {
    format!("{home}/.lockgate")
}

/// The lease must be writable, or nothing can run.
async fn home(ports: &HostPorts) -> Check {
    let what = "state folder";
    let folder = state_folder(&ports.home);
    let script = format!("lg_me=; {SHELL}{MAY_WRITE}");
    let asked = Command::new(["sh", "-c", &script, "sh", &ports.home, &folder]);
    let (may_write, free) = tokio::join!(ports.host.exec(&asked), ports.host.disk_free_mib(&folder));
    let mend = let_write(&ports.home);
    match (may_write, free) {
        (Ok(output), _) if output.code == NOT_OURS => {
            let foreign = Foreign::reported(&output.stderr_text());
            let (seen, mend) = foreign.map_or((folder, mend), |foreign| (foreign.message, foreign.hint));
            Check::bad(what, seen, mend)
        }
        (Ok(output), _) if !output.ok() => {
            let seen = format!("this user may not write {}", output.stdout_text().trim());
            Check::bad(what, seen, mend)
        }
        (Ok(_), Ok(free)) if free < STATE_FREE_MIB_MIN => Check::bad(
            what,
            format!("no space left on the disk that holds {}", ports.home),
            format!("free space there: `df -h` on {} shows how much there is", ports.id),
        ),
        (Ok(_), Ok(_)) => Check::ok(what, format!("{} can be written", ports.home)),
        (Err(error), _) => Check::bad(what, error.to_string(), mend),
        (_, Err(error)) => Check::bad(what, error.to_string(), "see that the disk can be looked at: `df -h`"),
    }
}

/// That what should be live is: otherwise all else may be well and users see nothing.
async fn live(service: &Service, environment: &Environment, ports: &HostPorts) -> Check {
    // Whatever is in it: what counts is the host's clock, which a container's times are by.
    let path = format!("{}/.lockgate/lease.json", ports.home);
    let now = match ports.host.read(&path).await {
        Ok(file) => file.now,
        Err(error) => return Check::warn(LIVE, error.to_string(), "mend what is said above first"),
    };
    match glimpse(ports).await {
        // What could not be read might say that something was live.
        Ok((seen, Some(missing))) if seen.is_new() => {
            Check::warn(LIVE, missing.to_string(), "mend what is said above first")
        }
        Ok((seen, _)) => live_check(service, environment, &seen, now),
        Err(failure) => Check::warn(LIVE, failure.to_string(), "mend what is said above first"),
    }
}

fn live_check(service: &Service, environment: &Environment, seen: &HostObserved, now: Timestamp) -> Check {
    if let Some((slot, live)) = seen.live() {
        if seen.is_restarting(now) {
            let told =
                format!("{}, started again {} times by its restart policy", live_text(seen), live.restarts);
            return Check::bad(
                LIVE,
                told,
                format!("see why: `lockgate logs {} --slot {slot}`", service.name),
            );
        }
        return Check::ok(LIVE, live_text(seen));
    }
    let Some(slot) = seen.should_be_live().filter(|_| seen.is_dark()) else {
        return Check::ok(LIVE, "none yet");
    };
    let elsewhere = seen.router.target.zip(seen.recorded.active);
    let elsewhere = elsewhere.filter(|(target, active)| target != active && !seen.router.absent);
    let told = match (&seen.router.unreachable, elsewhere) {
        (Some(reason), _) => format!("{slot} should be live: {reason}"),
        (None, None) => format!("{slot} should be live: it does not run"),
        (None, Some((target, active))) => {
            let held = seen.slots.get(&active).filter(|held| held.state == SlotState::Running);
            let beside = match held.map(|held| &held.release) {
                Some(Some(release)) => format!("{active}, recorded as active, runs {release}"),
                Some(None) => format!("{active}, recorded as active, runs"),
                None => format!("{active}, recorded as active, does not run either"),
            };
            format!("the traffic goes to {target}, which does not run; {beside}")
        }
    };
    let deploy = deploy_again(&service.name, &environment.name, seen);
    // A proxy of ours is started by it, another router is not.
    let is_theirs = environment.slots().is_some_and(|slots| matches!(slots.router, Router::Caddy(_)));
    Check::bad(
        LIVE,
        told,
        match seen.router.unreachable.is_some() && is_theirs {
            true => format!("start the router; if it does not come back then: {deploy}"),
            false => format!("bring it back: {deploy}"),
        },
    )
}

/// Text from elsewhere whose further lines stand under its first.
fn below(text: &str) -> String {
    clean(text).trim_end().replace('\n', "\n      ")
}

/// What checks are about.
struct About<'a> {
    environment: &'a Environment,
    host: &'a HostId,
    service: Option<&'a ServiceName>,
    /// For people, behind the host's name; may be empty.
    title: &'a str,
}

fn show(context: &Context<'_>, about: &About<'_>, checks: &[Check]) -> Vec<Diagnosed> {
    let output = context.output;
    if output.format == Format::Text {
        let parts = [about.host.as_str(), about.title];
        let heading: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        output.text(&output.paint.bold(&heading.join(" · ")));
    }
    let mut diagnosed = Vec::with_capacity(checks.len());
    for check in checks {
        let check = Check { seen: output.masked(&check.seen), ..check.clone() };
        diagnosed.push(Diagnosed {
            environment: about.environment.name.clone(),
            host: about.host.clone(),
            service: about.service.cloned(),
            check,
        });
    }
    for one in &diagnosed {
        if output.format == Format::Json {
            output.json(one);
            continue;
        }
        let check = &one.check;
        let mark = match check.state {
            CheckState::Ok => output.paint.green("✓"),
            CheckState::Warn => output.paint.yellow("!"),
            CheckState::Bad => output.paint.red("✗"),
        };
        output.text(&format!("  {mark} {}: {}", escaped(&check.what), below(&check.seen)));
        if let Some(mend) = &check.mend {
            output.text(&format!("      {}", below(mend)));
        }
    }
    diagnosed
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Somebody whom these tests never run as.
    const STRANGER: u32 = 65534;

    fn shell(script: &str, args: &[&str]) -> bool {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(args).status().unwrap().success()
    }

    #[test]
    fn what_is_to_be_typed_makes_the_state_folder_this_users_whether_it_is_there_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let me = dir.path().metadata().unwrap().uid();
        for (name, is_there) in [("it's there", true), ("not yet/there", false)] {
            let home = dir.path().join(name);
            let (state, app) = (home.join(".lockgate"), home.join("blue"));
            if is_there {
                for folder in [&state, &app] {
                    std::fs::create_dir_all(folder).unwrap();
                }
                std::fs::write(state.join("lease.json"), "{}").unwrap();
                // Only root can give files away; for others it is theirs already.
                if me == 0 {
                    for path in [&home, &state, &state.join("lease.json"), &app] {
                        std::os::unix::fs::chown(path, Some(STRANGER), None).unwrap();
                    }
                }
            }
            let mend = let_write(home.to_str().unwrap());
            let typed =
                mend.split('`').nth(1).unwrap().replace("sudo ", "").replace("$USER", &me.to_string());
            assert!(shell(&typed, &[]), "{typed}");
            let owner = |path: &Path| path.metadata().unwrap().uid();
            assert_eq!((owner(&home), owner(&state)), (me, me));
            if is_there {
                assert_eq!(owner(&state.join("lease.json")), me);
                assert!(me != 0 || owner(&app) == STRANGER, "what apps have they keep");
            }
            assert!(shell(
                &format!("lg_me=; {SHELL}{MAY_WRITE}"),
                &[home.to_str().unwrap(), state.to_str().unwrap()]
            ));
        }
    }
}
