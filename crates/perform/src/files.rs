//! What is written down on a host: system A's state files, byte for byte, and the list of releases beside them.

use lockgate_model::{
    Because, Failure, FailureKind, Recorded, Rejection, Release, Releases, Seen, Slot, TOLD_CHARS_MAX,
    Timestamp, WasLive, quoted,
};
use lockgate_ports::{HostFile, HostPorts, PortError};

const STATE_FILE_MODE: u32 = 0o644;

fn active_path(home: &str) -> String {
    format!("{home}/active_color")
}

fn previous_path(home: &str) -> String {
    format!("{home}/previous_color")
}

/// [`Releases`] of the host, as JSON.
#[must_use]
pub fn releases_path(home: &str) -> String {
    format!("{home}/.lockgate/releases.json")
}

/// `active_color` and `previous_color`: `blue` or `green`, with or without a newline at the end.
///
/// # Errors
/// The host's. A file with anything else in it counts as absent: the router says what is live.
pub(crate) async fn read_recorded(ports: &HostPorts) -> Result<Recorded, PortError> {
    let paths = [active_path(&ports.home), previous_path(&ports.home)];
    recorded_in(&mut ports.host.read_each(&paths).await.into_iter())
}

/// As [`read_recorded`] and [`read_releases`], in one request.
pub(crate) async fn read_both(
    ports: &HostPorts,
) -> (Result<Recorded, PortError>, Result<Releases, PortError>) {
    let list = releases_path(&ports.home);
    let paths = [active_path(&ports.home), previous_path(&ports.home), list.clone()];
    let mut files = ports.host.read_each(&paths).await.into_iter();
    let recorded = recorded_in(&mut files);
    let releases = next_of(&mut files).and_then(|file| Ok(list_in(file, &list)?.0));
    (recorded, releases)
}

type Files = std::vec::IntoIter<Result<HostFile, PortError>>;

/// Takes the active and the previous slot's file.
fn recorded_in(files: &mut Files) -> Result<Recorded, PortError> {
    let (active, previous) = (next_of(files), next_of(files));
    let (active, previous) = (active?.content, previous?.content);
    Ok(Recorded { active: parse(active.as_deref()), previous: parse(previous.as_deref()) })
}

fn next_of(files: &mut Files) -> Result<HostFile, PortError> {
    files.next().unwrap_or_else(|| Err(PortError::other("a file was asked for and not read")))
}

fn parse(content: Option<&[u8]>) -> Option<Slot> {
    std::str::from_utf8(content?).ok()?.trim().parse().ok()
}

/// As the host has them, within their bounds; empty where there is no list.
///
/// # Errors
/// The host's, or `Other` for a list that does not parse.
pub async fn read_releases(ports: &HostPorts) -> Result<Releases, PortError> {
    Ok(read_list(ports).await?.0)
}

/// With the host's time.
async fn read_list(ports: &HostPorts) -> Result<(Releases, Timestamp), PortError> {
    let path = releases_path(&ports.home);
    list_in(ports.host.read(&path).await?, &path)
}

fn list_in(file: HostFile, path: &str) -> Result<(Releases, Timestamp), PortError> {
    let Some(content) = file.content else { return Ok((Releases::default(), file.now)) };
    let releases = parse_list(&content).map_err(|error| {
        // The error has words of the list in it.
        let error = quoted(&error.to_string(), TOLD_CHARS_MAX);
        PortError::other(format!("{path} does not parse: {error}")).hint(
            "move it away: `rollback` chooses from it, and what was rejected is known from it; a newer Lockgate may have written it",
        )
    })?;
    Ok((releases.bounded(), file.now))
}

/// A program that knew neither times nor rejections wrote the bare list of releases.
fn parse_list(content: &[u8]) -> Result<Releases, serde_json::Error> {
    if content.trim_ascii_start().starts_with(b"[") {
        let live: Vec<Release> = serde_json::from_slice(content)?;
        return Ok(Releases { live: live.into_iter().map(WasLive::from).collect(), ..Releases::default() });
    }
    serde_json::from_slice(content)
}

