//! An agent's tools over the real binary's pipes: what is shown to a person before anything changes, and that nothing else
//! is done.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::mcp::{Agent, Kind, yes};
use crate::support::project::{Project, Setup, Waits, run};
use crate::support::{processes, wait_for};

fn agent(project: &Project) -> Agent {
    agent_of(project, Kind::New)
}

fn agent_of(project: &Project, kind: Kind) -> Agent {
    Agent::start(project.command(["mcp"]), kind)
}

fn web(tag: &str) -> Value {
    json!({ "service": "web", "tag": tag })
}

/// The failure that a tool answers with.
#[track_caller]
fn refused(result: &Value, exit: u64, says: &[&str]) -> String {
    assert_eq!(result["isError"], true, "{result:#}");
    let said = &result["structuredContent"];
    assert_eq!(said["exit"], exit, "{said:#}");
    let error = &said["error"];
    let text =
        format!("{} {}", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap_or_default());
    for wanted in says {
        assert!(text.contains(wanted), "{wanted:?} is not said: {said:#}");
    }
    text
}

#[test]
fn what_there_is_is_told_to_whoever_asks_first() {
    let project = Project::new();
    let mut agent = agent(&project);
    let told = agent.request("server/discover", json!({}))["result"].clone();
    assert!(told["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")), "{told:#}");
    assert_eq!(told["resultType"], "complete");
    assert!(told["ttlMs"].is_u64() && told["cacheScope"] == "private", "{told:#}");
    let listed = agent.request("tools/list", json!({}))["result"].clone();
    assert!(listed["ttlMs"].is_u64() && listed["cacheScope"] == "private", "{listed:#}");
    insta::assert_snapshot!("tools", shown(&listed["tools"]));
    // The old way, too: without what older clients do not know.
    let mut agent = agent_of(&project, Kind::Old);
    let old = agent.request("tools/list", json!({}))["result"].clone();
    assert_eq!(old["tools"], listed["tools"]);
    assert!(old.get("ttlMs").is_none() && old.get("resultType").is_none(), "{old:#}");
    assert_eq!(agent.leave(), Some(0));
}

/// The whole list, each shape on a line.
fn shown(tools: &Value) -> String {
    let mut lines = Vec::new();
    for tool in tools.as_array().unwrap() {
        for (key, value) in tool.as_object().unwrap() {
            let mut value = value.clone();
            let shapes = value.as_object_mut().and_then(|value| value.remove("$defs"));
            lines.push(format!("{} {key}: {value}", tool["name"].as_str().unwrap()));
            for (name, shape) in shapes.iter().flat_map(|shapes| shapes.as_object().unwrap()) {
                lines.push(format!("    {name}: {shape}"));
            }
        }
    }
    lines.join("\n")
}

#[test]
fn an_agent_looks_plans_and_deploys_what_a_person_agreed_to() {
    let project = Project::new();
    project.deploy("v1");
    let mut agent = agent(&project);
    let status = agent.call("deploy.status", json!({}))["structuredContent"].clone();
    assert_eq!((&status["exit"], &status["services"][0]), (&json!(0), &project.status()), "as --format json");
    let planned = agent.call("plan", web("v2"))["structuredContent"].clone();
    let typed = project.run("plan web v2 --format json").expect(0).last();
    assert_eq!(planned, typed, "as --format json");

    let asked = agent.call("deploy.full", web("v2"));
    let (text, state) = Agent::asked(&asked);
    let shown = project.run("plan web v2 --no-color").expect(0).stdout;
    assert_eq!(text.trim_end(), shown.trim_end(), "the plan as the command line shows it");
    project.expect_live("v1");
    let params = json!({
        "arguments": web("v2"), "requestState": state, "inputResponses": { "confirm": yes() }, "_meta": { "progressToken": "p" },
    });
    let result = agent.call_with("deploy.full", params);
    let report = &result["structuredContent"];
    assert_eq!(
        (&report["exit"], &report["result"]["outcome"]),
        (&json!(0), &json!("succeeded")),
        "{report:#}"
    );
    assert_eq!(result["isError"], false);
    project.expect_settled("v2");
    expect_progress(&agent);

    let runs = agent.call("history", json!({ "service": "web", "limit": 1 }))["structuredContent"].clone();
    let typed = project.run("history web -n 1 --format json").expect(0).last();
    assert_eq!(runs["runs"], json!([typed]), "as --format json");
    let by = &typed["requester"];
    assert_eq!(by["by"], "agent", "{typed:#}");
    assert!(by["name"].as_str().unwrap().starts_with("tester 1.0 for "), "{typed:#}");

    // Nobody is asked about nothing.
    let again = agent.call("deploy.full", web("v2"))["structuredContent"].clone();
    assert_eq!((&again["exit"], &again["run"]), (&json!(0), &Value::Null), "{again:#}");
    let back =
        agent.call_and_agree("deploy.rollback", json!({ "service": "web" }))["structuredContent"].clone();
    assert_eq!((&back["exit"], &back["release"]["tag"]), (&json!(0), &json!("v1")), "{back:#}");
    project.expect_settled("v1");
    assert_eq!(agent.leave(), Some(0), "{}", agent.stderr());
}

