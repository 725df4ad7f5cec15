//! What manifests and image configurations say, as far as it matters here: pure.

use std::collections::BTreeMap;

use lockgate_model::{Digest, Platform, Timestamp};
use serde::Deserialize;

use crate::{Made, Manifest, PortError};

/// Most platforms of one index that are read; buildx builds for about a dozen.
const PLATFORMS_MAX: usize = 1_000;
/// Longest name of an operating system, architecture or variant.
const PLATFORM_CHARS_MAX: usize = 64;
/// buildx puts attestations beside images, as manifests for a platform of this name.
const UNKNOWN: &str = "unknown";
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What a manifest is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An index for these platforms, in its order, each once.
    Index(Vec<Platform>),
    /// One image; its platform is in this blob, the image's configuration.
    Image {
        /// The digest of the image's configuration.
        config: Digest,
    },
    /// Something else that is kept in a registry, such as a chart or a signature.
    Artifact,
}

/// The part of an index or manifest that is read.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Entry>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Entry {
    platform: Option<PlatformText>,
    digest: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
}

#[derive(Deserialize)]
struct PlatformText {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl PlatformText {
    fn platform(self) -> Result<Option<Platform>, PortError> {
        let Self { os, architecture, variant } = self;
        let is_name = |text: &String| {
            let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !text.is_empty() && text.len() <= PLATFORM_CHARS_MAX && text.bytes().all(inner)
        };
        let variant = variant.filter(|text| !text.is_empty());
        if !is_name(&os) || !is_name(&architecture) || !variant.as_ref().is_none_or(is_name) {
            return Err(
                PortError::other("a platform of the image has a name that is none").hint(super::AGAIN)
            );
        }
        Ok((os != UNKNOWN).then_some(Platform { os, architecture, variant }))
    }
}

/// What the manifest is of.
///
/// # Errors
/// `Other` when it is no manifest.
pub fn read(manifest: &Manifest) -> Result<Content, PortError> {
    let document: Document = serde_json::from_slice(manifest.bytes()).map_err(|error| no_document(&error))?;
    if manifest.media_type().contains("index") || manifest.media_type().contains("list") {
        return platforms(document.manifests).map(Content::Index);
    }
    Ok(match document.config {
        Some(config) if CONFIG_TYPES.contains(&config.media_type.as_str()) => {
            Content::Image { config: config.digest }
        }
        _ => Content::Artifact,
    })
}

/// The first image that an index names, attestations apart. `None`: it names none, or the manifest is no index.
///
/// # Errors
/// `Other` when it is no manifest.
pub fn first_image(manifest: &Manifest) -> Result<Option<Digest>, PortError> {
    let document: Document = serde_json::from_slice(manifest.bytes()).map_err(|error| no_document(&error))?;
    let is_image = |entry: &Entry| entry.platform.as_ref().is_some_and(|platform| platform.os != UNKNOWN);
    Ok(document.manifests.into_iter().find(is_image).and_then(|entry| entry.digest))
}

/// How an image was made, as its configuration says (OCI image specification, image configuration: `created` and
/// `config.Labels`). A builder that makes the same bytes each time writes 1970, or the year 1, which says nothing.
///
/// # Errors
/// `Other` when it is no configuration of an image.
pub fn made_of_config(config: &[u8]) -> Result<Made, PortError> {
    #[derive(Deserialize)]
    struct Said {
        created: Option<String>,
        config: Option<Labelled>,
    }
    #[derive(Deserialize)]
    struct Labelled {
        #[serde(rename = "Labels")]
        labels: Option<BTreeMap<String, String>>,
    }
    let said: Said = serde_json::from_slice(config).map_err(|error| no_document(&error))?;
    let at = said.created.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let at = at.map(|at| Timestamp(at.as_millisecond())).filter(|at| at.0 > 0);
    let labels = said.config.and_then(|config| config.labels).unwrap_or_default();
    Ok(Made { at, labels })
}

fn platforms(entries: Vec<Entry>) -> Result<Vec<Platform>, PortError> {
    let mut found = Vec::new();
    for text in entries.into_iter().filter_map(|entry| entry.platform) {
        if let Some(platform) = text.platform()?
            && !found.contains(&platform)
        {
            if found.len() == PLATFORMS_MAX {
                return Err(PortError::other(format!("the index has more than {PLATFORMS_MAX} platforms"))
                    .hint(super::AGAIN));
            }
            found.push(platform);
        }
    }
    Ok(found)
}

impl Content {
    /// The platform that an image's configuration names; `None` where it names none.
    ///
    /// # Errors
    /// `Other` when it is no configuration of an image.
    pub fn platform_of_config(config: &[u8]) -> Result<Option<Platform>, PortError> {
        #[derive(Deserialize)]
        struct Named {
            os: Option<String>,
            architecture: Option<String>,
            variant: Option<String>,
        }
        let named: Named = serde_json::from_slice(config).map_err(|error| no_document(&error))?;
        let (Some(os), Some(architecture)) = (named.os, named.architecture) else { return Ok(None) };
        if os.is_empty() || architecture.is_empty() {
            return Ok(None);
        }
        PlatformText { os, architecture, variant: named.variant }.platform()
    }
}

/// The parser's message can quote what it read, so the place alone is told.
fn no_document(error: &serde_json::Error) -> PortError {
    PortError::other(format!("it is not valid at line {} column {}", error.line(), error.column()))
        .hint(super::AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::MEDIA_TYPES;

    fn content(media_type: &str, text: &str) -> Result<Content, PortError> {
        read(&Manifest::new(media_type, text.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn an_index_names_its_platforms_and_not_those_of_attestations() {
        let text = r#"{ "manifests": [
            { "platform": { "os": "linux", "architecture": "amd64" } },
            { "platform": { "os": "linux", "architecture": "arm", "variant": "v7" } },
            { "platform": { "os": "unknown", "architecture": "unknown" } },
            { "platform": { "os": "linux", "architecture": "amd64" } }, {} ] }"#;
        let Content::Index(platforms) = content(MEDIA_TYPES[1], text).unwrap() else { panic!("an index") };
        let shown: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["linux/amd64", "linux/arm/v7"]);
    }

    #[test]
    fn the_first_image_of_an_index_is_no_attestation() {
        let [one, two] = ["1", "2"].map(|digit| format!("sha256:{}", digit.repeat(64)));
        let text = format!(
            r#"{{ "manifests": [
            {{ "digest": "{one}", "platform": {{ "os": "unknown", "architecture": "unknown" }} }},
            {{ "digest": "{two}", "platform": {{ "os": "linux", "architecture": "amd64" }} }} ] }}"#
        );
        let manifest = Manifest::new(MEDIA_TYPES[0], text.into_bytes()).unwrap();
        assert_eq!(first_image(&manifest).unwrap(), Some(Digest::new(two).unwrap()));
        let none = Manifest::new(MEDIA_TYPES[0], br#"{ "manifests": [] }"#.to_vec()).unwrap();
        assert_eq!(first_image(&none).unwrap(), None);
    }

