//! What hosts need before their first deployment, as text.

use lockgate_model::{HostSetUp, HostSetupLine, SetupHeadway, SetupItem, SetupState};

use crate::{Paint, Table, clean, escaped};

/// A table with a line for each thing on each host. Without a line feed at the end.
#[must_use]
pub fn setup_text(lines: &[HostSetupLine], paint: Paint) -> String {
    let mut table = Table::new(["host", "what", "state", ""]);
    for line in lines {
        let host = line.host.to_string();
        if let Some(failure) = &line.failure {
            table.push(vec![host.clone(), String::new(), paint.yellow("not seen"), clean(&failure.message)]);
        }
        for item in &line.items {
            let state = state(item, paint);
            let note = clean(item.note.as_deref().unwrap_or_default());
            table.push(vec![host.clone(), what(item), state, note]);
        }
    }
    table.text()
}

fn what(item: &SetupItem) -> String {
    format!("{} {}", item.kind.as_str(), escaped(&item.name))
}

fn state(item: &SetupItem, paint: Paint) -> String {
    let word = item.state.as_str();
    match item.state {
        SetupState::There => paint.green(word),
        SetupState::Make | SetupState::Waits => paint.yellow(word),
        SetupState::Refused => paint.red(word),
    }
}

/// One line of what goes on.
#[must_use]
pub fn setup_headway_text(headway: &SetupHeadway) -> String {
    match headway {
        SetupHeadway::Waits { host, why, waited_millis, patience_millis } => {
            let [waited, patience] = [waited_millis, patience_millis].map(|millis| whole_seconds(*millis));
            format!("{host}: waits ({waited} of {patience}): {}", clean(why))
        }
        SetupHeadway::Said { host, kind, line } => format!("{host}: {}: {}", kind.as_str(), clean(line)),
        SetupHeadway::Made { host, kind, name } => {
            format!("{host}: made {} {}", kind.as_str(), escaped(name))
        }
    }
}

/// Tenths of a second say nothing about a wait of minutes.
fn whole_seconds(millis: u64) -> String {
    lockgate_model::Millis::from_secs(millis / 1000).to_string()
}

/// What became of all hosts that came to a good end; `None` where none did.
#[must_use]
pub fn set_up_text(hosts: &[HostSetUp]) -> Option<String> {
    let well = || hosts.iter().filter(|host| host.failure.is_none());
    let names: Vec<&str> = well().map(|host| host.host.as_str()).collect();
    let made: usize = well().map(|host| host.made).sum();
    let verb = if names.len() == 1 { "is" } else { "are" };
    match (names.is_empty(), made) {
        (true, _) => None,
        (false, 0) => Some(format!("nothing to do: {} {verb} set up", names.join(", "))),
        (false, made) => Some(format!("{} {verb} set up; {made} made", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{Failure, FailureKind, HostId, SetupKind};

    use super::*;

    fn item(kind: SetupKind, name: &str, state: SetupState, note: Option<&str>) -> SetupItem {
        SetupItem { kind, name: name.into(), state, note: note.map(str::to_owned), hint: None }
    }

    #[test]
    fn a_plan_is_a_table_of_hosts_and_things() {
        let host = |name: &str, items, failure| HostSetupLine {
            event: "plan".into(),
            host: HostId::new(name).unwrap(),
            items,
            failure,
        };
        let lines = [
            host(
                "root@web1",
                vec![
                    item(SetupKind::Ready, "/opt/setup_complete", SetupState::Waits, None),
                    item(SetupKind::Folder, "/opt/monarch", SetupState::There, None),
                    item(
                        SetupKind::File,
                        "/opt/monarch/docker-compose.yml",
                        SetupState::Make,
                        Some("from docker-compose.yml"),
                    ),
                    item(
                        SetupKind::Folder,
                        "/srv/x\u{1b}[2J",
                        SetupState::Refused,
                        Some("everybody may write there"),
                    ),
                ],
                None,
            ),
            host(
                "web2",
                Vec::new(),
                Some(Failure::new(FailureKind::Unreachable, "ssh web2: it refuses connections")),
            ),
        ];
        insta::assert_snapshot!(setup_text(&lines, Paint::new(false)), @r##"
        host       what                                  state
        root@web1  ready /opt/setup_complete             waits
        root@web1  folder /opt/monarch                   there
        root@web1  file /opt/monarch/docker-compose.yml  to be made  from docker-compose.yml
        root@web1  folder /srv/x\x1b[2J                  cannot be   everybody may write there
        web2                                             not seen    ssh web2: it refuses connections
        "##);
    }

    #[test]
    fn what_goes_on_is_one_line() {
        let host = HostId::new("web1").unwrap();
        let why = "/opt/setup_complete is not there yet".to_owned();
        let waits =
            SetupHeadway::Waits { host: host.clone(), why, waited_millis: 62_345, patience_millis: 900_000 };
        insta::assert_snapshot!(setup_headway_text(&waits), @"web1: waits (1m2s of 15m): /opt/setup_complete is not there yet");
        let said = SetupHeadway::Said {
            host: host.clone(),
            kind: SetupKind::Docker,
            line: "Unpacking docker.io\u{1b}[2J (20.10.24) ...".into(),
        };
        insta::assert_snapshot!(setup_headway_text(&said), @r"web1: docker: Unpacking docker.io (20.10.24) ...");
        let made = SetupHeadway::Made {
            host,
            kind: SetupKind::File,
            name: "/opt/monarch/docker-compose.yml".into(),
        };
        insta::assert_snapshot!(setup_headway_text(&made), @"web1: made file /opt/monarch/docker-compose.yml");
    }

    #[test]
    fn the_end_says_how_much_was_made() {
        let host = |name: &str, made, failure: Option<&str>| HostSetUp {
            host: HostId::new(name).unwrap(),
            made,
            failure: failure.map(|message| Failure::new(FailureKind::TimedOut, message)),
        };
        let text = |hosts: &[HostSetUp]| set_up_text(hosts).unwrap_or_default();
        assert_eq!(
            text(&[host("web1", 0, None), host("web2", 0, None)]),
            "nothing to do: web1, web2 are set up"
        );
        assert_eq!(text(&[host("web1", 3, None), host("web2", 1, Some("x"))]), "web1 is set up; 3 made");
        assert_eq!(text(&[host("web2", 1, Some("x"))]), "");
    }
}
