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

async fn remember(ports: &HostPorts, release: &Release) -> Result<(), Failure> {
    let mut releases = read_releases(ports).await?;
    if releases.first() == Some(release) {
        return Ok(());
    }
    releases.retain(|known| !known.same_bytes(release));
    releases.insert(0, release.clone());
    releases.truncate(RELEASES_MAX);
    let content = serde_json::to_vec_pretty(&releases).map_err(|error| {
        Failure::new(FailureKind::Other, format!("the list of releases cannot be written: {error}"))
    })?;
    ports.host.write(&releases_path(&ports.home), &content, STATE_FILE_MODE).await?;
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