/// Writes what differs: first the list and the previous slot, then the active one, so that a reader who sees the new
/// active slot sees what belongs to it.
///
/// Where the active slot's file is the router's own switch it is left alone: the switch has written it, and its undo does.
pub(crate) async fn record(
    ports: &HostPorts,
    recorded: &Recorded,
    release: Option<&Release>,
    tried: Option<&Release>,
) -> Result<Seen, Failure> {
    let remembered = async {
        if release.is_none() && tried.is_none() {
            return Ok(());
        }
        change_list(ports, |releases, now| {
            tried.into_iter().for_each(|tried| releases.try_out(tried, now));
            release.into_iter().for_each(|release| releases.went_live(release, now));
        })
        .await
    };
    let (active, previous) = (active_path(&ports.home), previous_path(&ports.home));
    let before = async { Ok(ports.host.read(&active).await?.content) };
    let switches = async { Ok(ports.router.goes_by_active_color().await?) };
    let (before, switches, (), ()) =
        tokio::try_join!(before, switches, remembered, replace(ports, &previous, recorded.previous))?;
    // A file that names no colour means blue to that router, too.
    let is_said = parse(before.as_deref()).is_none() && recorded.active == Some(Slot::Blue);
    if !switches || is_said {
        write(ports, &active, before.as_deref(), recorded.active).await?;
    }
    Ok(Seen::new())
}

/// That the release was tried is taken back, and it is rejected where `because` or `instead` says so.
pub(crate) async fn take_back(
    ports: &HostPorts,
    release: &Release,
    instead: Option<&Release>,
    because: Option<&Because>,
) -> Result<Seen, Failure> {
    let changed = change_list(ports, |releases, now| {
        let rejection = because.and_then(|because| Rejection::of(release, instead, because, now));
        releases.take_back(release, rejection);
    });
    changed.await?;
    Ok(Seen::new())
}

/// Those up to the `keep`th that has other bytes than all before it.
pub(crate) fn newest(releases: &Releases, keep: u32) -> Vec<Release> {
    let mut digests = std::collections::BTreeSet::new();
    let live = releases.live.iter().map(|one| &one.release);
    live.take_while(|release| {
        digests.insert(&release.digest);
        digests.len() <= keep as usize
    })
    .cloned()
    .collect()
}

