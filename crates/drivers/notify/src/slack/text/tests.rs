//! What is in Slack, whole.

use lockgate_model::{Changes, Commit, CommitSha, Commits, Evidence, Failure, FailureKind, HostId, Slot};

use super::*;
use crate::fixtures::{self, message};

fn unhealthy() -> Failure {
    let check =
        |check: &str, ok| Evidence { check: check.into(), wanted: "200".into(), seen: "500".into(), ok };
    Failure::new(FailureKind::Unhealthy, "green does not answer <health> & more")
        .at(&HostId::new("web1").unwrap())
        .slot(Slot::Green)
        .logs(vec!["password=hunter2".into()])
        .evidence(vec![check("GET /", true), check("GET /health", false)])
        .hint("look at the log: lockgate logs web")
}

#[test]
fn starting_and_success_are_two_lines() {
    insta::assert_snapshot!(whole(&message(MessageKind::Starting)), @r"
    :hourglass_flowing_sand: *web* `v2` → *prod* (2 hosts): starting
    `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
    ");
    insta::assert_snapshot!(whole(&message(MessageKind::Success)), @r"
    :white_check_mark: *web* `v2` is live in *prod* (2 hosts)
    `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
    ");
}

#[test]
fn what_is_known_of_the_change_is_said_whoever_wrote_it() {
    let mut shipped = message(MessageKind::Success);
    let provenance = lockgate_model::Provenance {
        author: Some("Kim <!channel>".into()),
        subject: Some("Say `hello`".into()),
        ..lockgate_model::Provenance::default()
    };
    shipped.release.as_mut().unwrap().provenance = Some(Box::new(provenance));
    insta::assert_snapshot!(whole(&shipped), @r"
    :white_check_mark: *web* `v2` is live in *prod* (2 hosts)
    `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
    `Say 'hello' (Kim &lt;!channel&gt;)`
    ");
}

#[test]
fn rolled_back_and_failed_say_why_without_log_lines() {
    let mut rolled_back = message(MessageKind::RolledBack);
    rolled_back.failure = Some(unhealthy());
    insta::assert_snapshot!(whole(&rolled_back), @r"
    :leftwards_arrow_with_hook: *web* `v2` was rolled back in *prod* (2 hosts): the previous release is live
    `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
    *unhealthy* on `web1` in green: `green does not answer &lt;health&gt; &amp; more`
    • `GET /health`: wanted `200`, saw `500`
    _Hint:_ `look at the log: lockgate logs web`
    ");
    let mut failed = message(MessageKind::Failed);
    failed.hosts.truncate(1);
    failed.failure = Some(Failure::new(FailureKind::NotFound, "no tag v2"));
    insta::assert_snapshot!(whole(&failed), @r"
    :x: *web* `v2` did not get to *prod* (1 host): nothing was changed
    `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
    *not found*: `no tag v2`
    ");
}

#[test]
fn what_failed_before_its_run_began_says_what_was_asked_for() {
    let mut failed = message(MessageKind::Failed);
    (failed.release, failed.run, failed.asked) = (None, None, Some("v9".into()));
    failed.failure = Some(Failure::new(FailureKind::NotFound, "no tag v9"));
    insta::assert_snapshot!(whole(&failed), @r"
    :x: *web* `v9` did not get to *prod* (2 hosts): nothing was changed
    `lee@laptop` · before a run began
    *not found*: `no tag v9`
    ");
    failed.asked = None;
    insta::assert_snapshot!(whole(&failed), @r"
    :x: *web* was not rolled back in *prod* (2 hosts): nothing was changed
    `lee@laptop` · before a run began
    *not found*: `no tag v9`
    ");
}

#[test]
fn a_run_that_was_left_in_the_middle_is_not_said_to_have_ended() {
    let mut left = message(MessageKind::Unknown);
    left.commands = vec!["lockgate --env prod resume web".into()];
    let text = whole(&left);
    for wanted in ["left in the middle", "not known", "lockgate --env prod resume web"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("nothing was changed"), "{text}");
}

#[test]
fn critical_says_what_to_type() {
    let mut critical = message(MessageKind::Critical);
    critical.failure = Some(unhealthy());
    critical.commands = vec!["lockgate status web".into(), "docker logs web-green 2>&1".into()];
    insta::assert_snapshot!(whole(&critical), @r"
    :rotating_light: *web* is stuck in *prod* (2 hosts): `v2` failed and the rollback failed too. Look now.
    `lee@laptop` · run `00000000-0000-0000-0000-000000000007`
    *unhealthy* on `web1` in green: `green does not answer &lt;health&gt; &amp; more`
    • `GET /health`: wanted `200`, saw `500`
    _Hint:_ `look at the log: lockgate logs web`
    Type, in this order:
    ```
    lockgate status web
    docker logs web-green 2&gt;&amp;1
    ```
    ");
}

#[test]
fn nothing_from_elsewhere_can_mention_a_channel_or_flood_it() {
    let mut failed = message(MessageKind::Failed);
    failed.owner = "<!channel>@laptop".into();
    let many = (0..1_000).map(|_| Evidence {
        check: "x".repeat(100_000),
        wanted: "<@U1>".into(),
        seen: String::new(),
        ok: false,
    });
    failed.failure =
        Some(Failure::new(FailureKind::Other, "<!here>".repeat(50_000)).evidence(many.collect()));
    failed.commands = vec!["```<!channel>".into(); 1_000];
    let shown = whole(&failed);
    assert!(!shown.contains('<') && !shown.contains('>'), "{shown}");
    assert!(shown.chars().count() <= TEXT_CHARS_MAX, "{}", shown.chars().count());
    assert_eq!(shown.matches("```").count(), 2);
}

#[test]
fn who_what_changes_how_long_and_where_to_look_are_in_one_message() {
    insta::assert_snapshot!(whole(&fixtures::told(MessageKind::Starting)));
    insta::assert_snapshot!(whole(&fixtures::told(MessageKind::Success)));
    let failed = Message { failure: Some(unhealthy()), ..fixtures::told(MessageKind::RolledBack) };
    insta::assert_snapshot!(whole(&failed));
}

#[test]
fn commits_that_are_taken_back_are_said_to_be_that_and_what_is_not_known_is_said_to_be_unknown() {
    insta::assert_snapshot!(whole(&fixtures::going_back()));
    let changes = |changes| Message { changes, ..fixtures::going_back() };
    insta::assert_snapshot!(whole(&changes(Some(Changes::unknown("nothing was live before")))));
    let same = Changes::Known {
        since: CommitSha::new("2".repeat(40)).unwrap(),
        brought: Commits::default(),
        taken_back: Commits::default(),
    };
    insta::assert_snapshot!(whole(&changes(Some(same))));
}

#[test]
fn a_job_that_failed_is_named_with_its_last_lines() {
    insta::assert_snapshot!(whole(&fixtures::job_failed()));
}

#[test]
fn with_much_to_say_why_it_failed_has_its_room_before_the_commits() {
    let mut flood = fixtures::told(MessageKind::Critical);
    let hints = (0..20).fold(Failure::new(FailureKind::Other, "m".repeat(900)), |failure, number| {
        failure.hint(format!("{number} {}", "h".repeat(500)))
    });
    flood.failure = Some(hints);
    flood.commands = vec!["lockgate status web".into(); 100];
    flood.warnings = vec![Failure::new(FailureKind::Other, "<!here>".repeat(900)); 9];
    let commit = |number: u64| {
        let id = CommitSha::new(format!("{number:040x}")).unwrap();
        Commit::new(&id, &"<@U1>".repeat(100), &"&<!channel>".repeat(100))
    };
    let many = Commits { count: 1_000, newest: (1..=10).map(commit).collect() };
    let since = CommitSha::new("1".repeat(40)).unwrap();
    flood.changes = Some(Changes::Known { since, brought: many.clone(), taken_back: many });
    let text = whole(&flood);
    assert!(text.chars().count() <= TEXT_CHARS_MAX, "{}", text.chars().count());
    assert!(text.contains("*failed*: `mmm") && text.contains(":warning: and 6 more"), "{text}");
    assert!(text.contains("Say 'hello'"), "the release's own commit: {text}");
    // The two links are ours.
    assert_eq!(text.matches('<').count(), 2, "{text}");

    flood.failure = None;
    flood.commands.clear();
    let text = whole(&flood);
    assert!(text.chars().count() <= TEXT_CHARS_MAX, "{}", text.chars().count());
    assert!(text.contains("*1000 commits* since `1111111`:") && text.contains("• and 99"), "{text}");
    let Texts { head, details } = Texts::of(&flood);
    assert!(head.chars().count() <= TEXT_CHARS_MAX && details.is_none(), "{head}");
}
