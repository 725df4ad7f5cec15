//! A release that is healthy when it is asked directly, and answers wrongly through the router.

use std::time::{Duration, Instant};

use crate::support::project::{Project, Setup};

/// The answer was definite after the third one; ten seconds are what silence is waited for.
const TURNED_BACK_SECONDS_MAX: u64 = 8;

#[test]
fn a_release_that_answers_the_question_through_the_router_wrongly_is_gone_back_from_at_once() {
    let setup =
        Setup { service: "    verify: { path: \"/\", body: \"from {tag}\" }\n".into(), ..Setup::default() };
    let project = Project::with(&setup);
    project.deploy("v1");
    project.release("v3", "FAIL_PATHS=/");
    let begun = Instant::now();
    project.run("deploy web v3").expect(3).says(&[
        "v3 answers wrongly through builtin: GET /: the answer was 500",
        "3 times in a row",
        "rolled back",
        "`lockgate logs web --slot green` shows more",
    ]);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(TURNED_BACK_SECONDS_MAX), "{took:?}");
    project.expect_settled("v1");
    project.deploy("v2");
    project.expect_settled("v2");
}
