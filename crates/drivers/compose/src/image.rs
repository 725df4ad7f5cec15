//! Image names: pure.

use lockgate_model::{Digest, EnvironmentName, ProjectName, Release, ServiceName, Tag};

use crate::api::Image;

/// The label in which builders record the git commit. Source: OCI image specification, annotations.
pub(crate) const REVISION_LABEL: &str = "org.opencontainers.image.revision";
/// Prefix of all claims; `.internal` is reserved for private use, so nothing can ever be pulled from it.
pub(crate) const CLAIM_PREFIX: &str = "lockgate.internal/keep/";
const DOCKER_HUB: &str = "docker.io";

/// The registry an image repository lives in: its first part when that looks like a host name, else Docker Hub.
pub(crate) fn registry(repository: &str) -> &str {
    match repository.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => DOCKER_HUB,
    }
}

/// True when the name itself says which registry.
pub(crate) fn names_registry(repository: &str) -> bool {
    registry(repository) != DOCKER_HUB || repository.starts_with("docker.io/")
}

/// The repository as the engine shows it: without the parts that Docker Hub implies.
pub(crate) fn familiar(repository: &str) -> &str {
    let rest = repository
        .strip_prefix("docker.io/")
        .or_else(|| repository.strip_prefix("index.docker.io/"))
        .unwrap_or(repository);
    match rest.strip_prefix("library/") {
        Some(name) if rest.len() < repository.len() || !name.contains('/') => name,
        _ => rest,
    }
}

/// The digest by which `repo_digests` know the image in this repository.
pub(crate) fn digest_in(repo_digests: &[String], repository: &str) -> Option<Digest> {
    repo_digests.iter().find_map(|entry| {
        let (repo, digest) = entry.split_once('@')?;
        if familiar(repo) == familiar(repository) { Digest::new(digest).ok() } else { None }
    })
}

/// The digest that is meant where no tag is known: its 64 hex digits in the place of one.
pub(crate) fn digest_as_tag(tag: &Tag) -> Option<Digest> {
    Digest::new(format!("sha256:{tag}")).ok()
}

/// An image's names by tag. The containerd store lists `repository@sha256:…` beside them, which names the bytes and claims
/// them for nobody.
pub(crate) fn by_tag(repo_tags: &[String]) -> impl Iterator<Item = &String> {
    repo_tags.iter().filter(|name| !name.contains('@'))
}

/// Whether nothing shows that the image came from its registry. A digest that is the image's own id shows nothing: the
/// containerd store has one for every image, also for one that was built here. A name by digest shows that it was pulled.
pub(crate) fn may_be_built_here(found: &Image, repository: &str) -> bool {
    let is_named =
        |name: &String| name.split_once('@').is_some_and(|(repo, _)| familiar(repo) == familiar(repository));
    !found.repo_tags.iter().any(is_named)
        && digest_in(&found.repo_digests, repository).is_none_or(|digest| digest.as_str() == found.id)
}

/// `repository:tag` or `repository@digest` taken apart: repository and tag, if there is one.
pub(crate) fn split(reference: &str) -> (&str, Option<&str>) {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        // A colon before a slash belongs to the registry's port.
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

/// The repository of the claims of one service in one environment of one project.
pub(crate) fn claim_repository(
    project: &ProjectName,
    environment: &EnvironmentName,
    service: &ServiceName,
) -> String {
    let parts = [project.as_str(), environment.as_str(), service.as_str()].map(path_part);
    format!("{CLAIM_PREFIX}{}", parts.join("/"))
}

/// The claim's tag: the digest's 64 hex digits.
pub(crate) fn claim_tag(release: &Release) -> &str {
    &release.digest.as_str()["sha256:".len()..]
}

/// A name as a part of an image path, whose grammar is stricter: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`. A name that does
/// not fit is written in hex behind `hex.`; no name has a dot, so two names never meet.
fn path_part(name: &str) -> String {
    let fits = !name.ends_with(['-', '_']) && !["___", "_-", "-_"].iter().any(|bad| name.contains(bad));
    if fits {
        return name.to_owned();
    }
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("hex.{hex}")
}

/// Percent-encodes what may not stand in a path segment or a query value; `/`, `:` and `@` stay, for the engine wants
/// image names that way.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_the_first_part_only_when_it_looks_like_a_host() {
        for (repository, wanted) in [
            ("web", "docker.io"),
            ("acme/web", "docker.io"),
            ("ghcr.io/acme/web", "ghcr.io"),
            ("127.0.0.1:5000/web", "127.0.0.1:5000"),
            ("localhost/web", "localhost"),
        ] {
            assert_eq!(registry(repository), wanted, "{repository}");
        }
        assert!(!names_registry("acme/web"));
        assert!(names_registry("docker.io/acme/web"));
    }

    #[test]
    fn names_that_docker_shortens_are_the_same_repository() {
        assert_eq!(familiar("docker.io/library/web"), "web");
        assert_eq!(familiar("docker.io/acme/web"), "acme/web");
        assert_eq!(familiar("ghcr.io/library/web"), "ghcr.io/library/web");
        let digest = format!("sha256:{}", "a".repeat(64));
        let known = vec![format!("acme/web@{digest}"), format!("ghcr.io/x/y@sha256:{}", "b".repeat(64))];
        assert_eq!(digest_in(&known, "docker.io/acme/web").unwrap().as_str(), digest);
        assert_eq!(digest_in(&known, "acme/webby"), None);
    }

    /// As the engine has it with the containerd store: `GET /images/json` of engine 28.
    #[test]
    fn with_the_containerd_store_an_images_own_id_is_no_proof_that_it_was_pulled() {
        let id = format!("sha256:{}", "a".repeat(64));
        let image = |tags: &[&String], digests: &[&String]| -> Image {
            serde_json::from_value(serde_json::json!({ "Id": id, "RepoTags": tags, "RepoDigests": digests }))
                .unwrap()
        };
        let (tag, own) = ("ghcr.io/a/web:v1".to_owned(), format!("ghcr.io/a/web@{id}"));
        let manifest = format!("ghcr.io/a/web@sha256:{}", "b".repeat(64));
        let (built, pulled) = (image(&[&tag], &[&own]), image(&[&own, &tag], &[&own]));
        assert!(may_be_built_here(&built, "ghcr.io/a/web"));
        assert!(!may_be_built_here(&pulled, "ghcr.io/a/web"));
        // Without it: built here, and pulled.
        assert!(may_be_built_here(&image(&[&tag], &[]), "ghcr.io/a/web"));
        assert!(!may_be_built_here(&image(&[&tag], &[&manifest]), "ghcr.io/a/web"));
        assert_eq!(by_tag(&pulled.repo_tags).collect::<Vec<_>>(), [&tag]);
    }

    #[test]
    fn references_are_taken_apart_and_a_port_is_no_tag() {
        assert_eq!(split("127.0.0.1:5000/web"), ("127.0.0.1:5000/web", None));
        assert_eq!(split("127.0.0.1:5000/web:v1"), ("127.0.0.1:5000/web", Some("v1")));
        assert_eq!(split("web@sha256:00"), ("web", None));
    }

    #[test]
    fn every_name_becomes_a_valid_path_part_of_its_own() {
        assert_eq!(path_part("lockn-logger_v2"), "lockn-logger_v2");
        assert_eq!(path_part("a-"), "hex.612d");
        assert_eq!(path_part("a_-b"), "hex.615f2d62");
    }

    #[test]
    fn what_is_not_a_name_is_encoded() {
        assert_eq!(encode("a b?c/d:e@f"), "a%20b%3Fc/d:e@f");
    }
}
