//! `setup --daemon`: what it would install is shown whole, and nothing is touched where it cannot be installed. That it is
//! installed, and comes back after a reboot, is tried by `scripts/daemon` on a machine with systemd.

use std::path::Path;

use crate::support::project::Project;
use crate::support::ran::Ran;
use crate::support::skipped;

const SECRET: &str = "0123456789abcdef-signing";

fn project() -> Project {
    let project = Project::empty();
    let config = "project: kelvin-test
services:
  app: { image: ghcr.io/acme/kelvin, health: docker }
environments:
  prod:
    strategy: recreate
    runtime: { compose: { file: /srv/kelvin/docker-compose.yml, service: app } }
notify: [{ slack: { webhook: \"${KELVIN_SLACK:-}\" } }]
serve:
  listen: [127.0.0.1:8443, \"unix:/run/lockgate/kelvin.sock\"]
  endpoints: { /deploy: { environment: prod, secrets: [\"${KELVIN_SECRET}\"] } }
";
    std::fs::write(project.path("lockgate.yaml"), config).unwrap();
    project
}

fn set_up(project: &Project, options: &str) -> Ran {
    let mut command = project.command(options.split(' '));
    command.env("KELVIN_SECRET", SECRET).env_remove("KELVIN_SLACK");
    crate::support::project::run(command)
}

#[test]
fn what_would_be_installed_is_shown_whole_and_without_secrets() {
    let project = project();
    let ran = set_up(&project, "setup --daemon --dry-run").expect(0);
    assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET), "{ran}");
    let program = env!("CARGO_BIN_EXE_lockgate");
    let root = project.root().display().to_string();
    let user =
        String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let shown = ran.stdout.replace(program, "/usr/local/bin/lockgate").replace(&root, "/srv/kelvin-test");
    let shown = shown.replace(&format!("User={}\n", user.trim()), "User=root\n");
    let shown = shown.replace("SupplementaryGroups=docker\n", "");
    insta::assert_snapshot!(shown.replace(&format!("SocketUser={}\n", user.trim()), "SocketUser=root\n"));
}

#[test]
fn a_configuration_without_serve_and_one_that_is_wrong_are_told() {
    let project = project();
    let path = project.path("lockgate.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    let (before, _) = config.split_once("serve:").unwrap();
    std::fs::write(&path, before).unwrap();
    set_up(&project, "setup --daemon --dry-run").expect(2).says(&["has no `serve`", "endpoints:"]);
    std::fs::write(&path, config.replace("8443", "0")).unwrap();
    set_up(&project, "setup --daemon --dry-run").expect(2).says(&["port 0", "listen: 127.0.0.1:8443"]);
    std::fs::write(&path, &config).unwrap();
    // Without its secret nothing could be served.
    project.run("setup --daemon --dry-run").expect(2).says(&["KELVIN_SECRET"]);
}

#[test]
fn without_systemd_it_says_what_to_do_instead() {
    if Path::new("/run/systemd/system").is_dir() {
        return skipped("this machine runs systemd");
    }
    let project = project();
    let ran = set_up(&project, "setup --daemon").expect(1);
    let command =
        format!("{} -c {} serve", env!("CARGO_BIN_EXE_lockgate"), project.path("lockgate.yaml").display());
    let ran = ran.says(&["does not run systemd", &command, "KELVIN_SECRET", "`@reboot ", "--dry-run"]);
    // The line has the secret's file, which another hint fills: see the unit tests of `kept`.
    ran.says(&[
        "`@reboot root set -a; . /etc/lockgate/kelvin-test.env; exec ",
        "/etc/cron.d/lockgate-kelvin-test",
        "grep -E '^export (KELVIN_SECRET|KELVIN_SLACK)='",
        "cat >/etc/lockgate/kelvin-test.env",
    ]);
    assert!(!Path::new("/etc/systemd/system/lockgate-kelvin-test.service").exists());
}

#[test]
fn what_the_daemon_would_not_find_in_its_own_tmp_is_told() {
    let project = project();
    let root = project.root().display().to_string();
    let ran = set_up(&project, "setup --daemon --dry-run").expect(0);
    match root.starts_with("/tmp/") || root.starts_with("/var/tmp/") {
        true => drop(ran.says(&[&format!("the daemon would not find {root}"), "`PrivateTmp="])),
        false => assert!(!ran.stderr.contains("would not find"), "{ran}"),
    }
    let path = project.path("lockgate.yaml");
    let config = std::fs::read_to_string(&path).unwrap();
    let gate = "    after: [{ command: { run: \"/tmp/lockgate-smoke now\" } }]\n    runtime:";
    std::fs::write(&path, config.replace("    runtime:", gate)).unwrap();
    set_up(&project, "setup --daemon --dry-run").expect(0).says(&["/tmp/lockgate-smoke", "`PrivateTmp="]);
}
