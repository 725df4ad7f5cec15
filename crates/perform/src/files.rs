//! What is written down on a host: system A's state files, byte for byte, and the list of releases beside them.

use lockgate_model::{Failure, FailureKind, Recorded, Release, Seen, Slot};
use lockgate_ports::{HostPorts, PortError};

/// Releases remembered on a host, newest first.
const RELEASES_MAX: usize = 50;
const STATE_FILE_MODE: u32 = 0o644;

fn active_path(home: &str) -> String {
    format!("{home}/active_color")
}

fn previous_path(home: &str) -> String {
    format!("{home}/previous_color")
}

/// The list of releases that were live on the host, newest first, as JSON.
#[must_use]
pub fn releases_path(home: &str) -> String {
    format!("{home}/.lockgate/releases.json")
}

/// `active_color` and `previous_color`: `blue` or `green`, with or without a newline at the end.
///
/// # Errors
/// The host's. A file with anything else in it counts as absent: the router says what is live.
pub(crate) async fn read_recorded(ports: &HostPorts) -> Result<Recorded, PortError> {
    let (active, previous) = (active_path(&ports.home), previous_path(&ports.home));
    let (active, previous) = tokio::try_join!(ports.host.read(&active), ports.host.read(&previous))?;
    Ok(Recorded { active: parse(active.content.as_deref()), previous: parse(previous.content.as_deref()) })
}

fn parse(content: Option<&[u8]>) -> Option<Slot> {
    std::str::from_utf8(content?).ok()?.trim().parse().ok()
}

/// # Errors
/// The host's, or `Other` for a list that does not parse.
pub async fn read_releases(ports: &HostPorts) -> Result<Vec<Release>, PortError> {
    let path = releases_path(&ports.home);
    let Some(content) = ports.host.read(&path).await?.content else { return Ok(Vec::new()) };
    serde_json::from_slice(&content).map_err(|error| {
        PortError::other(format!("{path} does not parse: {error}"))
            .hint("move it away: it is only the list that `rollback` chooses from")
    })
}

/// Writes what differs: first the list and the previous slot, then the active one, so that a reader who sees the new
/// active slot sees what belongs to it.
pub(crate) async fn record(
    ports: &HostPorts,
    recorded: &Recorded,
    release: Option<&Release>,
) -> Result<Seen, Failure> {
    let remembered = async {
        match release {
            Some(release) => remember(ports, release).await,
            None => Ok(()),
        }
    };
    let (active, previous) = (active_path(&ports.home), previous_path(&ports.home));
    let before = async { Ok(ports.host.read(&active).await?.content) };
    let (before, (), ()) =
        tokio::try_join!(before, remembered, replace(ports, &previous, recorded.previous))?;
    write(ports, &active, before.as_deref(), recorded.active).await?;
    Ok(Seen::new())
}

/// Those up to the `keep`th that has other bytes than all before it.
pub(crate) fn newest(releases: Vec<Release>, keep: u32) -> Vec<Release> {
    let mut digests = std::collections::BTreeSet::new();
    releases
        .into_iter()
        .take_while(|release| {
            digests.insert(release.digest.clone());
            digests.len() <= keep as usize
        })
        .collect()
}

async fn remember(ports: &HostPorts, release: &Release) -> Result<(), Failure> {
    let mut releases = read_releases(ports).await?;
    if releases.first() == Some(release) {
        return Ok(());
    }
    // The same bytes under another tag stay: `rollback` takes that name too.
    releases.retain(|known| !(known.same_bytes(release) && known.tag == release.tag));
    releases.insert(0, release.clone());
    releases.truncate(RELEASES_MAX);
    let content = serde_json::to_vec_pretty(&releases).map_err(|error| {
        Failure::new(FailureKind::Other, format!("the list of releases cannot be written: {error}"))
    })?;
    ports.host.write_own(&releases_path(&ports.home), &content, STATE_FILE_MODE).await?;
    Ok(())
}

async fn replace(ports: &HostPorts, path: &str, slot: Option<Slot>) -> Result<(), Failure> {
    let old = ports.host.read(path).await?.content;
    write(ports, path, old.as_deref(), slot).await
}

/// Keeps the file's own habit about the newline at its end; scripts of system A compare the content.
async fn write(ports: &HostPorts, path: &str, old: Option<&[u8]>, slot: Option<Slot>) -> Result<(), Failure> {
    let Some(slot) = slot else {
        if old.is_some() {
            ports.host.remove(path).await?;
        }
        return Ok(());
    };
    if parse(old) == Some(slot) {
        return Ok(());
    }
    let bare = old.is_some_and(|old| !old.is_empty() && !old.ends_with(b"\n"));
    let content = if bare { slot.to_string() } else { format!("{slot}\n") };
    ports.host.write(path, content.as_bytes(), STATE_FILE_MODE).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use lockgate_model::{Digest, HostId, ServiceName, Tag};
    use lockgate_ports::fake::{Calm, FakePorts, Machine, shared};

    use super::*;

    fn release(tag: &str, digit: char) -> Release {
        let digest = Digest::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap();
        let service = ServiceName::new("web").unwrap();
        Release { service, tag: Tag::new(tag).unwrap(), digest, image: None, commit: None }
    }

    /// Who deployed `v1` may go back to `v1`, though its bytes were live as `latest` since.
    #[tokio::test]
    async fn a_release_that_was_live_under_two_tags_is_known_by_both() {
        let machine = shared(Machine::new(HostId::new("web1").unwrap(), Arc::new(BTreeMap::new())));
        let ports = FakePorts::new(machine, Arc::new(Calm)).host_ports("/srv/web");
        let (v1, v2, latest) = (release("v1", '1'), release("v2", '2'), release("latest", '1'));
        for live in [&v1, &v2, &latest, &v2] {
            record(&ports, &Recorded::default(), Some(live)).await.unwrap();
        }
        let known = read_releases(&ports).await.unwrap();
        assert_eq!(known, [v2.clone(), latest.clone(), v1.clone()]);
        assert_eq!(newest(known.clone(), 1), [v2]);
        assert_eq!(newest(known.clone(), 2), known);
    }
}
