//! A commit on its way: tested, built, pushed, deployed; and nothing where nothing has changed.

use std::time::Instant;

use super::yard::{Setup, Yard};
use crate::support::double::{Double, Manner};

const WATCHED: &str = "    watch: [\"src/**\", Dockerfile, docker-compose.yml]\n    test: \"echo TESTED $(cat src/version); \
                       echo \\\"key $SHOP_TOKEN\\\"\"\n    build: { tags: [\"{sha}\", latest, \"{branch}\"] }\n";
/// What `ship` may take beyond git's own time where nothing has changed, as processor time: other tests run beside this one, and
/// what they take is not told of the time on the clock.
const NOTHING_CHANGED_MILLIS_MAX: u64 = 50;
/// Rounds over which that is measured: the system counts in steps of 10 ms.
const ROUNDS: u64 = 10;

#[test]
fn a_commit_is_tested_built_pushed_and_deployed_and_then_there_is_nothing_to_ship() {
    let Some(yard) = Yard::start(&Setup { service: WATCHED.into(), ..Setup::default() }) else { return };
    let first = yard.git(&["rev-parse", "HEAD"]);
    let mut command = yard.command("ship --format json");
    command.env("SHOP_TOKEN", "hunter2-in-the-test");
    let ran = crate::support::project::run(command).expect(0);
    assert!(!format!("{ran}").contains("hunter2"), "{ran}");
    let lines = ran.lines();
    let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    let jobs = |wanted: &str| -> Vec<&str> {
        let of = lines.iter().filter(|line| line["event"] == wanted);
        of.map(|line| line["job"].as_str().unwrap()).collect()
    };
    assert_eq!(jobs("job_started"), ["test", "build", "push"], "{events:?}");
    assert!(lines.iter().any(|line| line["text"] == "TESTED one"), "{ran}");
    assert!(lines.iter().any(|line| line["text"] == "key ***"), "{ran}");
    let result = ran.last();
    let digest = yard.in_registry(&first).unwrap();
    assert_eq!(
        (&result["event"], &result["result"]["outcome"]),
        (&"result".into(), &"succeeded".into()),
        "{ran}"
    );
    let release = &result["release"];
    assert_eq!((release["tag"].as_str(), release["digest"].as_str()), (Some(&*first), Some(&*digest)));
    assert_eq!(release["commit"], *first);
    let provenance = &release["provenance"];
    assert_eq!((&provenance["author"], &provenance["subject"]), (&"Kim Ship".into(), &"First".into()));
    assert!(provenance["builder"].as_str().unwrap().starts_with("docker, "), "{provenance}");
    assert!(provenance["built_at"].is_number() || provenance["built_at"].is_string(), "{provenance}");
    for tag in ["latest", "main"] {
        assert_eq!(yard.in_registry(tag).as_ref(), Some(&digest), "{tag}");
    }
    yard.expect_serving();
    assert_eq!(
        (yard.live()["digest"].as_str(), yard.live()["commit"].as_str()),
        (Some(&*digest), Some(&*first))
    );
    // What is kept beside the project is in no commit by accident.
    assert_eq!(yard.git(&["status", "--porcelain"]), "");
    // It is kept: with the run, in the history, and on the host.
    let logs = yard.logs("test.log");
    assert_eq!(logs, ["TESTED one\nkey ***\n"]);
    assert_eq!(yard.logs("run"), [format!("{}\n", result["run"].as_str().unwrap())]);
    let past = yard.run("history --format json").expect(0).last();
    assert_eq!(past["release"]["provenance"]["subject"], "First", "{past:#}");

    // Nothing has changed, or nothing that counts.
    yard.run("ship").expect(0).says(&["nothing to ship", &first[..7], "is live already"]);
    yard.change("README.md", "words", "Words");
    yard.run("ship").expect(0).says(&["nothing that counts has changed", &first[..7]]);
    assert_eq!(yard.logs("test.log").len(), 1, "nothing was tested");
    let git = millis_of_each(|| drop(yard.git(&["status", "--porcelain"])));
    let began = Instant::now();
    let ship = millis_of_each(|| drop(yard.run("ship").expect(0)));
    eprintln!("nothing changed: git {git} ms, ship {ship} ms; on the clock {:?} each", began.elapsed() / 10);
    assert!(ship < git + NOTHING_CHANGED_MILLIS_MAX, "git {git} ms, ship {ship} ms");

    // Something has.
    let third = yard.change("src/version", "two", "Say `two`\n\nbecause");
    let ran = yard.run("ship web").expect(0).says(&["src/version has changed since", "TESTED two", "✓ push"]);
    assert!(ran.stderr.find("✓ test").unwrap() < ran.stderr.find("✓ build").unwrap(), "{ran}");
    assert_eq!(yard.live()["commit"], *third);
    yard.run("rollback web").expect(0);
    assert_eq!(yard.live()["commit"], *first);
    // What was rolled back is not live, so there is something to ship; and a person may say so anyhow.
    yard.run("ship web").expect(0).says(&["src/version has changed since"]);
    assert_eq!(yard.live()["commit"], *third);
    yard.run("ship web --force").expect(0).says(&["TESTED two", "nothing to do"]);
}

