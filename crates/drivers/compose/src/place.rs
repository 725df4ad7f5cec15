//! A slot's Compose file: where it is, and which service and project in it are the slot.

use std::collections::BTreeMap;

use lockgate_model::Slot;
use serde::Deserialize;

use crate::api::ContainerSummary;
use crate::labels::{COMPOSE_DIR, COMPOSE_PROJECT, label};

/// A slot in Compose's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub slot: Slot,
    /// Folder of the file: Compose's project directory, where `.env` is.
    pub dir: String,
    /// File names within `dir`: the file and the user's override, where there is one.
    pub files: Vec<String>,
    /// What is in them.
    pub contents: Vec<Vec<u8>>,
    /// `.env` beside them; `None` where there is none, or where it may not be read.
    pub dot_env: Option<Vec<u8>>,
    /// Compose's service.
    pub service: String,
    /// `None`: the folder's own default.
    pub project: Option<String>,
}

impl Place {
    /// The file as people know it.
    pub(crate) fn path(&self) -> String {
        join(&self.dir, &self.files[0])
    }

    /// The profiles that the place's own files name.
    pub(crate) fn profiles(&self) -> Vec<String> {
        let mut all: Vec<String> = self.contents.iter().flat_map(|content| profiles(content)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// True when the container is of the place's Compose project, whichever of its services.
    pub(crate) fn has_made(&self, summary: &ContainerSummary) -> bool {
        match self.project.as_deref() {
            Some(project) => label(summary, COMPOSE_PROJECT) == Some(project),
            None => label(summary, COMPOSE_DIR) == Some(&self.dir),
        }
    }

    /// True when both are one container for Compose, so that starting one would replace the other.
    pub(crate) fn same_container(&self, other: &Place) -> bool {
        self.same_project(other) && self.service == other.service
    }

    pub(crate) fn same_project(&self, other: &Place) -> bool {
        match (&self.project, &other.project) {
            (None, None) => self.dir == other.dir,
            (one, two) => one == two,
        }
    }
}

/// The keys of a Compose file that are read for its profiles.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WithProfiles {
    services: BTreeMap<String, Option<Profiles>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Profiles {
    profiles: Vec<String>,
}

/// None where only Compose can read the file.
fn profiles(content: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(content) else { return Vec::new() };
    let file: WithProfiles = serde_saphyr::from_str(text).unwrap_or_default();
    file.services.into_values().flatten().flat_map(|service| service.profiles).collect()
}

/// The host's path of `name` in `dir`.
pub(crate) fn join(dir: &str, name: &str) -> String {
    format!("{}/{name}", dir.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_from_the_file_itself() {
        let text =
            b"services:\n  web: { image: a, profiles: [app, full] }\n  redis:\n  db: { profiles: [full] }\n";
        let place = Place {
            slot: Slot::Blue,
            dir: "/srv".into(),
            files: vec!["compose.yaml".into()],
            contents: vec![text.to_vec(), b"services: [".to_vec()],
            dot_env: None,
            service: "web".into(),
            project: None,
        };
        assert_eq!(place.profiles(), ["app", "full"]);
    }
}
