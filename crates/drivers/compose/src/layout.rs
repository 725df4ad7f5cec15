//! Where a slot's Compose file is, and which service and project in it are the slot.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use lockgate_model::{ComposeLayout, FailureKind, Slot, Template, Vars};
use lockgate_ports::{HostFile, PortError};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::compose::Compose;
use crate::dot_env;
use crate::place::{Place, join};

/// Compose's default file names, in the order in which v2 looks for them; each may have an override beside it.
const FILE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The variables that Compose reads in a file's folder.
const DOT_ENV: &str = ".env";

/// The keys of a Compose file that are read without Compose.
#[derive(Deserialize)]
struct ComposeFile {
    #[serde(default)]
    services: BTreeMap<String, IgnoredAny>,
    include: Option<IgnoredAny>,
}

/// A slot's folder, and the names in it that are looked for.
struct SlotFolder {
    slot: Slot,
    dir: String,
    /// The configuration names the file.
    is_named: bool,
    /// The Compose files, of which the first that is there counts.
    mains: Vec<String>,
    /// `.env`, the Compose files and their overrides, each once.
    names: Vec<String>,
}

impl SlotFolder {
    fn paths(&self) -> Vec<String> {
        self.names.iter().map(|name| join(&self.dir, name)).collect()
    }
}

