//! The override file of ours: what pins a slot to a release.
//!
//! It names variables and holds no value of one: Compose fills them in from its own environment, which a host is told on
//! standard input. So what may be a secret is in no file of ours beside a Compose file, also when Lockgate is killed.

use std::collections::BTreeMap;

use lockgate_model::{Release, Slot};
use lockgate_ports::{OneOffId, PortError};
use serde_json::{Map, Value, json};

use crate::compose::Compose;
use crate::environment::OwnVariables;
use crate::labels::{
    COMMIT_LABEL, DIGEST_LABEL, ENVIRONMENT_LABEL, HOOK_LABEL, HOOK_RUN_LABEL, IMAGE_LABEL, PROJECT_LABEL,
    SERVICE_LABEL, SLOT_LABEL, TAG_LABEL,
};
use crate::place::{Place, join};

/// What runs on the host is nobody else's business.
const OVERLAY_MODE: u32 = 0o600;
/// Names of variables of Compose's own environment; a number follows. No Compose file of a user's names one of them.
const VALUE: &str = "LOCKGATE_VALUE_";

/// What a slot is pinned to.
pub(crate) struct Pins<'a> {
    pub release: &'a Release,
    /// As its bytes are called on the host.
    pub image: &'a str,
    /// Environment variables in the place of today's; `None`: today's.
    pub own: Option<&'a OwnVariables>,
    /// The Compose that is called knows that word, as version 2 does.
    pub pull_policy: bool,
}

/// An override as it was written.
pub(crate) struct Overlay {
    /// Its path within the place's folder.
    pub file: String,
    /// What Compose has to have in its environment to read it: the values that the file names.
    pub values: BTreeMap<String, String>,
}

impl Compose {
    /// Writes the override for `release`.
    pub(crate) async fn write_overlay(&self, place: &Place, pins: &Pins<'_>) -> Result<Overlay, PortError> {
        let file =
            format!(".lockgate/override.{}.{}.{}.yml", self.environment, self.service.name, place.slot);
        let (document, values) = self.overlay(&place.service, place.slot, pins);
        self.write_document(place, &file, &document).await?;
        Ok(Overlay { file, values })
    }

    /// The same for a program that runs once in the place: a hook, or without an `id` a person's.
    pub(crate) async fn write_one_off(
        &self,
        place: &Place,
        pins: &Pins<'_>,
        id: Option<OneOffId>,
    ) -> Result<Overlay, PortError> {
        let what = id.map_or("exec", |id| id.moment.as_str());
        let file = format!(".lockgate/{what}.{}.{}.{}.yml", self.environment, self.service.name, place.slot);
        let (mut document, values) = self.overlay(&place.service, place.slot, pins);
        relabel(&mut document["services"][&place.service], id);
        self.write_document(place, &file, &document).await?;
        Ok(Overlay { file, values })
    }

    /// Removes what Compose has read and nobody needs any more.
    pub(crate) async fn remove_overlay(&self, place: &Place, overlay: &Overlay) {
        let path = join(&place.dir, &overlay.file);
        if let Err(error) = self.host.remove(&path).await {
            tracing::warn!(%error, "{path}, which nobody needs any more, stays");
        }
    }

    async fn write_document(&self, place: &Place, file: &str, document: &Value) -> Result<(), PortError> {
        let mut content = serde_json::to_vec_pretty(document)
            .map_err(|error| PortError::other(format!("the override does not serialise: {error}")))?;
        content.push(b'\n');
        self.host.write_own(&join(&place.dir, file), &content, OVERLAY_MODE).await
    }

    /// JSON, which is YAML too, because its quoting leaves nothing to interpretation.
    fn overlay(&self, service: &str, slot: Slot, pins: &Pins<'_>) -> (Value, BTreeMap<String, String>) {
        let Pins { release, image, own, pull_policy } = *pins;
        let mut labels = Map::new();
        let mut label = |name: &str, value: &str| labels.insert(name.to_owned(), escape(value).into());
        label(PROJECT_LABEL, self.project.as_str());
        label(ENVIRONMENT_LABEL, self.environment.as_str());
        label(SERVICE_LABEL, self.service.name.as_str());
        label(SLOT_LABEL, slot.as_str());
        label(TAG_LABEL, release.tag.as_str());
        label(DIGEST_LABEL, release.digest.as_str());
        if let Some(repository) = &release.image {
            label(IMAGE_LABEL, repository);
        }
        if let Some(commit) = &release.commit {
            label(COMMIT_LABEL, commit);
        }
        let mut environment = Map::new();
        for name in own.iter().flat_map(|own| &own.without) {
            environment.insert(name.clone(), Value::Null);
        }
        let mut values = BTreeMap::new();
        for (number, (name, value)) in own.map_or(&self.service.env, |own| &own.set).iter().enumerate() {
            let variable = format!("{VALUE}{number}");
            environment.insert(name.clone(), format!("${{{variable}}}").into());
            values.insert(variable, value.reveal().to_owned());
        }
        environment.insert("LOCKGATE_SLOT".to_owned(), slot.as_str().into());
        environment.insert("LOCKGATE_RELEASE".to_owned(), release.tag.as_str().into());
        let mut one = json!({ "image": image, "labels": labels, "environment": environment });
        if pull_policy {
            one["pull_policy"] = "never".into();
        }
        (json!({ "services": { service: one } }), values)
    }
}

/// Compose interpolates override files too: `$` is written `$$`.
fn escape(value: &str) -> String {
    value.replace('$', "$$")
}

/// The labels of a slot's container as those of one that no slot holds.
fn relabel(service: &mut Value, id: Option<OneOffId>) {
    // One-off or not, it is not to be started again.
    service["restart"] = "no".into();
    if let Some(labels) = service["labels"].as_object_mut() {
        labels.remove(SLOT_LABEL);
        if let Some(id) = id {
            labels.insert(HOOK_LABEL.to_owned(), id.moment.as_str().into());
            labels.insert(HOOK_RUN_LABEL.to_owned(), id.run.to_string().into());
        }
    }
}
