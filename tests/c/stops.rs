//! What is broken off, or cannot be: Ctrl-C, two at once, registries with a login, without one, and gone.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::yard::{Setup, Yard};
use crate::support::double::{Double, Manner};
use crate::support::project::Running;
use crate::support::{files, processes, wait_for};

/// From Ctrl-C to the end of a program that heeds no SIGTERM.
const ENDED_SECONDS_MAX: u64 = 6;

fn pid(yard: &Yard, name: &str) -> i32 {
    wait_for("the test to begin", 30, || std::fs::read_to_string(yard.path(name)).ok()?.trim().parse().ok())
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
}

#[test]
fn ctrl_c_ends_all_that_a_job_has_started_and_the_next_ship_goes_on_as_if_nothing_were() {
    // A test whose child heeds no signal, and which lives on itself as long as the child does.
    let stubborn = "    test: \"test -e .lockgate/go || { mkdir -p .lockgate; (trap '' TERM INT; sleep 300 & echo $! >.lockgate/pid; wait) & \
                    echo waiting; wait; }\"\n";
    let Some(yard) = Yard::start(&Setup { service: stubborn.into(), ..Setup::default() }) else { return };
    let running = yard.begin("ship");
    let child = pid(&yard, ".lockgate/pid");
    // Somebody else meanwhile.
    yard.run("ship").expect(6).says(&["another `lockgate ship` is at work here"]);
    let interrupted = Instant::now();
    running.signal(Signal::INT);
    let ran = running
        .end()
        .expect(1)
        .says(&["interrupted by the user: the test was ended", "nothing was deployed"]);
    assert!(interrupted.elapsed() < Duration::from_secs(ENDED_SECONDS_MAX), "{:?}", interrupted.elapsed());
    wait_for("the child to be gone", 5, || (!is_alive(child)).then_some(()));
    assert!(ran.stderr.contains("waiting"), "{ran}");
    yard.run("status web").expect(0).says(&["nothing"]);
    // No lock is left.
    yard.write(".lockgate/go", "");
    yard.run("ship").expect(0);
    yard.expect_serving();
}

#[test]
fn a_build_that_is_broken_off_leaves_no_tag_and_no_program_behind() {
    let Some(yard) = Yard::start(&Setup::default()) else { return };
    let sleeping =
        "FROM scratch\nCOPY hello /hello\nENV PORT=5000 \nRUN [\"/hello\"]\nENTRYPOINT [\"/hello\"]\n";
    let commit = yard.change("Dockerfile", sleeping, "Never ends");
    let running = yard.begin("ship --format json");
    wait_for("the build to run", 60, || running.stdout().contains("RUN [").then_some(()));
    running.signal(Signal::INT);
    running.end().expect(1).says(&["the build was ended"]);
    assert_eq!(yard.in_registry(&commit), None);
    let images = yard.docker(&["images", "-q", &format!("{}:{commit}", yard.image())]);
    assert_eq!(images, "", "no image has its name");
    let root = yard.path("Dockerfile").parent().unwrap().to_path_buf();
    wait_for("all programs to end", 5, || processes::below(&root).is_empty().then_some(()));
}

#[test]
fn a_login_of_the_configuration_pushes_and_is_nowhere_afterwards() {
    let setup = Setup {
        end: "registries: { REGISTRY: { user: ann, password: \"${SHOP_PASSWORD}\" } }\n".into(),
        private: true,
        ..Setup::default()
    };
    let Some(yard) = Yard::start(&setup) else { return };
    let config = std::fs::read_to_string(yard.path("lockgate.yaml")).unwrap();
    let first = yard.change("lockgate.yaml", &config.replace("REGISTRY", &yard.registry), "With a login");
    let with = |password: &str| {
        let mut command = yard.command("ship --format json -vv");
        command.env("SHOP_PASSWORD", password);
        crate::support::project::run(command)
    };
    // A wrong one is told before anything is built.
    let wrong = with("not-the-password").expect(1).says(&["unauthorized", &yard.registry, "hint"]);
    assert!(!wrong.stdout.contains("job_started"), "{wrong}");
    let password = yard.password().to_owned();
    let ran = with(&password);
    assert!(!format!("{ran}").contains(&password), "{}", ran.code.unwrap_or(-1));
    ran.expect(0);
    assert_eq!(yard.live()["commit"], *first);
    let root = yard.path("lockgate.yaml").parent().unwrap().to_path_buf();
    assert_eq!(files::holding(&root, &password), [""; 0]);
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
    let left: Vec<_> =
        left.filter(|entry| entry.file_name().to_string_lossy().starts_with("lockgate-docker-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_push_that_breaks_off_is_said_and_the_next_one_goes_on() {
    let Some(yard) = Yard::start(&Setup {
        service: "    build: { tags: [\"{sha}\", latest] }\n".into(),
        ..Setup::default()
    }) else {
        return;
    };
    let (first, image) = (yard.git(&["rev-parse", "HEAD"]), yard.image());
    // The way to the registry breaks whenever a layer is sent.
    let broken = super::yard::Breaking::start(&yard.registry);
    let config = std::fs::read_to_string(yard.path("lockgate.yaml")).unwrap();
    let second =
        yard.change("lockgate.yaml", &config.replace(&yard.registry, &broken.address), "Another way");
    let ran = yard.run("ship").expect(1).says(&["✗ push", &broken.address, "ship again"]);
    assert!(ran.stderr.contains("unreachable"), "{ran}");
    assert_eq!(
        (yard.in_registry(&first), yard.in_registry(&second), yard.in_registry("latest")),
        (None, None, None)
    );
    yard.run("status web").expect(0).says(&["nothing"]);
    yard.git(&["revert", "--no-edit", "HEAD"]);
    let third = yard.git(&["rev-parse", "HEAD"]);
    yard.run("ship").expect(0).says(&[&image]);
    assert_eq!(yard.live()["commit"], *third);
    let address = format!("{}/web:{second}", broken.address);
    yard.docker(&["image", "rm", "-f", &address]);
}

#[test]
fn without_git_a_commit_or_a_clone_that_is_said() {
    let Some(yard) = Yard::start(&Setup::default()) else { return };
    let without_git = {
        let mut command = yard.command("ship");
        let bin = yard.path(".lockgate/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink("/usr/bin/env", bin.join("env")).unwrap();
        command.env("PATH", &bin);
        Running::start(command).end()
    };
    without_git.expect(1).says(&["git is not installed", "hint"]);
    std::fs::remove_dir_all(yard.path(".git")).unwrap();
    yard.run("ship").expect(1).says(&["is in no git repository", "lockgate deploy SERVICE TAG"]);
}

/// Before minutes go into a build, and with the registry's own reason.
#[test]
fn a_registry_that_refuses_is_told_before_anything_is_built() {
    let Some(yard) = Yard::start(&Setup::default()) else { return };
    let config = std::fs::read_to_string(yard.path("lockgate.yaml")).unwrap();
    for (answer, words) in [
        ("403 Forbidden", ["unauthorized", "hint"]),
        ("429 Too Many Requests\r\nretry-after: 3600", ["too many requests", "hint"]),
    ] {
        let registry = Double::start(Manner::Answers(answer, ""));
        yard.change("lockgate.yaml", &config.replace(&yard.registry, &registry.address), answer);
        let ran = yard.run("ship").expect(1).says(&[&registry.address]);
        let said = ran.stderr.to_lowercase();
        assert!(words.iter().all(|word| said.contains(word)) && !said.contains("with docker"), "{ran}");
    }
}
