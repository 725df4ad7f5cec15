//! Every proposal parses with this crate, and says what the folder says.

mod common;

use std::fs;
use std::path::Path;

use common::good;
use lockgate_config::init::{Proposal, import_services_yaml, propose};
use lockgate_model::{ComposeLayout, Project, Router, Runtime};

/// A folder named `shop` with these files.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, std::path::PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().canonicalize().unwrap().join("shop");
    fs::create_dir(&dir).unwrap();
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (parent, dir)
}

fn proposed(files: &[(&str, &str)]) -> (Project, Proposal) {
    let (_parent, dir) = folder(files);
    let proposal = propose(&dir).unwrap();
    assert!(proposal.text.lines().count() < 60 && !proposal.notes.is_empty(), "{}", proposal.text);
    (good(&proposal.text), proposal)
}

fn prod(project: &Project) -> &lockgate_model::Environment {
    project.environments.last().unwrap()
}

#[test]
fn an_empty_folder_gets_something_to_fill_in() {
    let (project, proposal) = proposed(&[]);
    assert_eq!(project.name.as_str(), "shop");
    assert!(matches!(prod(&project).runtime, Some(Runtime::Process(_))));
    assert!(proposal.notes.iter().any(|note| note.contains("change `command`")), "{:?}", proposal.notes);
}

#[test]
fn programs_are_guessed_from_what_starts_them() {
    for (file, text, expected) in [
        ("Procfile", "worker: x\nweb: bin/serve --port 'a b'\n", "bin/serve"),
        ("package.json", r#"{"scripts": {"start": "node ."}}"#, "npm"),
        ("Cargo.toml", "[package]\nname = \"shop-api\"\n", "./target/release/shop-api"),
        // What needs a shell is not proposed.
        ("Procfile", "web: serve -p $PORT | tee log\n", "./server"),
        ("package.json", "not json", "./server"),
    ] {
        let (project, proposal) = proposed(&[(file, text)]);
        assert_eq!(
            project.services.values().next().unwrap().command[0].as_str(),
            expected,
            "{}",
            proposal.text
        );
    }
}

#[test]
fn a_dockerfile_tells_the_port() {
    let (project, _) = proposed(&[("Dockerfile", "FROM scratch\nexpose 5000/tcp 6000\n")]);
    assert_eq!(project.services.values().next().unwrap().port, Some(5000));
    assert!(matches!(prod(&project).router, Some(Router::Builtin(_))));
}

const PAIR: &str = "services:
  web-blue: { image: 'ghcr.io/acme/web:${TAG:-latest}', ports: ['8081:5000'], healthcheck: { test: curl -f http://localhost:5000/up } }
  web-green: { image: 'ghcr.io/acme/web:green' }
  router: { image: nginx }
";

#[test]
fn blue_and_green_in_one_compose_file_are_the_slots() {
    let (project, proposal) = proposed(&[
        ("docker-compose.yml", PAIR),
        ("Caddyfile", "example.com {\n\treverse_proxy web-blue:5000\n}\n"),
    ]);
    let service = project.services.values().next().unwrap();
    assert_eq!((service.name.as_str(), service.image.as_deref()), ("web", Some("ghcr.io/acme/web")));
    assert_eq!((service.port, service.health.path.as_str()), (Some(5000), "/up"));
    let Some(Runtime::Compose(compose)) = &prod(&project).runtime else { panic!("{}", proposal.text) };
    assert!(
        matches!(&compose.layout, ComposeLayout::File(file) if file.as_str().ends_with("/shop/docker-compose.yml"))
    );
    let Some(Router::Caddy(caddy)) = &prod(&project).router else { panic!("{}", proposal.text) };
    assert_eq!((caddy.dial.as_str(), caddy.id.as_ref()), ("{service}-{slot}:5000", None));
}

#[test]
fn a_compose_file_without_slots_is_told_what_is_missing() {
    let text = "services:\n  Api: { build: ., ports: [3000] }\n  jobs: { build: ./jobs }\n  db: { image: 'postgres:16' }\n";
    let (project, proposal) = proposed(&[("compose.yaml", text)]);
    let names: Vec<&str> = project.services.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["api", "jobs"], "the database is not deployed");
    assert!(proposal.notes.iter().any(|note| note.contains("two slots are needed")), "{:?}", proposal.notes);
}

#[test]
fn folders_of_system_a_are_taken_as_they_are() {
    let compose = "services: { app: { image: 'ghcr.io/acme/logger:${IMAGE_TAG}', expose: ['5000'] } }";
    let caddy = r#"{"apps": {"http": {"servers": {"s": {"routes": [{"handle": [
        {"@id": "logger_upstream", "handler": "reverse_proxy", "upstreams": [{"dial": "logger-blue:5000"}]}]}]}}}}}"#;
    let (project, proposal) = proposed(&[
        ("logger/blue/docker-compose.yml", compose),
        ("logger/green/docker-compose.yml", compose),
        ("logger/active_color", "blue\n"),
        ("caddy.json", caddy),
        ("other/blue/docker-compose.yml", compose),
    ]);
    assert_eq!(project.services.len(), 1, "a service without green is not one");
    let Some(Runtime::Compose(compose)) = &prod(&project).runtime else { panic!("{}", proposal.text) };
    assert!(
        matches!(&compose.layout, ComposeLayout::Folders(dir) if dir.as_str().ends_with("/shop/{service}/{slot}"))
    );
    let Some(Router::Caddy(caddy)) = &prod(&project).router else { panic!("{}", proposal.text) };
    assert_eq!(caddy.id.as_ref().unwrap().as_str(), "{service}_upstream");
}

