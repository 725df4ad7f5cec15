//! What each release ran with: kept on the host when it went live, so that going back to it brings its own environment
//! along. Values are in one file of mode 0600 and nowhere else; what leaves this file is names.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::{
    Digest, Evidence, Failure, FailureKind, OwnEnvironment, RELEASES_MAX, Release, Secret, Seen, Slot,
    SlotState, Tag, Timestamp, minute_utc,
};
use lockgate_ports::{HostPorts, PortError, RuntimeSlot, Variables};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const FILE_MODE: u32 = 0o600;
/// Largest file: of more the oldest environments go. A host reads no larger one back.
const FILE_BYTES_MAX: usize = lockgate_ports::FILE_BYTES_MAX;

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Newest first, one for each release's bytes, at most [`RELEASES_MAX`].
    environments: Vec<One>,
    /// Variables by the hash over them: releases that ran with the same have one copy.
    variables: BTreeMap<String, BTreeMap<String, String>>,
}

/// Of one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct One {
    digest: Digest,
    /// For people who read the file.
    tag: Tag,
    /// Where it ran with it: slots may have variables of their own.
    slot: Slot,
    since: Timestamp,
    /// Names an entry of `variables`.
    hash: String,
}

fn path(home: &str) -> String {
    format!("{home}/.lockgate/environments.json")
}

/// With the host's time.
async fn read(ports: &HostPorts) -> Result<(Kept, Timestamp), PortError> {
    let path = path(&ports.home);
    let file = ports.host.read_own(&path).await?;
    let Some(content) = file.content else { return Ok((Kept::default(), file.now)) };
    // The parser's message could quote a value.
    let kept = serde_json::from_slice(&content).map_err(|error| {
        PortError::other(format!("{path} does not parse, line {}", error.line())).without_effect().hint(
            "move it away: a rollback then runs with today's environment; a newer Lockgate may have written it",
        )
    })?;
    Ok((kept, file.now))
}

impl Kept {
    fn of(&self, release: &Release) -> Option<(&One, &BTreeMap<String, String>)> {
        let one = self.environments.iter().find(|one| one.digest == release.digest)?;
        Some((one, self.variables.get(&one.hash)?))
    }

    fn knows(&self, release: &Release) -> bool {
        self.of(release).is_some()
    }

    /// The release runs with `variables` now.
    fn keep(&mut self, slot: Slot, release: &Release, variables: &Variables, now: Timestamp) {
        let plain: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect();
        let hash = hash(&plain);
        let known = self.environments.iter().find(|one| one.digest == release.digest);
        if known.is_some_and(|known| known.hash == hash && known.slot == slot) {
            return;
        }
        let since = known.filter(|known| known.hash == hash).map_or(now, |known| known.since);
        self.environments.retain(|one| one.digest != release.digest);
        let one =
            One { digest: release.digest.clone(), tag: release.tag.clone(), slot, since, hash: hash.clone() };
        self.environments.insert(0, one);
        self.environments.truncate(RELEASES_MAX);
        self.variables.insert(hash, plain);
        self.drop_unused();
    }

    fn drop_unused(&mut self) {
        let used: BTreeSet<&str> = self.environments.iter().map(|one| one.hash.as_str()).collect();
        self.variables.retain(|hash, _| used.contains(hash.as_str()));
    }

    /// Within the bound of what is read back.
    fn bytes(&mut self) -> Result<Vec<u8>, PortError> {
        loop {
            // What it says of itself could quote a value.
            let content = serde_json::to_vec_pretty(self)
                .map_err(|_| PortError::other("the environments do not serialise"))?;
            if content.len() <= FILE_BYTES_MAX {
                return Ok(content);
            }
            if self.environments.pop().is_none() {
                return Err(PortError::too_large("one environment", FILE_BYTES_MAX));
            }
            self.drop_unused();
        }
    }
}

