//! Slack by a bot: one message for each run, by the real binary, against the double for Slack's Web API; and the double
//! itself against somebody else's client.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::double::{Double, Manner};
use crate::support::project::{Project, Setup, run};
use crate::support::slack::{Bad, CHANNEL, Said, SlackDouble, TOKEN};

/// Where `scripts/setup` puts slack-sdk.
const PYTHON_LIBRARIES: &str = "/usr/local/share/lockgate-test/python";
/// What the client answers where slack-sdk is not there.
const NOT_THERE: i32 = 77;
/// Some seconds for what people are still to be told, and some for the deployment.
const GIVEN_UP_SECONDS_MAX: u64 = 12;

fn project(slack: &SlackDouble, more: &str) -> Project {
    let end = format!(
        "notify:\n  - slack: {{ token: \"{TOKEN}\", channel: \"{CHANNEL}\", api: \"{}\" }}\n{more}",
        slack.api()
    );
    let project = Project::with(&Setup { health: "{ timeout: 400ms }", end, ..Setup::default() });
    project.release("sick", "UNHEALTHY=1");
    project.release("smoky", "FAIL_PATHS=/metrics");
    project
}

#[track_caller]
fn expect_harmless(said: &[Said]) {
    for one in said {
        assert!(one.finds().is_empty(), "Slack finds {:?} in {}", one.finds(), one.text);
        assert!(one.text.chars().count() <= 4_000, "{}", one.text);
    }
}

#[test]
fn a_run_is_one_message_that_tells_its_end_and_why_in_the_thread() {
    let slack = SlackDouble::start();
    let project = project(&slack, "");
    let deploy = |tag: &str| {
        let mut command = project.command(["deploy", "web", tag]);
        command.env("USER", "<!channel>*lee*`_x_`").env("LOGNAME", "<!channel>");
        run(command)
    };
    let said = |ran: &crate::support::ran::Ran| assert!(!ran.stderr.contains("not delivered"), "{ran}");
    said(&deploy("v1").expect(0));
    said(&deploy("smoky").expect(3));
    said(&deploy("sick").expect(1));
    said(&deploy("nowhere").expect(1));

    let top = slack.top();
    let begins: Vec<&str> = top.iter().map(|one| one.text.split(' ').next().unwrap()).collect();
    let rolled_back = ":leftwards_arrow_with_hook:";
    assert_eq!(begins, [":white_check_mark:", rolled_back, ":x:", ":x:"], "{top:#?}");
    for (one, tag) in top.iter().zip(["v1", "smoky", "sick", "nowhere"]) {
        assert!(one.text.contains(&format!("*web* `{tag}`")), "{top:#?}");
        let began = usize::from(tag != "nowhere");
        assert_eq!(one.earlier.len(), began, "one message for each run: {top:#?}");
        assert!(one.earlier.iter().all(|text| text.contains("starting")), "{top:#?}");
    }
    let replies: Vec<Vec<Said>> = top.iter().map(|one| slack.replies(one)).collect();
    assert_eq!(replies.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 1, 1], "{replies:#?}");
    assert!(replies[1][0].text.contains("/metrics"), "{replies:#?}");
    assert!(replies[2][0].text.contains("*unhealthy*"), "{replies:#?}");
    assert!(replies[3][0].text.contains("*not found*"), "{replies:#?}");
    assert_eq!(slack.said().len(), 7);
    expect_harmless(&slack.said());
    assert!(slack.said().iter().any(|one| one.text.contains("&lt;!channel&gt;")), "{:#?}", slack.said());
    assert!(slack.warnings().is_empty(), "{:?}", slack.warnings());
}

