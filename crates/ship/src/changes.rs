//! Whether there is anything to ship.

use lockgate_model::{CommitSha, Failure, Job, Refusal, Release, ServiceStatus, TOLD_CHARS_MAX, quoted};
use lockgate_ports::{Between, Changed, Head};

use crate::live::{Live, Seen, stands_against};
use crate::watched::Watched;
use crate::{Asked, Parts, PushRange};

/// The answer, with its reason for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ship {
        why: String,
        /// Since which commit. `None`: that is not known.
        since: Option<CommitSha>,
    },
    Skip {
        why: String,
        /// What is live, where that is why.
        live: Option<Box<Release>>,
    },
}

impl Verdict {
    fn ship(why: impl Into<String>) -> Self {
        Self::Ship { why: why.into(), since: None }
    }

    fn skip(why: String) -> Self {
        Self::Skip { why, live: None }
    }

    fn since(commit: &CommitSha, why: String) -> Self {
        Self::Ship { why, since: Some(commit.clone()) }
    }
}

/// What has changed since some commit, as far as it counts.
enum Since {
    /// This file and maybe others.
    File(String),
    Nothing,
    /// It cannot be said, and why.
    Unknown(String),
}

/// In CI a push's own range; else, and where that leaves it open, since the commit that is live.
///
/// # Errors
/// Those of git, and `Usage` from looking what is live.
pub(crate) async fn look<'p>(
    parts: &Parts<'p>,
    asked: &Asked,
    head: &Head,
    seen: Seen<'p>,
) -> Result<Verdict, Refusal> {
    let watched = Watched::new(&parts.service.ship.watch, &head.folder)?;
    if let Some(range) = &asked.pushed {
        return pushed(parts, asked, head, range, &watched).await;
    }
    by_live(parts, asked, head, &watched, seen).await
}

async fn by_live<'p>(
    parts: &Parts<'p>,
    asked: &Asked,
    head: &Head,
    watched: &Watched,
    seen: Seen<'p>,
) -> Result<Verdict, Refusal> {
    let seen = looked(parts, asked, head, watched, seen).await?;
    let shown = seen.live.as_ref().map(|live| live.short()).unwrap_or_default();
    if let Some(against) = seen.speaks_against {
        return Ok(Verdict::skip(against));
    }
    let why = match seen.since {
        Since::Unknown(why) => why,
        Since::File(file) => format!("{file} has changed since {shown}, which is live"),
        Since::Nothing if seen.live.as_ref() == Some(&head.commit) => {
            return Ok(Verdict::Skip { why: format!("{shown} is live already"), live: seen.release });
        }
        Since::Nothing => {
            let why = format!("nothing that counts has changed since {shown}, which is live");
            return Ok(Verdict::Skip { why, live: seen.release });
        }
    };
    Ok(Verdict::Ship { why, since: seen.live })
}

/// The commit against what is live.
struct Looked {
    since: Since,
    /// `None` where that is not known.
    live: Option<CommitSha>,
    /// Of that commit.
    release: Option<Box<Release>>,
    /// Why the commit does not go live by itself although it differs.
    speaks_against: Option<String>,
}

/// # Errors
/// Those of git and of looking; and where a deployment would come to nothing now.
async fn looked<'p>(
    parts: &Parts<'p>,
    asked: &Asked,
    head: &Head,
    watched: &Watched,
    seen: Seen<'p>,
) -> Result<Looked, Refusal> {
    let status = seen.status(parts.status).await?;
    let deploys = matches!(asked.job, None | Some(Job::Deploy));
    let setup = parts.environment.slots().and_then(|slots| slots.setup.as_deref());
    let waits = setup.is_some_and(|setup| setup.wait_for.is_some());
    if let Some(refusal) = stands_against(&status, waits).filter(|_| deploys) {
        return Err(refusal);
    }
    let (live, release) = match Live::of(&status) {
        Live::Unknown(why) => {
            let since = Since::Unknown(why);
            return Ok(Looked { since, live: None, release: None, speaks_against: None });
        }
        Live::Commit(live, release) => (live, release),
    };
    let since = since(parts, &live, head, watched).await?;
    let speaks_against = match &since {
        Since::File(_) if deploys => speaks_against(parts, &status, &live, head, watched).await?,
        Since::File(_) | Since::Nothing | Since::Unknown(_) => None,
    };
    Ok(Looked { since, live: Some(live), release: Some(release), speaks_against })
}

