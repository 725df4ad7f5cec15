//! What `init --import` takes over of system A's services.yaml, and that it names everything else.

mod common;

use std::path::Path;

use common::{folder, good, parse_with};
use insta::assert_snapshot;
use lockgate_config::init::{InitError, Proposal, import_services_yaml};
use lockgate_model::{EnvironmentName, Project, Router, Service};

fn prod() -> EnvironmentName {
    EnvironmentName::new("prod").unwrap()
}

fn import(text: &str) -> Result<Proposal, InitError> {
    let (_parent, dir) = folder(&[("old.yaml", text)]);
    import_services_yaml(&dir.join("old.yaml"), &dir, &prod())
}

/// Every note is in the file too, each on one line.
fn imported(text: &str) -> Proposal {
    let proposal = import(text).unwrap();
    let comments: Vec<&str> =
        proposal.text.lines().skip(1).map_while(|line| line.strip_prefix("# - ")).collect();
    assert_eq!(comments, proposal.notes);
    proposal
}

fn services(project: &Project) -> Vec<&Service> {
    project.services.values().collect()
}

fn notes_of(service: &str) -> String {
    imported(&format!("services:\n  a: {{ test_url: https://t, port: 80, image: i, {service} }}\n"))
        .notes
        .join("\n")
}

#[test]
fn services_yaml_is_imported() {
    let proposal = imported(
        "services:
  lockn-logger:
    test_url: https://test.lockn.ai/logger
    prod_url: https://lockn.ai/logger
    health_endpoint: /health
    critical_paths: [/, /metrics]
  Speak_API:
    test_url: https://test.lockn.ai/speak
    health_endpoint: https://test.lockn.ai/speak/ready?deep=1
    critical_paths: [status]
",
    );
    let project = good(&proposal.text);
    let services = services(&project);
    assert_eq!(project.name.as_str(), "shop");
    assert_eq!(services[0].critical_paths, ["/", "/metrics"]);
    assert_eq!(
        (services[0].urls.len(), services[0].image.as_deref()),
        (2, Some("registry.example.com/lockn-logger"))
    );
    assert_eq!(
        (services[1].name.as_str(), services[1].health.http().unwrap().path.as_str()),
        ("speak_api", "/ready?deep=1")
    );
    let prod = project.environments.last().unwrap();
    assert_eq!((prod.before.len(), prod.after.len()), (1, 1));
    assert!(matches!(prod.slots().unwrap().router, Router::Caddy(_)));
    assert_snapshot!(proposal.text);
}

#[test]
fn a_service_without_test_url_costs_the_others_nothing() {
    let proposal = imported(
        "services:\n  a: { test_url: https://t/a, prod_url: https://p/a }\n  b: { prod_url: https://p/b }\n  c: { test_url: nonsense }\n",
    );
    let project = good(&proposal.text);
    let test = EnvironmentName::new("test").unwrap();
    let urls: Vec<_> = services(&project).iter().map(|service| service.urls[&test].clone()).collect();
    assert_eq!(urls, ["https://t/a", "https://b.test.invalid", "https://c.test.invalid"]);
    assert_eq!(project.environment(&prod()).unwrap().before.len(), 1, "the regression gate stays");
    let notes = proposal.notes.join("\n");
    assert!(notes.contains("old.yaml has no test_url for `b`, `c`: the regression gate fails"), "{notes}");
    assert!(notes.contains("`test_url` of `c` was left out: it is not a http"), "{notes}");

    let proposal = imported("services: { a: { prod_url: https://p/a } }\n");
    assert_eq!(good(&proposal.text).environments.len(), 1);
    assert!(proposal.notes.join("\n").contains("has no test_url: there is no regression gate"));
}

