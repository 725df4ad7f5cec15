//! A message, and what a binary does once before it sends one.

use lockgate_model::{
    Artifact, By, Changes, Commit, CommitSha, Commits, Digest, EnvironmentName, Failure, FailureKind, HostId,
    Job, Link, Millis, ProjectName, Provenance, Release, Requester, RunId, ServiceName, Tag, Timestamp,
};
use lockgate_ports::{Message, MessageKind};

/// Of `v2` on two hosts, with no failure in it.
pub(crate) fn message(kind: MessageKind) -> Message {
    let service = ServiceName::new("web").unwrap();
    Message {
        kind,
        project: ProjectName::new("acme").unwrap(),
        service: service.clone(),
        environment: EnvironmentName::new("prod").unwrap(),
        release: Some(Release {
            service,
            tag: Tag::new("v2").unwrap(),
            digest: Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        }),
        asked: None,
        run: Some(RunId(uuid::Uuid::from_u128(7))),
        at: Timestamp(1_763_683_200_000),
        owner: "lee@laptop".into(),
        requester: None,
        took: None,
        url: None,
        commit: None,
        changes: None,
        hosts: vec![HostId::new("web1").unwrap(), HostId::new("web2").unwrap()],
        job: None,
        failure: None,
        warnings: vec![],
        commands: vec![],
    }
}

/// With all that may be known: who, what changes, how long, where to look, and a test that failed and may.
pub(crate) fn told(kind: MessageKind) -> Message {
    let sha = |digit: &str| CommitSha::new(digit.repeat(40)).unwrap();
    let brought = Commits {
        count: 13,
        newest: vec![
            Commit::new(&sha("2"), "Kim <!channel>", "Say `hello` & <https://evil.example|more>"),
            Commit::new(&sha("3"), "Lee", "Mend it\u{1b}[2J"),
        ],
    };
    let since = sha("1");
    let changes = Changes::Known { since, brought, taken_back: Commits::default() };
    let told = message(kind);
    let provenance = Provenance {
        author: Some("Kim <!channel>".into()),
        subject: Some("Say 'hello' & <https://evil.example|more>".into()),
        ..Provenance::default()
    };
    let release = told.release.map(|release| Release {
        commit: Some(sha("2").to_string()),
        provenance: Some(Box::new(provenance)),
        ..release
    });
    let requester = Requester::new(By::Ci, "acme/web#17 for kim");
    let is_end = kind.is_end();
    Message {
        release,
        requester: Some(requester.linked(Link::new("https://github.com/acme/web/actions/runs/42").ok())),
        took: is_end.then_some(Millis(12_345)),
        url: Link::new("https://shop.example/?a=1&b=2").ok(),
        changes: Some(changes),
        warnings: match is_end {
            true => vec![Failure::new(
                FailureKind::Other,
                "the test failed with exit code 1: <pytest>, which is allowed",
            )],
            false => Vec::new(),
        },
        ..told
    }
}

/// A test that failed before any run.
pub(crate) fn job_failed() -> Message {
    let commit = told(MessageKind::Failed).release.map(|release| {
        let artifact = Artifact {
            commit: release.commit,
            provenance: *release.provenance.unwrap_or_default(),
            ..Artifact::default()
        };
        Commit::of(&artifact).unwrap()
    });
    let failure = Failure::new(FailureKind::Other, "the test failed with exit code 1: pytest")
        .hint("`lockgate ship web --job test` runs it alone")
        .logs((1..=12).map(|number| format!("line {number} <!here> ```")).collect());
    Message {
        release: None,
        run: None,
        took: None,
        asked: Some("v2".into()),
        commit,
        job: Some(Job::Test),
        failure: Some(failure),
        warnings: Vec::new(),
        ..told(MessageKind::Failed)
    }
}

/// A rollback, which takes a commit back.
pub(crate) fn going_back() -> Message {
    let told = told(MessageKind::Success);
    let changes = match told.changes {
        Some(Changes::Known { since, mut brought, .. }) => {
            // The release's own is not one of them.
            brought.newest.remove(0);
            let taken_back = Commits { count: 2, ..brought };
            Some(Changes::Known { since, brought: Commits::default(), taken_back })
        }
        other => other,
    };
    Message { changes, warnings: Vec::new(), ..told }
}

/// Chooses the TLS provider, as the binary does.
pub(crate) fn install_tls() {
    // An error means that another test of this process has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