/// The processor time of the processes that this one has started and that have ended, with all that those had started.
fn millis_of_children() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name: proc(5), `cutime` and `cstime`, the 16th and 17th field, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[13..15].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

fn millis_of_each(mut what: impl FnMut()) -> u64 {
    let before = millis_of_children();
    (0..ROUNDS).for_each(|_| what());
    (millis_of_children() - before) / ROUNDS
}

#[test]
fn what_fails_stops_the_rest_is_told_to_people_and_changes_nothing() {
    let hook = Double::start(Manner::Answers("204 No Content", ""));
    let setup = Setup {
        service:
            "    test: \"cat src/version; test ! -e src/broken\"\n    build: { tags: [\"{sha}\", latest] }\n"
                .into(),
        end: format!("notify: [{{ webhook: {{ url: \"http://{}/hook\" }} }}]\n", hook.address),
        ..Setup::default()
    };
    let Some(yard) = Yard::start(&setup) else { return };
    let first = yard.git(&["rev-parse", "HEAD"]);
    yard.run("ship").expect(0);
    let live = yard.live();
    let told = || {
        hook.bodies()
            .iter()
            .map(|body| serde_json::from_str(body).unwrap())
            .collect::<Vec<serde_json::Value>>()
    };
    assert_eq!(told().len(), 2);
    let end = told().pop().unwrap();
    assert_eq!(end["changes"]["unknown"], "nothing was live before", "{end:#}");
    assert!(end["took"].is_u64() && end["requester"].is_null(), "{end:#}");

    // The test, in CI.
    let second = yard.change("src/broken", "", "Break the `test` <!channel>");
    let mut command = yard.command("ship");
    command
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", "acme/shop")
        .env("GITHUB_RUN_NUMBER", "17");
    command
        .env("GITHUB_ACTOR", "kim")
        .env("GITHUB_SERVER_URL", "https://github.com")
        .env("GITHUB_RUN_ID", "42");
    crate::support::project::run(command).expect(1).says(&[
        "✗ test",
        "exit code 1",
        "lockgate ship web --job test",
        ".lockgate/ship/",
    ]);
    assert_eq!((yard.in_registry(&second), yard.live()), (None, live.clone()));
    let last = told().pop().unwrap();
    assert_eq!((&last["kind"], &last["asked"]), (&"failed".into(), &(*second).into()), "{last:#}");
    assert!(last["failure"]["message"].as_str().unwrap().contains("the test failed"), "{last:#}");
    assert_eq!((&last["job"], &last["failure"]["logs"][0]), (&"test".into(), &"one".into()), "{last:#}");
    assert_eq!(last["requester"]["name"], "acme/shop#17 for kim");
    assert_eq!(last["requester"]["link"], "https://github.com/acme/shop/actions/runs/42");
    assert_eq!((&last["commit"]["id"], &last["changes"]["since"]), (&(*second).into(), &(*first).into()));
    let [brought] = &last["changes"]["brought"]["newest"].as_array().unwrap()[..] else { panic!("{last:#}") };
    let said = (&brought["subject"], &brought["author"]);
    assert_eq!(said, (&"Break the 'test' <!channel>".into(), &"Kim Ship".into()));
    assert_eq!(yard.in_registry("latest"), yard.in_registry(&first));

    // The build.
    std::fs::remove_file(yard.path("src/broken")).unwrap();
    yard.commit("Mend the test");
    let third = yard.change("Dockerfile", "FROM scratch\nCOPY nowhere /\n", "Break the build");
    yard.run("ship").expect(1).says(&["✓ test", "✗ build", "nowhere"]);
    assert_eq!((yard.in_registry(&third), yard.live()), (None, live.clone()));
    let last = told().pop().unwrap();
    assert!(last["failure"]["message"].as_str().unwrap().contains("could not build"), "{last:#}");
    assert_eq!(
        (&last["job"], &last["changes"]["brought"]["count"]),
        (&"build".into(), &3.into()),
        "{last:#}"
    );

    // A file that no commit has.
    yard.git(&["revert", "--no-edit", "HEAD"]);
    yard.write("src/new", "x");
    let count = told().len();
    yard.run("ship").expect(1).says(&["src/new", "--allow-dirty"]);
    assert_eq!(told().len(), count, "of what was refused before any job nobody is told");
    let ran = yard.run("ship --allow-dirty --format json").expect(0).last();
    let head = yard.git(&["rev-parse", "HEAD"]);
    assert_eq!(ran["release"]["tag"], format!("{head}-dirty"));
    assert_eq!(yard.in_registry(&head), None, "it is not the commit");
    assert_eq!(yard.in_registry("latest"), yard.in_registry(&first));
    // Whoever ships next knows that what is live is no commit.
    std::fs::remove_file(yard.path("src/new")).unwrap();
    yard.run("ship").expect(0).says(&["was built from a tree with changes"]);
    assert_eq!(yard.live()["commit"], *head);
    let why = told().pop().unwrap()["changes"]["unknown"].as_str().unwrap().to_owned();
    assert!(why.contains("was built from a tree with changes"), "{why}");
}

