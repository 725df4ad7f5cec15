//! The registry suite.
//!
//! A fixture gives a registry and repositories that nobody else uses. The suite leaves in them what it put there.

use async_trait::async_trait;
use lockgate_model::{Digest, FailureKind, Platform, Reference, Repository, Tag, Timestamp};

use crate::registry::MEDIA_TYPES;
use crate::{CheckState, Manifest, PortError, Registry};

/// More tags than a page has, where the fixture's registry pages at all.
const TAGS: usize = 120;
const CONFIG: &[u8] =
    br#"{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{"type":"layers","diff_ids":[]}}"#;

/// A registry, and repositories in it.
#[async_trait]
pub trait RegistryFixture: Send + Sync {
    /// The driver under test.
    fn registry(&self) -> &dyn Registry;

    /// A repository into which nothing was ever pushed; its registry takes pushes from [`RegistryFixture::registry`].
    fn repository(&self) -> Repository;

    /// Puts a blob there, as a builder's push does.
    async fn push_blob(&self, repository: &Repository, bytes: &[u8]) -> Digest;
}

/// Every case, one after another.
///
/// # Panics
/// With the case, what it wanted and what it saw.
pub async fn suite(fixture: &dyn RegistryFixture) {
    bytes_media_type_and_digest_come_back_as_they_were_put(fixture).await;
    a_tag_is_moved_without_a_layer_and_the_old_bytes_stay(fixture).await;
    an_index_keeps_its_digest_and_names_its_platforms(fixture).await;
    an_image_says_how_it_was_made_also_as_the_first_of_an_index(fixture).await;
    every_tag_is_listed_once(fixture).await;
    what_is_not_there_is_not_found(fixture).await;
    what_cannot_be_put_changes_nothing(fixture).await;
    a_check_says_that_all_is_well(fixture).await;
}

fn tag(text: &str) -> Reference {
    Reference::Tag(Tag::new(text).unwrap_or_else(|error| panic!("{error}")))
}

