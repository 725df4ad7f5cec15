//! Releases that whoever asks for them has just built.

use lockgate_model::{Aim, Artifact, Digest, FailureKind, Gates, Provenance, Refusal, Tag, Want};
use lockgate_orchestrator::Orchestrator;

use crate::scene::{Scene, deploy, kim};

fn built(tag: &str, digest: Option<Digest>) -> Want {
    let provenance = Provenance { subject: Some("Say\nhello".into()), ..Provenance::default() };
    let artifact = Artifact { digest, commit: Some("1f3a5b7".into()), provenance, allowed: Vec::new() };
    let aim = Aim::Deploy {
        tag: Tag::new(tag).unwrap(),
        gates: Gates::All,
        again: false,
        artifact: Some(Box::new(artifact)),
    };
    Want { aim, ..deploy(tag) }
}

#[tokio::test(start_paused = true)]
async fn what_was_built_is_deployed_by_its_own_bytes_whatever_its_tag_leads_to_meanwhile() {
    let scene = Scene::new();
    let report = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap().end().await.unwrap();
    let second = report.plan.release.digest;
    scene.orchestrator.start(&deploy("v3"), &kim()).await.unwrap().end().await.unwrap();
    // Somebody has moved the tag.
    let want = built("v1", Some(second.clone()));
    let report = scene.orchestrator.start(&want, &kim()).await.unwrap().end().await.unwrap();
    let release = &report.plan.release;
    assert_eq!(
        (release.tag.as_str(), &release.digest, release.commit.as_deref()),
        ("v1", &second, Some("1f3a5b7"))
    );
    assert_eq!(release.provenance.as_ref().unwrap().subject.as_deref(), Some("Say\\nhello"), "on one line");
    // The host remembers it.
    let [status] = &scene.orchestrator.status(None, None).await.unwrap()[..] else { panic!("one service") };
    let listed = status.observed.hosts.values().next().unwrap().was_live().next().unwrap();
    assert_eq!((listed.tag.as_str(), &listed.provenance), ("v1", &release.provenance));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_not_there_are_not_made_up_for_by_what_the_tag_leads_to() {
    let scene = Scene::new();
    let want = built("v1", Some(Digest::of(b"never pushed")));
    let refusal = scene.orchestrator.start(&want, &kim()).await.unwrap().end().await.unwrap_err();
    assert!(
        matches!(&refusal, Refusal::NoImage { failure } if failure.kind == FailureKind::NotFound),
        "{refusal:?}"
    );
    assert_eq!(scene.live(), None);
    // Without bytes the tag says what is meant.
    let report = scene.orchestrator.start(&built("v1", None), &kim()).await.unwrap().end().await.unwrap();
    assert!(report.plan.release.provenance.is_some());
    assert_eq!(scene.live().as_deref(), Some("v1"));
}