#[test]
fn the_variables_of_system_a_choose_between_bot_and_webhook_and_say_what_a_webhook_ignores() {
    let slack = SlackDouble::start();
    let hook = Double::start(Manner::Answers("200 OK", "ok"));
    let project = Project::new();
    let webhook = format!("http://{}/services/T000", hook.address);
    let with_webhook = |args: &[&str]| {
        let mut command = project.command(args.iter().copied());
        command.env("SLACK_WEBHOOK_URL", &webhook).env("SLACK_CHANNEL", CHANNEL);
        run(command)
    };
    let ignored = "ignore `channel` (\"#deploys\")";
    with_webhook(&["deploy", "web", "v1"]).expect(0).says(&[ignored, "export SLACK_BOT_TOKEN"]);
    assert_eq!(hook.bodies().len(), 2);
    with_webhook(&["doctor"]).expect(0).says(&["notifications", "! slack", "cannot be tried", ignored]);
    assert_eq!(hook.bodies().len(), 2, "doctor tells nobody anything");

    let with_bot = |args: &[&str], token: &str| {
        let mut command = project.command(args.iter().copied());
        command.env("SLACK_WEBHOOK_URL", &webhook).env("SLACK_CHANNEL", CHANNEL);
        command.env("SLACK_BOT_TOKEN", token).env("SLACK_API_URL", slack.api());
        run(command)
    };
    let ran = with_bot(&["deploy", "web", "v2"], TOKEN).expect(0);
    assert!(!ran.stderr.contains("slack"), "{ran}");
    assert_eq!((slack.top().len(), hook.bodies().len()), (1, 2));
    with_bot(&["doctor"], TOKEN).expect(0).says(&["✓ slack #deploys", "in the workspace \"Acme\""]);
    let wrong = with_bot(&["doctor"], "xoxb-3333333333-wrong").expect(1);
    assert!(!wrong.to_string().contains("3333333333"), "{wrong}");
    wrong.says(&["✗ slack #deploys: Slack answers invalid_auth", "check the token"]);
}

#[test]
fn a_refusal_says_what_to_do_and_changes_no_exit_code() {
    let slack = SlackDouble::start();
    let project = project(&slack, "");
    slack.next_is("chat.postMessage", Bad::Word("not_in_channel"));
    let ran = project.run("deploy web v1").expect(0).says(&[
        "slack #deploys: 1 of this run's messages not delivered; invite the bot",
        "Slack answers not_in_channel",
    ]);
    assert!(!ran.to_string().contains(TOKEN), "{ran}");
    // The start did not arrive, so the end is a message of its own.
    let top = slack.top();
    assert!(top.len() == 1 && top[0].text.starts_with(":white_check_mark:"), "{top:#?}");
    assert!(top[0].earlier.is_empty(), "{top:#?}");
}

#[test]
fn no_run_waits_for_slack_and_the_command_waits_some_seconds_after_its_result_or_until_ctrl_c() {
    let slack = SlackDouble::start();
    let project = project(&slack, "");
    for impatient in [false, true] {
        slack.next_is("chat.postMessage", Bad::Silent);
        let began = Instant::now();
        let tag = if impatient { "v2" } else { "v1" };
        let running = project.start(&format!("deploy web {tag} --format json"));
        running.wait_until_printed("\"event\":\"result\"");
        if impatient {
            running.signal(Signal::INT);
        }
        let ran = running.end().expect(0);
        assert!(began.elapsed() < Duration::from_secs(GIVEN_UP_SECONDS_MAX), "{:?}\n{ran}", began.elapsed());
        assert_eq!(ran.last()["event"], "result");
        let untold = format!("(web {tag} in prod: starting, web {tag} in prod: success)");
        let why = if impatient { "cancelled: nobody waited for it" } else { "given up 5 s after the end" };
        ran.says(&["slack #deploys: 2 of this run's messages not delivered", &untold, why]);
        project.expect_settled(tag);
    }
}

/// The double is what the tests above rest on, so a client that was made for Slack itself uses it.
#[test]
fn slack_sdk_from_pypi_finds_slack_in_the_double() {
    let slack = SlackDouble::start();
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/support/slack_client.py");
    slack.next_is("chat.postMessage", Bad::RateLimited(1));
    let mut command = Command::new("python3");
    command.args([client, &slack.api(), TOKEN, CHANNEL]).env("PYTHONPATH", PYTHON_LIBRARIES);
    let output = match command.output() {
        Ok(output) if output.status.code() != Some(NOT_THERE) => output,
        Ok(_) | Err(_) => {
            eprintln!(
                "SKIPPED: slack-sdk is not there, so the Slack double was not tried with it: `scripts/setup` installs it where pip is"
            );
            return;
        }
    };
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let top = slack.top();
    assert_eq!(
        (top[0].text.as_str(), top[0].earlier.as_slice()),
        ("done", &["starting: Ä & <b>".to_owned()][..])
    );
    let replies = slack.replies(&top[0]);
    assert!(replies.len() == 1 && replies[0].is_broadcast, "{replies:#?}");
    let answered: Vec<String> = slack.calls().into_iter().map(|call| call.answered).collect();
    assert_eq!(answered[..4], ["ok", "ratelimited", "ok", "ok"], "{answered:?}");
}
