//! Whether a host has what `lockgate setup` makes, for `doctor`.

use lockgate_model::{EnvironmentName, Failure, HostId, Project, SetupItem, SetupState};
use lockgate_ports::Check;
use lockgate_provision::{HostPlan, look};

use super::HostsWant;
use crate::error::CliError;
use crate::wiring::Wires;

/// What is looked at.
const WHAT: &str = "what `lockgate setup` makes";

/// One for all that is there or can be made, and one for each thing that cannot. Empty where the environment says nothing of
/// what its hosts need. Values that are not known here, because they come from files and programs, are not compared.
pub async fn checks(
    project: &Project,
    wires: &Wires,
    environment: &EnvironmentName,
    host: &HostId,
) -> Vec<Check> {
    let environment = project.environments.iter().find(|one| one.name == *environment);
    let slots = environment.and_then(|environment| Some((environment, environment.slots()?)));
    let Some((environment, slots)) = slots else { return Vec::new() };
    let Some(setup) = slots.setup.as_deref() else { return Vec::new() };
    let wanted = HostsWant::new(project, environment, slots, setup).on(wires, host);
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(CliError::Refusal(refusal)) => return refusal.failure().map(unknown).into_iter().collect(),
        // Read long ago.
        Err(CliError::Config(_)) => return Vec::new(),
    };
    match look(wires.host(host).as_ref(), &wanted).await {
        Ok(plan) => told(&plan),
        Err(error) => vec![unknown(&error.into())],
    }
}

fn unknown(failure: &Failure) -> Check {
    let mend = failure.hints.joined();
    let mend = mend.unwrap_or_else(|| "`lockgate setup --dry-run` looks at it again".to_owned());
    Check::bad(WHAT, &failure.message, mend)
}

fn told(plan: &HostPlan) -> Vec<Check> {
    let of = |state: SetupState| plan.items.iter().filter(move |item| item.state == state);
    let mut checks: Vec<Check> = of(SetupState::Refused)
        .map(|item| {
            let note = item.note.as_deref().unwrap_or("it cannot be made");
            let hint = item.hint.as_deref().unwrap_or("`lockgate setup --dry-run` shows all of it");
            Check::bad(named(item), note, hint)
        })
        .collect();
    let waits: Vec<String> = of(SetupState::Waits).map(named).collect();
    let (absent, differing): (Vec<&SetupItem>, Vec<&SetupItem>) =
        of(SetupState::Make).partition(|item| plan.absent.contains(&item.name));
    let list = |items: &[&SetupItem]| items.iter().map(|item| named(item)).collect::<Vec<_>>().join(", ");
    if !waits.is_empty() {
        let seen = format!("not there yet: {}", waits.join(", "));
        checks.push(Check::bad(WHAT, seen, "`lockgate setup` waits for it, and makes the rest then"));
    } else if !absent.is_empty() {
        let seen = format!("not there: {}", list(&absent));
        checks.push(Check::bad(
            WHAT,
            seen,
            "`lockgate setup` makes it (`lockgate setup --dry-run` only shows it)",
        ));
    } else if !differing.is_empty() {
        let seen = format!("another than here: {}", list(&differing));
        let mend = "`lockgate setup` brings it, and so does `lockgate ship` (`lockgate setup --dry-run` only shows it)";
        checks.push(Check::warn(WHAT, seen, mend));
    } else if checks.is_empty() {
        checks.push(Check::ok(WHAT, "all of it is there"));
    }
    checks
}

/// `file /opt/monarch/docker-compose.yml`; of a login `login registry.example.com`.
fn named(item: &SetupItem) -> String {
    format!("{} {}", item.kind.as_str(), item.name)
}