#[track_caller]
fn expect_progress(agent: &Agent) {
    let told: Vec<&Value> =
        agent.aside.iter().filter(|one| one["method"] == "notifications/progress").collect();
    assert!(told.len() > 5, "{told:#?}");
    assert!(told.iter().all(|one| one["params"]["progressToken"] == "p"), "{told:#?}");
    let done: Vec<f64> = told.iter().map(|one| one["params"]["progress"].as_f64().unwrap()).collect();
    assert!(done.is_sorted(), "{done:?}");
    let last = &told.last().unwrap()["params"];
    assert_eq!(last["progress"].as_f64(), last["total"].as_f64(), "{last:#}");
    assert!(told.iter().any(|one| one["params"]["message"].as_str().unwrap().contains("green")), "{told:#?}");
}

#[test]
fn promote_swaps_without_gates_and_the_gates_can_be_asked_alone() {
    let gate = |name: &str| format!("[{{ name: {name}, command: \"false\" }}]");
    let project = Project::with(&Setup { before: gate("tests"), after: gate("smoke"), ..Setup::default() });
    let mut agent = agent(&project);
    let report = agent.call_and_agree("deploy.promote", web("v1"))["structuredContent"].clone();
    assert_eq!(report["exit"], 0, "{report:#}");
    project.expect_settled("v1");
    for (tool, name, typed) in
        [("deploy.regression", "tests", "regression"), ("deploy.smoke", "smoke", "smoke")]
    {
        let result = agent.call(tool, json!({ "service": "web" }));
        let said = &result["structuredContent"];
        assert_eq!((&said["exit"], &result["isError"]), (&json!(1), &json!(false)), "{said:#}");
        assert_eq!(said["gates"][0]["gate"], name, "{said:#}");
        let printed = project.run(&format!("check web {typed} --format json")).expect(1).lines();
        assert_eq!(said["gates"], json!(printed), "as --format json");
    }
    let failed = agent.call_and_agree("deploy.full", web("v2"));
    assert_eq!(
        (&failed["isError"], &failed["structuredContent"]["exit"]),
        (&json!(true), &json!(1)),
        "{failed:#}"
    );
    project.expect_settled("v1");
}

#[test]
fn whoever_does_not_agree_changes_nothing() {
    let project = Project::new();
    project.deploy("v1");
    let mut agent = agent(&project);
    let no = [
        json!({ "action": "decline" }),
        json!({ "action": "cancel" }),
        json!({ "action": "accept" }),
        json!({ "action": "accept", "content": { "confirm": false } }),
        json!({ "action": "accept", "content": { "confirm": "true" } }),
        json!({ "action": "accept", "content": { "yes": true } }),
        json!({ "confirm": true }),
        json!(true),
    ];
    for said in no {
        let (_, state) = Agent::asked(&agent.call("deploy.full", web("v2")));
        let result = agent.call_again("deploy.full", web("v2"), &state, said.clone());
        refused(&result, 1, &["did not agree", "nothing was changed"]);
        // It was asked once.
        let again = agent.call_again("deploy.full", web("v2"), &state, yes());
        refused(&again, 2, &["used already"]);
    }
    let (_, state) = Agent::asked(&agent.call("deploy.full", web("v2")));
    let unanswered = agent.call_with("deploy.full", json!({ "arguments": web("v2"), "requestState": state }));
    refused(&unanswered, 2, &["was not answered"]);
    project.expect_settled("v1");
}