/// An image without layers. `mark` and the odd spacing make bytes that no writer of JSON would make again.
async fn image(fixture: &dyn RegistryFixture, repository: &Repository, mark: &str) -> Manifest {
    let config = fixture.push_blob(repository, CONFIG).await;
    let size = CONFIG.len();
    let text = format!(
        "{{\"schemaVersion\":2 ,\n\n \"mediaType\":\"{0}\", \"annotations\" : {{\"mark\":\"{mark}\"}},\"layers\":[ ],\n\t\"config\":\
         {{\"digest\":\"{config}\",\"size\":{size},\"mediaType\":\"application/vnd.oci.image.config.v1+json\"}} }}\n\n",
        MEDIA_TYPES[2]
    );
    Manifest::new(MEDIA_TYPES[2], text.into_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

async fn put(
    fixture: &dyn RegistryFixture,
    repository: &Repository,
    reference: &Reference,
    manifest: &Manifest,
) {
    let put = fixture.registry().put_manifest(repository, reference, manifest).await;
    put.unwrap_or_else(|error| panic!("{repository}{reference} is put: {error:?}"));
}

async fn get(fixture: &dyn RegistryFixture, repository: &Repository, reference: &Reference) -> Manifest {
    let got = fixture.registry().manifest(repository, reference).await;
    got.unwrap_or_else(|error| panic!("{repository}{reference} is there: {error:?}"))
}

async fn bytes_media_type_and_digest_come_back_as_they_were_put(fixture: &dyn RegistryFixture) {
    let repository = fixture.repository();
    let manifest = image(fixture, &repository, "one").await;
    put(fixture, &repository, &tag("v1"), &manifest).await;
    put(fixture, &repository, &tag("v1"), &manifest).await;
    let by_digest = Reference::Digest(manifest.digest().clone());
    for reference in [&tag("v1"), &by_digest] {
        assert_eq!(
            get(fixture, &repository, reference).await,
            manifest,
            "{reference}: the same, byte for byte"
        );
        let resolved = fixture.registry().resolve(&repository, reference).await;
        let resolved = resolved.unwrap_or_else(|error| panic!("{reference}: {error:?}"));
        assert_eq!((&resolved.digest, resolved.media_type), (manifest.digest(), manifest.media_type()));
        let shown: Vec<String> = resolved.platforms.iter().map(Platform::to_string).collect();
        assert_eq!(shown, ["linux/arm64/v8"], "the platform that the image's configuration names");
    }
}

async fn a_tag_is_moved_without_a_layer_and_the_old_bytes_stay(fixture: &dyn RegistryFixture) {
    let repository = fixture.repository();
    let (old, new) = (image(fixture, &repository, "old").await, image(fixture, &repository, "new").await);
    put(fixture, &repository, &tag("blue"), &old).await;
    put(fixture, &repository, &Reference::Digest(new.digest().clone()), &new).await;
    let green = get(fixture, &repository, &Reference::Digest(new.digest().clone())).await;
    put(fixture, &repository, &tag("blue"), &green).await;
    put(fixture, &repository, &tag("current"), &green).await;
    for moved in ["blue", "current"] {
        assert_eq!(get(fixture, &repository, &tag(moved)).await, new, "{moved} leads to the new bytes");
    }
    let left = get(fixture, &repository, &Reference::Digest(old.digest().clone())).await;
    assert_eq!(left, old, "what the tag led to is still there by its digest");
}

async fn an_index_keeps_its_digest_and_names_its_platforms(fixture: &dyn RegistryFixture) {
    let repository = fixture.repository();
    let image = image(fixture, &repository, "of an index").await;
    let by_digest = Reference::Digest(image.digest().clone());
    put(fixture, &repository, &by_digest, &image).await;
    let text = format!(
        "{{ \"schemaVersion\": 2,  \"mediaType\": \"{}\", \"manifests\": [ {{ \"mediaType\": \"{}\", \"digest\": \"{}\", \
         \"size\": {}, \"platform\": {{ \"os\": \"linux\", \"architecture\": \"arm64\", \"variant\": \"v8\" }} }} ] }}",
        MEDIA_TYPES[0],
        image.media_type(),
        image.digest(),
        image.bytes().len(),
    );
    let index = Manifest::new(MEDIA_TYPES[0], text.into_bytes()).unwrap_or_else(|error| panic!("{error}"));
    put(fixture, &repository, &tag("multi"), &index).await;
    assert_eq!(get(fixture, &repository, &tag("multi")).await, index);
    let resolved = fixture.registry().resolve(&repository, &tag("multi")).await;
    let resolved = resolved.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((&resolved.digest, resolved.media_type), (index.digest(), MEDIA_TYPES[0]));
    assert_eq!(resolved.platforms.len(), 1, "{resolved:?}");
}

async fn an_image_says_how_it_was_made_also_as_the_first_of_an_index(fixture: &dyn RegistryFixture) {
    let repository = fixture.repository();
    let config = br#"{"os":"linux","architecture":"amd64","created":"2026-11-27T06:40:00Z",
        "config":{"Labels":{"org.example.by":"kim"}},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let digest = fixture.push_blob(&repository, config).await;
    let text = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"layers\":[],\"config\":{{\"digest\":\"{digest}\",\"size\":{},\
         \"mediaType\":\"application/vnd.oci.image.config.v1+json\"}}}}",
        MEDIA_TYPES[2],
        config.len(),
    );
    let image = Manifest::new(MEDIA_TYPES[2], text.into_bytes()).unwrap_or_else(|error| panic!("{error}"));
    put(fixture, &repository, &tag("made"), &image).await;
    let text = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"manifests\":[{{\"mediaType\":\"{}\",\"digest\":\"{}\",\"size\":{},\
         \"platform\":{{\"os\":\"linux\",\"architecture\":\"amd64\"}}}}]}}",
        MEDIA_TYPES[0],
        image.media_type(),
        image.digest(),
        image.bytes().len(),
    );
    let index = Manifest::new(MEDIA_TYPES[0], text.into_bytes()).unwrap_or_else(|error| panic!("{error}"));
    put(fixture, &repository, &tag("made-for-all"), &index).await;
    for name in ["made", "made-for-all"] {
        let made = fixture.registry().made(&repository, &tag(name)).await;
        let made = made.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(made.at, Some(Timestamp(1_795_761_600_000)), "{name}");
        assert_eq!(made.labels.get("org.example.by").map(String::as_str), Some("kim"), "{name}");
    }
    not_found("a tag that nobody pushed", fixture.registry().made(&repository, &tag("nobody-s")).await);
}

