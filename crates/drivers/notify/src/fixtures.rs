//! A message, and what a binary does once before it sends one.

use lockgate_model::{
    Digest, EnvironmentName, HostId, ProjectName, Release, RunId, ServiceName, Tag, Timestamp,
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
        hosts: vec![HostId::new("web1").unwrap(), HostId::new("web2").unwrap()],
        failure: None,
        commands: vec![],
    }
}

/// Chooses the TLS provider, as the binary does.
pub(crate) fn install_tls() {
    // An error means that another test of this process has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
