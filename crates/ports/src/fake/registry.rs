//! A registry in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lockgate_model::{Digest, FailureKind, Reference, RegistryHost, Repository, Tag};

use crate::fake::{Call, Fate, Faults, What};
use crate::registry::{Content, first_image, made_of_config, read};
use crate::{Check, Made, Manifest, PortError, Registry, Resolved};

/// What one repository holds.
#[derive(Default)]
struct Shelf {
    manifests: BTreeMap<Digest, Manifest>,
    tags: BTreeMap<Tag, Digest>,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

type Shelves = Arc<Mutex<BTreeMap<Repository, Shelf>>>;

/// Every registry there is; a repository exists once something was pushed to it.
#[derive(Clone)]
pub struct FakeRegistry {
    shelves: Shelves,
    faults: Arc<dyn Faults>,
}

impl FakeRegistry {
    /// Without any repository. Clones share what is pushed.
    #[must_use]
    pub fn new(faults: Arc<dyn Faults>) -> Self {
        Self { shelves: Shelves::default(), faults }
    }

    /// Puts a blob there, as a builder's push does.
    ///
    /// # Errors
    /// See [`Digest::of`].
    pub fn push_blob(&self, repository: &Repository, bytes: &[u8]) -> Result<Digest, PortError> {
        let digest = Digest::of(bytes);
        let mut shelves = lock(&self.shelves);
        shelves.entry(repository.clone()).or_default().blobs.insert(digest.clone(), bytes.to_vec());
        Ok(digest)
    }

    async fn call<T: Send + 'static>(
        &self,
        what: What,
        detail: String,
        act: impl FnOnce(&mut BTreeMap<Repository, Shelf>) -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, PortError> {
        let mut call = Call { host: None, what, detail, late: false };
        match self.faults.before(&call).await {
            Fate::Happens => {
                let result = act(&mut lock(&self.shelves));
                self.faults.after(&call).await;
                result
            }
            Fate::Fails(error) => Err(error),
            Fate::AnswerLost(error) => {
                // Whatever came of it, nobody hears.
                drop(act(&mut lock(&self.shelves)));
                self.faults.after(&call).await;
                Err(error)
            }
            Fate::Late(after, error) => {
                call.late = true;
                let shelves = self.shelves.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after.duration()).await;
                    drop(act(&mut lock(&shelves)));
                });
                Err(error)
            }
        }
    }
}

fn lock(shelves: &Shelves) -> MutexGuard<'_, BTreeMap<Repository, Shelf>> {
    shelves.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shelf<'a>(
    shelves: &'a BTreeMap<Repository, Shelf>,
    repository: &Repository,
) -> Result<&'a Shelf, PortError> {
    let missing = || PortError::not_found(format!("there is no {repository}")).hint("push an image to it");
    shelves.get(repository).ok_or_else(missing)
}

fn find(
    shelves: &BTreeMap<Repository, Shelf>,
    repository: &Repository,
    reference: &Reference,
) -> Result<Manifest, PortError> {
    let shelf = shelf(shelves, repository)?;
    let digest = match reference {
        Reference::Tag(tag) => shelf.tags.get(tag),
        Reference::Digest(digest) => Some(digest),
    };
    let missing =
        || PortError::not_found(format!("there is no {repository}{reference}")).hint("push an image to it");
    digest.and_then(|digest| shelf.manifests.get(digest)).cloned().ok_or_else(missing)
}

#[async_trait]
impl Registry for FakeRegistry {
    async fn resolve(&self, repository: &Repository, reference: &Reference) -> Result<Resolved, PortError> {
        let detail = format!("{repository}{reference}");
        let (repository, reference) = (repository.clone(), reference.clone());
        let act = move |shelves: &mut BTreeMap<Repository, Shelf>| {
            let manifest = find(shelves, &repository, &reference)?;
            let platforms = match read(&manifest)? {
                Content::Index(platforms) => platforms,
                Content::Artifact => Vec::new(),
                Content::Image { config } => {
                    let config =
                        shelf(shelves, &repository)?.blobs.get(&config).map_or(&b"{}"[..], Vec::as_slice);
                    Content::platform_of_config(config)?.into_iter().collect()
                }
            };
            Ok(Resolved { digest: manifest.digest().clone(), media_type: manifest.media_type(), platforms })
        };
        self.call(What::Resolve, detail, act).await
    }

    async fn made(&self, repository: &Repository, reference: &Reference) -> Result<Made, PortError> {
        let detail = format!("{repository}{reference}");
        let (repository, reference) = (repository.clone(), reference.clone());
        let act = move |shelves: &mut BTreeMap<Repository, Shelf>| {
            let manifest = find(shelves, &repository, &reference)?;
            let manifest = match first_image(&manifest)? {
                Some(image) => find(shelves, &repository, &Reference::Digest(image))?,
                None => manifest,
            };
            let Content::Image { config } = read(&manifest)? else { return Ok(Made::default()) };
            match shelf(shelves, &repository)?.blobs.get(&config) {
                Some(config) => made_of_config(config),
                None => Ok(Made::default()),
            }
        };
        self.call(What::Manifest, detail, act).await
    }

    async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, PortError> {
        let owned = repository.clone();
        let act = move |shelves: &mut BTreeMap<Repository, Shelf>| {
            Ok(shelf(shelves, &owned)?.tags.keys().cloned().collect())
        };
        self.call(What::Tags, repository.to_string(), act).await
    }

    async fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<Manifest, PortError> {
        let detail = format!("{repository}{reference}");
        let (repository, reference) = (repository.clone(), reference.clone());
        self.call(What::Manifest, detail, move |shelves| find(shelves, &repository, &reference)).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), PortError> {
        let detail = format!("{repository}{reference}");
        let (repository, reference, manifest) = (repository.clone(), reference.clone(), manifest.clone());
        let act = move |shelves: &mut BTreeMap<Repository, Shelf>| {
            if matches!(&reference, Reference::Digest(digest) if digest != manifest.digest()) {
                let message = format!("the manifest is not {}", reference.as_str());
                return Err(PortError::new(FailureKind::Refused, message).hint("put it by its own digest"));
            }
            let shelf = shelves.entry(repository.clone()).or_default();
            if let Content::Image { config } = read(&manifest)?
                && !shelf.blobs.contains_key(&config)
            {
                return Err(PortError::not_found(format!("{repository} has no blob {config}"))
                    .hint("push the image to it"));
            }
            if let Reference::Tag(tag) = reference {
                shelf.tags.insert(tag, manifest.digest().clone());
            }
            shelf.manifests.insert(manifest.digest().clone(), manifest);
            Ok(())
        };
        self.call(What::PutManifest, detail, act).await
    }

    async fn blob_exists(&self, repository: &Repository, digest: &Digest) -> Result<bool, PortError> {
        let detail = format!("{repository}@{digest}");
        let (repository, digest) = (repository.clone(), digest.clone());
        let act = move |shelves: &mut BTreeMap<Repository, Shelf>| {
            Ok(shelves.get(&repository).is_some_and(|shelf| shelf.blobs.contains_key(&digest)))
        };
        self.call(What::BlobExists, detail, act).await
    }

    async fn check(&self, registry: &RegistryHost) -> Check {
        let looked = self.call(What::Check, registry.to_string(), |_| Ok(())).await;
        match looked {
            Ok(()) => Check::ok(registry.as_str(), "answers"),
            Err(error) => Check::bad(registry.as_str(), error.to_string(), "look after the registry"),
        }
    }
}