#[test]
fn what_was_agreed_to_is_done_once_and_nothing_else() {
    let project = Project::new();
    project.release("v3", "");
    project.deploy("v1");
    let mut agent = agent(&project);
    // Forged.
    for state in ["", "x", "00000000000000000000000000000000", "{\"plan\":\"sha256:0\"}"] {
        let result = agent.call_again("deploy.full", web("v2"), state, yes());
        refused(&result, 2, &["not known here", "without `requestState`"]);
    }
    // Of another tool, of other arguments.
    let (_, state) = Agent::asked(&agent.call("deploy.full", web("v2")));
    refused(
        &agent.call_again("deploy.promote", web("v2"), &state, yes()),
        1,
        &["not those that were agreed to"],
    );
    let (_, state) = Agent::asked(&agent.call("deploy.full", web("v2")));
    refused(
        &agent.call_again("deploy.full", web("v3"), &state, yes()),
        1,
        &["not those that were agreed to"],
    );
    // Of a server that is gone.
    let (_, state) = Agent::asked(&agent_of(&project, Kind::New).call("deploy.full", web("v2")));
    refused(&agent.call_again("deploy.full", web("v2"), &state, yes()), 2, &["not known here"]);
    project.expect_settled("v1");
    // Once.
    let (_, state) = Agent::asked(&agent.call("deploy.full", web("v2")));
    assert_eq!(agent.call_again("deploy.full", web("v2"), &state, yes())["isError"], false);
    agent.call_and_agree("deploy.rollback", json!({ "service": "web" }));
    refused(&agent.call_again("deploy.full", web("v2"), &state, yes()), 2, &["used already"]);
    project.expect_settled("v1");
}

#[test]
fn a_plan_that_is_not_what_would_be_done_now_is_not_run() {
    let project = Project::new();
    project.release("v3", "");
    project.deploy("v1");
    let mut agent = agent(&project);
    let (_, state) = Agent::asked(&agent.call("deploy.full", web("v2")));
    project.deploy("v3");
    let result = agent.call_again("deploy.full", web("v2"), &state, yes());
    refused(&result, 1, &["not what was agreed to", "nothing was changed"]);
    project.expect_settled("v3");
    // What the plan does not show may have changed, too.
    let (_, state) = Agent::asked(&agent.call("deploy.full", web("v2")));
    let config = project.path("m1/lockgate.yaml");
    let written = std::fs::read_to_string(&config).unwrap();
    let other = written.replace("    critical_paths", "    env: { MODE: other }\n    critical_paths");
    assert_ne!(written, other);
    std::fs::write(&config, &other).unwrap();
    let result = agent.call_again("deploy.full", web("v2"), &state, yes());
    refused(&result, 1, &["lockgate.yaml has changed"]);
    project.expect_settled("v3");
    // The configuration of now is the one that counts; a broken one is told, and mended the agent goes on.
    std::fs::write(&config, "project: [").unwrap();
    let broken = agent.call("deploy.status", json!({}));
    assert_eq!(
        (&broken["isError"], &broken["structuredContent"]["exit"]),
        (&json!(true), &json!(2)),
        "{broken:#}"
    );
    assert!(broken["structuredContent"]["error"]["line"].is_u64(), "{broken:#}");
    std::fs::write(&config, &other).unwrap();
    assert_eq!(agent.call_and_agree("deploy.full", web("v2"))["isError"], false);
    project.expect_settled("v2");
}

#[test]
fn a_run_that_was_cut_off_is_not_brought_to_its_end_without_anybody_knowing() {
    let project = Project::waiting(Waits::AfterSwitch);
    let mut agent = agent(&project);
    let (_, state) = Agent::asked(&agent.call("deploy.full", web("v3")));
    let running = project.start("deploy web v2");
    project.wait_at_gate("v2");
    running.signal(Signal::KILL);
    running.end();
    project.open_gate();
    refused(
        &agent.call_again("deploy.full", web("v3"), &state, yes()),
        1,
        &["left unfinished", "`lockgate resume`"],
    );
    refused(&agent.call("deploy.full", web("v3")), 1, &["left unfinished on local", "`lockgate resume web`"]);
    let status = agent.call("deploy.status", json!({}))["structuredContent"].clone();
    assert!(status["services"][0]["notes"].as_str().unwrap().contains("`lockgate resume`"), "{status:#}");
    project.run("resume web").expect(0);
    assert_eq!(agent.call_and_agree("deploy.full", web("v3"))["isError"], false);
    project.expect_settled("v3");
}

