//! Notifiers against receivers that behave and receivers that do not.

mod slack;
mod webhook;

use lockgate_model::{
    Digest, EnvironmentName, Failure, FailureKind, HostId, ProjectName, Release, RunId, ServiceName, Slot,
    Tag, Timestamp,
};
use lockgate_ports::{Message, MessageKind};

/// Of a run that was rolled back.
fn message() -> Message {
    let service = ServiceName::new("web").unwrap();
    Message {
        kind: MessageKind::RolledBack,
        project: ProjectName::new("acme").unwrap(),
        service: service.clone(),
        environment: EnvironmentName::new("prod").unwrap(),
        release: Release {
            service,
            tag: Tag::new("v2").unwrap(),
            digest: Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap(),
            image: None,
            commit: None,
        },
        run: RunId(uuid::Uuid::from_u128(7)),
        at: Timestamp(1_763_683_200_000),
        owner: "lee@laptop".into(),
        hosts: vec![HostId::new("web1").unwrap()],
        failure: Some(Failure::new(FailureKind::Unhealthy, "no answer").slot(Slot::Green)),
        commands: vec![],
    }
}
