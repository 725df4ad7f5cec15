//! GitHub's own events: a push, or a workflow that has run, of a branch that is deployed.

use std::collections::BTreeMap;

use hyper::HeaderMap;
use lockgate_model::{By, CommitSha, Requester};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::parse::{parse_event, time};
use super::refused::{Refused, shown};
use super::signed_call::{SignedCall, Wanted};

/// Which event a call is about. GitHub alone sends it.
pub const EVENT_HEADER: &str = "x-github-event";
/// What GitHub gives for the commit of a branch that is gone.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";
/// What a workflow that has run on a branch was started by. Others (`pull_request`) run on what a stranger has written, and may
/// name a branch of the stranger's own.
const TRUSTED_CAUSES: [&str; 4] = ["push", "workflow_dispatch", "schedule", "merge_group"];

/// What an event comes to.
pub enum Event<'a> {
    Wanted(Box<Wanted<'a>>),
    /// Why nothing is done.
    Ignored(String),
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    name: String,
    after: String,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    forced: bool,
    head_commit: Option<Commit>,
    repository: Repository,
    sender: Option<User>,
}

#[derive(Deserialize)]
struct WorkflowRun {
    action: String,
    workflow_run: Ran,
    repository: Repository,
    sender: Option<User>,
}

#[derive(Deserialize)]
struct Ran {
    event: String,
    conclusion: Option<String>,
    head_branch: Option<String>,
    head_sha: String,
    head_commit: Option<Commit>,
    head_repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Commit {
    timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct User {
    login: String,
}

/// The event's name; `None` for a call that is not GitHub's.
///
/// # Errors
/// [`Refused`] where it is there twice, or is no text.
pub fn event(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let mut values = headers.get_all(EVENT_HEADER).iter();
    let one = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(one), None) => one.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    let refused = || Refused::bad("X-GitHub-Event is not one word", "send it once, or not at all");
    one.map(|event| Some(event.to_owned())).ok_or_else(refused)
}

/// # Errors
/// [`Refused`] for a body that is not of this event, or a commit that is none.
pub fn wanted<'a>(event: &str, call: &SignedCall<'a>) -> Result<Event<'a>, Refused> {
    match event {
        "push" => push(parse_event(call.body)?, call),
        "workflow_run" => workflow_run(parse_event(call.body)?, call),
        "ping" => {
            let _: BTreeMap<String, IgnoredAny> = parse_event(call.body)?;
            Ok(Event::Ignored("a ping: the signature is good".to_owned()))
        }
        other => {
            let _: BTreeMap<String, IgnoredAny> = parse_event(call.body)?;
            Ok(Event::Ignored(format!("the event {} deploys nothing", shown(other))))
        }
    }
}

fn push<'a>(push: Push, call: &SignedCall<'a>) -> Result<Event<'a>, Refused> {
    let Some(branch) = push.name.strip_prefix("refs/heads/") else {
        return Ok(Event::Ignored(format!("{} is no branch", shown(&push.name))));
    };
    if push.deleted || push.after == NO_COMMIT {
        return Ok(Event::Ignored(format!("branch {} was deleted", shown(branch))));
    }
    if let Some(why) = is_other(call, branch, &push.repository) {
        return Ok(Event::Ignored(why));
    }
    let about = About { event: "push", branch, repository: &push.repository, sender: push.sender.as_ref() };
    // Who takes a branch back by force wants an older commit.
    about.wanted(call, &push.after, push.head_commit.as_ref().filter(|_| !push.forced))
}

fn workflow_run<'a>(event: WorkflowRun, call: &SignedCall<'a>) -> Result<Event<'a>, Refused> {
    let WorkflowRun { action, workflow_run: ran, repository, sender } = event;
    if action != "completed" {
        return Ok(Event::Ignored(format!("the workflow is {}, not completed", shown(&action))));
    }
    let conclusion = ran.conclusion.as_deref().unwrap_or_default();
    if conclusion != "success" {
        return Ok(Event::Ignored(format!("the workflow ended with {}", shown(conclusion))));
    }
    if !TRUSTED_CAUSES.contains(&ran.event.as_str()) {
        return Ok(Event::Ignored(format!("the workflow ran for {}", shown(&ran.event))));
    }
    let is_own = ran.head_repository.as_ref().is_some_and(|head| head.full_name == repository.full_name);
    if !is_own {
        return Ok(Event::Ignored("the workflow ran on another repository's commit".to_owned()));
    }
    let Some(branch) = ran.head_branch.as_deref() else {
        return Ok(Event::Ignored("the workflow ran on no branch".to_owned()));
    };
    if let Some(why) = is_other(call, branch, &repository) {
        return Ok(Event::Ignored(why));
    }
    if ran.head_sha == NO_COMMIT {
        return Ok(Event::Ignored(format!("branch {} was deleted", shown(branch))));
    }
    let about = About { event: "workflow_run", branch, repository: &repository, sender: sender.as_ref() };
    about.wanted(call, &ran.head_sha, ran.head_commit.as_ref())
}

/// Why the branch is not deployed; `None` where it is.
fn is_other(call: &SignedCall<'_>, branch: &str, repository: &Repository) -> Option<String> {
    let is_wanted = match call.endpoint.branches.as_slice() {
        [] => repository.default_branch.as_deref() == Some(branch),
        named => named.iter().any(|one| one == branch),
    };
    (!is_wanted).then(|| format!("branch {} is not deployed by {}", shown(branch), call.endpoint.path))
}

struct About<'e> {
    event: &'static str,
    branch: &'e str,
    repository: &'e Repository,
    sender: Option<&'e User>,
}

impl About<'_> {
    fn wanted<'a>(
        &self,
        call: &SignedCall<'a>,
        sha: &str,
        commit: Option<&Commit>,
    ) -> Result<Event<'a>, Refused> {
        let sha = CommitSha::new(sha).map_err(|bad| {
            let message = format!("the event's commit {} is none: {}", shown(sha), bad.reason);
            Refused::bad(message, "a repository of SHA-256 object names cannot be deployed by its events")
        })?;
        let committed_at = commit.and_then(|commit| commit.timestamp.as_deref());
        let by = self.sender.map_or("nobody", |sender| sender.login.as_str());
        let name = format!("{} of {} {} by {by}", self.event, self.repository.full_name, self.branch);
        Ok(Event::Wanted(Box::new(Wanted {
            service: call.service(None)?,
            tag: call.tag(&sha)?,
            sha,
            committed_at: time("timestamp", committed_at)?,
            sent_at: None,
            force: false,
            requester: Requester::new(By::Ci, &name),
        })))
    }
}