    #[test]
    fn how_an_image_was_made_is_what_its_configuration_says_and_no_more() {
        let made = |text: &str| made_of_config(text.as_bytes()).unwrap();
        let said = made(r#"{"created":"2026-11-27T06:40:00.5Z","config":{"Labels":{"a":"b"}}}"#);
        assert_eq!((said.at, said.labels["a"].as_str()), (Some(Timestamp(1_795_761_600_500)), "b"));
        for silent in [
            "{}",
            r#"{"created":null,"config":{"Labels":null}}"#,
            r#"{"created":"1970-01-01T00:00:00Z","config":{}}"#,
            r#"{"created":"0001-01-01T00:00:00Z","config":null}"#,
            r#"{"created":"yesterday"}"#,
        ] {
            assert_eq!(made(silent), Made::default(), "{silent}");
        }
        for odd in ["[]", r#"{"config":{"Labels":{"a":7}}}"#, "hunter2"] {
            let error = made_of_config(odd.as_bytes()).unwrap_err();
            assert!(!error.message.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_image_names_its_configuration_and_that_its_platform() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = |kind: &str| {
            content(
                MEDIA_TYPES[2],
                &format!(r#"{{ "config": {{ "mediaType": "{kind}", "digest": "{digest}" }} }}"#),
            )
        };
        assert_eq!(image(CONFIG_TYPES[0]).unwrap(), Content::Image { config: Digest::new(&digest).unwrap() });
        assert_eq!(image("application/vnd.cncf.helm.config.v1+json").unwrap(), Content::Artifact);
        let platform = Content::platform_of_config(br#"{"os":"linux","architecture":"arm64","variant":""}"#);
        assert_eq!(platform.unwrap().unwrap().to_string(), "linux/arm64");
        assert_eq!(Content::platform_of_config(b"{}").unwrap(), None);
    }

    #[test]
    fn what_is_no_manifest_is_an_error_without_its_text() {
        for (text, said) in [
            ("<html>hunter2", "line 1"),
            (r#"{ "manifests": [{ "platform": { "os": "a\u001b[2J", "architecture": "x" } }] }"#, "a name"),
            (r#"{ "manifests": {"hunter2": 1} }"#, "line 1"),
        ] {
            let error = content(MEDIA_TYPES[0], text).unwrap_err();
            assert!(error.message.contains(said) && !error.message.contains("hunter2"), "{error}");
        }
    }
}
