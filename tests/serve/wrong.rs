//! `serve --check`, and what is refused at the start.

use std::os::unix::fs::PermissionsExt;

use super::daemon::Served;

#[test]
fn all_that_would_be_wrong_is_said_without_serving() {
    let served = Served::new("[]");
    let project = &served.project;
    served.run("serve --check").expect(0).says(&[
        "certificate: it fits its key",
        "unix:",
        "it is free",
        "store",
    ]);
    assert!(!project.path("serve.sock").exists(), "nothing stays behind");
    assert!(!project.path("m1/.lockgate/serve").exists());

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = project.path("m1/lockgate.yaml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))).unwrap();
    std::fs::set_permissions(project.path("key.pem"), PermissionsExt::from_mode(0o604)).unwrap();
    let all = served.run("serve --check").expect(1);
    let all = all.says(&[
        "every user of this machine can read the key",
        "`chmod o-rwx",
        "Address already in use",
        "ss -ltnp",
    ]);
    let json = served.run("serve --check --format json").expect(1);
    let bad: Vec<String> = json
        .lines()
        .iter()
        .filter(|line| line["check"]["state"] == "bad")
        .map(|line| line["check"]["what"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(bad, ["certificate".to_owned(), format!("listen 127.0.0.1:{port}")], "{all}");
    // Serving is refused for the first of them.
    served.run("serve").expect(2).says(&["every user of this machine can read the key"]);
    std::fs::set_permissions(project.path("key.pem"), PermissionsExt::from_mode(0o600)).unwrap();
    served.run("serve").expect(1).says(&["cannot listen at 127.0.0.1", "ss -ltnp"]);
}

#[test]
fn what_was_not_tried_is_not_ticked_and_a_daemon_that_runs_is_asked() {
    let served = Served::new("[]");
    let daemon = served.start();
    let file = served.project.path("m1/lockgate.yaml");
    let config = std::fs::read_to_string(&file).unwrap();
    let at = |port: u16| {
        std::fs::write(&file, config.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))).unwrap();
        served.run("serve --check").expect(0)
    };
    let own = daemon.address.port();
    at(own)
        .says(&[&format!("✓ listen 127.0.0.1:{own}: `lockgate serve` is running here"), "and answers there"]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    at(free).says(&[
        &format!("! listen 127.0.0.1:{free}"),
        "does not listen there; the place is free",
        "`lockgate serve --upgrade`",
    ]);
    let other = Served::new("[]");
    let others = other.start();
    let taken = others.address.port();
    at(taken).says(&[&format!("! listen 127.0.0.1:{taken}"), "shows another certificate than the file has"]);
    others.stop().expect(0);
    daemon.stop().expect(0);
}

#[test]
fn a_certificate_that_clients_do_not_take_is_told_before_they_say_so() {
    let served = Served::new("[]");
    let made = |words: &str| {
        let keys = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout key.pem";
        let command = words.replace("KEYS", keys);
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", &command]).current_dir(served.project.root()).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    };
    made("openssl req -x509 KEYS -days 30 -out cert.pem");
    served.run("serve --check").expect(0).says(&[
        "✓ certificate: it fits its key",
        "! certificate: it is for no name at all: it has no subjectAltName",
        "! certificate: it is marked as an authority's own (CA:TRUE)",
        "openssl req -x509",
    ]);
    made(
        "openssl req -new KEYS -out request && openssl x509 -req -days 30 -in request -signkey key.pem -out cert.pem",
    );
    let old = served.run("serve --check").expect(1);
    let old = old.says(&["✗ certificate: ", "cert.pem is a certificate of X.509 v1", "openssl req -x509"]);
    assert!(!old.stdout.contains("private key"), "{old}");
}

#[test]
fn without_a_secret_nothing_is_served_and_all_else_works() {
    let served = Served::new("[]");
    let project = &served.project;
    for args in ["serve", "serve --check"] {
        project.run(args).expect(2).says(&[
            "the variable WEBHOOK_SECRET is not set",
            "openssl rand -hex 32",
            "lockgate.yaml:",
        ]);
    }
    let mut short = project.command(["serve"]);
    short.env("WEBHOOK_SECRET", "hunter2hunter2");
    let refused = crate::support::project::run(short).expect(2).says(&["shorter than 16 bytes"]);
    assert!(!format!("{refused}").contains("hunter2"), "{refused}");
    project.deploy("v1");
    project.expect_settled("v1");
}

#[test]
fn a_file_without_serve_says_what_to_write() {
    let project = crate::support::project::Project::new();
    project.run("serve").expect(2).says(&["lockgate.yaml has no `serve`", "endpoints: { /deploy:"]);
}
