//! A program that runs once in a release's image, as `docker compose run` makes its container: the service's own environment,
//! networks and volumes, no published ports, nothing that it depends on.

use async_trait::async_trait;
use lockgate_model::{FailureKind, HOOK_SECONDS_MAX, HookMoment, Millis, RunId};
use lockgate_ports::{Command, LineSink, OneOff, OneOffId, OneOffState, OneOffs, PortError, demand_values};

use crate::api::ContainerSummary;
use crate::compose::Compose;
use crate::held::runs;
use crate::image;
use crate::labels::{ENVIRONMENT_LABEL, HOOK_LABEL, HOOK_RUN_LABEL, PROJECT_LABEL, SERVICE_LABEL, label};
use crate::overlay::Pins;

/// What the engine may take beyond the grace to end a container.
const STOP_EXTRA_SECONDS_MAX: u64 = 30;
/// Bound for removing a stopped container.
const REMOVE_SECONDS_MAX: u64 = 30;
/// Runtimes' words for a program that the image does not have.
const NO_PROGRAM: [&str; 2] = ["executable file not found", "no such file or directory"];

/// No other container is called so: the run's name is in it.
fn name(id: OneOffId) -> String {
    format!("lockgate-{}-{}", id.moment, id.run)
}

fn id_of(summary: &ContainerSummary) -> Option<OneOffId> {
    let run: RunId = label(summary, HOOK_RUN_LABEL)?.parse().ok()?;
    let moment: HookMoment = label(summary, HOOK_LABEL)?.parse().ok()?;
    Some(OneOffId { run, moment })
}

impl Compose {
    async fn one_off_containers(&self) -> Result<Vec<(OneOffId, ContainerSummary)>, PortError> {
        let all = self.engine.containers(Some(HOOK_RUN_LABEL)).await?;
        let is_ours = |summary: &ContainerSummary| {
            label(summary, PROJECT_LABEL) == Some(self.project.as_str())
                && label(summary, ENVIRONMENT_LABEL) == Some(self.environment.as_str())
                && label(summary, SERVICE_LABEL) == Some(self.service.name.as_str())
        };
        let ours = all.into_iter().filter(is_ours);
        Ok(ours.filter_map(|summary| Some((id_of(&summary)?, summary))).collect())
    }

    /// `None` where it has gone meanwhile.
    async fn one_off_state(&self, summary: &ContainerSummary) -> Result<Option<OneOffState>, PortError> {
        match summary.state.as_str() {
            "created" => return Ok(Some(OneOffState::Made)),
            state if runs(state) => return Ok(Some(OneOffState::Runs)),
            _ => {}
        }
        let container = self.engine.container(&summary.id).await?;
        let code = container.map(|container| i32::try_from(container.state.exit_code).unwrap_or(i32::MAX));
        Ok(code.map(OneOffState::Ended))
    }

    /// Called by its name, for whoever ends it may not have seen it.
    async fn end_one_off(&self, id: OneOffId, grace: Millis) -> Result<(), PortError> {
        let name = image::encode(&name(id));
        let seconds = grace.0.div_ceil(1000);
        let stop = format!("/containers/{name}/stop?t={seconds}");
        let limit = Millis::from_secs(seconds + STOP_EXTRA_SECONDS_MAX);
        match self.engine.act("POST", stop, limit).await? {
            Ok(_) => {}
            Err(refusal) if refusal.status == 404 => return Ok(()),
            Err(refusal) => return Err(refusal.into_error(&format!("stop {name}"))),
        }
        // With its volumes that have no name, as `docker compose run --rm` does.
        let remove = format!("/containers/{name}?v=1&force=1");
        match self.engine.act("DELETE", remove, Millis::from_secs(REMOVE_SECONDS_MAX)).await? {
            Ok(_) => Ok(()),
            // Gone, or somebody else is removing it.
            Err(refusal) if matches!(refusal.status, 404 | 409) => Ok(()),
            Err(refusal) => Err(refusal.into_error(&format!("remove {name}"))),
        }
    }
}

#[async_trait]
impl OneOffs for Compose {
    async fn seen(&self) -> Result<Vec<(OneOffId, OneOffState)>, PortError> {
        let mut seen = Vec::new();
        for (id, summary) in self.one_off_containers().await? {
            if let Some(state) = self.one_off_state(&summary).await? {
                seen.push((id, state));
            }
        }
        Ok(seen)
    }

    async fn begin(&self, wanted: &OneOff<'_>) -> Result<(), PortError> {
        let OneOff { id, slot, release, argv } = *wanted;
        demand_values(&self.service)?;
        let (dir, _) = self.folder(slot)?;
        let (place, image, cli) =
            tokio::join!(self.own_place(slot), self.on_host(release), self.cli.found_in(&dir));
        let (place, image, cli) = (place?, image?, cli?);
        let Some(image) = image else {
            let reference = self.reference(release)?;
            return Err(PortError::not_found(format!("the image {reference} is not on {}", self.host.id()))
                .hint("it was removed after it was fetched: deploy again"));
        };
        let pins = Pins { release, image: &image, own: None, pull_policy: !cli.is_v1() };
        let overlay = self.write_one_off(&place, &pins, Some(id)).await?;
        let mut env = self.interpolation(slot, Some(release.tag.as_str()));
        env.extend(overlay.values.clone());
        let secrets: Vec<&str> = self.service.env.values().map(lockgate_model::Secret::reveal).collect();
        let begun = self.cli.run_once(&place, &overlay.file, &env, &secrets, &name(id), argv).await;
        self.remove_overlay(&place, &overlay).await;
        begun.map_err(|error| {
            let text = error.message.to_ascii_lowercase();
            match NO_PROGRAM.iter().any(|words| text.contains(words)) && error.kind == FailureKind::Other {
                true => PortError::not_found(error.message).hint(format!(
                    "is {} in the image of {release}? A shell is none of a command's: write `[\"sh\", \"-c\", …]` for one",
                    argv.first().map_or("the program", String::as_str)
                )),
                false => error,
            }
        })
    }

    async fn follow(&self, id: OneOffId, sink: &mut dyn LineSink) -> Result<(), PortError> {
        let mut command = Command::new(["docker", "logs", "--follow"]).arg(name(id));
        command.timeout = Millis::from_secs(HOOK_SECONDS_MAX);
        for (name, value) in self.locator.address().await?.variables() {
            command = command.env(name, value);
        }
        // Its code says nothing of the program's end, which is looked at.
        self.host.exec_lines(&command, sink).await?;
        Ok(())
    }

    async fn end(&self, id: OneOffId, grace: Millis) -> Result<(), PortError> {
        self.end_one_off(id, grace).await
    }
}
