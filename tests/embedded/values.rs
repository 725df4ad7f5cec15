//! Values that come from a program, such as a password manager's, and what goes on where it gives none.

use serde_json::json;

use crate::support::files::holding;
use crate::support::mcp::{Agent, Kind};
use crate::support::project::{Project, Setup};

const ONE: &str = "c4nary-one";
const TWO: &str = "c4nary-two";
const ENV: &str = "    env: { TOKEN: { command: [\"../op\", read, \"op://shop/token\"] } }\n";

fn project(more: &str) -> Project {
    Project::with(&Setup { service: format!("{ENV}{more}"), ..Setup::default() })
}

/// A double of 1Password's `op`: it records that it ran, and does this.
fn op(project: &Project, then: &str) {
    project.script("op", &format!("#!/bin/sh\necho \"$*\" >>\"$0.ran\"\n{then}\n"));
}

fn gives(project: &Project, value: &str) {
    op(project, &format!("echo {value}"));
}

fn fails(project: &Project) {
    op(project, "echo 'not signed in' >&2; exit 1");
}

fn times_ran(project: &Project) -> usize {
    std::fs::read_to_string(project.path("op.ran")).unwrap_or_default().lines().count()
}

/// What the live app has.
#[track_caller]
fn token(project: &Project) -> String {
    let command = project.command(["exec", "web", "--", "sh", "-c", "echo \"$TOKEN\""]);
    let output = { command }.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_program_that_gives_no_value_keeps_nobody_from_going_back_or_from_looking() {
    let project = project("");
    gives(&project, ONE);
    project.deploy("v1");
    gives(&project, TWO);
    project.deploy("v2");
    assert_eq!(token(&project), TWO);
    fails(&project);
    let ran = times_ran(&project);
    for looks in ["status", "status -v", "logs web", "history", "doctor"] {
        project.run(looks).expect(0);
    }
    assert_eq!(times_ran(&project), ran, "nobody who only looks asks for it");
    project.run("exec web --new -- true").expect(125).says(&["the value of TOKEN", "not signed in"]);
    project.release("v3", "");
    project.run("deploy web v3").expect(1).says(&["the value of TOKEN, in `env` of web", "not signed in"]);
    project.expect_settled("v2");

    let said = project.run("rollback web").expect(0);
    let said = said.says(&["going on without a value: the value of TOKEN", "not signed in"]);
    assert!(!said.to_string().contains("differ"), "what is not known is not compared:\n{said}");
    project.expect_settled("v1");
    assert_eq!(token(&project), ONE, "it has what it ran with");
    project.run("rollback web v2").expect(0);
    project.expect_settled("v2");
    assert_eq!(token(&project), TWO, "also what was gone back from");

    // The host has lost what v1 ran with: it is not started without its secret.
    std::fs::remove_file(project.path("host/prod/web/.lockgate/environments.json")).unwrap();
    project
        .run("rollback web")
        .expect(1)
        .says(&["nothing of web is started with today's environment", "could not be had: TOKEN"]);
    project.expect_settled("v2");
    gives(&project, ONE);
    project.run("rollback web").expect(0);
    project.expect_settled("v1");
}

#[test]
fn an_agent_deploys_with_values_from_programs_and_is_told_none_of_them() {
    let project = project("    before_switch: \"./migrate\"\n");
    project.script("migrate", "#!/bin/sh\necho \"migrating with $TOKEN\"\n");
    for tag in ["v1", "v2"] {
        let hello = crate::support::app::hello().display();
        let app = format!(
            "#!/bin/sh\necho \"begun with $TOKEN\"\nHOST=127.0.0.1 VERSION={tag} SLOT=$LOCKGATE_SLOT exec {hello}\n"
        );
        project.script(&format!("app-{tag}"), &app);
    }
    gives(&project, ONE);
    project.deploy("v1");
    let ran = times_ran(&project);
    let mut agent = Agent::start(project.command(["mcp"]), Kind::New);
    let mut said = String::new();
    let mut call = |agent: &mut Agent, tool: &str, arguments: serde_json::Value| {
        let result = agent.call(tool, arguments);
        assert_eq!(result["isError"], false, "{tool}: {result:#}");
        said.push_str(&result.to_string());
        result
    };
    call(&mut agent, "deploy.status", json!({}));
    call(&mut agent, "history", json!({ "service": "web" }));
    assert_eq!(times_ran(&project), ran, "nobody who only looks asks for it");
    let logs = call(&mut agent, "logs", json!({ "service": "web" }));
    assert!(logs.to_string().contains("begun with ***"), "{logs:#}");
    let v2 = json!({ "service": "web", "tag": "v2" });
    call(&mut agent, "plan", v2.clone());
    let report = agent.call_and_agree("deploy.full", v2.clone());
    assert_eq!(report["structuredContent"]["exit"], 0, "{report:#}");
    said.push_str(&report.to_string());
    project.expect_settled("v2");
    assert_eq!(token(&project), ONE);

    // It goes back where the program gives nothing, and starts nothing new.
    fails(&project);
    let refused = agent.call("deploy.full", json!({ "service": "web", "tag": "v1" }));
    assert_eq!(
        (&refused["isError"], &refused["structuredContent"]["exit"]),
        (&json!(true), &json!(1)),
        "{refused:#}"
    );
    assert!(refused.to_string().contains("the value of TOKEN"), "{refused:#}");
    let back = agent.call_and_agree("deploy.rollback", json!({ "service": "web" }));
    assert_eq!(back["structuredContent"]["exit"], 0, "{back:#}");
    project.expect_settled("v1");
    assert_eq!(token(&project), ONE);
    said.push_str(&refused.to_string());
    said.push_str(&back.to_string());
    agent.aside.iter().for_each(|message| said.push_str(&message.to_string()));
    said.push_str(&agent.stderr());
    assert!(!said.contains("c4nary"), "{said}");
    assert_eq!(agent.leave(), Some(0), "{}", agent.stderr());
    // Beside the double itself, which fails now: what the app wrote, and what its releases ran with.
    let found = holding(project.root(), ONE);
    let is_known = |name: &String| name.ends_with("/environments.json") || name.contains("/run/");
    assert!(found.iter().all(is_known), "{found:?}");
}
