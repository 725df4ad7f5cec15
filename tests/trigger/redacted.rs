//! Tokens that are known by their form, in nobody's environment, are told nowhere on the way from an app to CI.

use lockgate_model::Exit;

use super::site::{BAD, NEWER, Site};
use crate::support::files::holding;
use crate::support::project::{Setup, run};

/// In every token: where this is, a token is.
const PART: &str = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";

fn forms() -> Vec<String> {
    vec![
        format!("push with ghp_{PART}"),
        format!("installation ghs_123_{PART}.{PART}"),
        format!("fine github_pat_{PART}"),
        format!("bot xoxb-{PART}"),
        format!("webhook whsec_{PART}="),
        format!("jwt eyJ{PART}.eyJ{PART}.{PART}"),
        format!("> Authorization: Bearer {PART}"),
        format!("> Proxy-Authorization: Basic {PART}=="),
        format!("cannot reach postgres://shop:{PART}@db.example:5432/shop"),
    ]
}

#[test]
fn in_the_answer_the_events_the_job_the_journal_and_the_audit() {
    let mut site = Site::with(Setup::default());
    site.trigger(NEWER, "").expect(0);
    let said: String = forms().iter().map(|line| format!("echo '{line}'\n")).collect();
    site.project.script(&format!("app-{BAD}"), &format!("#!/bin/sh\n{said}exit 1\n"));

    let page = site.project.path("page");
    let mut command = site.call(BAD, "--service web -v");
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &page);
    let mut told = run(command).expect(Exit::Failed.code().into()).to_string();
    assert!(told.contains("push with ***") && told.contains("postgres://shop:***@db.example"), "{told}");
    // The same call as JSON, and what it left behind.
    told += &site.trigger(BAD, "--format json --force").expect(Exit::Failed.code().into()).to_string();
    for args in ["audit --format json", "audit", "history --format json", "status -v", "doctor"] {
        told += &site.project.run(args).to_string();
    }
    told += &std::fs::read_to_string(&page).unwrap();
    let daemon = site.daemon.take().unwrap();
    daemon.signal(rustix::process::Signal::TERM);
    told += &daemon.end().expect(0).to_string();
    let line = told.lines().find(|line| line.contains(PART));
    assert!(line.is_none(), "it was said: {}", line.unwrap_or_default());

    let own = |file: &String| file.ends_with(&format!("app-{BAD}")) || file.contains("/run/");
    let files: Vec<String> =
        holding(site.project.root(), PART).into_iter().filter(|file| !own(file)).collect();
    assert_eq!(files, Vec::<String>::new(), "beside the app itself and its log");
    site.project.expect_live(NEWER);
}
