//! `state`: where the store is.

mod common;

use common::{bad, good, parse_with, with};
use lockgate_model::StateLocation;

fn with_state(line: &str) -> String {
    format!("{}{line}\n", with("command: ./server", "runtime: process\nrouter: none"))
}

fn file(text: &str) -> String {
    match good(text).state {
        StateLocation::File(path) => path.display().to_string(),
        StateLocation::Postgres(_) => panic!("it is a file"),
    }
}

#[test]
fn it_is_a_file_beside_lockgate_yaml_unless_it_says_where() {
    assert_eq!(file(&with_state("")), "/work/.lockgate/journal.db");
    assert_eq!(file(&with_state("state: var/runs.db")), "/work/var/runs.db");
    assert_eq!(file(&with_state("state: /var/lib/lockgate/runs.db")), "/var/lib/lockgate/runs.db");
    assert_eq!(file(&with_state("state: ${DATABASE_URL:-}")), "/work/.lockgate/journal.db");
}

#[test]
fn a_database_by_url_keeps_its_password_to_itself() {
    let env = [("DATABASE_URL", "postgres://kim:hunter2@db.example.com/lockgate")];
    let project = parse_with(&with_state("state: ${DATABASE_URL}"), &env).unwrap();
    assert_eq!(project.state.to_string(), "postgres://db.example.com/lockgate");
    assert!(!format!("{project:?}").contains("hunter2"));
}

#[test]
fn what_is_neither_is_refused_with_its_line_and_without_its_text() {
    for (state, wanted) in [
        ("mysql://kim:hunter2@db/x", "no store's URL"),
        ("postgres://kim:hunter2@db", "names no database"),
        ("postgres:hunter2", "neither a file nor"),
        ("var/hunter2/", "neither a file nor"),
        ("\"a\\tb\"", "neither a file nor"),
    ] {
        let error = bad(&with_state(&format!("state: {state}")));
        let plain = error.plain();
        assert!(plain.contains(wanted), "{state}: {plain}");
        let debug = format!("{error:?}");
        let shown = format!("{plain} {debug} {:?}", miette::Report::new(error));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let missing = bad(&with_state("state: ${DATABASE_URL}")).plain();
    assert!(
        missing.contains("DATABASE_URL is not set") && missing.contains("${DATABASE_URL:-}"),
        "{missing}"
    );
}