fn hash(variables: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in variables {
        for part in [name, value] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn write(ports: &HostPorts, mut kept: Kept) -> Result<(), PortError> {
    let content = kept.bytes()?;
    ports.host.write_own(&path(&ports.home), &content, FILE_MODE).await
}

/// Keeps what `release`, which went live, runs with; and of other slots, where nothing was kept of their release yet, as when
/// an older Lockgate started it.
pub(crate) async fn keep(ports: &HostPorts, release: &Release) -> Result<(), PortError> {
    keep_of(ports, ports.runtime.slots().await?, Some(release)).await
}

/// Keeps what the slot's release runs with, where nothing was kept of it yet: what is about to be replaced may be gone
/// back to.
pub(crate) async fn keep_unknown(ports: &HostPorts, held: Option<&RuntimeSlot>) -> Result<(), PortError> {
    keep_of(ports, held.cloned().into_iter().collect(), None).await
}

async fn keep_of(
    ports: &HostPorts,
    slots: Vec<RuntimeSlot>,
    live: Option<&Release>,
) -> Result<(), PortError> {
    let mut environments = Vec::new();
    for held in slots {
        let Some(release) = held.release else { continue };
        if let Some(variables) = ports.runtime.environment(held.slot).await? {
            environments.push((held.slot, release, variables));
        }
    }
    if environments.is_empty() {
        return Ok(());
    }
    let (before, now) = read(ports).await?;
    let mut kept = before.clone();
    for (slot, release, variables) in environments {
        let is_live = live.is_some_and(|live| live.same_bytes(&release));
        if is_live || !kept.knows(&release) {
            kept.keep(slot, &release, &variables, now);
        }
    }
    if kept == before { Ok(()) } else { write(ports, kept).await }
}

/// Drops what is kept of all but these; called with those whose images stay.
pub(crate) async fn prune(ports: &HostPorts, keep: &[Release]) -> Result<(), PortError> {
    let (before, _) = read(ports).await?;
    let mut kept = before.clone();
    kept.environments.retain(|one| keep.iter().any(|release| release.digest == one.digest));
    kept.drop_unused();
    if kept == before { Ok(()) } else { write(ports, kept).await }
}

/// What a release would run with, and what of that is another than today.
struct Fitted {
    variables: Variables,
    own: OwnEnvironment,
}

/// `None` where nothing was kept of the release.
async fn fit(ports: &HostPorts, slot: Slot, release: &Release) -> Result<Option<Fitted>, PortError> {
    let (kept, _) = read(ports).await?;
    let Some((one, variables)) = kept.of(release) else { return Ok(None) };
    let today = ports.runtime.todays_environment(slot, release).await?;
    let secret = |(name, value): (&String, &String)| (name.clone(), Secret::new(value));
    let mut variables: Variables = variables.iter().map(secret).collect();
    if one.slot != slot {
        // What the slots have each for itself belongs to the slot and not to the release: its colour, its port.
        let there = ports.runtime.todays_environment(one.slot, release).await?;
        let names: BTreeSet<&String> = today.keys().chain(there.keys()).collect();
        for name in names.into_iter().filter(|name| today.get(*name) != there.get(*name)) {
            match today.get(name) {
                Some(value) => variables.insert(name.clone(), value.clone()),
                None => variables.remove(name),
            };
        }
    }
    let unknown = ports.runtime.unknown_variables();
    let names = today.keys().chain(variables.keys()).filter(|name| !unknown.contains(name));
    let names: BTreeSet<&String> = names.collect();
    let differs = names.into_iter().filter(|name| today.get(*name) != variables.get(*name)).cloned();
    let own = OwnEnvironment { since: Some(one.since), differs: differs.collect() };
    Ok(Some(Fitted { variables, own }))
}

/// What going back to the release in the slot would come to for its environment. `None` where the runtime knows of none.
///
/// # Errors
/// The host's and the runtime's.
pub async fn own_environment(
    ports: &HostPorts,
    slot: Slot,
    release: &Release,
) -> Result<Option<OwnEnvironment>, Failure> {
    if !ports.runtime.has_environments() {
        return Ok(None);
    }
    let fitted = fit(ports, slot, release).await?;
    Ok(Some(fitted.map_or(OwnEnvironment { since: None, differs: Vec::new() }, |fitted| fitted.own)))
}

/// Starts the release with what it ran with; with today's environment where that is not known, which is told.
pub(crate) async fn start(ports: &HostPorts, slot: Slot, release: &Release) -> Result<Seen, Failure> {
    let failed = |error: PortError| Failure::from(error).slot(slot);
    let held = crate::conductor::find(ports, slot).await?;
    let runs = held.is_some_and(|held| {
        held.state == SlotState::Running && held.release.is_some_and(|runs| runs.same_bytes(release))
    });
    if runs || !ports.runtime.has_environments() {
        ports.runtime.start(slot, release).await.map_err(failed)?;
        return Ok(Seen::new());
    }
    let fitted = match fit(ports, slot, release).await {
        Ok(fitted) => fitted,
        // To be dark is worse than to have today's environment.
        Err(error) if error.kind == FailureKind::Other || error.kind == FailureKind::Refused => {
            tracing::warn!(%error, %slot, "what {release} ran with cannot be read, so it gets today's environment");
            None
        }
        Err(error) => return Err(failed(error)),
    };
    let own = match fitted {
        Some(Fitted { variables, own }) => {
            ports.runtime.start_with(slot, release, &variables).await.map_err(failed)?;
            own
        }
        None => {
            ports.runtime.start(slot, release).await.map_err(failed)?;
            OwnEnvironment { since: None, differs: Vec::new() }
        }
    };
    let told = own.text(minute_utc);
    // What a step put up with, so that everybody is told.
    let evidence = |seen| Evidence { check: "environment".into(), wanted: "today's".into(), seen, ok: false };
    Ok(told.map(evidence).into_iter().collect())
}

#[cfg(test)]
#[path = "environments/tests.rs"]
mod tests;
