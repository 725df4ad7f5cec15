//! What the suites fill a store with.

use lockgate_model::{
    AuditEntry, DeliveryAnswer, DeliveryId, Digest, EnvironmentName, ProjectName, Repeat, RunId, ServiceName,
    Timestamp, WebhookDelivery,
};

/// What no database may trip over.
pub(super) const ODD: &str = "ü 'quoted' \"twice\"; \\u0000 \0 \u{1f6a2} \u{202e} $1 ?1 %s\n--";

pub(super) fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn environment(name: &str) -> EnvironmentName {
    EnvironmentName::new(name).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn digest(mark: &str) -> Digest {
    Digest::of(mark.as_bytes())
}

pub(super) fn run(number: u128) -> RunId {
    RunId(format!("{number:032x}").parse().unwrap_or_else(|error| panic!("{error}")))
}

pub(super) fn delivery(id: &str, body: &str, number: u128) -> WebhookDelivery {
    WebhookDelivery {
        project: project("hooks"),
        endpoint: "/deploy".into(),
        id: DeliveryId::new(id),
        body: Digest::of(body.as_bytes()),
        at: Timestamp(i64::try_from(number).unwrap_or(i64::MAX)),
        run: run(number),
        call: None,
    }
}

pub(super) fn answer(status: u16, body: &str, at: i64) -> DeliveryAnswer {
    DeliveryAnswer {
        status,
        body: body.to_owned(),
        at: Timestamp(at),
        repeat: Repeat::First,
        live: Some(digest("v1")),
        settled: true,
    }
}

pub(super) fn entry(name: &str, detail: &str) -> AuditEntry {
    AuditEntry {
        project: project(name),
        at: Timestamp(5),
        by: "kim@desk".into(),
        via: "cli".into(),
        action: "approve".into(),
        service: Some(service("web")),
        environment: None,
        digest: Some(digest("v1")),
        run: Some(run(9)),
        detail: detail.into(),
        from: Some(ODD.into()),
        result: Some("accepted".into()),
        count: Some(7),
    }
}
