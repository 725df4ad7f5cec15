//! Which container is which slot.

use lockgate_model::{Digest, Millis, Release, ServiceName, Slot, Tag, Timestamp};
use lockgate_ports::{Endpoint, OWN_GRACE_SECONDS_MAX, PortError};

use crate::api::{Container, ContainerSummary, Image};
use crate::compose::Compose;
use crate::held::Held;
use crate::image;
use crate::labels::{
    COMMIT_LABEL, COMPOSE_DIR, COMPOSE_ONEOFF, COMPOSE_PROJECT, COMPOSE_SERVICE, DIGEST_LABEL,
    ENVIRONMENT_LABEL, IMAGE_LABEL, PROJECT_LABEL, SERVICE_LABEL, SLOT_LABEL, TAG_LABEL, label,
};

/// What the container itself wants, which Compose sets from the file's `stop_grace_period`. One that wants never to be killed
/// gets the most there is.
pub(crate) fn own_grace(container: &Container) -> Option<Millis> {
    let seconds = container.config.stop_timeout?;
    Some(Millis::from_secs(
        u64::try_from(seconds).unwrap_or(OWN_GRACE_SECONDS_MAX).min(OWN_GRACE_SECONDS_MAX),
    ))
}

impl Compose {
    /// All containers of the service's slots, those that run first, then the newest.
    pub(crate) async fn held(&self) -> Result<Vec<Held>, PortError> {
        let all = self.engine.containers(Some(COMPOSE_PROJECT)).await?;
        let mut held: Vec<Held> = all.iter().filter_map(|summary| self.ours(summary)).collect();
        let strangers: Vec<ContainerSummary> = all.into_iter().filter(is_unlabelled).collect();
        for slot in self.slots.iter().copied() {
            held.extend(self.made_by_others(slot, &strangers).await?);
        }
        held.sort_by_key(|one| (!one.runs(), -one.summary.created));
        Ok(held)
    }

    pub(crate) async fn held_in(&self, slot: Slot) -> Result<Vec<Held>, PortError> {
        Ok(self.held().await?.into_iter().filter(|one| one.slot == slot).collect())
    }

    fn ours(&self, summary: &ContainerSummary) -> Option<Held> {
        let is = |name: &str, wanted: &str| label(summary, name) == Some(wanted);
        let ours = is(PROJECT_LABEL, self.project.as_str())
            && is(ENVIRONMENT_LABEL, self.environment.as_str())
            && is(SERVICE_LABEL, self.service.name.as_str());
        let slot = label(summary, SLOT_LABEL)?.parse().ok()?;
        ours.then(|| Held { slot, summary: summary.clone(), ours: true })
    }

    /// Containers without our labels that Compose made from the slot's own file: system A's scripts, or a person.
    async fn made_by_others(
        &self,
        slot: Slot,
        strangers: &[ContainerSummary],
    ) -> Result<Vec<Held>, PortError> {
        let (dir, _) = self.folder(slot)?;
        let project = self.compose_project(slot)?;
        let nearby: Vec<&ContainerSummary> = strangers
            .iter()
            .filter(|summary| {
                label(summary, COMPOSE_DIR) == Some(dir.as_str())
                    || project
                        .as_deref()
                        .is_some_and(|project| label(summary, COMPOSE_PROJECT) == Some(project))
            })
            .collect();
        if nearby.is_empty() {
            return Ok(Vec::new());
        }
        // Which of the file's services is ours, only the file says; a container whose file is gone or broken since is
        // still seen, by the service's usual names.
        let services = match self.place(slot).await {
            Ok(place) => vec![place.service],
            Err(error) if error.is_silence() => return Err(error),
            Err(_) => vec![self.service.name.to_string(), format!("{}-{slot}", self.service.name)],
        };
        let is_ours = |name: &str| services.iter().any(|service| service == name);
        let matching =
            nearby.into_iter().filter(|summary| label(summary, COMPOSE_SERVICE).is_some_and(is_ours));
        Ok(matching.map(|summary| Held { slot, summary: summary.clone(), ours: false }).collect())
    }

    /// What the container runs: by our labels, else derived from its image.
    pub(crate) async fn release_in(
        &self,
        held: &Held,
        container: &Container,
    ) -> Result<Option<Release>, PortError> {
        if held.ours {
            return Ok(self.labelled_release(&held.summary));
        }
        let Some(found) = self.engine.image(&held.summary.image_id).await? else { return Ok(None) };
        let repository = self.service.image.as_deref();
        Ok(derived_release(&self.service.name, repository, &container.config.image, &found))
    }

