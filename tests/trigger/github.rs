//! In a job of GitHub Actions.

use super::{SHA, call};
use crate::support::double::{Double, Manner};
use crate::support::project::run;

/// A rolled-back release whose app wrote what GitHub takes for commands, and the caller's own secret.
const ROLLED_BACK: &str = r#"{"run":"00000000-0000-0000-0000-000000000007","status":"rolled_back","release":{"tag":"v2","digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111"},"dark_ms":120,"logs":["::set-env name=PATH::/evil","hunter2hunter2hunter2 ```"],"error":{"kind":"unhealthy","message":"green: 100 %\\n","hint":"look"}}"#;

#[test]
fn a_job_gets_an_annotation_a_page_and_a_log_without_forged_commands() {
    let double =
        Double::start(Manner::Answers("502 Bad Gateway\r\ncontent-type: application/json", ROLLED_BACK));
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page");
    std::fs::write(&page, "before\n").unwrap();
    let mut command = call(&double, folder.path(), &["--service", "web"]);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &page);
    let said = run(command).expect(3);

    let lines: Vec<&str> = said.stderr.lines().collect();
    let [group, quiet, loud, end_of_group, annotation] = lines.as_slice() else { panic!("{said}") };
    let token = quiet.strip_prefix("::stop-commands::").unwrap();
    assert!(token.len() >= 32, "nobody can guess it: {token}");
    assert_eq!(
        (*group, *loud, *end_of_group),
        ("::group::Deploy web", &*format!("::{token}::"), "::endgroup::")
    );
    assert_eq!(
        *annotation,
        "::error title=Deploy web%3A rolled back::unhealthy: green: 100 %25\\n%0A  its last log lines:%0A    | \
         ::set-env name=PATH::/evil%0A    | *** ```%0A  hint: look"
    );
    assert!(said.stdout.lines().all(|line| !line.trim_start().starts_with("::")), "{said}");

    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.starts_with("before\n### ⚠️ Deploy web\n"), "{page}");
    assert!(
        page.contains("| Dark for | 120ms |") && page.contains(&format!("| Commit | `{SHA}` |")),
        "{page}"
    );
    assert!(page.contains("\n````text\n") && page.ends_with("\n````\n\n"), "{page}");
    assert!(!format!("{said}{page}").contains("hunter2"), "{page}");
}

#[test]
fn also_where_nobody_answers_and_where_json_is_wanted() {
    let double = Double::start(Manner::Answers("302 Found\r\nlocation: https://evil.example/", ""));
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page");
    let mut command = call(&double, folder.path(), &["--format", "json"]);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &page);
    let said = run(command).expect(2);
    assert_eq!(said.last()["exit"], 2);
    let annotation = said.stderr.lines().next().unwrap();
    assert!(
        annotation.starts_with("::error title=Deploy%3A refused%3A nothing was changed::refused: http"),
        "{said}"
    );
    assert!(!said.stderr.contains("::group::"), "{said}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("redirects to"), "{said}");
}