async fn every_tag_is_listed_once(fixture: &dyn RegistryFixture) {
    let repository = fixture.repository();
    let manifest = image(fixture, &repository, "many").await;
    let mut wanted = Vec::new();
    for number in 0..TAGS {
        let one = Tag::new(format!("v1.{number}.0-RC_{number}")).unwrap_or_else(|error| panic!("{error}"));
        put(fixture, &repository, &Reference::Tag(one.clone()), &manifest).await;
        wanted.push(one);
    }
    let listed = fixture.registry().tags(&repository).await;
    let mut listed = listed.unwrap_or_else(|error| panic!("the tags are listed: {error:?}"));
    listed.sort();
    wanted.sort();
    assert_eq!(listed, wanted, "all tags, each once");
}

fn not_found<T: std::fmt::Debug>(what: &str, result: Result<T, PortError>) {
    let error = result.expect_err(what);
    assert_eq!(error.kind, FailureKind::NotFound, "{what}: {error}");
    assert!(!error.hints().is_empty(), "{what} has a hint: {error}");
}

async fn what_is_not_there_is_not_found(fixture: &dyn RegistryFixture) {
    let registry = fixture.registry();
    let nowhere = fixture.repository();
    not_found("the tags of no repository", registry.tags(&nowhere).await);
    not_found("a tag of no repository", registry.resolve(&nowhere, &tag("v1")).await);
    let repository = fixture.repository();
    let manifest = image(fixture, &repository, "here").await;
    put(fixture, &repository, &tag("v1"), &manifest).await;
    let other = Digest::of(b"nothing");
    not_found("a missing tag", registry.resolve(&repository, &tag("v2")).await);
    not_found("a missing tag", registry.manifest(&repository, &tag("v2")).await);
    not_found("a missing digest", registry.manifest(&repository, &Reference::Digest(other.clone())).await);
    let config = Digest::of(CONFIG);
    for (place, digest, wanted) in
        [(&repository, &config, true), (&repository, &other, false), (&nowhere, &config, false)]
    {
        let exists = registry.blob_exists(place, digest).await;
        assert_eq!(exists, Ok(wanted), "a blob {digest} in {place}");
    }
}

async fn what_cannot_be_put_changes_nothing(fixture: &dyn RegistryFixture) {
    let registry = fixture.registry();
    let repository = fixture.repository();
    let first = image(fixture, &repository, "first").await;
    put(fixture, &repository, &tag("v1"), &first).await;
    let second = image(fixture, &repository, "second").await;
    let error = registry.put_manifest(&repository, &Reference::Digest(first.digest().clone()), &second).await;
    let error = error.expect_err("a digest that is not the manifest's own");
    assert_eq!(error.kind, FailureKind::Refused, "{error}");
    let bare = fixture.repository();
    not_found(
        "a manifest whose blobs are elsewhere",
        registry.put_manifest(&bare, &tag("v1"), &second).await,
    );
    assert_eq!(get(fixture, &repository, &tag("v1")).await, first);
    not_found(
        "what was refused",
        registry.manifest(&repository, &Reference::Digest(second.digest().clone())).await,
    );
}

async fn a_check_says_that_all_is_well(fixture: &dyn RegistryFixture) {
    let check = fixture.registry().check(fixture.repository().registry()).await;
    assert_eq!(check.state, CheckState::Ok, "{check:?}");
}
