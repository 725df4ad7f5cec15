//! Whether there is anything to ship.

use lockgate_model::{CommitSha, Failure, Refusal, TOLD_CHARS_MAX, quoted};
use lockgate_ports::{Changed, Head};

use crate::live::{Live, Seen};
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
    Skip(String),
}

impl Verdict {
    fn ship(why: impl Into<String>) -> Self {
        Self::Ship { why: why.into(), since: None }
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
    by_live(parts, head, &watched, seen).await
}

async fn by_live<'p>(
    parts: &Parts<'p>,
    head: &Head,
    watched: &Watched,
    seen: Seen<'p>,
) -> Result<Verdict, Refusal> {
    let (since, live) = since_live(parts, head, watched, seen).await?;
    let shown = live.as_ref().map(|live| live.short()).unwrap_or_default();
    Ok(match since {
        Since::Unknown(why) => Verdict::Ship { why, since: live },
        Since::File(file) => {
            Verdict::Ship { why: format!("{file} has changed since {shown}, which is live"), since: live }
        }
        Since::Nothing if live.as_ref() == Some(&head.commit) => {
            Verdict::Skip(format!("{shown} is live already"))
        }
        Since::Nothing => {
            Verdict::Skip(format!("nothing that counts has changed since {shown}, which is live"))
        }
    })
}

/// With the commit that is live, where it is known.
async fn since_live<'p>(
    parts: &Parts<'p>,
    head: &Head,
    watched: &Watched,
    seen: Seen<'p>,
) -> Result<(Since, Option<CommitSha>), Refusal> {
    match Live::of(&seen.status(parts.status).await?) {
        Live::Unknown(why) => Ok((Since::Unknown(why), None)),
        Live::Commit(live) => Ok((since(parts, &live, head, watched).await?, Some(live))),
    }
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
            return Ok(Verdict::since(before, format!("{file} has changed since {shown}, the push before")));
        }
        Since::Nothing => {}
    }
    // What a push before this one brought may have failed, and not be live yet. Jobs that CI runs apart go by the range
    // alone, so that all of them say the same.
    if asked.job.is_none()
        && let (Since::File(file), Some(live)) = since_live(parts, head, watched, Seen::Unasked).await?
    {
        let shown = live.short();
        return Ok(Verdict::since(&live, format!("{file} has changed since {shown}, which is live still")));
    }
    Ok(Verdict::Skip(format!("nothing that counts has changed since {shown}, the push before")))
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