/// What is older than what is live was live before, or was overtaken on its way; and what was rejected does not come back by
/// itself in a commit that changes nothing that counts.
async fn speaks_against(
    parts: &Parts<'_>,
    status: &ServiceStatus,
    live: &CommitSha,
    head: &Head,
    watched: &Watched,
) -> Result<Option<String>, Failure> {
    let here = head.commit.short();
    if let Between::Commits { brought, taken_back } = parts.git.between(live, &head.commit).await?
        && brought.count == 0
        && taken_back.count > 0
    {
        let live = live.short();
        return Ok(Some(format!(
            "{here} is older than {live}, which is live; `lockgate rollback {}` goes back, `--force` ships it all the same",
            parts.service.name
        )));
    }
    for rejected in status.rejected() {
        let commit = rejected.rejection.release.commit.as_deref().map(CommitSha::new);
        let Some(Ok(commit)) = commit else { continue };
        // Shipped again under its own name it is asked for.
        if commit == head.commit {
            continue;
        }
        if let Since::Nothing = since(parts, &commit, head, watched).await? {
            let (commit, why) = (commit.short(), rejected.rejection.told().why);
            return Ok(Some(format!(
                "nothing that counts has changed since {commit}, which was rejected ({why}): revert it in git, or `--force` ships it all the same"
            )));
        }
    }
    Ok(None)
}

async fn pushed(
    parts: &Parts<'_>,
    asked: &Asked,
    head: &Head,
    range: &PushRange,
    watched: &Watched,
) -> Result<Verdict, Refusal> {
    if range.after != head.commit {
        let shown = head.commit.short();
        return Ok(Verdict::ship(format!("{shown} is checked out, and that is not the push's last commit")));
    }
    let Some(before) = &range.before else {
        return Ok(Verdict::ship("the branch is new"));
    };
    let shown = before.short();
    match since(parts, before, head, watched).await? {
        Since::Unknown(why) => return Ok(Verdict::since(before, why)),
        Since::File(file) => {
            let why = format!("{file} has changed since {shown}, the push before");
            return match overtaken(parts, asked, head, watched).await? {
                Some(against) => Ok(Verdict::skip(against)),
                None => Ok(Verdict::since(before, why)),
            };
        }
        Since::Nothing => {}
    }
    // What a push before this one brought may have failed, and not be live yet. Jobs that CI runs apart go by the range
    // alone, so that all of them say the same.
    if asked.job.is_none() {
        let looked = looked(parts, asked, head, watched, Seen::Unasked).await?;
        if let (Since::File(file), Some(live), None) = (looked.since, looked.live, looked.speaks_against) {
            let shown = live.short();
            return Ok(Verdict::since(
                &live,
                format!("{file} has changed since {shown}, which is live still"),
            ));
        }
    }
    Ok(Verdict::skip(format!("nothing that counts has changed since {shown}, the push before")))
}

/// A job of an earlier push may run after that of a later one.
async fn overtaken(
    parts: &Parts<'_>,
    asked: &Asked,
    head: &Head,
    watched: &Watched,
) -> Result<Option<String>, Refusal> {
    match asked.job {
        None | Some(Job::Deploy) => {
            Ok(looked(parts, asked, head, watched, Seen::Unasked).await?.speaks_against)
        }
        Some(Job::Test | Job::Build | Job::Push) => Ok(None),
    }
}

async fn since(
    parts: &Parts<'_>,
    from: &CommitSha,
    head: &Head,
    watched: &Watched,
) -> Result<Since, Failure> {
    if *from == head.commit {
        return Ok(Since::Nothing);
    }
    Ok(match parts.git.changed(from, &head.commit).await? {
        Changed::Files(files) => match watched.first(&files) {
            Some(file) => Since::File(quoted(file, TOLD_CHARS_MAX)),
            None => Since::Nothing,
        },
        Changed::TooMany => Since::Unknown("more files have changed than are looked at".to_owned()),
        Changed::Missing(commit) => {
            let missing = commit.short();
            let why = match head.is_shallow {
                true => {
                    ", for it is a shallow one (`fetch-depth: 0` or `git fetch --unshallow` gets the rest)"
                }
                false => "",
            };
            Since::Unknown(format!(
                "what has changed cannot be said: this clone does not have {missing}{why}"
            ))
        }
    })
}