#[test]
fn people_are_told_which_commits_a_run_brings_or_takes_back_and_which_test_may_fail() {
    let hook = Double::start(Manner::Answers("204 No Content", ""));
    let setup = Setup {
        service: "    test: { run: \"exit 3\", allow_failure: true }\n".into(),
        end: format!("notify: [{{ webhook: {{ url: \"http://{}/hook\" }} }}]\n", hook.address),
        ..Setup::default()
    };
    let Some(yard) = Yard::start(&setup) else { return };
    let last = || serde_json::from_str::<serde_json::Value>(hook.bodies().last().unwrap()).unwrap();
    let first = yard.git(&["rev-parse", "HEAD"]);
    yard.run("ship").expect(0);
    yard.change("src/version", "two", "Say two");
    let third = yard.change("src/version", "three", "Say three");
    yard.run("ship").expect(0);
    let told = last();
    let subjects = |which: &str| -> Vec<String> {
        let newest = last()["changes"][which]["newest"].as_array().unwrap().clone();
        newest.iter().map(|commit| commit["subject"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((told["kind"].as_str(), &told["changes"]["since"]), (Some("success"), &(*first).into()));
    assert_eq!(
        (subjects("brought"), subjects("taken_back")),
        (vec!["Say three".into(), "Say two".into()], vec![])
    );
    let warning = told["warnings"][0]["message"].as_str().unwrap();
    assert!(warning.contains("exit code 3") && warning.ends_with("which is allowed"), "{told:#}");

    yard.run("rollback web").expect(0);
    assert_eq!(
        (subjects("brought"), subjects("taken_back")),
        (vec![], vec!["Say three".into(), "Say two".into()])
    );
    // A release that is called by its commit is known by that, and where this is no clone of it nothing is said.
    yard.run(&format!("deploy web {third}")).expect(0);
    assert_eq!(subjects("brought"), ["Say three", "Say two"]);
    std::fs::rename(yard.path(".git"), yard.path(".elsewhere")).unwrap();
    yard.run("rollback web").expect(0);
    assert!(last()["changes"].is_null(), "{:#}", last());
}

#[test]
fn jobs_that_ci_runs_apart_deploy_the_commit_s_own_image_and_no_other() {
    let setup = Setup {
        service: "    watch: [\"src/**\"]\n    test: { run: \"exit 3\", allow_failure: true }\n    build: { tags: [\"sha-{sha:.8}\", latest] }\n".into(),
        ..Setup::default()
    };
    let Some(yard) = Yard::start(&setup) else { return };
    let first = yard.git(&["rev-parse", "HEAD"]);
    let tag = format!("sha-{}", &first[..8]);
    yard.run("ship --job test").expect(0).says(&["exit code 3", "which is allowed"]);
    yard.run("ship --job deploy")
        .expect(1)
        .says(&[&format!("{}:{tag} is not in its registry", yard.image()), "--job build"]);
    let built = yard.run("ship --job build --format json").expect(0).last();
    assert_eq!(built["tag"], *tag);
    assert_eq!(built["digest"].as_str(), yard.in_registry(&tag).as_deref());
    yard.run("ship --job deploy").expect(0);
    assert_eq!(yard.live()["digest"], built["digest"]);
    assert_eq!(yard.live()["commit"], *first);
    // The job that built it ran elsewhere, so the image says who that was, and when.
    let past = yard.run("history --format json").expect(0).last();
    let provenance = &past["release"]["provenance"];
    assert!(provenance["builder"].as_str().unwrap().starts_with("docker, "), "{past:#}");
    assert!(provenance["built_at"].as_i64().unwrap() > 1_700_000_000_000, "{past:#}");

    // `latest` is there, and leads to the commit before.
    let second = yard.change("src/version", "two", "Two");
    let missing = format!("sha-{} is not in its registry", &second[..8]);
    yard.run("ship --job deploy").expect(1).says(&[&missing]);
    assert_eq!(yard.live()["commit"], *first);

    // A job of GitHub that a push has started goes by the push.
    let third = yard.change("README.md", "words", "Words");
    let pushed = |before: &str, after: &str| {
        yard.write(".lockgate/event.json", &format!("{{\"before\":\"{before}\",\"after\":\"{after}\"}}"));
        let mut command = yard.command("ship --job build");
        command.env("GITHUB_EVENT_NAME", "push").env("GITHUB_EVENT_PATH", yard.path(".lockgate/event.json"));
        crate::support::project::run(command)
    };
    pushed(&second, &third).expect(0).says(&["nothing to ship", &second[..7], "the push before"]);
    pushed(&first, &third).expect(0).says(&["src/version has changed", "is built and in its registry"]);
    pushed("--upload-pack=x", &third)
        .expect(0)
        .says(&["--upload-pack=x", "what the push brought is not known"]);
    yard.run("ship").expect(0).says(&["exit code 3", "which is allowed"]);
}
