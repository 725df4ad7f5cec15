//! What is said of a run's commits, and what is not.

use std::collections::BTreeMap;

use async_trait::async_trait;
use lockgate_model::{
    Commit, Commits, Digest, EnvironmentName, Gates, HostId, ProjectName, Secret, ServiceName, Strategy, Tag,
};
use lockgate_ports::{Changed, Head};

use super::*;

const OLD: &str = "fedcba9876543210fedcba9876543210fedcba98";
const NEW: &str = "0123456789abcdef0123456789abcdef01234567";

fn sha(text: &str) -> CommitSha {
    CommitSha::new(text).unwrap()
}

fn release(tag: &str, commit: Option<&str>) -> Release {
    Release {
        service: ServiceName::new("web").unwrap(),
        tag: Tag::new(tag).unwrap(),
        digest: Digest::of(tag.as_bytes()),
        image: None,
        commit: commit.map(str::to_owned),
        provenance: None,
    }
}

/// `before` are releases that were live, one on each host.
fn plan(before: &[Release], release: &Release) -> Plan {
    let hosts = (1..).map(|number| HostId::new(format!("web{number}")).unwrap());
    Plan {
        project: ProjectName::new("shop").unwrap(),
        service: release.service.clone(),
        environment: EnvironmentName::new("prod").unwrap(),
        strategy: Strategy::BlueGreen,
        intent: Intent::Deploy { release: release.clone(), gates: Gates::All, again: false },
        hosts: Vec::new(),
        without: Vec::new(),
        before: hosts.zip(before.iter().cloned()).collect::<BTreeMap<_, _>>(),
        release: release.clone(),
        phases: Vec::new(),
    }
}

/// Answers so, or not at all.
struct Clone(Option<Result<Between, PortError>>);

#[async_trait]
impl Git for Clone {
    async fn head(&self) -> Result<Head, PortError> {
        Err(PortError::other("nobody asks"))
    }

    async fn changed(&self, _: &CommitSha, _: &CommitSha) -> Result<Changed, PortError> {
        Err(PortError::other("nobody asks"))
    }

    async fn between(&self, _: &CommitSha, _: &CommitSha) -> Result<Between, PortError> {
        match &self.0 {
            Some(answer) => answer.clone(),
            None => std::future::pending().await,
        }
    }
}

async fn looked(answer: Option<Result<Between, PortError>>) -> Option<Changes> {
    let span = Span { since: Ok(sha(OLD)), to: sha(NEW) };
    look(Arc::new(Clone(answer)), span, Mask::of(&[Secret::new("hunter2-hunter2")])).await
}

#[test]
fn a_release_is_compared_with_what_was_live_on_all_hosts() {
    let new = release("v2", Some(NEW));
    let old = release("v1", Some(OLD));
    let since = |before: &[Release]| Span::of_plan(&plan(before, &new)).unwrap().since;
    assert_eq!(since(&[old.clone(), old.clone()]), Ok(sha(OLD)));
    // Where images are called by their commit, a tag says it too.
    assert_eq!(since(&[release(OLD, None)]), Ok(sha(OLD)));
    for (before, why) in [
        (vec![], "nothing was live before"),
        (vec![old.clone(), release("v0", Some(NEW))], "the hosts differed"),
        (vec![release("v1", None)], "of what was live (v1) the commit is not known"),
        (vec![release("v1", Some(&format!("{OLD}-dirty")))], "(v1) was built from a tree with changes"),
    ] {
        let said = since(&before).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(
        Span::of_plan(&plan(std::slice::from_ref(&old), &release("v2", None))),
        None,
        "it does not say its commit"
    );
    let tidying = Plan { intent: Intent::TidyUp, ..plan(&[old], &new) };
    assert_eq!(Span::of_plan(&tidying), None);
}

#[tokio::test(start_paused = true)]
async fn what_git_knows_is_told_without_secrets_and_what_it_does_not_know_in_few_words() {
    let commit = Commit::new(&sha(NEW), "Kim", "Set it to hunter2-hunter2");
    let brought = Commits { count: 1, newest: vec![commit] };
    let known = Between::Commits { brought, taken_back: Commits::default() };
    let Some(Changes::Known { since, brought, .. }) = looked(Some(Ok(known))).await else { panic!() };
    assert_eq!(since, sha(OLD));
    assert_eq!(brought.newest[0].subject.as_deref(), Some("Set it to ***"));

    for (answer, why) in [
        (Some(Ok(Between::Missing(sha(OLD)))), "this clone does not have fedcba9, which was live"),
        (Some(Ok(Between::Unrelated)), "fedcba9, which was live, and 0123456 have no commit in common here"),
        (Some(Err(PortError::new(FailureKind::Unauthorized, "not ours"))), "git here: unauthorized"),
        (None, "git did not answer within 2 s"),
    ] {
        assert_eq!(looked(answer).await, Some(Changes::unknown(why)));
    }
    // Where this is no clone of what is deployed, nothing is to be said of it.
    for answer in [Ok(Between::Missing(sha(NEW))), Err(PortError::not_found("no clone"))] {
        assert_eq!(looked(Some(answer)).await, None);
    }
}

#[tokio::test]
async fn a_first_release_is_said_to_be_that_without_asking() {
    let span = Span { since: Err("nothing was live before".into()), to: sha(NEW) };
    let changes = look(Arc::new(Clone(None)), span, Mask::default()).await;
    assert_eq!(changes, Some(Changes::unknown("nothing was live before")));
}