    pub(crate) fn labelled_release(&self, summary: &ContainerSummary) -> Option<Release> {
        let owned = |name: &str| label(summary, name).map(str::to_owned);
        Some(Release {
            service: self.service.name.clone(),
            tag: Tag::new(label(summary, TAG_LABEL)?).ok()?,
            digest: Digest::new(label(summary, DIGEST_LABEL)?).ok()?,
            image: owned(IMAGE_LABEL),
            commit: owned(COMMIT_LABEL).or_else(|| owned(image::REVISION_LABEL)),
            provenance: None,
        })
    }
}

/// What an image that somebody else's container runs is called. `reference` is what the container was made from; when it
/// is a bare image id, the service's own `repository` says which of the image's names counts.
fn derived_release(
    service: &ServiceName,
    repository: Option<&str>,
    reference: &str,
    found: &Image,
) -> Option<Release> {
    let (named, tag) = match reference.strip_prefix("sha256:") {
        Some(_) => (repository?, None),
        None => image::split(reference),
    };
    let same = |name: &&String| image::familiar(image::split(name).0) == image::familiar(named);
    let tag =
        tag.or_else(|| image::by_tag(&found.repo_tags).find(same).and_then(|name| image::split(name).1));
    // `image: web` means `web:latest`.
    let digest =
        image::digest_in(&found.repo_digests, named).or_else(|| Digest::new(found.id.clone()).ok())?;
    // One that is known by its digest alone is called by that, so that it can be started again.
    let tag = tag.unwrap_or(if reference.contains("sha256:") { digest.short() } else { "latest" });
    let commit = found.config.labels.get(image::REVISION_LABEL).cloned();
    Some(Release {
        service: service.clone(),
        tag: Tag::new(tag).ok()?,
        digest,
        image: Some(named.to_owned()),
        commit,
        provenance: None,
    })
}

/// Containers of another Lockgate project or environment are theirs, wherever they were made.
fn is_unlabelled(summary: &ContainerSummary) -> bool {
    label(summary, PROJECT_LABEL).is_none() && label(summary, COMPOSE_ONEOFF) != Some("True")
}

/// Where a container answers as seen from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answers {
    pub endpoint: Endpoint,
    /// The network whose address that is; `None` for the host's own and for a published port.
    pub network: Option<String>,
    /// The port inside.
    pub port: u16,
}

/// At its own address on a bridge network, the host's for `network_mode: host`, else where it publishes the port. Of an
/// engine `elsewhere`, on another machine, only what is published or the machine's own is reached from the host.
pub(crate) fn answers(container: &Container, port: Option<u16>, elsewhere: Option<&str>) -> Option<Answers> {
    let ports = &container.network_settings.ports;
    let only = || {
        let mut tcp = ports.keys().filter_map(|key| key.strip_suffix("/tcp")?.parse::<u16>().ok());
        tcp.next().filter(|_| tcp.next().is_none())
    };
    let port = port.or_else(only)?;
    let at = |endpoint: String, network: Option<&String>| {
        Some(Answers { endpoint: Endpoint::Tcp(endpoint), network: network.cloned(), port })
    };
    let machine = match elsewhere {
        Some(name) if name.contains(':') => format!("[{name}]"),
        Some(name) => name.to_owned(),
        None => "127.0.0.1".to_owned(),
    };
    if container.host_config.network_mode == "host" {
        return at(format!("{machine}:{port}"), None);
    }
    let mut networks = container.network_settings.networks.iter();
    if elsewhere.is_none()
        && let Some((name, network)) = networks.find(|(_, network)| !network.ip_address.is_empty())
    {
        return at(format!("{}:{port}", network.ip_address), Some(name));
    }
    let published = ports.get(&format!("{port}/tcp"))?.as_ref()?.first()?;
    let ip = match published.host_ip.as_str() {
        "" | "0.0.0.0" | "::" => &machine,
        ip => ip,
    };
    at(format!("{ip}:{}", published.host_port), None)
}

