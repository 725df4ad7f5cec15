//! What the guide pages say works as it is written there.

use std::path::Path;

use crate::embedded::promotion::{SOAKED_SECONDS_MAX, watched_by};
use crate::embedded::schedule::Scene;
use crate::support::mcp::{Agent, Kind};
use crate::support::project::{self, Project};
use crate::support::prometheus::Prometheus;
use crate::support::wait_for;

const SCHEDULE: &str = include_str!("../../docs/schedule.md");
const NGINX: &str = include_str!("../../docs/nginx.md");
const PROMOTION: &str = include_str!("../../docs/promotion.md");
const AGENTS: &str = include_str!("../../docs/agents.md");

/// The code blocks of this kind.
fn blocks<'t>(text: &'t str, kind: &str) -> Vec<&'t str> {
    let fence = format!("```{kind}\n");
    text.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Runs the commands of a page, in a shell that finds the program; each prints something. How many there are.
fn run_commands(page: &str, folder: &Path) -> usize {
    let bin = Path::new(env!("CARGO_BIN_EXE_lockgate")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut commands = 0;
    for line in blocks(page, "console").iter().flat_map(|block| block.lines()) {
        let typed = line.strip_prefix("$ ").expect("only commands are in these blocks");
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", typed]).env("PATH", &path).current_dir(folder);
        let ran = project::run(shell).expect(0);
        assert!(!ran.stdout.is_empty(), "{ran}");
        commands += 1;
    }
    commands
}

#[test]
fn every_command_on_the_page_about_schedules_works() {
    let Some(scene) = Scene::start(&["v1.0.0"]) else { return };
    assert_eq!(run_commands(SCHEDULE, &scene.project.path("m1")), 5);
    scene.project.expect_settled("v1.0.0");
}

#[test]
fn every_command_and_every_configuration_on_the_page_about_agents_works() {
    let project = Project::new();
    project.deploy("v1");
    assert_eq!(run_commands(AGENTS, &project.path("m1")), 3);
    let mut servers = 0;
    for block in blocks(AGENTS, "json") {
        let config: serde_json::Value = serde_json::from_str(block).unwrap();
        let server = &config["mcpServers"]["lockgate"];
        assert_eq!(server["command"], "lockgate");
        let args = server["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
        let mut agent = Agent::start(project.command(args), Kind::New);
        let status = agent.call("deploy.status", serde_json::json!({}));
        assert_eq!(status["structuredContent"]["services"][0]["image_tag"], "v1", "{status:#}");
        // Every tool is in the table.
        for tool in agent.tools() {
            assert!(AGENTS.contains(&format!("| `{tool}` |")), "{tool} is not on the page");
        }
        servers += 1;
    }
    assert_eq!(servers, 3);
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

#[test]
fn every_command_on_the_page_about_promotion_works_and_its_configuration_is_one() {
    let Some(prometheus) = Prometheus::start() else { return };
    let project = watched_by(&prometheus);
    let path = project.path("m1/lockgate.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "    schedule: { cron: \"0 6 * * *\", deploy: promoted }\n").unwrap();
    project.run("--env prod deploy web v1").expect(0);
    wait_for("the soak", SOAKED_SECONDS_MAX, || {
        (project.run("promote web --dry-run").code == Some(0)).then_some(())
    });
    assert_eq!(run_commands(PROMOTION, &project.path("m1")), 4);
    for (number, yaml) in blocks(PROMOTION, "yaml").into_iter().chain(blocks(NGINX, "yaml")).enumerate() {
        let file = project.path(format!("page-{number}.yaml"));
        std::fs::write(&file, yaml).unwrap();
        let shown = project.run(&format!("-c {} tags nobody", file.display())).expect(2);
        assert!(shown.stderr.contains("there is no service"), "{shown}");
    }
}
