//! The service's image: built, pushed, and read back from its registry.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use lockgate_model::{
    Artifact, Digest, Failure, FailureKind, Job, Millis, PROVENANCE_CHARS_MAX, Provenance, Reference,
    Repository, Tag, quoted,
};
use lockgate_ports::{Building, Head, Made, PortError};

use crate::voice::{Telling, note};
use crate::{Parts, Ready, Stopped};

/// The label in which builders record the git commit. Source: OCI image specification, annotations.
const REVISION_LABEL: &str = "org.opencontainers.image.revision";
/// The label in which it is written with what and by whom the image was built, for whoever deploys it elsewhere.
const BUILDER_LABEL: &str = "lockgate.builder";
/// What is kept beside lockgate.yaml.
const OWN_FOLDER: &str = ".lockgate";
/// What most builds should not get, and why.
const UNINVITED: [(&str, &str, &str); 3] = [
    (OWN_FOLDER, "folder", "which changes with every ship"),
    (".git", "folder", "which differs from clone to clone"),
    (".env", "file", "whose values would be in the image"),
];
/// Longest build, and longest push.
const BUILD_SECONDS_MAX: u64 = 2 * 3_600;

/// What is to be built of what.
pub(crate) struct Image<'a, 'p> {
    pub parts: &'a Parts<'p>,
    pub head: &'a Head,
    pub is_dirty: bool,
    /// The release's.
    pub tag: &'a Tag,
    /// Further ones, in their order.
    pub others: &'a [Tag],
    /// Also when the registry has it.
    pub again: bool,
}

impl Image<'_, '_> {
    /// Its repository, and whether that is in a registry: an image without one (`web`) stays on this machine.
    ///
    /// # Errors
    /// `Refused` without an image, with one that is no repository, and for hosts that an image on this machine does not
    /// reach.
    pub(crate) fn repository(parts: &Parts<'_>) -> Result<(String, Option<Repository>), Failure> {
        let refused = |message: String| Failure::new(FailureKind::Refused, message);
        let service = &parts.service.name;
        let Some(image) = parts.service.image.clone() else {
            return Err(refused(format!("{service} has no image that could be built"))
                .hint("write `image: ghcr.io/acme/web` for it; a program is deployed by `lockgate deploy`"));
        };
        if !image.contains('/') {
            if let Some(host) = parts.environment.hosts().iter().find(|host| !host.is_local()) {
                return Err(refused(format!("{image} is in no registry, so {host} cannot get it"))
                    .hint("write `image: REGISTRY/NAME`, such as ghcr.io/acme/web"));
            }
            return Ok((image, None));
        }
        let repository = Repository::new(image.clone()).map_err(|invalid| {
            refused(invalid.to_string()).hint("write `image: ghcr.io/acme/web` in lockgate.yaml")
        })?;
        Ok((image, Some(repository)))
    }

    /// Builds, pushes and reads back.
    ///
    /// # Errors
    /// [`Stopped`] at the job that failed.
    pub(crate) async fn make(&self) -> Result<Ready, Stopped> {
        let stopped =
            |job| move |failure: Failure| Stopped::at(job, self.tag, self.parts.mask.failure(failure));
        let (image, repository) = Self::repository(self.parts).map_err(stopped(Job::Build))?;
        let building = self.building(image, repository.is_some());
        let before = match &repository {
            Some(repository) => self.before(repository).await.map_err(stopped(Job::Build))?,
            None => None,
        };
        if let (Some(repository), Some(digest)) = (&repository, &before)
            && let Some(ready) = self.built_before(repository, digest).await.map_err(stopped(Job::Push))?
        {
            return Ok(ready);
        }
        let claimed = self.build(&building).await.map_err(stopped(Job::Build))?;
        let built_at = (self.parts.now)();
        let digest = match &repository {
            Some(repository) => {
                let pushed = self.push(&building, repository, claimed, before.as_ref()).await;
                Some(pushed.map_err(stopped(Job::Push))?)
            }
            None => {
                note(
                    self.parts.voice,
                    format!("{} is in no registry, and stays on this machine", building.name()),
                );
                None
            }
        };
        let of_commit = self.of_commit();
        let provenance =
            Provenance { builder: Some(self.built_by()), built_at: Some(built_at), ..of_commit.provenance };
        let artifact = Artifact { digest, provenance: provenance.told(), ..of_commit };
        Ok(Ready { tag: self.tag.clone(), artifact })
    }

