//! A slot started and stopped.

use futures_util::future::try_join_all;
use lockgate_model::{FailureKind, Millis, Release, Slot};
use lockgate_ports::{PortError, Variables, demand_values};

use crate::cli::Recreates;
use crate::compose::Compose;
use crate::containers::own_grace;
use crate::held::Held;
use crate::image;
use crate::labels::{
    COMPOSE_PROJECT, COMPOSE_SERVICE, ENVIRONMENT_LABEL, PROJECT_LABEL, SERVICE_LABEL, label,
};
use crate::overlay::Pins;
use crate::place::Place;
use crate::replicas::is_cut_off;

/// Grace for a container in the way, which had the slot before and gets no traffic, where its file says nothing.
const REPLACED_GRACE_SECONDS: u64 = 10;
/// What the engine may take beyond the grace to end a container.
const STOP_EXTRA_SECONDS_MAX: u64 = 30;
/// Docker's words when a container's name is taken.
const NAME_TAKEN: &str = "is already in use by container";
/// Bound for removing a stopped container.
const REMOVE_SECONDS_MAX: u64 = 30;
const REMOVE_ATTEMPTS_MAX: u32 = 3;

impl Compose {
    /// `own`: the environment variables in the place of today's.
    pub(crate) async fn start_slot(
        &self,
        slot: Slot,
        release: &Release,
        own: Option<&Variables>,
    ) -> Result<(), PortError> {
        let held = self.held_in(slot).await?;
        let running = self.running_with(&held, slot, release).await?;
        if !held.is_empty() && running.len() == held.len() {
            return Ok(());
        }
        if own.is_none() {
            demand_values(&self.service)?;
        }
        let (dir, _) = self.folder(slot)?;
        let (own_place, image, cli) =
            tokio::join!(self.own_place(slot), self.on_host(release), self.cli.found_in(&dir));
        let (place, image, cli) = (own_place?, image?, cli?);
        let Some(image) = image else {
            let reference = self.reference(release)?;
            return Err(PortError::not_found(format!("the image {reference} is not on {}", self.host.id()))
                .hint("it was removed after it was fetched: deploy again"));
        };
        let own = match own {
            Some(own) => Some(self.own_variables(&place, release, &image, own).await?),
            None => None,
        };
        let pins = Pins { release, image: &image, own: own.as_ref(), pull_policy: !cli.is_v1() };
        let overlay = self.write_overlay(&place, &pins).await?;
        // Compose replaces what it knows and nothing else: not what was made under another project name, and not what a
        // replacement that was cut off left behind, on whose names it would stumble. Version 1 cannot replace at all where
        // the engine speaks API 1.45 or later: it asks for a field of the old image that is not there any more.
        let cut_off = is_cut_off(&held);
        // Where some of several have died, the others serve on.
        let keep = !running.is_empty() && !cut_off;
        let in_the_way = held.iter().filter(|one| match keep {
            true => !running.contains(&one.summary.id),
            false => cut_off || cli.is_v1() || !is_in(one, &place),
        });
        try_join_all(in_the_way.map(|one| self.remove_held(one))).await?;
        let volumes = if keep { Recreates::Nothing } else { Recreates::WithVolumes };
        let mut env = self.interpolation(slot, Some(release.tag.as_str()));
        env.extend(overlay.values);
        let overlay = overlay.file;
        let hidden = own.iter().flat_map(|own| own.set.values()).chain(self.service.env.values());
        let secrets: Vec<&str> = hidden.map(lockgate_model::Secret::reveal).collect();
        if let Err(error) = self.cli.up(&place, &overlay, &env, &secrets, volumes).await {
            if !(error.kind == FailureKind::Conflict && error.message.contains(NAME_TAKEN)) {
                return Err(error);
            }
            // A container that a killed Compose had asked for can appear after we looked: once more, from nothing.
            let late = self.held_in(slot).await?;
            if late.is_empty() {
                return Err(error);
            }
            for one in &late {
                self.remove_held(one).await?;
            }
            self.cli.up(&place, &overlay, &env, &secrets, Recreates::WithVolumes).await?;
        }
        self.demand_started(slot, release, &place).await
    }

    /// Finds the Compose that a start needs, while others look at what is there: over a network that is two requests fewer
    /// when something is started.
    pub(crate) async fn cli_for_later(&self) -> Result<(), PortError> {
        let Some(first) = self.slots.first() else { return Ok(()) };
        let (dir, _) = self.folder(*first)?;
        self.cli.found_in(&dir).await?;
        Ok(())
    }

