//! What people read when they look for trouble, whole: `status`, `status -v`, `status all`, `doctor`.

use insta::assert_snapshot;
use regex::Regex;

use crate::support::project::{Project, Setup, run};

/// What is another at each run is named; columns, whose width goes by it, have two blanks between them.
fn pinned(project: &Project, text: &str) -> String {
    let text = text.replace(&project.root().display().to_string(), "ROOT");
    let rules = [
        ("[0-9]{4}(-[0-9]{2}){2}T([0-9]{2}:){2}[0-9]{2}[+-][0-9]{2}:[0-9]{2}", "<time>"),
        ("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<run>"),
        (r"\([0-9a-f]{12}\)", "(<digest>)"),
        (" (in|after) [0-9.]+ ?(ms|s)(?-u:\\b)", " $1 <span>"),
        ("127[.]0[.]0[.]1:[0-9]{2,5}", "127.0.0.1:<port>"),
        ("(process |pid=|port )[0-9]+", "$1<number>"),
        ("[^ \n]+@[^ \n:]+", "<owner>"),
        ("(?m)^(  ✓ this machine): .*$", "$1: <kernel>"),
        ("([^ \n]) {2,}", "$1  "),
    ];
    rules.iter().fold(text, |text, (pattern, with)| {
        Regex::new(pattern).unwrap().replace_all(&text, *with).into_owned()
    })
}

/// What each of the commands says, as one reads it.
fn said(project: &Project, commands: &[(&str, i32)]) -> String {
    let mut all = String::new();
    for (args, code) in commands {
        let ran = run(project.command(args.split(' '))).expect(*code);
        assert!(ran.stderr.is_empty(), "{ran}");
        all.push_str(&format!("$ lockgate {args}\n{}\n", pinned(project, &ran.stdout)));
    }
    all
}

#[test]
fn all_is_well() {
    let project = Project::new();
    project.deploy("v1");
    project.deploy("v2");
    assert_snapshot!(said(
        &project,
        &[("status", 0), ("status web -v", 0), ("status all", 0), ("doctor", 0)]
    ));
}

#[test]
fn a_release_that_ended_by_itself_shows_its_log_without_secrets() {
    let setup = Setup { service: "    env: { API_TOKEN: hunter2-and-more }\n".into(), ..Setup::default() };
    let project = Project::with(&setup);
    project.deploy("v1");
    project.script(
        "app-v3",
        "#!/bin/sh\necho \"connecting with $API_TOKEN\"\necho 'no database: refused'; exit 3\n",
    );
    project.run("deploy web v3").expect(1);
    let said = said(&project, &[("status web -v", 0), ("doctor web", 0)]);
    assert!(!said.contains("hunter2"), "{said}");
    assert_snapshot!(said);
    let looked = project.run("status web -v --format json").expect(0).last();
    let green = &looked["closely"]["local"]["slots"]["green"];
    assert!(green["trouble"].as_str().unwrap().contains("rejected"), "{looked:#}");
    assert_eq!(looked["closely"]["local"]["active_color"], "blue", "{looked:#}");
    assert_eq!(looked["closely"]["local"]["slots"]["blue"]["health"]["ok"], true, "{looked:#}");
    let plainly = project.run("status web --format json").expect(0).last();
    assert!(plainly.get("closely").is_none(), "it costs requests, so only -v looks: {plainly:#}");
}

#[test]
fn a_live_release_that_is_ill_is_asked_from_its_host_and_what_it_answers_is_shown() {
    let project = Project::new();
    project.deploy("v1");
    // Its health path is another one now, which it does not have.
    let config = std::fs::read_to_string(project.path("m1/lockgate.yaml")).unwrap();
    let asks_more = config.replace("path: /health,", "path: /no-such-page?key=hunter2,");
    std::fs::write(project.path("m1/lockgate.yaml"), asks_more).unwrap();
    assert_snapshot!(said(&project, &[("doctor", 1), ("status -v", 0)]));
}

#[test]
fn a_colour_file_that_disagrees_with_the_router_is_marked_and_what_is_typed_mends_it() {
    let project = Project::new();
    project.deploy("v1");
    let file = project.path("host/prod/web/active_color");
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "blue");
    std::fs::write(&file, "green\n").unwrap();
    assert_snapshot!(said(&project, &[("status", 0), ("status -v", 0), ("doctor", 0)]));
    let typed = project.run("doctor").expect(0).stdout;
    let mend = typed.split('`').find(|part| part.contains(" deploy web ")).unwrap().to_owned();
    project.run(mend.strip_prefix("lockgate ").unwrap()).expect(0);
    project.run("doctor").expect(0).says(&["✓ colour files"]);
    project.expect_live("v1");
}

/// What `doctor` looks at of Docker needs one, so only what it says of Caddy is read.
#[test]
fn caddys_admin_api_that_does_not_answer_is_told_with_its_version_and_its_service() {
    let project = Project::new();
    // Nobody listens on port 1.
    let config = format!(
        "project: shop\nservices: {{ web: {{ image: example.com/web, port: 5000 }} }}\nenvironments:\n  prod:\n    runtime: {{ compose: {{ dir: \"{}/apps/{{service}}/{{slot}}\" }} }}\n    router: {{ caddy: {{ admin: \"http://127.0.0.1:1\" }} }}\n",
        project.root().display()
    );
    std::fs::write(project.path("m1/lockgate.yaml"), config).unwrap();
    let lines = project.run("doctor --format json").expect(1).lines();
    let of = |what: &str| {
        let found = lines.iter().map(|line| &line["check"]).find(|check| check["what"] == what);
        found.unwrap_or_else(|| panic!("nothing is said of {what}: {lines:#?}"))
    };
    let admin = of("Caddy's admin API");
    assert_eq!(admin["state"], "bad", "{admin:#}");
    let (seen, mend) = (admin["seen"].as_str().unwrap(), admin["mend"].as_str().unwrap());
    assert!(seen.contains("http://127.0.0.1:1 does not answer"), "{admin:#}");
    assert!(mend.contains("`systemctl status caddy`"), "{admin:#}");
    // Another test's Caddy may run here, and a machine may have systemd or not.
    let (version, service) = (of("Caddy's version"), of("Caddy's service"));
    assert_ne!(version["state"], "bad", "{version:#}");
    assert!(service["seen"].as_str().unwrap().contains("caddy"), "{service:#}");
    assert_eq!(service["mend"].is_null(), service["state"] == "ok", "{service:#}");
}