    /// The commit's own image, where the registry has it and it says itself that it is that: another clone, or an earlier try,
    /// built it, and what was tested there is what runs. `None`: there is none, or it is to be built anew.
    async fn built_before(&self, repository: &Repository, digest: &Digest) -> Result<Option<Ready>, Failure> {
        if self.again || self.is_dirty || !self.tag.as_str().contains(self.head.commit.short()) {
            return Ok(None);
        }
        let reference = digest.clone().into();
        let Ok(made) = self.parts.registry.made(repository, &reference).await else { return Ok(None) };
        if made.labels.get(REVISION_LABEL) != Some(&self.revision()) {
            return Ok(None);
        }
        let digest = self.read_back(repository, Some(digest.clone())).await?;
        let (tag, short) = (self.tag, digest.short());
        let service = &self.parts.service.name;
        note(
            self.parts.voice,
            format!(
                "{tag} is in its registry already ({short}) and is not built again; `lockgate ship {service} --force` builds it anew"
            ),
        );
        Ok(Some(found(self.head, tag, Some(digest), made)))
    }

    /// What is known of it before it is built.
    pub(crate) fn of_commit(&self) -> Artifact {
        Artifact {
            commit: Some(self.revision()),
            provenance: of_commit(self.head).told(),
            ..Artifact::default()
        }
    }

    /// With what, and by whom.
    fn built_by(&self) -> String {
        format!("{}, {}", self.parts.builder.name(), self.parts.owner)
    }

    /// The commit, or what says that it is not quite that.
    fn revision(&self) -> String {
        let dirty = if self.is_dirty { "-dirty" } else { "" };
        format!("{}{dirty}", self.head.commit)
    }

    fn building(&self, image: String, pushes: bool) -> Building {
        let build = &self.parts.service.ship.build;
        // Without the `.` of `./web`.
        let context: PathBuf = self.parts.project.root.join(&build.context).components().collect();
        let file = build.file.as_ref().map(|file| context.join(file).to_string_lossy().into_owned());
        Building {
            image,
            tag: self.tag.clone(),
            context: context.to_string_lossy().into_owned(),
            file,
            args: build.args.clone(),
            platforms: build.platforms.clone(),
            labels: BTreeMap::from([
                (BUILDER_LABEL.to_owned(), quoted(&self.built_by(), PROVENANCE_CHARS_MAX)),
                (REVISION_LABEL.to_owned(), self.revision()),
            ]),
            pushes,
            timeout: Millis::from_secs(BUILD_SECONDS_MAX),
        }
    }

