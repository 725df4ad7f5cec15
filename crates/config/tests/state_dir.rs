//! `state_dir`: where system A's state files are.

mod common;

use common::{bad, good, parse_with, with};

fn with_dir(line: &str) -> String {
    format!("{}{line}\n", with("command: ./server", "runtime: process\nrouter: none"))
}

fn dir(line: &str) -> Option<String> {
    good(&with_dir(line)).state_dir.map(|dir| dir.as_str().to_owned())
}

#[test]
fn there_are_no_state_files_unless_a_folder_is_named() {
    assert_eq!(dir(""), None);
    assert_eq!(dir("state_dir: ${STATE_DIR:-}"), None, "left to each machine");
    assert_eq!(dir("state_dir: ./state").as_deref(), Some("./state"));
    assert_eq!(dir("state_dir: /var/lib/a/{environment}").as_deref(), Some("/var/lib/a/{environment}"));
    let env = [("STATE_DIR", "/var/lib/a/state")];
    let set = parse_with(&with_dir("state_dir: ${STATE_DIR:-}"), &env).unwrap().state_dir.unwrap();
    assert_eq!(set.as_str(), "/var/lib/a/state");
}

#[test]
fn a_folder_that_cannot_be_meant_is_refused_with_its_line() {
    for (line, wanted) in [
        ("state_dir: state/{slot}", "`state_dir` cannot have {slot}"),
        ("state_dir: state/{colour}", "a placeholder that is not known"),
        ("state_dir: ../state", "`state_dir` has `..` in it"),
        ("state_dir: -state", "`state_dir` starts with `-`"),
    ] {
        let plain = bad(&with_dir(line)).plain();
        assert!(plain.contains(wanted) && plain.contains("lockgate.yaml:11"), "{line}: {plain}");
    }
}

#[test]
fn several_environments_do_not_share_one_folder() {
    let two = |dir: &str| {
        let more = "  stage:\n    runtime: process\n    router: none\n";
        format!("{}{more}state_dir: {dir}\n", with("command: ./server", "runtime: process\nrouter: none"))
    };
    let plain = bad(&two("./state/")).plain();
    assert!(plain.contains("write `state_dir: ./state/{environment}`"), "{plain}");
    assert!(good(&two("./state/{environment}")).state_dir.is_some());
}
