//! The environment variables of a slot's container: those that it was started with, and those that a start would give it.

use std::collections::BTreeMap;

use lockgate_model::{Release, Secret, Slot};
use lockgate_ports::{PortError, Variables};
use serde_json::Value;

use crate::compose::Compose;
use crate::place::Place;

/// Names that every start sets by itself.
const OURS: [&str; 2] = ["LOCKGATE_SLOT", "LOCKGATE_RELEASE"];

/// What a start puts in the place of what the files and the configuration say.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnVariables {
    pub set: Variables,
    /// Names that today's files set and that it did not have. A file is overlaid with "no value" for them, which Compose
    /// takes out; one that `.env` or Compose's own environment sets under the same name stays, for Compose has no word
    /// against that.
    pub without: Vec<String>,
}

impl Compose {
    /// `None` where the slot holds nothing.
    pub(crate) async fn environment_in(&self, slot: Slot) -> Result<Option<Variables>, PortError> {
        let held = self.held_in(slot).await?;
        let Some(first) = held.first() else { return Ok(None) };
        let Some(container) = self.engine.container(&first.summary.id).await? else { return Ok(None) };
        let of_image = self.environment_of_image(&first.summary.image_id).await?;
        Ok(Some(chosen(&container.config.env, &of_image)))
    }

    /// As [`Compose::environment_in`] would have it of a container that is started now.
    pub(crate) async fn environment_today(
        &self,
        slot: Slot,
        release: &Release,
    ) -> Result<Variables, PortError> {
        let place = self.place(slot).await?;
        let mut variables = self.configured(&place, release).await?;
        if let Some(image) = self.on_host(release).await? {
            let of_image = self.environment_of_image(&image).await?;
            let of_image = pairs(&of_image);
            variables.retain(|name, value| of_image.get(name.as_str()) != Some(&value.reveal()));
        }
        Ok(variables)
    }

    /// For a start with the variables of `own`. `image` is what the release's bytes are called on the host.
    pub(crate) async fn own_variables(
        &self,
        place: &Place,
        release: &Release,
        image: &str,
        own: &Variables,
    ) -> Result<OwnVariables, PortError> {
        let today = self.configured(place, release).await?;
        let of_image = self.environment_of_image(image).await?;
        let of_image = pairs(&of_image);
        let mut found = OwnVariables { set: own.clone(), without: Vec::new() };
        for name in today.into_keys().filter(|name| !own.contains_key(name)) {
            match of_image.get(name.as_str()) {
                // Without a value Compose would look for one in its own environment.
                Some(value) => drop(found.set.insert(name, Secret::new(*value))),
                None => found.without.push(name),
            }
        }
        Ok(found)
    }

    /// What the slot's files set, with `services.<name>.env` over it.
    async fn configured(&self, place: &Place, release: &Release) -> Result<Variables, PortError> {
        let interpolation = self.interpolation(place.slot, Some(release.tag.as_str()));
        let document = self.cli.config(place, &interpolation).await?;
        let service = document.get("services").and_then(|services| services.get(&place.service));
        let mut variables = service.map(of_file).unwrap_or_default();
        variables.extend(self.service.env.clone());
        Ok(variables)
    }

    async fn environment_of_image(&self, image: &str) -> Result<Vec<String>, PortError> {
        Ok(self.engine.image(image).await?.map(|image| image.config.env).unwrap_or_default())
    }
}

/// Of Compose's own document, in which a dollar sign is written twice. One without a value is the shell's, and not told.
fn of_file(service: &Value) -> Variables {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.replace("$$", "$")),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    };
    match service.get("environment") {
        Some(Value::Object(map)) => {
            map.iter().filter_map(|(name, value)| Some((name.clone(), Secret::new(text(value)?)))).collect()
        }
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(|entry| {
                let (name, value) = entry.as_str()?.split_once('=')?;
                Some((name.to_owned(), Secret::new(value.replace("$$", "$"))))
            })
            .collect(),
        _ => Variables::new(),
    }
}

/// `NAME=value`; one without `=` is not set.
fn pairs(list: &[String]) -> BTreeMap<&str, &str> {
    list.iter().filter_map(|entry| entry.split_once('=')).collect()
}

/// What a container has that its image does not say by itself.
fn chosen(container: &[String], image: &[String]) -> Variables {
    let of_image = pairs(image);
    let mut variables = pairs(container);
    variables.retain(|name, value| !OURS.contains(name) && of_image.get(name) != Some(value));
    variables.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(variables: &Variables) -> Vec<(String, String)> {
        variables.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect()
    }

    #[test]
    fn what_an_image_and_lockgate_set_by_themselves_is_nobodys_choice() {
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        let container = list(&["PATH=/bin", "A=1=2", "LANG=de", "LOCKGATE_SLOT=blue", "BARE"]);
        let image = list(&["PATH=/bin", "LANG=C"]);
        let wanted = [("A".to_owned(), "1=2".to_owned()), ("LANG".to_owned(), "de".to_owned())];
        assert_eq!(shown(&chosen(&container, &image)), wanted);
    }

    #[test]
    fn both_generations_of_compose_are_understood() {
        let v2 = serde_json::json!({ "environment": { "A": "a$$b", "N": 1, "B": true, "FROM_SHELL": null } });
        let wanted = [("A", "a$b"), ("B", "true"), ("N", "1")];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(shown(&of_file(&v2)), wanted);
        let list = serde_json::json!({ "environment": ["A=a$$b", "B=true", "N=1", "FROM_SHELL"] });
        assert_eq!(shown(&of_file(&list)), wanted);
        assert!(of_file(&serde_json::json!({})).is_empty());
    }
}
