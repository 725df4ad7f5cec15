//! What people are told of a run: who, what changes, how long, and where to look.

use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{
    Aim, Artifact, By, Changes, Commit, CommitSha, Commits, Failure, FailureKind, Gates, Job, Link, Mask,
    Provenance, Requester, Secret, Tag, Want,
};
use lockgate_orchestrator::{Orchestrator, Teller, Unbegun};
use lockgate_ports::fake::{FakeGit, FakeNotifier, NoFaults};
use lockgate_ports::{Between, Message, MessageKind, PortError};

use crate::scene::{Scene, deploy, kim};

const OLD: &str = "fedcba9876543210fedcba9876543210fedcba98";
const NEW: &str = "0123456789abcdef0123456789abcdef01234567";

fn sha(text: &str) -> CommitSha {
    CommitSha::new(text).unwrap()
}

/// A clone in which [`NEW`] follows on [`OLD`].
fn clone() -> FakeGit {
    let commit = Commit::new(&sha(NEW), "Kim", "Say hunter2-hunter2");
    let brought = Commits { count: 1, newest: vec![commit] };
    FakeGit {
        between: Between::Commits { brought, taken_back: Commits::default() },
        ..FakeGit::without_head(PortError::other("nobody asks"))
    }
}

struct Told {
    scene: Scene,
    notifier: Arc<FakeNotifier>,
    teller: Teller,
}

impl Told {
    fn new(git: FakeGit) -> Self {
        let notifier = Arc::new(FakeNotifier::new(Arc::new(NoFaults)));
        let mask = Mask::of(&[Secret::new("hunter2-hunter2")]);
        let teller = Teller::new(vec![notifier.clone()], mask).looking_into(Arc::new(git));
        Self { scene: Scene::telling(teller.clone()), notifier, teller }
    }

    async fn run(&self, want: &Want, requester: &Requester) {
        self.scene.orchestrator.start(want, requester).await.unwrap().end().await.unwrap();
    }

    async fn messages(&self) -> Vec<Message> {
        self.teller.finish().await;
        self.notifier.told()
    }
}

fn built(tag: &str, commit: &str, allowed: Vec<Failure>) -> Want {
    let provenance = Provenance {
        author: Some("Kim".into()),
        subject: Some("Say hunter2-hunter2".into()),
        ..Provenance::default()
    };
    let artifact = Artifact { digest: None, commit: Some(commit.into()), provenance, allowed };
    let aim = Aim::Deploy {
        tag: Tag::new(tag).unwrap(),
        gates: Gates::All,
        again: false,
        artifact: Some(Box::new(artifact)),
    };
    Want { aim, ..deploy(tag) }
}

fn ci() -> Requester {
    Requester::new(By::Ci, "acme/shop#17 for kim").linked(Link::new("https://ci.example/17").ok())
}

#[tokio::test(start_paused = true)]
async fn a_run_is_told_with_who_asked_what_it_brings_how_long_it_took_and_where_to_look() {
    let told = Told::new(clone());
    told.run(&built("v1", OLD, Vec::new()), &kim()).await;
    let failed = Failure::new(FailureKind::Other, "the test failed: hunter2-hunter2");
    told.scene.door.shut();
    let want = built("v2", NEW, vec![failed]);
    let mut session = told.scene.orchestrator.start(&want, &ci()).await.unwrap();
    told.scene.door.is_met_by(1).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    told.scene.door.open();
    session.end().await.unwrap();

    let messages = told.messages().await;
    let kinds: Vec<MessageKind> = messages.iter().map(|message| message.kind).collect();
    let run = [MessageKind::Starting, MessageKind::Success];
    assert_eq!(kinds, [run, run].concat());
    let [first, _, start, end] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(first.changes, Some(Changes::unknown("nothing was live before")));
    assert_eq!((&first.requester, first.took), (&None, None), "plainly the owner, and under way");
    assert_eq!((start.requester.as_ref(), end.requester.as_ref()), (Some(&ci()), Some(&ci())));
    assert_eq!(end.url.as_ref().map(Link::as_str), Some("https://shop.example"));
    for message in [start, end] {
        let Some(Changes::Known { since, brought, .. }) = &message.changes else { panic!("{message:?}") };
        assert_eq!((since, brought.newest[0].subject.as_deref()), (&sha(OLD), Some("Say ***")));
    }
    assert!(end.took.is_some_and(|took| (7_000..30_000).contains(&took.0)), "{:?}", end.took);
    assert!(start.warnings.is_empty(), "{start:?}");
    let warnings: Vec<&str> = end.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warnings, ["the test failed: ***, which is allowed"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_while_its_clone_is_looked_into_and_who_went_back_is_told_too() {
    let back = Commits { count: 1, newest: vec![Commit::new(&sha(NEW), "Kim", "Say hello")] };
    let between = Between::Commits { brought: Commits::default(), taken_back: back.clone() };
    let told = Told::new(FakeGit { between, ..clone() });
    told.run(&built("v1", OLD, Vec::new()), &kim()).await;
    told.run(&built("v2", NEW, Vec::new()), &kim()).await;
    told.run(&Want::rollback(crate::scene::web()), &kim()).await;
    assert_eq!(told.scene.live().as_deref(), Some("v1"));
    let messages = told.messages().await;
    let Some(Changes::Known { since, taken_back, .. }) = &messages.last().unwrap().changes else {
        panic!("{messages:?}")
    };
    assert_eq!((since, taken_back), (&sha(NEW), &back));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_failed_before_any_run_is_told_with_its_commit_and_what_it_would_have_brought() {
    let told = Told::new(clone());
    let failure = Failure::new(FailureKind::Other, "the test failed").logs(vec!["hunter2-hunter2!".into()]);
    let unbegun = Unbegun { failure, job: Some(Job::Test), since: Some(sha(OLD)) };
    let want = built("v2", &format!("{NEW}-dirty"), Vec::new());
    told.scene.orchestrator.tell_unbegun(&want, &ci(), unbegun.clone()).await.unwrap();
    let want = built("v2", NEW, Vec::new());
    told.scene.orchestrator.tell_unbegun(&want, &ci(), unbegun).await.unwrap();
    let [dirty, clean] = &told.messages().await[..] else { panic!() };
    assert_eq!((dirty.kind, dirty.job, &dirty.run), (MessageKind::Failed, Some(Job::Test), &None));
    assert_eq!(dirty.failure.as_ref().unwrap().logs, ["***!"]);
    let commit = dirty.commit.as_ref().unwrap();
    assert_eq!((commit.short().as_str(), commit.subject.as_deref()), ("0123456-dirty", Some("Say ***")));
    assert_eq!(dirty.changes, None, "what differs is in no commit");
    assert!(clean.changes.as_ref().is_some_and(|changes| changes.names(NEW)), "{clean:?}");
    assert_eq!((clean.requester.as_ref(), clean.asked.as_deref()), (Some(&ci()), Some("v2")));
}