#[test]
fn ports_and_images_are_taken_over() {
    let proposal = imported(
        "services:\n  a: { port: 3000, image: 'ghcr.io/acme/a:v1', test_url: https://t }\n  b: { port: '4000', image: acme/b, test_url: https://t }\n",
    );
    let project = good(&proposal.text);
    let found: Vec<_> =
        services(&project).iter().map(|service| (service.port, service.image.clone().unwrap())).collect();
    assert_eq!(found, [(Some(3000), "ghcr.io/acme/a".to_owned()), (Some(4000), "acme/b".to_owned())]);
    let Router::Caddy(caddy) = &project.environments.last().unwrap().slots().unwrap().router else {
        panic!()
    };
    assert_eq!(caddy.dial.as_str(), "{service}-{slot}:{port}", "each is dialled at its own port");
    assert_eq!(proposal.notes, ["`v1` of `image` of `a` was left out: the tag is what you deploy."]);
}

#[test]
fn what_has_no_place_is_named() {
    assert_snapshot!(
        imported(
            "version: 2
defaults: { retries: 3, \"x\\ny\": { z: [] } }
services:
  a:
    timeout: 30
    registry: ghcr.io/acme
    deploy: { timeout: 5m, env: { PASSWORD: hunter2 }, steps: [] }
    port: \"8080:80\"
    image: \"not an image\"
    test_url: https://me:hunter2@t
    prod_url: 42
    health_endpoint: \"\"
    critical_paths: [/, 42, true, { a: b }, \"/a#b\", \"\", http://evil.example.com/x, \"https://me:hunter2@h/x\", \"/\\u001b[31m\"]
  A: {}
  42:
"
        )
        .text
    );
}

#[test]
fn paths_are_kept_as_far_as_they_can_be_asked() {
    let proposal = imported(
        "services:\n  a:\n    test_url: https://t\n    prod_url: https://h/base\n    health_endpoint: https://h/base/health?deep=1#frag\n    critical_paths: [/a b, dash board, \"/ü\", https://t/x, https://h/y]\n",
    );
    let project = good(&proposal.text);
    let service = services(&project)[0];
    assert_eq!(
        service.health.http().unwrap().path,
        "/health?deep=1",
        "relative to the URL, which has /base already"
    );
    assert_eq!(service.critical_paths, ["/a%20b", "/dash%20board", "/%C3%BC", "/x"]);
    let notes = proposal.notes.join("\n");
    assert!(notes.contains("`#frag` of `health_endpoint` of `a` was left out"), "{notes}");
    assert!(
        notes.contains("the critical path `https://h/y` of `a` was left out: it is not below"),
        "{notes}"
    );
    assert_eq!(notes_of("health_endpoint: /health, critical_paths: [/a b]"), "", "nothing was lost");
}

#[test]
fn variables_stay_variables() {
    let proposal = imported(
        "services:\n  a:\n    test_url: ${TEST_URL}\n    prod_url: https://${HOST:-h}/5$\n    health_endpoint: ${TEST_URL}/up\n    critical_paths: [\"/$${Y}\"]\n    image: ${REGISTRY}/a:${TAG}\n",
    );
    let env = [("TEST_URL", "https://t"), ("Y", "y"), ("REGISTRY", "ghcr.io"), ("TAG", "v1")];
    let project = parse_with(&proposal.text, &env).unwrap();
    let service = services(&project)[0];
    let urls: Vec<&str> = service.urls.values().map(String::as_str).collect();
    assert_eq!(urls, ["https://h/5$", "https://t"]);
    assert_eq!(
        (service.health.http().unwrap().path.as_str(), service.critical_paths[0].as_str()),
        ("/up", "/$y")
    );
    assert_eq!(service.image.as_deref(), Some("ghcr.io/a"));
    let notes = proposal.notes.join("\n");
    assert!(notes.contains("lockgate.yaml needs the variables `REGISTRY`, `TEST_URL`, `Y`;"), "{notes}");
}

#[test]
fn what_services_share_is_taken_over_for_each() {
    let proposal = imported(
        "shared: &shared { port: 80, timeout: 5 }\nservices:\n  a: { <<: *shared, test_url: https://a }\n  b: { <<: *shared, test_url: https://b }\n",
    );
    let project = good(&proposal.text);
    assert!(services(&project).iter().all(|service| service.port == Some(80)), "{}", proposal.text);
    let notes = proposal.notes.join("\n");
    assert!(notes.contains("`timeout` of `a` was") && notes.contains("`timeout` of `b` was"), "{notes}");
}

#[test]
fn names_are_made_legal_and_stay_different() {
    let proposal = imported("services: { a: {}, A: {}, 42: {}, \"2fa\": {}, \"---\": {}, \"\": {} }\n");
    let project = good(&proposal.text);
    let names: Vec<&str> = project.services.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["a", "a-2", "fa", "service", "service-2", "service-42"]);
    assert_eq!(proposal.notes.iter().filter(|note| note.contains(" became ")).count(), 5);
}

#[test]
fn the_project_and_the_environment_are_called_as_asked() {
    let (_parent, dir) =
        folder(&[("old.yaml", "services: { a: { prod_url: https://p, test_url: https://t } }")]);
    let live = EnvironmentName::new("live").unwrap();
    let proposal = import_services_yaml(&dir.join("old.yaml"), Path::new("/srv/My Shop"), &live).unwrap();
    let project = good(&proposal.text);
    assert_eq!(project.name.as_str(), "my-shop");
    assert_eq!(project.environments.last().unwrap().name, live);
    assert_eq!(services(&project)[0].urls[&live], "https://p");
    let test = EnvironmentName::new("test").unwrap();
    let error = import_services_yaml(&dir.join("old.yaml"), &dir, &test).unwrap_err();
    assert!(error.to_string().contains("only checked") && error.hint().contains("--env"), "{error}");
}

#[test]
fn a_file_of_another_form_is_an_error_with_its_place() {
    let cases = [
        "",
        "# only a comment\n",
        "services: [a]",
        "services: {}",
        "services:",
        "a: b",
        "[]",
        ": :",
        "services:\n  a: {}\n  a: {}",
        "services:\n  a: x",
        "services:\n  a: { critical_paths: / }\n  b: { test_url: [x], health_endpoint: { path: / } }",
        "services:\n  a: { test_url: 'x }",
        "services:\n  a: !Service {}",
    ];
    let table = cases.map(|text| {
        let InitError::Wrong(error) = import(text).unwrap_err() else { panic!("{text}") };
        assert!(error.problems().all(|problem| problem.hint.is_some()), "{error:?}");
        let (folder, _) = error.file().rsplit_once('/').unwrap();
        format!("{}\n{}", text.replace('\n', "⏎"), error.plain().replace(&format!("{folder}/"), "    "))
    });
    assert_snapshot!(table.join("\n"));
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_says_why() {
    let (_parent, dir) = folder(&[("large.yaml", &"#".repeat(2 << 20)), ("sub/x", "")]);
    std::fs::write(dir.join("binary.yaml"), [0xff, 0xfe]).unwrap();
    // To open one waits for its other end.
    assert!(std::process::Command::new("mkfifo").arg(dir.join("fifo")).status().unwrap().success());
    for (name, why) in [
        ("missing.yaml", "No such file"),
        ("large.yaml", "it is larger than 1 MiB"),
        ("binary.yaml", "it is not UTF-8"),
        ("sub", "it is not a file"),
        ("fifo", "it is not a file"),
    ] {
        let error = import_services_yaml(&dir.join(name), &dir, &prod()).unwrap_err();
        assert!(error.to_string().contains(why) && error.hint().contains("permissions"), "{error}");
    }
}

#[test]
fn hostile_files_still_give_a_proposal_that_parses() {
    let text = "services:\n  a:\n    test_url: \"https://x/${HOME}\\\"\\n}\"\n    prod_url: 'https://x/{slot}'\n    critical_paths: [\"/\\nx\", '#', '/true', '{slot}', \"/\\u2028port: 1\"]\n  \"b\\nport: 1\": { \"k\\u2028\\nx: 1\": 2 }\n";
    let proposal = imported(text);
    let project = good(&proposal.text);
    let services = services(&project);
    assert_eq!(services[0].critical_paths, ["/true", "/{slot}", "/%E2%80%A8port:%201"]);
    assert_eq!(services[0].urls.values().next().unwrap(), "https://x/{slot}");
    assert!(!proposal.text.contains(['\u{2028}', '\u{1b}']), "{}", proposal.text);
}
