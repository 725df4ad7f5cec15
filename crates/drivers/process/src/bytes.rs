//! From a command to the digest of its bytes.
//!
//! `<dir>/digests.json` remembers the hash of every file by its identity: a deployment resolves, fetches and starts,
//! and hashes once.

use std::collections::BTreeMap;

use lockgate_model::{Digest, FailureKind, Timestamp};
use lockgate_ports::{Host, PortError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::command::Filled;
use crate::files::{self, Named};

/// How many files' hashes are remembered.
const CACHE_ENTRIES_MAX: usize = 512;
/// A file that changed less than this ago may change again without its times showing it, so its hash is not
/// remembered: a kernel's clock tick with room to spare.
const SETTLED_MILLIS: u64 = 20;
const CACHE_MODE: u32 = 0o644;

/// Path to identity and SHA-256.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cache(BTreeMap<String, Known>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    identity: String,
    sha256: String,
}

/// What the digest is taken over. Absolute places are not in it, so that hosts with other folders agree.
#[derive(Serialize)]
struct Content<'a> {
    format: &'static str,
    argv: &'a [String],
    cwd: &'a str,
    /// Which argument, and the SHA-256 of the file that it names.
    files: Vec<(usize, &'a str)>,
}

/// Digest of the bytes that `filled` would run; `None` when its program is not on the host. `slotless` says which
/// arguments are the same in both slots: only those's files count.
///
/// # Errors
/// `Unauthorized` when a file cannot be read, else as the host.
pub(crate) async fn digest(
    host: &dyn Host,
    dir: &str,
    filled: &Filled,
    slotless: &[bool],
    path: Option<&str>,
) -> Result<Option<Digest>, PortError> {
    let bare = !filled.argv[0].contains('/');
    let counts = |file: &Named| slotless.get(file.index) == Some(&true) || (file.index == 0 && bare);
    let mut named = files::named(host, filled, path).await?;
    named.retain(counts);
    if named.first().is_none_or(|file| file.index != 0) {
        return Ok(None);
    }
    let hashes = hashes(host, dir, &named).await?;
    let content = Content {
        format: "lockgate-process-1",
        argv: &filled.argv,
        cwd: &filled.cwd,
        files: named.iter().zip(&hashes).map(|(file, hash)| (file.index, hash.as_str())).collect(),
    };
    let json = serde_json::to_vec(&content).map_err(|error| PortError::other(error.to_string()))?;
    let digest = format!("sha256:{}", files::hex(&Sha256::digest(&json)));
    Digest::new(digest).map(Some).map_err(|error| PortError::other(error.to_string()))
}

/// SHA-256 of each file, from the cache where its identity is still the same.
async fn hashes(host: &dyn Host, dir: &str, named: &[Named]) -> Result<Vec<String>, PortError> {
    let path = format!("{dir}/digests.json");
    let (content, now) = match host.read_own(&path).await {
        Ok(file) => (file.content, file.now),
        // What somebody else remembers is none of ours; the clock comes from the same place.
        Err(error) if error.kind == FailureKind::Refused => {
            (None, host.read(&format!("{path}.none")).await?.now)
        }
        Err(error) => return Err(error.context(&path)),
    };
    // A cache that does not parse is as good as none.
    let mut cache: Cache =
        content.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
    let known = |cache: &Cache, one: &Named| {
        cache
            .0
            .get(&one.path)
            .filter(|known| known.identity == one.identity)
            .map(|known| known.sha256.clone())
    };
    let missing: Vec<&Named> = named.iter().filter(|one| known(&cache, one).is_none()).collect();
    let paths: Vec<String> = missing.iter().map(|one| one.path.clone()).collect();
    let mut fresh: BTreeMap<String, String> =
        paths.iter().cloned().zip(files::hash(host, &paths).await?).collect();
    let answer: Option<Vec<String>> =
        named.iter().map(|one| known(&cache, one).or_else(|| fresh.get(&one.path).cloned())).collect();
    let answer = answer.ok_or_else(|| PortError::other("a file of the command has no hash"))?;
    let settled = |one: &&&Named| is_settled(one.changed, now);
    let mut changed = false;
    for one in missing.iter().filter(settled) {
        if let Some(sha256) = fresh.remove(&one.path) {
            if cache.0.len() >= CACHE_ENTRIES_MAX {
                cache.0.clear();
            }
            cache.0.insert(one.path.clone(), Known { identity: one.identity.clone(), sha256 });
            changed = true;
        }
    }
    if changed {
        remember(host, &path, &cache).await;
    }
    Ok(answer)
}

/// A hash that cannot be remembered costs time, not correctness.
async fn remember(host: &dyn Host, path: &str, cache: &Cache) {
    let written = match serde_json::to_vec(cache) {
        Ok(json) => host.write_own(path, &json, CACHE_MODE).await,
        Err(error) => Err(PortError::other(error.to_string())),
    };
    if let Err(error) = written {
        tracing::debug!("{path}: {error}");
    }
}

fn is_settled(changed: Timestamp, now: Timestamp) -> bool {
    now.0 - changed.0 >= i64::try_from(SETTLED_MILLIS).unwrap_or(i64::MAX)
}
