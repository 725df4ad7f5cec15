//! A release that is gone back to runs with the environment that it had.

use std::os::unix::fs::PermissionsExt;

use crate::support::app;
use crate::support::project::{Project, Setup};

const SECRET: &str = "s3cret-0ne";

fn setup(env: &str) -> Setup {
    Setup { service: format!("    env: {env}\n"), ..Setup::default() }
}

/// The app writes down what it finds in its environment, and serves.
fn release(project: &Project, tag: &str) {
    let (root, hello) = (project.root().display(), app::hello().display());
    project.script(
        &format!("app-{tag}"),
        &format!(
            "#!/bin/sh\nprintf '%s,%s,%s' \"$GREETING\" \"$TOKEN\" \"${{NEW-none}}\" >{root}/found-by-{tag}\n\
             HOST=127.0.0.1 VERSION={tag} SLOT=$LOCKGATE_SLOT exec {hello}\n"
        ),
    );
}

fn found(project: &Project, tag: &str) -> String {
    std::fs::read_to_string(project.path(format!("found-by-{tag}"))).unwrap()
}

#[test]
fn a_rollback_brings_the_environment_of_then_and_says_what_differs() {
    let project = Project::with(&setup(&format!("{{ GREETING: one, TOKEN: {SECRET} }}")));
    release(&project, "v1");
    release(&project, "v2");
    project.deploy("v1");
    assert_eq!(found(&project, "v1"), format!("one,{SECRET},none"));
    let changed = project.config(&setup("{ GREETING: two, TOKEN: s3cret-tw0, NEW: x }"));
    std::fs::write(project.path("m1/lockgate.yaml"), changed).unwrap();
    project.deploy("v2");
    assert_eq!(found(&project, "v2"), "two,s3cret-tw0,x");
    let ran = project.run("rollback web").expect(0);
    let ran = ran.says(&["its own environment of", "3 variables differ from today's: GREETING, NEW, TOKEN"]);
    assert!(!ran.to_string().contains(SECRET), "{ran}");
    project.expect_live("v1");
    assert_eq!(found(&project, "v1"), format!("one,{SECRET},none"));
    // A deployment of the same release gets today's.
    project.deploy("v2");
    project.deploy("v1");
    assert_eq!(found(&project, "v1"), "two,s3cret-tw0,x");

    let kept = project.path("host/prod/web/.lockgate/environments.json");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let history = project.run("history --format json").expect(0).to_string();
    assert!(!history.contains("s3cret"), "{history}");
    let journal = std::fs::read(project.path("m1/.lockgate/journal.db")).unwrap();
    for secret in [SECRET, "s3cret-tw0"] {
        assert!(!journal.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}