#[test]
fn services_yaml_is_imported() {
    let text = "services:
  lockn-logger:
    test_url: https://test.lockn.ai/logger
    prod_url: https://lockn.ai/logger
    health_endpoint: /health
    critical_paths: [/, /metrics]
    owner: somebody
  Speak_API:
    test_url: https://test.lockn.ai/speak
    health_endpoint: https://lockn.ai/ready
    critical_paths: [status]
";
    let (_parent, dir) = folder(&[("services.yaml", text)]);
    let proposal = import_services_yaml(&dir.join("services.yaml")).unwrap();
    let project = good(&proposal.text);
    let services: Vec<_> = project.services.values().collect();
    assert_eq!(services[0].critical_paths, ["/", "/metrics"]);
    assert_eq!(
        (services[0].urls.len(), services[0].image.as_deref()),
        (2, Some("registry.example.com/lockn-logger"))
    );
    assert_eq!((services[1].name.as_str(), services[1].health.path.as_str()), ("speak_api", "/ready"));
    assert_eq!((prod(&project).before.len(), prod(&project).after.len()), (1, 1));
    assert!(matches!(prod(&project).router, Some(Router::Caddy(_))));
    assert!(
        proposal.notes.iter().any(|note| note.contains("`Speak_API` became `speak_api`")),
        "{:?}",
        proposal.notes
    );
    assert!(proposal.text.lines().count() < 60);
}

#[test]
fn a_file_that_is_no_services_yaml_is_an_error() {
    let (_parent, dir) =
        folder(&[("a.yaml", "services: [a]"), ("b.yaml", "services: {}"), ("c.yaml", ": :")]);
    for name in ["a.yaml", "b.yaml", "c.yaml", "missing.yaml"] {
        assert!(import_services_yaml(&dir.join(name)).is_err(), "{name}");
    }
    assert!(propose(Path::new("/nonexistent/folder")).is_err());
}

#[test]
fn hostile_files_still_give_a_proposal_that_parses() {
    let evil = "services:\n  \"../x\\n  evil: {}\": { image: 'a;b $(id) ${X}', ports: ['x:y'], build: . }\n  \"--flag\": { build: ., image: '-rf' }\n  true: { build: . }\n  \"\": { build: . }\n";
    for files in [
        vec![("compose.yaml", evil)],
        vec![("compose.yaml", ": : :"), ("Dockerfile", "EXPOSE ${PORT}\nEXPOSE 0\n")],
        vec![("Procfile", "web: {colour} \"open\n"), ("Cargo.toml", "[package]\nname = \"a\\\"; rm\"\n")],
        vec![
            ("Dockerfile", "EXPOSE 99999"),
            ("caddy.json", "{\"@id\": 5, \"upstreams\": {\"dial\": \"shop-blue:x\"}}"),
        ],
        vec![("Dockerfile", ""), ("Caddyfile", "reverse_proxy shop-green:99999 {colour}\n")],
    ] {
        proposed(&files);
    }
    let urls = "services:\n  a:\n    test_url: \"https://x/${HOME}\\\"\\n}\"\n    prod_url: 'https://x/$${Y}{slot}'\n    health_endpoint: \"/a b\"\n    critical_paths: ['/${Z}', \"/\\n\", '#', '/true', '{slot}']\n  A: {}\n";
    let (_parent, dir) = folder(&[("services.yaml", urls)]);
    let project = good(&import_services_yaml(&dir.join("services.yaml")).unwrap().text);
    let service = project.services.values().next().unwrap();
    assert_eq!(service.critical_paths, ["/${Z}", "/true", "/{slot}"], "a dollar sign stays one");
    assert_eq!(service.urls.values().next().unwrap(), "https://x/$${Y}{slot}");

    let parent = tempfile::tempdir().unwrap();
    for name in ["--flag", "$(id) ${X}", "{colour}", "true", "ünï", "a\nb"] {
        let dir = parent.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("compose.yaml"), PAIR).unwrap();
        good(&propose(&dir).unwrap().text);
    }
}
