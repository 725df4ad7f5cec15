//! What the guide pages say works as it is written there.

use std::path::Path;

use crate::embedded::schedule::Scene;
use crate::support::project::{self, Project};

const SCHEDULE: &str = include_str!("../../docs/schedule.md");

/// The code blocks of this kind.
fn blocks<'t>(text: &'t str, kind: &str) -> Vec<&'t str> {
    let fence = format!("```{kind}\n");
    text.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_command_on_the_page_about_schedules_works() {
    let Some(scene) = Scene::start(&["v1.0.0"]) else { return };
    let bin = Path::new(env!("CARGO_BIN_EXE_lockgate")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut commands = 0;
    for line in blocks(SCHEDULE, "console").iter().flat_map(|block| block.lines()) {
        let typed = line.strip_prefix("$ ").expect("only commands are in these blocks");
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", typed]).env("PATH", &path).current_dir(scene.project.path("m1"));
        let ran = project::run(shell).expect(0);
        assert!(!ran.stdout.is_empty(), "{ran}");
        commands += 1;
    }
    assert_eq!(commands, 5);
    scene.project.expect_settled("v1.0.0");
}

#[test]
fn the_configuration_on_the_page_about_schedules_is_one() {
    let project = Project::empty();
    for block in blocks(SCHEDULE, "yaml") {
        std::fs::write(project.path("lockgate.yaml"), block).unwrap();
        project.run("schedule").expect(0).says(&["0 5 * * * (Europe/Berlin)", "web", "api", "none yet"]);
    }
    // Every key of the table is a key.
    let schema = project.run("schema").expect(0).stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let known = schema["$defs"]["Schedule"]["properties"].as_object().unwrap();
    for key in known.keys() {
        assert!(SCHEDULE.contains(&format!("| `{key}` |")), "{key} is not on the page");
    }
}
