//! What a gate, an app or a stranger writes is told without secrets, and steers no terminal.

use crate::support::double::{Double, Manner};
use crate::support::files::holding;
use crate::support::project::{Project, Setup, Waits, run};

/// In this machine's environment only: the configuration does not name it.
const OPERATORS: &str = "0perat0rs-0wn";
/// Of a form that is known, and in nobody's environment.
const FORMED: &str = "ghp_0000000000000000000000000000000000000007";
const QUERY: &str = "hunter2-in-a-query";

#[test]
fn a_gate_that_prints_the_operators_secrets_tells_them_nowhere() {
    let told = Double::start(Manner::Answers("204 No Content", ""));
    let setup = Setup {
        before: "[{ name: talk, command: \"ROOT/talk\" }]".into(),
        end: format!("notify:\n  - webhook: {{ url: \"http://{}/hook\" }}\n", told.address),
        ..Setup::default()
    };
    let project = Project::with(&setup);
    project.script(
        "talk",
        "#!/bin/sh\necho \"token $DEPLOY_TOKEN\"\necho \"db $DATABASE_URL\" >&2\nprintf 'ghp_%040d\\n' 7\nexit 1\n",
    );
    let mut said = String::new();
    for args in [
        "deploy web v1 -vv",
        "deploy web v1 --format json",
        "check web regression",
        "check web regression --format json",
        "history",
        "history --format json",
        "status web",
    ] {
        let mut command = project.command(args.split(' '));
        command
            .env("DEPLOY_TOKEN", OPERATORS)
            .env("DATABASE_URL", format!("postgres://shop:{OPERATORS}2@db/x"));
        said.push_str(&run(command).to_string());
    }
    assert!(said.contains("token ***") && said.contains("postgres://shop:***@db/x"), "{said}");
    assert!(!said.contains(OPERATORS) && !said.contains(FORMED), "{said}");
    let bodies = told.bodies().concat();
    assert!(
        bodies.contains("token ***") && !bodies.contains(OPERATORS) && !bodies.contains(FORMED),
        "{bodies}"
    );
    for secret in [OPERATORS, FORMED] {
        let files = holding(project.root(), secret);
        assert!(files.is_empty(), "{secret} lies in {files:?}");
    }
}

#[test]
fn queries_are_in_no_output() {
    let told = Double::start(Manner::Answers("204 No Content", ""));
    let setup = Setup {
        health: "{ path: \"/health?k=hunter2-in-a-query\", timeout: 500ms }",
        service: "    verify: { path: \"/version?k=hunter2-in-a-query\", body: \"{tag}\" }\n".into(),
        after: "[{ name: smoke, http: { paths: [\"/metrics?k=hunter2-in-a-query\"], samples: 1 } }]".into(),
        end: format!("notify:\n  - webhook: {{ url: \"http://{}/hook\" }}\n", told.address),
        ..Setup::default()
    };
    let project = Project::with(&setup);
    project.release("sick", "UNHEALTHY=1");
    project.release("smoky", "FAIL_PATHS=/metrics");
    let mut said = String::new();
    for args in [
        "plan web v1",
        "plan web v1 --format json",
        "deploy web v1 -vv",
        "deploy web sick --format json",
        "deploy web smoky -vv",
        "deploy web v2 --format json",
        "check web smoke",
        "check web smoke --format json",
        "history --format json",
        "status web --format json",
        "doctor",
        "rollback web --format json",
    ] {
        said.push_str(&project.run(args).to_string());
    }
    assert!(said.contains("/health?…") && said.contains("/metrics?…"), "{said}");
    let line = said.lines().find(|line| line.contains(QUERY));
    assert!(line.is_none(), "it was said: {}", line.unwrap_or_default());
    let bodies = told.bodies().concat();
    assert!(bodies.contains("/health?…") && !bodies.contains(QUERY), "{bodies}");
    project.expect_settled("v1");
}

const FORGED: &str = "✓ forged";

/// Nothing but line feeds steers, and no line begins with what somebody else wrote.
#[track_caller]
fn expect_harmless(said: &str) {
    let steers = |one: char| one.is_control() && one != '\n' || matches!(one, '\u{202e}' | '\u{2028}');
    assert!(!said.chars().any(steers), "{said:?}");
    assert!(!said.lines().any(|line| line.starts_with(FORGED)), "{said}");
}

#[test]
fn what_a_user_an_app_or_a_webhook_writes_steers_no_terminal() {
    let slack = Double::start(Manner::Answers("400 Bad Request", "\u{1b}[2J\n✓ forged\u{9b}31m\u{202e}"));
    let end = format!("notify:\n  - slack: {{ webhook: \"http://{}/services/x\" }}\n", slack.address);
    let project = Project::waiting_with(Waits::BeforeSwitch, end);
    project.script("app-talks", "#!/bin/sh\nprintf '\\033[2J\\033]0;x\\007\\r\\n✓ forged\\n' >&2\nexit 1\n");
    let user = "lee\u{1b}[2J\n✓ forged\u{9b}31m\u{202e}\u{7f}";
    let shown = r"lee\x1b[2J\n✓ forged\x9b31m\u{202e}\x7f@";
    // A record has room for the beginning of a name.
    let recorded = r"lee\x1b[2J\n✓ forged\x9b31m…";
    let hostile = |args: &str| {
        let mut command = project.command(args.split(' '));
        command.env("USER", user).env("LOGNAME", user);
        command
    };
    let first = crate::support::project::Running::start(hostile("deploy web v2 -vv"));
    project.wait_at_gate("v2");
    let status = project.run("status web").expect(0);
    assert!(status.stdout.contains(recorded), "{status}");
    expect_harmless(&status.to_string());
    let waits = project.run_on("m2", "deploy web v3").expect(6).to_string();
    assert!(waits.contains("forged"), "{waits}");
    expect_harmless(&waits);
    project.open_gate();
    let first = first.end().expect(0);
    expect_harmless(&first.to_string());
    assert!(first.stderr.contains(shown), "{first}");
    let mut said = run(hostile("deploy web talks -vvv")).to_string();
    assert!(said.contains("| ✓ forged"), "the app's log is in the error: {said}");
    for args in ["history", "history --format json", "status web -vv", "logs web", "plan web v1"] {
        let ran = run(hostile(args));
        if args == "history" {
            assert!(ran.stdout.contains(shown), "{ran}");
        }
        said.push_str(&ran.to_string());
    }
    expect_harmless(&said);
}