#[test]
fn an_older_client_asks_in_between() {
    let project = Project::new();
    project.deploy("v1");
    let mut agent = agent_of(&project, Kind::Old);
    for (said, is_error) in [(json!({ "action": "decline" }), true), (yes(), false)] {
        let id = agent.begin_call("deploy.full", json!({ "arguments": web("v2") }));
        let question = agent.hear();
        assert_eq!(question["method"], "elicitation/create", "{question:#}");
        let text = question["params"]["message"].as_str().unwrap();
        assert!(text.contains("v2") && text.contains("switch traffic to green"), "{text}");
        project.expect_live("v1");
        agent.write(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": said }));
        let answer = agent.answer_to(id);
        assert_eq!(agent.checked("deploy.full", &answer)["isError"], is_error, "{answer:#}");
    }
    project.expect_settled("v2");
}

#[test]
fn a_client_that_cannot_ask_changes_nothing_unless_it_was_allowed_to() {
    let project = Project::new();
    project.deploy("v1");
    for kind in [Kind::Mute, Kind::OldAndMute] {
        let mut agent = agent_of(&project, kind);
        let digest = agent.call("plan", web("v2"))["structuredContent"]["digest"].clone();
        for arguments in [web("v2"), json!({ "service": "web", "tag": "v2", "confirm": digest })] {
            refused(
                &agent.call("deploy.full", arguments),
                2,
                &["cannot ask", "`lockgate mcp --agent-confirms"],
            );
        }
    }
    project.expect_settled("v1");

    let mut agent = Agent::start(project.command(["mcp", "--agent-confirms"]), Kind::Mute);
    let shown = agent.call("deploy.full", web("v2"));
    let said = &shown["structuredContent"];
    assert_eq!(
        (&shown["isError"], &said["event"], &said["exit"]),
        (&json!(true), &json!("unconfirmed"), &json!(5))
    );
    assert!(said["plan"].as_str().unwrap().contains("switch traffic to green"), "{said:#}");
    project.expect_live("v1");
    let confirmed = |confirm: &Value| json!({ "service": "web", "tag": "v2", "confirm": confirm });
    let forged = agent.call("deploy.full", confirmed(&json!(format!("sha256:{}", "0".repeat(64)))));
    refused(&forged, 2, &["no plan with this digest"]);
    let digest = said["digest"].clone();
    assert_eq!(agent.call("deploy.full", confirmed(&digest))["isError"], false);
    project.expect_settled("v2");
    // The plan of the tool of that name may be agreed to, too; and each once, although the same plan is right again.
    let plan =
        agent.call("plan", json!({ "tool": "deploy.rollback", "service": "web" }))["structuredContent"]
            .clone();
    let back = json!({ "service": "web", "confirm": plan["digest"] });
    assert_eq!(agent.call("deploy.rollback", back.clone())["isError"], false);
    project.expect_settled("v1");
    refused(&agent.call("deploy.full", confirmed(&digest)), 2, &["used already"]);
    refused(&agent.call("deploy.rollback", back), 2, &["used already"]);
    project.expect_settled("v1");

    // Whoever can be asked is asked all the same.
    let mut agent = Agent::start(project.command(["mcp", "--agent-confirms"]), Kind::New);
    let digest = agent.call("plan", web("v2"))["structuredContent"]["digest"].clone();
    Agent::asked(&agent.call("deploy.full", confirmed(&digest)));
    project.expect_settled("v1");
}

#[test]
fn what_makes_no_sense_is_said_with_what_would() {
    let project = Project::new();
    let mut agent = agent(&project);
    let unknown = agent.request("tools/call", json!({ "name": "deploy.everything", "arguments": {} }));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown:#}");
    let message = unknown["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("deploy.everything") && message.contains("deploy.full, deploy.regression"),
        "{message}"
    );
    let unknown = agent.request("tools/explode", json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown:#}");
    for (tool, arguments, says) in [
        (
            "deploy.full",
            json!({ "service": "wbe", "tag": "v1" }),
            vec!["no service \"wbe\"", "there are: web"],
        ),
        ("deploy.full", json!({ "service": "web" }), vec!["missing field 'tag'", "it takes "]),
        ("deploy.full", json!({ "service": "web", "tag": "--again" }), vec!["a tag starts with"]),
        (
            "deploy.full",
            json!({ "service": "web", "tag": "v1", "force": true }),
            vec!["unknown field 'force'"],
        ),
        ("deploy.full", json!({ "service": ["web"], "tag": "v1" }), vec!["invalid type"]),
        (
            "deploy.full",
            json!({ "service": "web", "tag": "v1", "environment": "moon" }),
            vec!["there are: prod"],
        ),
        ("deploy.rollback", json!({ "service": "web", "release": "a b" }), vec!["a tag has only"]),
        ("deploy.smoke", json!({}), vec!["missing field 'service'"]),
        ("deploy.regression", json!({ "service": "web" }), vec!["has no gates there"]),
        ("plan", json!({ "service": "web" }), vec!["needs a `tag`"]),
        ("logs", json!({ "service": "web", "lines": 0 }), vec!["from 1 to 500"]),
        ("logs", json!({ "service": "web", "lines": 501 }), vec!["from 1 to 500"]),
        ("logs", json!({ "service": "web", "slot": "red" }), vec!["`slot` is blue or green"]),
        ("history", json!({ "limit": 101 }), vec!["from 1 to 100"]),
        ("history", json!({ "before": "x" }), vec!["no run's id"]),
    ] {
        refused(&agent.call(tool, arguments), 2, &says);
    }
    // No message at all; and the next one is heard.
    for (line, code) in [("{\"jsonrpc\": ", -32700), ("[]", -32600), ("{}", -32600)] {
        agent.write_line(line);
        let told = agent.hear();
        assert_eq!((&told["error"]["code"], &told["id"]), (&json!(code), &Value::Null), "{told:#}");
    }
    refused(&agent.call("deploy.full", web("v9")), 1, &["v9"]);
    assert_eq!(agent.leave(), Some(0));
}

#[test]
fn who_is_no_client_is_told_so() {
    let project = Project::new();
    let mut command = project.command(["mcp"]);
    let answer = project.path("hello");
    std::fs::write(&answer, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n").unwrap();
    command.stdin(std::fs::File::open(&answer).unwrap());
    let ran = run(command)
        .expect(2)
        .says(&["neither a request of the protocol", "client of the Model Context Protocol"]);
    assert_eq!(ran.stdout, "");
    // Nobody came.
    let ran = run(project.command(["mcp"])).expect(0);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_call_that_is_cancelled_is_undone() {
    let project = Project::waiting(Waits::AfterSwitch);
    let mut agent = agent(&project);
    let (_, state) = Agent::asked(&agent.call("deploy.full", web("v2")));
    let params =
        json!({ "arguments": web("v2"), "requestState": state, "inputResponses": { "confirm": yes() } });
    let id = agent.begin_call("deploy.full", params);
    project.wait_at_gate("v2");
    project.expect_live("v2");
    // Others are answered meanwhile.
    let status = agent.call("deploy.status", json!({}))["structuredContent"].clone();
    assert_eq!(status["services"][0]["status"], "in_progress", "{status:#}");
    let cancelled = json!({ "requestId": id, "reason": "the user has pressed Escape" });
    agent.write(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled }));
    let ended = wait_for("the run to end", 30, || {
        let status = agent.call("deploy.status", json!({}))["structuredContent"]["services"][0].clone();
        (status["status"] != "in_progress").then_some(status)
    });
    assert_eq!(ended["status"], "rolled_back", "{ended:#}");
    assert!(
        ended["rejected"].as_array().unwrap().is_empty(),
        "a cancelled request says nothing of the release"
    );
    project.expect_settled("v1");
    let run = agent.call("history", json!({ "limit": 1 }))["structuredContent"]["runs"][0].clone();
    assert!(run["outcome"].to_string().contains("the request was cancelled"), "{run:#}");
    assert_eq!(agent.leave(), Some(0));
}

#[test]
fn what_is_under_way_when_the_client_goes_away_is_undone() {
    for by_signal in [false, true] {
        let project = Project::waiting(Waits::AfterSwitch);
        let mut agent = begun(&project);
        let code = match by_signal {
            true => {
                processes::send(i32::try_from(agent.pid()).unwrap(), Signal::TERM);
                agent.end()
            }
            false => agent.leave(),
        };
        assert_eq!(code, Some(3), "{}", agent.stderr());
        project.expect_settled("v1");
    }
}

/// `v2` has the traffic and waits at its gate.
fn begun(project: &Project) -> Agent {
    let mut agent = agent(project);
    let (_, state) = Agent::asked(&agent.call("deploy.full", web("v2")));
    let params =
        json!({ "arguments": web("v2"), "requestState": state, "inputResponses": { "confirm": yes() } });
    agent.begin_call("deploy.full", params);
    project.wait_at_gate("v2");
    agent
}

#[test]
fn a_hangup_leaves_the_run_for_whoever_comes_next() {
    let project = Project::waiting(Waits::AfterSwitch);
    let mut agent = begun(&project);
    processes::send(i32::try_from(agent.pid()).unwrap(), Signal::HUP);
    assert_eq!(agent.end(), Some(4), "{}", agent.stderr());
    assert!(!project.lease()["unfinished"].is_null(), "{:#}", project.lease());
    project.open_gate();
    project.run("resume web").expect(0);
    project.expect_settled("v2");
}

#[test]
fn a_server_for_one_environment_is_for_no_other() {
    let project = Project::new();
    let mut agent = Agent::start(project.command(["--env", "prod", "mcp"]), Kind::New);
    let status = agent.call("deploy.status", json!({ "environment": "prod" }))["structuredContent"].clone();
    assert_eq!(status["services"][0]["environment"], "prod", "{status:#}");
    for tool in ["deploy.status", "history"] {
        let other = agent.call(tool, json!({ "environment": "test" }));
        refused(&other, 2, &["for the environment \"prod\" alone"]);
    }
}

#[test]
fn no_secret_is_told_to_an_agent() {
    let project = Project::with(&Setup {
        service: "    env: { API_TOKEN: \"hunter2-of-the-service\", PLAIN: \"not-so-plain-either\" }\n"
            .into(),
        ..Setup::default()
    });
    let hello = crate::support::app::hello().display();
    for tag in ["v1", "v2"] {
        let sick = if tag == "v2" { "UNHEALTHY=1" } else { "" };
        let script = format!(
            "#!/bin/sh\necho \"I have $API_TOKEN and $PLAIN and $SHELL_SECRET\"\nHOST=127.0.0.1 VERSION={tag} SLOT=$LOCKGATE_SLOT {sick} exec {hello}\n"
        );
        project.script(&format!("app-{tag}"), &script);
    }
    project.deploy("v1");
    let mut command = project.command(["mcp"]);
    command.env("SHELL_SECRET", "hunter3-of-the-shell");
    let mut agent = Agent::start(command, Kind::New);
    let logs = agent.call("logs", json!({ "service": "web" }));
    let lines = logs["structuredContent"]["lines"].to_string();
    assert!(lines.contains("I have *** and *** and "), "{lines}");
    let printed = project.run("logs web --format json").expect(0).lines().len();
    assert_eq!(logs["structuredContent"]["lines"].as_array().unwrap().len(), printed);
    let failed = agent.call_and_agree("deploy.full", web("v2"));
    assert_eq!(failed["structuredContent"]["exit"], 1, "{failed:#}");
    let all = format!("{logs}{failed}{:?}{}", agent.aside, agent.stderr());
    for secret in ["hunter2", "hunter3", "not-so-plain"] {
        assert!(!all.contains(secret), "{secret} is told: {all}");
    }
}

/// Where `scripts/setup` puts Python's mcp.
const PYTHON_LIBRARIES: &str = "/usr/local/share/lockgate-test/python";
/// What the client answers where mcp is not there.
const NOT_THERE: i32 = 77;

/// A client that somebody else made, in the newest revision and the old way.
#[test]
fn mcp_from_pypi_works_with_the_tools_from_end_to_end() {
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/support/mcp_client.py");
    for mode in ["auto", "legacy"] {
        let project = Project::new();
        project.deploy("v1");
        let mut command = std::process::Command::new("python3");
        command.args([client, env!("CARGO_BIN_EXE_lockgate")]).arg(project.path("m1")).arg(mode);
        command.env("PYTHONPATH", PYTHON_LIBRARIES).current_dir(project.root());
        let ran = run(command);
        if ran.code == Some(NOT_THERE) {
            eprintln!(
                "SKIPPED: Python's mcp is not there, so the agent's tools were not tried with it: `scripts/setup` installs it where pip is"
            );
            return;
        }
        ran.expect(0).says(&["is content"]);
        project.expect_settled("v1");
    }
}
