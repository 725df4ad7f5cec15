//! `lockgate setup`: a bare host is made ready for its first deployment, over SSH as from CI.

mod doctor;
mod droplet;
mod installs;
mod variables;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use droplet::Droplet;
use rustix::process::Signal;

use crate::support::wait_for;

const COMPOSE: &str =
    "services:\n  monarch:\n    image: registry.example.com/acme/monarch\n    env_file: .env\n";
const ENVIRONMENT: &str = "setup: { wait_for: HOST/opt/setup_complete, patience: 60s }\nruntime: { compose: { dir: HOST/opt/monarch, upload: [docker-compose.yml, conf/app.toml] } }";

fn bare(service: &str) -> Option<Droplet> {
    let droplet = Droplet::new(service, ENVIRONMENT)?;
    fs::create_dir(droplet.host("opt")).unwrap();
    fs::write(droplet.project("docker-compose.yml"), COMPOSE).unwrap();
    fs::create_dir(droplet.project("conf")).unwrap();
    fs::write(droplet.project("conf/app.toml"), "a = 1\n").unwrap();
    Some(droplet)
}

fn is_ready(droplet: &Droplet) {
    fs::write(droplet.host("opt/setup_complete"), "").unwrap();
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_host_that_still_boots_is_waited_for_and_then_made_ready_and_a_second_time_there_is_nothing_to_do() {
    let Some(mut droplet) = bare("") else { return };
    let running = droplet.start("setup");
    running.wait_until_printed("it does not answer yet");
    droplet.boots();
    running.wait_until_printed("setup_complete is not there yet");
    assert!(!droplet.host("opt/monarch").exists(), "nothing is made before it is ready");
    is_ready(&droplet);
    let ran = running.end().expect(0);
    ran.says(&["made folder", "made file", "is set up; 3 made"]);
    assert_eq!(fs::read_to_string(droplet.host("opt/monarch/docker-compose.yml")).unwrap(), COMPOSE);
    assert_eq!(fs::read_to_string(droplet.host("opt/monarch/conf/app.toml")).unwrap(), "a = 1\n");
    droplet.run("setup").expect(0).says(&["nothing to do: ssh://127.0.0.1:"]);
    let last = droplet.run("setup --format json").expect(0).last();
    assert_eq!(
        (&last["event"], &last["hosts"][0]["made"], &last["exit"]),
        (&"result".into(), &0.into(), &0.into())
    );
}

#[test]
fn a_plan_shows_what_would_be_and_changes_nothing() {
    let Some(mut droplet) = bare("") else { return };
    droplet.boots();
    let ran = droplet.run("setup --dry-run").expect(0);
    insta::assert_snapshot!(droplet.shown(&ran.stdout), @r##"
    host  what  state
    ssh://127.0.0.1:PORT  ready HOST/opt/setup_complete  waits
    ssh://127.0.0.1:PORT  folder HOST/opt/monarch  to be made
    ssh://127.0.0.1:PORT  file HOST/opt/monarch/docker-compose.yml  to be made  from docker-compose.yml
    ssh://127.0.0.1:PORT  file HOST/opt/monarch/conf/app.toml  to be made  from conf/app.toml
    "##);
    is_ready(&droplet);
    fs::create_dir(droplet.host("opt/monarch")).unwrap();
    fs::write(droplet.host("opt/monarch/docker-compose.yml"), "services: {}\n").unwrap();
    let ran = droplet.run("setup --dry-run").expect(0);
    insta::assert_snapshot!(droplet.shown(&ran.stdout), @r##"
    host  what  state
    ssh://127.0.0.1:PORT  ready HOST/opt/setup_complete  there
    ssh://127.0.0.1:PORT  folder HOST/opt/monarch  there
    ssh://127.0.0.1:PORT  file HOST/opt/monarch/docker-compose.yml  to be made  it differs from docker-compose.yml
    ssh://127.0.0.1:PORT  file HOST/opt/monarch/conf/app.toml  to be made  from conf/app.toml
    "##);
    let lines = droplet.run("setup --dry-run --format json").expect(0).stdout;
    insta::assert_snapshot!(droplet.shown(&lines), @r##"
    {"event":"plan","host":"ssh://127.0.0.1:PORT","items":[{"kind":"ready","name":"HOST/opt/setup_complete","state":"there"},{"kind":"folder","name":"HOST/opt/monarch","state":"there"},{"kind":"file","name":"HOST/opt/monarch/docker-compose.yml","note":"it differs from docker-compose.yml","state":"make"},{"kind":"file","name":"HOST/opt/monarch/conf/app.toml","note":"from conf/app.toml","state":"make"}]}
    {"environment":"prod","event":"result","exit":0,"hosts":[{"host":"ssh://127.0.0.1:PORT","made":0}]}
    "##);
    assert_eq!(fs::read_to_string(droplet.host("opt/monarch/docker-compose.yml")).unwrap(), "services: {}\n");
}

#[test]
fn patience_ends_and_what_cannot_be_is_said_before_anything_is_made() {
    let Some(mut droplet) = bare("") else { return };
    droplet.boots();
    droplet.configure("", &ENVIRONMENT.replace("60s", "1s"));
    droplet.run("setup").expect(1).says(&[
        "was not ready within 1s",
        "setup_complete is not there yet",
        "cloud-init",
    ]);
    is_ready(&droplet);
    fs::create_dir(droplet.host("opt/monarch")).unwrap();
    fs::write(droplet.host("opt/monarch/compose.yaml"), "").unwrap();
    let ran = droplet.run("setup").expect(1);
    ran.says(&["Compose would take it in its place", "mv "]);
    assert!(!droplet.host("opt/monarch/conf").exists());
    fs::remove_file(droplet.host("opt/monarch/compose.yaml")).unwrap();
    fs::remove_file(droplet.project("conf/app.toml")).unwrap();
    droplet.run("setup").expect(2).says(&["`upload` names conf/app.toml, which is not there"]);
    droplet.run("setup web9").expect(2).says(&["prod has no host \"web9\"", "there are: ssh://127.0.0.1:"]);
    droplet.configure("", "runtime: compose");
    droplet.run("setup").expect(2).says(&["prod says nothing of what its hosts need", "setup: {}"]);
}

#[test]
fn killed_while_it_waits_it_leaves_nothing_and_the_next_one_goes_on() {
    let Some(mut droplet) = bare("") else { return };
    droplet.boots();
    let mut running = droplet.start("setup");
    running.wait_until_printed("setup_complete is not there yet");
    running.signal(Signal::KILL);
    wait_for("it to end", 10, || running.child.try_wait().unwrap());
    is_ready(&droplet);
    droplet.run("setup").expect(0).says(&["3 made"]);
    let names = fs::read_dir(droplet.host("opt/monarch")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["conf", "docker-compose.yml"], "no half file is left");
}

#[test]
fn hosts_are_waited_for_beside_each_other() {
    let Some(mut droplet) = bare("") else { return };
    droplet.boots();
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    // The same machine by two names, each with a connection of its own.
    let config = fs::read_to_string(droplet.project("lockgate.yaml")).unwrap();
    let (one, other) =
        (format!("ssh://127.0.0.1:{}", droplet.port), format!("ssh://{me}@127.0.0.1:{}", droplet.port));
    let both = config.replace(&format!("[\"{one}\"]"), &format!("[\"{one}\", \"{other}\"]"));
    fs::write(droplet.project("lockgate.yaml"), both).unwrap();
    let running = droplet.start("setup");
    for host in [&one, &other] {
        running.wait_until_printed(&format!("{host}: waits"));
    }
    is_ready(&droplet);
    running.end().expect(0).says(&[&format!("{one}, {other} are set up")]);
    droplet.run(&format!("setup {other}")).expect(0).says(&[&format!("nothing to do: {other} is set up")]);
}