    /// Starting must not replace a container that is not this slot's: the other slot's, or another environment's.
    pub(crate) async fn own_place(&self, slot: Slot) -> Result<Place, PortError> {
        let others = self.slots.iter().copied().filter(|other| *other != slot);
        let slots: Vec<Slot> = std::iter::once(slot).chain(others).collect();
        let (places, all) = tokio::join!(self.places(&slots), self.engine.containers(Some(PROJECT_LABEL)));
        let mut places = places.into_iter();
        let place = places.next().unwrap_or_else(|| Err(PortError::other("a slot without a place")))?;
        // A slot whose file is missing cannot be mistaken for this one.
        for other in places.flatten() {
            if place.same_container(&other) {
                let message =
                    format!("both slots are the service {} of the same Compose project", place.service);
                return Err(PortError::new(FailureKind::Refused, message)
                    .hint("put {slot} into `dir`, `service` or `project` of the compose runtime"));
            }
        }
        let all = all?;
        let theirs = all.iter().find(|summary| {
            let same = place.has_made(summary) && label(summary, COMPOSE_SERVICE) == Some(&place.service);
            let ours = label(summary, PROJECT_LABEL) == Some(self.project.as_str())
                && label(summary, ENVIRONMENT_LABEL) == Some(self.environment.as_str())
                && label(summary, SERVICE_LABEL) == Some(self.service.name.as_str());
            same && !ours
        });
        let Some(theirs) = theirs else { return Ok(place) };
        let owner =
            [PROJECT_LABEL, ENVIRONMENT_LABEL, SERVICE_LABEL].map(|name| label(theirs, name).unwrap_or("?"));
        let project = match &place.project {
            Some(project) => format!("the Compose project {project}"),
            None => format!("the Compose project of {}", place.path()),
        };
        let message = format!(
            "{project}, in which {} would be started, has the service {} of {} already",
            place.path(),
            place.service,
            owner.join("/")
        );
        // Another environment of the same project would have the same name again.
        let is_sibling = owner[0] == self.project.as_str() && owner[2] == self.service.name.as_str();
        let environment = if is_sibling { "-{environment}" } else { "" };
        let hint = format!(
            "set `project` of the compose runtime to a name that nobody else has on {}, such as \
             `project: \"{}{environment}-{{service}}-{{slot}}\"`",
            self.host.id(),
            self.project
        );
        Err(PortError::new(FailureKind::Refused, message).hint(hint))
    }

    /// Compose's exit code alone proves nothing about which bytes run.
    async fn demand_started(&self, slot: Slot, release: &Release, place: &Place) -> Result<(), PortError> {
        let held = self.held_in(slot).await?;
        let started = held.iter().filter(|one| {
            one.ours && self.labelled_release(&one.summary).is_some_and(|runs| runs.same_bytes(release))
        });
        let (started, running) = (started.count(), held.iter().filter(|one| one.runs()).count());
        if started > 0 && started >= running {
            return Ok(());
        }
        Err(PortError::other(format!(
            "Compose said that it started {}, but no container runs {release}",
            place.service
        ))
        .hint(format!("does {} start more than one container for the service?", place.path())))
    }

    pub(crate) async fn stop_slot(&self, slot: Slot, grace: Millis) -> Result<(), PortError> {
        self.stop_all(&self.held_in(slot).await?, grace).await
    }

    /// Stops them beside each other, so that each has the whole grace and all together have no more.
    async fn stop_all(&self, held: &[Held], grace: Millis) -> Result<(), PortError> {
        try_join_all(held.iter().filter(|one| one.runs()).map(|one| self.stop_container(one, grace))).await?;
        Ok(())
    }

    /// 304 means stopped already and 404 gone: both are what was wanted.
    async fn stop_container(&self, held: &Held, grace: Millis) -> Result<(), PortError> {
        let seconds = grace.0.div_ceil(1000);
        let target = format!("/containers/{}/stop?t={seconds}", held.summary.id);
        let limit = Millis::from_secs(seconds + STOP_EXTRA_SECONDS_MAX);
        match self.engine.act("POST", target, limit).await? {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.status == 404 => Ok(()),
            Err(refusal) => Err(refusal.into_error(&format!("stop {}", held.name()))),
        }
    }

    /// A Compose that was cut off has its last request still on the way: what was created a moment ago may run now, so a
    /// refusal because of that is answered by stopping it, once more or twice.
    async fn remove_held(&self, held: &Held) -> Result<(), PortError> {
        let mut runs = held.runs();
        for attempt in 1..=REMOVE_ATTEMPTS_MAX {
            if runs {
                let container = self.engine.container(&held.summary.id).await?;
                let own = container.as_ref().and_then(own_grace);
                self.stop_container(held, own.unwrap_or(Millis::from_secs(REPLACED_GRACE_SECONDS))).await?;
            }
            let target = format!("/containers/{}", image::encode(&held.summary.id));
            match self.engine.act("DELETE", target, Millis::from_secs(REMOVE_SECONDS_MAX)).await? {
                Ok(_) => return Ok(()),
                Err(refusal) if refusal.status == 404 => return Ok(()),
                Err(refusal) if refusal.status == 409 && attempt < REMOVE_ATTEMPTS_MAX => runs = true,
                Err(refusal) => return Err(refusal.into_error(&format!("remove {}", held.name()))),
            }
        }
        Ok(())
    }
}

/// True when `compose up` in this place takes the container for its own and replaces it.
fn is_in(held: &Held, place: &Place) -> bool {
    let same_project =
        place.project.as_deref().is_none_or(|project| label(&held.summary, COMPOSE_PROJECT) == Some(project));
    same_project && label(&held.summary, COMPOSE_SERVICE) == Some(&place.service)
}
