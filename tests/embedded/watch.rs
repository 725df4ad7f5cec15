//! `status --watch`.

use rustix::process::Signal;

use crate::support::project::Project;

#[test]
fn a_watched_status_follows_what_is_live_until_it_is_interrupted() {
    let project = Project::new();
    let json = project.start("status --watch --format json");
    let text = project.start("status web --watch");
    json.wait_until_printed("\"image_tag\":null");
    text.wait_until_printed("web in prod");
    project.deploy("v1");
    json.wait_until_printed("\"image_tag\":\"v1\"");
    text.wait_until_printed("v1");
    project.deploy("v2");
    json.wait_until_printed("\"image_tag\":\"v2\"");
    for watching in [&json, &text] {
        watching.signal(Signal::INT);
    }
    // It only looks, so it simply ends.
    let ran = json.end();
    assert!(ran.code.is_none() && ran.stderr.is_empty(), "{ran}");
    assert!(ran.lines().iter().all(|line| line["service"] == "web"), "{ran}");
    let ran = text.end();
    assert!(!ran.stdout.contains('\u{1b}'), "no terminal, so nothing is cleared:\n{ran}");
}
