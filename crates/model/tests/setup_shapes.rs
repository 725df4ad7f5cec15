//! What `setup --format json` prints, whole, as programs read it.

use lockgate_model::{
    EnvironmentName, Failure, FailureKind, HostId, HostSetUp, HostSetupLine, SetupHeadway, SetupItem,
    SetupKind, SetupLine, SetupState,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Members in the order of the alphabet, as the command line prints them; somebody far away reads the same.
#[track_caller]
fn prints<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, wanted: &str) {
    assert_eq!(serde_json::to_value(value).unwrap().to_string(), wanted);
    assert_eq!(&serde_json::from_str::<T>(wanted).unwrap(), value);
}

fn web1() -> HostId {
    HostId::new("web1").unwrap()
}

#[test]
fn a_plan_has_each_thing_with_its_state() {
    let item = |kind, name: &str, state| SetupItem { kind, name: name.into(), state, note: None, hint: None };
    let refused = SetupItem {
        note: Some("it is a link".into()),
        hint: Some("rm it".into()),
        ..item(SetupKind::Variables, "/opt/x/.env", SetupState::Refused)
    };
    let items = vec![
        item(SetupKind::Ready, "/opt/setup_complete", SetupState::Waits),
        item(SetupKind::Docker, "engine and Compose", SetupState::Make),
        item(SetupKind::Program, "/usr/local/bin/lockgate", SetupState::There),
        item(SetupKind::Folder, "/opt/x", SetupState::There),
        item(SetupKind::Login, "ghcr.io", SetupState::Make),
        refused,
    ];
    prints(
        &HostSetupLine { event: "plan".into(), host: web1(), items, failure: None },
        r#"{"event":"plan","host":"web1","items":[{"kind":"ready","name":"/opt/setup_complete","state":"waits"},{"kind":"docker","name":"engine and Compose","state":"make"},{"kind":"program","name":"/usr/local/bin/lockgate","state":"there"},{"kind":"folder","name":"/opt/x","state":"there"},{"kind":"login","name":"ghcr.io","state":"make"},{"hint":"rm it","kind":"variables","name":"/opt/x/.env","note":"it is a link","state":"refused"}]}"#,
    );
}

#[test]
fn headway_and_the_end_name_the_host() {
    let why = "it is not there yet".to_owned();
    prints(
        &SetupHeadway::Waits { host: web1(), why, waited_millis: 2000, patience_millis: 900_000 },
        r#"{"event":"waits","host":"web1","patience_millis":900000,"waited_millis":2000,"why":"it is not there yet"}"#,
    );
    prints(
        &SetupHeadway::Said { host: web1(), kind: SetupKind::Docker, line: "Setting up docker.io".into() },
        r#"{"event":"said","host":"web1","kind":"docker","line":"Setting up docker.io"}"#,
    );
    prints(
        &SetupHeadway::Made { host: web1(), kind: SetupKind::File, name: "/opt/x/compose.yml".into() },
        r#"{"event":"made","host":"web1","kind":"file","name":"/opt/x/compose.yml"}"#,
    );
    let failure = Some(Failure::new(FailureKind::TimedOut, "web1 was not ready within 15m"));
    prints(
        &SetupLine {
            event: "result".into(),
            environment: EnvironmentName::new("prod").unwrap(),
            hosts: vec![HostSetUp { host: web1(), made: 0, failure }],
            exit: 1,
        },
        r#"{"environment":"prod","event":"result","exit":1,"hosts":[{"failure":{"kind":"timed_out","message":"web1 was not ready within 15m"},"host":"web1","made":0}]}"#,
    );
}
