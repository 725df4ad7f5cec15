//! The newcomer's first command.

use crate::support::project::Project;

#[test]
fn the_demo_loses_no_request_and_leaves_nothing_behind() {
    let project = Project::empty();
    let temporary = project.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = project.command(["demo", "--format", "json"]);
    command.env("TMPDIR", &temporary);
    let ran = crate::support::project::run(command).expect(0);
    assert_eq!(ran.lines().len(), 1, "the final object is all that is on standard output:\n{ran}");
    let report = ran.last();
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(report["failed"], 0, "{report:#}");
    assert!(report["requests"].as_u64().unwrap() > 100, "{report:#}");
    assert!(report["swaps"].as_u64().unwrap() >= 4, "{report:#}");
    assert_eq!(report["rollbacks"], 1, "{report:#}");
    assert_eq!(report["resumed"], true, "{report:#}");
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let left = crate::support::processes::below(project.root());
    assert!(left.is_empty(), "{left:#?}");
}