/// Docker's zero time, year 1, means never.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    let millis = text.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    (millis > 0).then_some(Timestamp(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(document: serde_json::Value) -> Container {
        serde_json::from_value(document).unwrap()
    }

    fn endpoint(container: &Container, port: Option<u16>, elsewhere: Option<&str>) -> Option<Endpoint> {
        answers(container, port, elsewhere).map(|answers| answers.endpoint)
    }

    #[test]
    fn the_endpoint_is_the_containers_address_then_the_hosts_then_the_published_port() {
        let bridge = container(serde_json::json!({ "NetworkSettings": {
            "Networks": { "a": { "IPAddress": "" }, "b": { "IPAddress": "172.18.0.2" } },
            "Ports": { "8080/tcp": null } } }));
        assert_eq!(endpoint(&bridge, Some(5000), None), Some(Endpoint::Tcp("172.18.0.2:5000".into())));
        assert_eq!(endpoint(&bridge, None, None), Some(Endpoint::Tcp("172.18.0.2:8080".into())));
        let host = container(serde_json::json!({ "HostConfig": { "NetworkMode": "host" } }));
        assert_eq!(endpoint(&host, Some(5000), None), Some(Endpoint::Tcp("127.0.0.1:5000".into())));
        assert_eq!(endpoint(&host, None, None), None);
        let published = container(serde_json::json!({ "NetworkSettings": {
            "Networks": null, "Ports": { "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8081" }] } } }));
        assert_eq!(endpoint(&published, Some(80), None), Some(Endpoint::Tcp("127.0.0.1:8081".into())));
        let there = |container, port| endpoint(container, Some(port), Some("fd00::2"));
        assert_eq!(there(&bridge, 5000), None, "another machine's bridge is not reached");
        assert_eq!(there(&host, 5000), Some(Endpoint::Tcp("[fd00::2]:5000".into())));
        assert_eq!(there(&published, 80), Some(Endpoint::Tcp("[fd00::2]:8081".into())));
    }

    #[test]
    fn the_grace_of_a_container_is_its_own_stop_timeout() {
        let grace = |timeout: serde_json::Value| {
            own_grace(&container(serde_json::json!({ "Config": { "StopTimeout": timeout } })))
        };
        assert_eq!(grace(serde_json::json!(90)), Some(Millis::from_secs(90)));
        assert_eq!(grace(serde_json::json!(0)), Some(Millis(0)));
        assert_eq!(grace(serde_json::Value::Null), None);
        for endless in [-1, i64::MAX] {
            assert_eq!(grace(serde_json::json!(endless)), Some(Millis::from_secs(OWN_GRACE_SECONDS_MAX)));
        }
        assert_eq!(own_grace(&container(serde_json::json!({ "Config": {} }))), None);
    }

    #[test]
    fn dockers_zero_time_is_no_time() {
        assert_eq!(timestamp("0001-01-01T00:00:00Z"), None);
        assert_eq!(timestamp("1970-01-01T00:00:01.5Z"), Some(Timestamp(1500)));
    }

    #[test]
    fn an_images_names_tell_the_release_that_somebody_elses_container_runs() {
        let hex = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let found = Image {
            id: hex("1"),
            // The first is the containerd store's way to say that it was pulled by its digest.
            repo_tags: vec![
                format!("ghcr.io/a/web@{}", hex("2")),
                "ghcr.io/a/other:x".into(),
                "ghcr.io/a/web:v3".into(),
            ],
            repo_digests: vec![format!("ghcr.io/a/web@{}", hex("2"))],
            ..Image::default()
        };
        let service = ServiceName::new("web").unwrap();
        let told = |reference: &str| {
            let release = derived_release(&service, Some("ghcr.io/a/web"), reference, &found)?;
            Some((release.tag.to_string(), release.digest.to_string()))
        };
        assert_eq!(told("ghcr.io/a/web:v1"), Some(("v1".into(), hex("2"))));
        assert_eq!(told(&hex("1")), Some(("v3".into(), hex("2"))));
        assert_eq!(told(&format!("ghcr.io/a/web@{}", hex("2"))), Some(("v3".into(), hex("2"))));
        assert_eq!(told("ghcr.io/a/local"), Some(("latest".into(), hex("1"))));
        // By its digest alone, and not even by that in this repository: what it is called is the digest that it has.
        let nameless = told(&format!("ghcr.io/a/local@{}", hex("2")));
        assert_eq!(nameless, Some(("1".repeat(12), hex("1"))));
    }
}
