//! What a run changes in commits, found out beside it: no run waits for it, and none fails by it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};
use lockgate_model::{Changes, CommitSha, FailureKind, Intent, Mask, Plan, Release};
use lockgate_ports::{Between, Git, PortError};

/// Longest look into the clone; a message waits for no longer.
const LOOK_SECONDS_MAX: u64 = 2;
/// What a builder writes behind the commit of a tree with changes.
const DIRTY: &str = "-dirty";

/// The answer, once for all who are told of a run. It is looked for when the first of them waits for it.
pub(crate) type Looked = Shared<BoxFuture<'static, Option<Changes>>>;

/// What lies between which commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The commit that was live, or why that cannot be said.
    pub since: Result<CommitSha, String>,
    /// The one that is to be live.
    pub to: CommitSha,
}

impl Span {
    /// `None` where nothing new goes live, and where the release does not say its commit.
    pub(crate) fn of_plan(plan: &Plan) -> Option<Span> {
        if matches!(plan.intent, Intent::TidyUp) {
            return None;
        }
        let to = commit_of(&plan.release)?;
        let mut live = plan.before.values();
        let since = match live.next() {
            None => Err("nothing was live before".to_owned()),
            Some(first) if live.any(|other| !other.same_bytes(first)) => {
                Err("the hosts differed in what was live".to_owned())
            }
            Some(first) => commit_of(first).ok_or_else(|| match &first.commit {
                Some(commit) if commit.ends_with(DIRTY) => {
                    format!("what was live ({}) was built from a tree with changes", first.tag)
                }
                _ => format!("of what was live ({}) the commit is not known", first.tag),
            }),
        };
        Some(Span { since, to })
    }
}

/// As the image says, else by a tag that is a commit's whole id.
fn commit_of(release: &Release) -> Option<CommitSha> {
    let said = release.commit.as_deref().unwrap_or(release.tag.as_str());
    CommitSha::new(said).ok()
}

/// Looks into the clone; `mask` hides what is secret in what commits say.
pub(crate) fn look(git: Arc<dyn Git>, span: Span, mask: Mask) -> Looked {
    let looked = async move {
        let bound = Duration::from_secs(LOOK_SECONDS_MAX);
        let found = tokio::time::timeout(bound, found(git.as_ref(), span)).await;
        let late = || Some(Changes::unknown(format!("git did not answer within {LOOK_SECONDS_MAX} s")));
        found.unwrap_or_else(|_| late()).map(|changes| changes.map(|text| mask.hide(text)))
    };
    looked.boxed().shared()
}

/// `None` where there is no clone of what is deployed.
async fn found(git: &dyn Git, Span { since, to }: Span) -> Option<Changes> {
    let since = match since {
        Ok(since) => since,
        Err(why) => return Some(Changes::unknown(why)),
    };
    match git.between(&since, &to).await {
        Ok(Between::Commits { brought, taken_back }) => Some(Changes::Known { since, brought, taken_back }),
        // What lies here is another repository, or none of its newer commits.
        Ok(Between::Missing(missing)) if missing == to => None,
        Ok(Between::Missing(missing)) => {
            Some(Changes::unknown(format!("this clone does not have {}, which was live", missing.short())))
        }
        Ok(Between::Unrelated) => {
            let (since, to) = (since.short(), to.short());
            Some(Changes::unknown(format!("{since}, which was live, and {to} have no commit in common here")))
        }
        Err(error) => unsaid(&error),
    }
}

fn unsaid(error: &PortError) -> Option<Changes> {
    tracing::debug!(%error, "what changes cannot be said");
    match error.kind {
        // There is no clone, or no git.
        FailureKind::NotFound => None,
        kind => Some(Changes::unknown(format!("git here: {}", kind.as_str()))),
    }
}

#[cfg(test)]
mod tests;