impl Compose {
    fn vars(&self, slot: Slot) -> Vars<'_> {
        Vars {
            service: Some(&self.service.name),
            environment: Some(&self.environment),
            slot: Some(slot),
            ..Vars::default()
        }
    }

    fn fill(&self, template: &Template, slot: Slot, what: &str) -> Result<String, PortError> {
        template.fill(&self.vars(slot)).map_err(|error| {
            PortError::other(format!("`{what}: {template}` of the compose runtime: {error}"))
                .hint("it may hold {service}, {environment} and {slot}")
        })
    }

    /// The slot's folder, and for one file its name.
    pub(crate) fn folder(&self, slot: Slot) -> Result<(String, Option<String>), PortError> {
        match &self.runtime.layout {
            ComposeLayout::Folders(template) => {
                let dir = self.fill(template, slot, "dir")?;
                Ok((trim(&dir).to_owned(), None))
            }
            ComposeLayout::File(template) => {
                let path = self.fill(template, slot, "file")?;
                let (dir, file) = path.rsplit_once('/').unwrap_or((".", &path));
                Ok((if dir.is_empty() { "/".to_owned() } else { dir.to_owned() }, Some(file.to_owned())))
            }
        }
    }

    pub(crate) fn compose_project(&self, slot: Slot) -> Result<Option<String>, PortError> {
        match (&self.runtime.project, &self.runtime.layout) {
            (Some(template), _) => self.fill(template, slot, "project").map(Some),
            // One slot is the user's own project, as `docker compose up` in its folder has it.
            (None, _) if slot == Slot::Main => Ok(None),
            (None, ComposeLayout::Folders(_)) => Ok(Some(format!("{}-{slot}", self.service.name))),
            (None, ComposeLayout::File(_)) => Ok(None),
        }
    }

    /// # Errors
    /// `NotFound` when the file or the service in it is missing, with a hint.
    pub(crate) async fn place(&self, slot: Slot) -> Result<Place, PortError> {
        let folder = self.slot_folder(slot)?;
        let read = self.host.read_each(&folder.paths()).await;
        self.place_in(folder, read).await
    }

    /// As [`Compose::place`], of several slots, in their order; over a network in one request.
    pub(crate) async fn places(&self, slots: &[Slot]) -> Vec<Result<Place, PortError>> {
        let folders: Vec<_> = slots.iter().map(|slot| self.slot_folder(*slot)).collect();
        let paths: Vec<String> = folders.iter().flatten().flat_map(SlotFolder::paths).collect();
        let mut read = self.host.read_each(&paths).await.into_iter();
        let places = folders.into_iter().map(|folder| {
            let read = folder
                .as_ref()
                .map_or_else(|_| Vec::new(), |folder| read.by_ref().take(folder.names.len()).collect());
            async { self.place_in(folder?, read).await }
        });
        join_all(places).await
    }

    /// # Errors
    /// As [`Compose::place`], for either.
    pub(crate) async fn blue_and_green(&self) -> Result<(Place, Place), PortError> {
        let mut places = self.places(&[Slot::Blue, Slot::Green]).await.into_iter();
        let mut next = || places.next().unwrap_or_else(|| Err(PortError::other("a slot without a place")));
        Ok((next()?, next()?))
    }

    fn slot_folder(&self, slot: Slot) -> Result<SlotFolder, PortError> {
        let (dir, file) = self.folder(slot)?;
        let mains = match &file {
            Some(file) => vec![file.clone()],
            None => FILE_NAMES.map(str::to_owned).to_vec(),
        };
        let mut names = vec![DOT_ENV.to_owned()];
        for name in mains.iter().cloned().chain(mains.iter().flat_map(|name| override_names(name))) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(SlotFolder { slot, dir, is_named: file.is_some(), mains, names })
    }

    /// `read`: what became of the folder's files, in the order of their names.
    async fn place_in(
        &self,
        folder: SlotFolder,
        read: Vec<Result<HostFile, PortError>>,
    ) -> Result<Place, PortError> {
        let read: BTreeMap<&str, _> = folder.names.iter().map(String::as_str).zip(read).collect();
        let dot_env = match read.get(DOT_ENV).cloned() {
            // Whoever may not read it cannot have Compose read it either.
            Some(Err(error)) if error.kind == FailureKind::Unauthorized => None,
            Some(read) => Some(read?).and_then(|file| file.content),
            None => None,
        };
        let named = match &dot_env {
            Some(content) if !folder.is_named => self.named_by_dot_env(&folder.dir, content).await?,
            Some(_) | None => None,
        };
        let (files, contents) = match named {
            Some(named) => named,
            None => self.chosen_files(&folder, &read)?,
        };
        let project = self.compose_project(folder.slot)?;
        let mut names = service_names(&contents[0]);
        let SlotFolder { slot, dir, .. } = folder;
        let mut place = Place { slot, dir, files, contents, dot_env, service: String::new(), project };
        if names.as_ref().is_none_or(|names| self.choose(slot, names).is_err()) {
            // `include`, `extends` and YAML tags: Compose itself knows what they come to.
            names = Some(self.cli.services(&place, &self.interpolation(slot, None)).await?);
        }
        let names = names.unwrap_or_default();
        place.service = self.choose(slot, &names).map_err(|error| error.context(place.path()))?;
        Ok(place)
    }

    /// The files that `COMPOSE_FILE` in the folder's `.env` names, as Compose by hand takes them; `None` where it names none.
    async fn named_by_dot_env(
        &self,
        dir: &str,
        content: &[u8],
    ) -> Result<Option<(Vec<String>, Vec<Vec<u8>>)>, PortError> {
        let path = join(dir, DOT_ENV);
        let Some(names) = dot_env::compose_files(content, &path)? else { return Ok(None) };
        let paths: Vec<String> = names.iter().map(|name| join(dir, name)).collect();
        let mut contents = Vec::new();
        for (read, name) in self.host.read_each(&paths).await.into_iter().zip(&paths) {
            contents.push(read?.content.ok_or_else(|| {
                PortError::not_found(format!(
                    "there is no {name} on {}, which COMPOSE_FILE in {path} names",
                    self.host.id()
                ))
                .hint(format!("put it there, or take COMPOSE_FILE out of {path}"))
            })?);
        }
        Ok(Some((names, contents)))
    }

    /// The first of the folder's files that exists, with the override beside it: their names and contents.
    fn chosen_files(
        &self,
        folder: &SlotFolder,
        read: &BTreeMap<&str, Result<HostFile, PortError>>,
    ) -> Result<(Vec<String>, Vec<Vec<u8>>), PortError> {
        let first = |names: &[String]| -> Result<Option<(String, Vec<u8>)>, PortError> {
            for name in names {
                let file = read.get(name.as_str()).cloned().transpose()?;
                if let Some(content) = file.and_then(|file| file.content) {
                    return Ok(Some((name.clone(), content)));
                }
            }
            Ok(None)
        };
        let dir = &folder.dir;
        let Some((name, content)) = first(&folder.mains)? else {
            let host = self.host.id();
            let message = match &folder.mains[..] {
                [name] => format!("there is no {} on {host}", join(dir, name)),
                _ => format!("there is no docker-compose.yml or compose.yaml in {dir} on {host}"),
            };
            return Err(PortError::not_found(message).hint(
                "put the Compose file there (`lockgate setup` does, where `upload` names it), or set `dir` or `file` of the compose \
                 runtime to where it is",
            ));
        };
        let found = first(&override_names(&name))?;
        let (mut files, mut all) = (vec![name], vec![content]);
        if let Some((name, content)) = found {
            files.push(name);
            all.push(content);
        }
        Ok((files, all))
    }

    fn choose(&self, slot: Slot, names: &[String]) -> Result<String, PortError> {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        let listed = names.join(", ");
        if let Some(template) = &self.runtime.service {
            let wanted = self.fill(template, slot, "service")?;
            return if has(&wanted) {
                Ok(wanted)
            } else {
                Err(PortError::not_found(format!("it has no service {wanted}, only {listed}"))
                    .hint("set `service` of the compose runtime to one of them"))
            };
        }
        let plain = self.service.name.to_string();
        let slotted = format!("{plain}-{slot}");
        let folders = matches!(self.runtime.layout, ComposeLayout::Folders(_));
        if folders && has(&plain) {
            return Ok(plain);
        }
        match names {
            [only] if folders => Ok(only.clone()),
            _ if slot == Slot::Main && has(&plain) => Ok(plain),
            _ if slot == Slot::Main => {
                Err(PortError::not_found(format!("it has no service {plain}, only {listed}"))
                    .hint("name the one to deploy: `service:` of the compose runtime"))
            }
            _ if has(&slotted) => Ok(slotted),
            _ => {
                let wanted = if folders { format!("{plain} or {slotted}") } else { slotted };
                Err(PortError::not_found(format!("it has no service {wanted}, only {listed}"))
                    .hint("name the one to deploy: `service:` of the compose runtime, which may hold {slot}"))
            }
        }
    }

    /// Variables that users' files commonly interpolate, so that Compose does not complain: what runs is pinned anyhow.
    pub(crate) fn interpolation(&self, slot: Slot, tag: Option<&str>) -> BTreeMap<String, String> {
        let tag = tag.unwrap_or("lockgate");
        [
            ("IMAGE_TAG", tag),
            ("TAG", tag),
            ("SLOT", slot.as_str()),
            ("COLOR", slot.as_str()),
            ("LOCKGATE_SLOT", slot.as_str()),
            ("LOCKGATE_RELEASE", tag),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }
}

/// Those of the override that Compose takes in by itself, the first before the second; none for a file of another name.
fn override_names(name: &str) -> Vec<String> {
    let stem = name.rsplit_once('.').filter(|_| FILE_NAMES.contains(&name));
    let names = stem.map(|(stem, _)| ["yml", "yaml"].map(|ending| format!("{stem}.override.{ending}")));
    names.into_iter().flatten().collect()
}

/// `None` when only Compose can tell.
fn service_names(content: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(content).ok()?;
    let file: ComposeFile = serde_saphyr::from_str(text).ok()?;
    file.include.is_none().then(|| file.services.into_keys().collect())
}

fn trim(dir: &str) -> &str {
    match dir.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_without_compose_unless_the_file_includes_others() {
        let text = b"x-base: &base\n  image: web:${TAG}\nservices:\n  web:\n    <<: *base\n  redis: {}\n";
        assert_eq!(service_names(text).unwrap(), ["redis", "web"]);
        assert_eq!(service_names(b"include: [other.yml]\nservices: {}\n"), None);
        assert_eq!(service_names(b"services: ["), None);
    }
}