    /// What the tag leads to now. A registry that cannot be asked is told before minutes go into a build.
    async fn before(&self, repository: &Repository) -> Result<Option<Digest>, Failure> {
        match self.parts.registry.resolve(repository, &self.tag.clone().into()).await {
            Ok(found) => Ok(Some(found.digest)),
            Err(error) if error.kind == FailureKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What a build gets beside the commit: git's own folder and what Lockgate keeps, with which each image is another one, and
    /// files of variables, which are no image's business.
    async fn warn_of_uninvited(&self, building: &Building) {
        let context = without_climbing(&building.context);
        let root = self.parts.project.root.as_path();
        let ignored = self.parts.host.read(&format!("{}/.dockerignore", building.context)).await;
        let ignored = ignored.ok().and_then(|file| file.content).unwrap_or_default();
        let ignored = String::from_utf8_lossy(&ignored);
        let is_out = |name: &str| {
            let covers = |line: &str| line.contains(name) || ["*", "**", ".*", "**/.*"].contains(&line);
            ignored.lines().map(str::trim).any(covers)
        };
        for (name, kind, why) in UNINVITED {
            // What lies there: it is asked of this machine, as the build does.
            let is_there = match name {
                OWN_FOLDER => root.starts_with(&context),
                _ => context.join(name).exists(),
            };
            if is_there && !is_out(name) {
                note(
                    self.parts.voice,
                    format!("the build gets the {kind} {name}, {why}: write it into .dockerignore"),
                );
            }
        }
    }

    async fn build(&self, building: &Building) -> Result<Option<Digest>, Failure> {
        self.warn_of_uninvited(building).await;
        let builder = self.parts.builder;
        let what = format!("{} with {}", building.name(), builder.name());
        let mut telling = Telling::begin(self.parts.voice, self.parts.mask, Job::Build, &what);
        let built = builder.build(building, &mut telling).await;
        ended(telling, built.as_ref().map(|_| "built".to_owned()));
        Ok(built?)
    }

    /// The digest that the registry has it by, with all tags leading to it.
    async fn push(
        &self,
        building: &Building,
        repository: &Repository,
        claimed: Option<Digest>,
        before: Option<&Digest>,
    ) -> Result<Digest, Failure> {
        let mut telling = Telling::begin(self.parts.voice, self.parts.mask, Job::Push, &building.name());
        let pushed = async {
            let claimed = self.parts.builder.push(building, &mut telling).await?.or(claimed);
            self.read_back(repository, claimed).await
        };
        let pushed = pushed.await;
        ended(telling, pushed.as_ref().map(|digest| format!("{}@{digest}", building.image)));
        let digest = pushed?;
        if let Some(before) = before.filter(|before| **before != digest) {
            let (tag, short) = (self.tag, before.short());
            note(
                self.parts.voice,
                format!("{tag} led to another image before ({short}); it leads to this one now"),
            );
        }
        Ok(digest)
    }

    /// What the tag leads to in the registry, which the further tags get too: no layer is sent again.
    async fn read_back(&self, repository: &Repository, claimed: Option<Digest>) -> Result<Digest, PortError> {
        let registry = self.parts.registry;
        let reference = Reference::from(self.tag.clone());
        let found = registry.resolve(repository, &reference).await?.digest;
        if let Some(claimed) = claimed.filter(|claimed| *claimed != found) {
            let message = format!("{claimed} was pushed, and {repository}{reference} is {found}");
            return Err(PortError::new(FailureKind::Conflict, message)
                .hint("somebody else has pushed the same tag meanwhile: ship again when they are through"));
        }
        if self.others.is_empty() {
            return Ok(found);
        }
        let manifest = registry.manifest(repository, &found.clone().into()).await?;
        for tag in self.others {
            let moved = registry.put_manifest(repository, &tag.clone().into(), &manifest).await;
            moved.map_err(|error| error.context(format!("{repository}:{tag}")))?;
        }
        Ok(found)
    }
}

/// As a person reads it: `/a/b/..` is `/a`.
fn without_climbing(path: &str) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

fn ended(telling: Telling<'_>, result: Result<String, &PortError>) {
    match result {
        Ok(came_to) => telling.end(true, &came_to),
        Err(error) => telling.end(false, &error.to_string()),
    }
}

/// What a commit alone says.
pub(crate) fn of_commit(head: &Head) -> Provenance {
    let said = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    Provenance { author: said(&head.author), subject: said(&head.subject), ..Provenance::default() }
}

/// The commit's own image, which somebody has built before.
///
/// # Errors
/// `NotFound` where the registry does not have it, whatever else is there.
pub(crate) async fn find(parts: &Parts<'_>, head: &Head, tag: &Tag) -> Result<Ready, Failure> {
    let (image, repository) = Image::repository(parts)?;
    let (mut digest, mut made) = (None, Made::default());
    if let Some(repository) = &repository {
        let there = parts.registry.resolve(repository, &tag.clone().into()).await;
        let there = there.map_err(|error| absent(error, &image, tag, parts))?.digest;
        made = made_as_it_says(parts, repository, &there).await;
        digest = Some(there);
    }
    Ok(found(head, tag, digest, made))
}

/// The commit's image as its registry has it, with what it says of itself.
fn found(head: &Head, tag: &Tag, digest: Option<Digest>, mut made: Made) -> Ready {
    let provenance =
        Provenance { builder: made.labels.remove(BUILDER_LABEL), built_at: made.at, ..of_commit(head) };
    let artifact = Artifact {
        digest,
        commit: Some(head.commit.to_string()),
        provenance: provenance.told(),
        ..Artifact::default()
    };
    Ready { tag: tag.clone(), artifact }
}

/// A deployment does not fail for not knowing it.
async fn made_as_it_says(parts: &Parts<'_>, repository: &Repository, digest: &Digest) -> Made {
    match parts.registry.made(repository, &digest.clone().into()).await {
        Ok(made) => made,
        Err(error) => {
            note(parts.voice, format!("who built the image, and when, is not known: {error}"));
            Made::default()
        }
    }
}

fn absent(error: PortError, image: &str, tag: &Tag, parts: &Parts<'_>) -> Failure {
    if error.kind != FailureKind::NotFound {
        return error.into();
    }
    let message = format!("{image}:{tag} is not in its registry, and no other tag stands for this commit");
    Failure::new(FailureKind::NotFound, message).hint(format!(
        "`lockgate ship {} --job build` makes it; its push may have failed",
        parts.service.name
    ))
}