/// Writes the list where `change`, which is told the host's time, makes it another one.
async fn change_list(
    ports: &HostPorts,
    change: impl FnOnce(&mut Releases, Timestamp) + Send,
) -> Result<(), Failure> {
    let (before, now) = read_list(ports).await?;
    let mut releases = before.clone();
    change(&mut releases, now);
    if releases == before {
        return Ok(());
    }
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
    use lockgate_ports::fake::{FakePorts, Machine, NoFaults, shared};

    use super::*;
    use crate::scene::Odd;

    fn release(tag: &str, digit: char) -> Release {
        let digest = Digest::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap();
        let service = ServiceName::new("web").unwrap();
        Release { service, tag: Tag::new(tag).unwrap(), digest, image: None, commit: None, provenance: None }
    }

    fn host() -> (lockgate_ports::fake::SharedMachine, HostPorts) {
        let machine = shared(Machine::new(HostId::new("web1").unwrap(), Arc::new(BTreeMap::new())));
        let ports = FakePorts::new(machine.clone(), Arc::new(NoFaults)).host_ports("/srv/web");
        (machine, ports)
    }

    fn tags(releases: &Releases) -> Vec<&str> {
        releases.live.iter().map(|one| one.release.tag.as_str()).collect()
    }

    /// Who deployed `v1` may go back to `v1`, though its bytes were live as `latest` since.
    #[tokio::test(start_paused = true)]
    async fn a_release_that_was_live_under_two_tags_is_known_by_both() {
        let (_, ports) = host();
        let (v1, v2, latest) = (release("v1", '1'), release("v2", '2'), release("latest", '1'));
        for live in [&v1, &v2, &latest, &v2] {
            record(&ports, &Recorded::default(), Some(live), None).await.unwrap();
        }
        let known = read_releases(&ports).await.unwrap();
        assert_eq!(tags(&known), ["v2", "latest", "v1"]);
        assert_eq!(newest(&known, 1), std::slice::from_ref(&v2));
        assert_eq!(newest(&known, 2), [v2, latest, v1]);
    }

    /// As the program of before 2026-11-26 wrote it.
    const BEFORE: &str = r#"[
  {
    "service": "web",
    "tag": "v2",
    "digest": "sha256:2222222222222222222222222222222222222222222222222222222222222222",
    "image": "ghcr.io/acme/web",
    "commit": "1f3a5b7"
  },
  {
    "service": "web",
    "tag": "v1",
    "digest": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
    "image": "ghcr.io/acme/web"
  }
]"#;

    #[tokio::test(start_paused = true)]
    async fn a_list_of_an_older_program_is_read_and_becomes_one_of_today_in_place() {
        let (machine, ports) = host();
        let path = releases_path("/srv/web");
        machine.lock().unwrap().files.insert(path.clone(), BEFORE.into());
        let known = read_releases(&ports).await.unwrap();
        assert_eq!((tags(&known), known.rejected.len()), (vec!["v2", "v1"], 0));
        assert_eq!(known.live[0].live_since, None);
        record(&ports, &Recorded::default(), None, Some(&release("v3", '3'))).await.unwrap();
        tokio::time::advance(std::time::Duration::from_secs(60)).await;
        record(&ports, &Recorded::default(), Some(&release("v3", '3')), None).await.unwrap();
        let known = read_releases(&ports).await.unwrap();
        let (_, now) = read_list(&ports).await.unwrap();
        assert_eq!(tags(&known), ["v3", "v2", "v1"]);
        assert_eq!(known.live[1].release.commit.as_deref(), Some("1f3a5b7"));
        let since = known.live[0].live_since.unwrap();
        assert_eq!(now.since(since).0, 60_000, "since it was tried, by the host's clock");
        assert_eq!(known.live[1].live_until, Some(since));
        assert!(machine.lock().unwrap().files[&path].starts_with(b"{"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_host_has_as_its_list_is_bounded_and_told_in_short() {
        let (machine, ports) = host();
        let path = releases_path("/srv/web");
        let write = |content: String| {
            machine.lock().unwrap().files.insert(path.clone(), content.into_bytes());
        };
        let one = BEFORE.trim_start_matches(['[', '\n']).split("\n  },").next().unwrap();
        write(format!("[{one}}}{}]", format!(",{one}}}").repeat(500)));
        assert_eq!(read_releases(&ports).await.unwrap().live.len(), lockgate_model::RELEASES_MAX);
        write(format!("{{\"live\":\"{}\"}}", "\u{1b}[2J".repeat(10_000)));
        let refused = read_releases(&ports).await.unwrap_err();
        assert!(refused.message.len() < 1_000 && !refused.message.contains('\u{1b}'), "{refused}");
        assert!(!refused.hints().is_empty());
    }

    /// Who wrote it back before the old release is known to answer would send the traffic there.
    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_the_routers_switch_is_not_written_by_the_records() {
        let (machine, mut ports) = host();
        ports.router = Arc::new(Odd { by_file: Some(Ok(())), ..Odd::new(ports.router) });
        let says = || {
            let content = machine.lock().unwrap().files.get(&active_path("/srv/web")).cloned();
            content.map(|content| String::from_utf8(content).unwrap())
        };
        let recorded = |active, previous| Recorded { active, previous };
        // It means blue already, so it may be said.
        record(&ports, &recorded(Some(Slot::Blue), None), None, None).await.unwrap();
        assert_eq!(says().as_deref(), Some("blue\n"));
        machine.lock().unwrap().files.insert(active_path("/srv/web"), b"green".to_vec());
        for back in [recorded(Some(Slot::Blue), Some(Slot::Green)), Recorded::default()] {
            record(&ports, &back, None, None).await.unwrap();
            assert_eq!(says().as_deref(), Some("green"), "{back:?}");
            assert_eq!(read_recorded(&ports).await.unwrap().previous, back.previous);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_back_is_rejected_until_it_succeeds() {
        let (_, ports) = host();
        let (v1, v2) = (release("v1", '1'), release("v2", '2'));
        record(&ports, &Recorded::default(), Some(&v1), None).await.unwrap();
        for (kind, rejected) in [(FailureKind::Cancelled, false), (FailureKind::GateFailed, true)] {
            record(&ports, &Recorded::default(), None, Some(&v2)).await.unwrap();
            let because =
                Because { by: "kim@desk".into(), cause: Some(Failure::new(kind, "smoke says 500")) };
            // Also once more, after a crash.
            for _ in 0..2 {
                take_back(&ports, &v2, None, Some(&because)).await.unwrap();
            }
            let known = read_releases(&ports).await.unwrap();
            assert_eq!((known.rejected.len(), known.tried), (usize::from(rejected), None));
        }
        let known = read_releases(&ports).await.unwrap();
        assert_eq!(known.rejected[0].why, "gate failed: smoke says 500");
        record(&ports, &Recorded::default(), Some(&v2), None).await.unwrap();
        assert_eq!(read_releases(&ports).await.unwrap().rejected, []);
    }
}
