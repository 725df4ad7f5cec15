//! Every proposal parses with this crate, and says what the folder says.

mod common;

use std::fs;
use std::path::Path;

use common::{folder, good};
use lockgate_config::init::{InitError, Proposal};
use lockgate_model::{ComposeLayout, EnvironmentName, Project, Router, Runtime};

fn propose(dir: &Path) -> Result<Proposal, InitError> {
    lockgate_config::init::propose(dir, &EnvironmentName::new("prod").unwrap())
}

/// Every note is in the file too.
fn proposed(files: &[(&str, &str)]) -> (Project, Proposal) {
    let (_parent, dir) = folder(files);
    let proposal = propose(&dir).unwrap();
    for note in &proposal.notes {
        assert!(proposal.text.contains(&format!("# - {note}\n")), "{note}:\n{}", proposal.text);
    }
    assert!(proposal.text.lines().count() < 60 && !proposal.notes.is_empty(), "{}", proposal.text);
    (good(&proposal.text), proposal)
}

fn prod(project: &Project) -> &lockgate_model::SlotDelivery {
    project.environments.last().unwrap().slots().unwrap()
}

#[test]
fn an_empty_folder_gets_something_to_fill_in() {
    let (project, proposal) = proposed(&[]);
    assert_eq!(project.name.as_str(), "shop");
    assert!(matches!(prod(&project).runtime, Runtime::Process(_)));
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
    assert!(matches!(prod(&project).router, Router::Builtin(_)));
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
    assert_eq!((service.port, service.health.http().unwrap().path.as_str()), (Some(5000), "/up"));
    let Runtime::Compose(compose) = &prod(&project).runtime else { panic!("{}", proposal.text) };
    assert!(
        matches!(&compose.layout, ComposeLayout::File(file) if file.as_str().ends_with("/shop/docker-compose.yml"))
    );
    let Router::Caddy(caddy) = &prod(&project).router else { panic!("{}", proposal.text) };
    assert_eq!((caddy.dial.as_str(), caddy.id.as_ref()), ("{service}-{slot}:{port}", None));
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
    let Runtime::Compose(compose) = &prod(&project).runtime else { panic!("{}", proposal.text) };
    assert!(
        matches!(&compose.layout, ComposeLayout::Folders(dir) if dir.as_str().ends_with("/shop/{service}/{slot}"))
    );
    let Router::Caddy(caddy) = &prod(&project).router else { panic!("{}", proposal.text) };
    assert_eq!(caddy.id.as_ref().unwrap().as_str(), "{service}_upstream");
}

#[test]
fn blue_and_green_in_the_folder_itself_are_the_slots() {
    let slot = |slot: &str| {
        format!(
            "services:\n  app: {{ image: 'ghcr.io/acme/web:${{TAG}}', container_name: web-{slot}, expose: ['5000'] }}\n"
        )
    };
    let (project, proposal) = proposed(&[
        ("blue/docker-compose.yml", &slot("blue")),
        ("green/docker-compose.yml", &slot("green")),
        ("Caddyfile", "example.com {\n\treverse_proxy web-blue:5000\n}\n"),
    ]);
    let (name, service) = project.services.first_key_value().unwrap();
    assert_eq!(
        (name.as_str(), service.image.as_deref(), service.port),
        ("web", Some("ghcr.io/acme/web"), Some(5000))
    );
    let Runtime::Compose(compose) = &prod(&project).runtime else { panic!("{}", proposal.text) };
    assert!(matches!(&compose.layout, ComposeLayout::Folders(dir) if dir.as_str() == "./{slot}"));

    let beside = "services: { api: { image: a/api }, db: { image: 'postgres:16' } }";
    let (project, proposal) =
        proposed(&[("blue/docker-compose.yml", beside), ("green/docker-compose.yml", beside)]);
    assert_eq!(project.services.keys().next().unwrap().as_str(), "api");
    let wanted = "`db` of blue and green was left out: a slot is one service.";
    assert!(proposal.notes.iter().any(|note| note == wanted), "{:#?}", proposal.notes);
}

#[test]
fn ports_that_only_caddy_knows_are_taken_over() {
    let compose = "services: { app: { image: i/app } }";
    let caddyfile =
        "a.example { \n reverse_proxy web-blue:5000 \n }\nb.example {\n reverse_proxy api-green:6000\n}\n";
    let (project, proposal) = proposed(&[
        ("web/blue/docker-compose.yml", compose),
        ("web/green/docker-compose.yml", compose),
        ("api/blue/docker-compose.yml", compose),
        ("api/green/docker-compose.yml", compose),
        ("Caddyfile", caddyfile),
    ]);
    let ports: Vec<_> =
        project.services.iter().map(|(name, service)| (name.as_str(), service.port)).collect();
    assert_eq!(ports, [("api", Some(6000)), ("web", Some(5000))], "{}", proposal.text);
    let Router::Caddy(caddy) = &prod(&project).router else { panic!("{}", proposal.text) };
    assert_eq!(caddy.dial.as_str(), "{service}-{slot}:{port}");
}

#[test]
fn a_caddy_that_reads_the_switch_is_known_by_its_matcher() {
    let compose = "services: { web: { image: i/web } }";
    let caddyfile = "@green vars {file./srv/apps/web/active_color} green\nhandle @green {\n reverse_proxy web-green:5000\n}\nhandle {\n reverse_proxy web-blue:5000\n}\n";
    let json = r#"{"routes": [
        {"match": [{"vars": {"{file./srv/apps/web/active_color}": ["green"]}}],
         "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "web-green:5000"}]}]},
        {"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "web-blue:5000"}]}]}]}"#;
    for (name, text) in [("Caddyfile", caddyfile), ("caddy.json", json)] {
        let (project, proposal) = proposed(&[
            ("web/blue/docker-compose.yml", compose),
            ("web/green/docker-compose.yml", compose),
            (name, text),
        ]);
        let Router::Caddy(caddy) = &prod(&project).router else { panic!("{}", proposal.text) };
        assert!(caddy.switch.is_none() && caddy.id.is_none(), "{name}: it is found: {}", proposal.text);
        assert_eq!(caddy.dial.as_str(), "{service}-{slot}:{port}", "{name}");
        let said = |note: &String| note.contains("reads the services' `active_color` at each request");
        assert!(proposal.notes.iter().any(said), "{name}: {:#?}", proposal.notes);
    }
}

#[test]
fn what_a_compose_file_has_and_the_proposal_has_not_is_named() {
    for (files, expected) in [
        (
            vec![(
                "compose.yaml",
                "services:\n  web: { build: . }\n  db: { image: x }\n  cache: { image: y }\n",
            )],
            "`cache`, `db` of compose.yaml were left out: they are not built here.",
        ),
        (
            vec![("compose.yaml", "services:\n  web: { image: acme/web }\n  db: { image: 'postgres:16' }\n")],
            "`db` of compose.yaml was left out: its image is not made for this project.",
        ),
        (
            vec![("compose.yaml", "services:\n  Web: { image: a }\n  web: { image: b }\n")],
            "`web` of compose.yaml was left out: another service is called `web` already.",
        ),
        (
            vec![("docker-compose.yml", PAIR)],
            "`router` of docker-compose.yml was left out: it has no blue and green of its own.",
        ),
        (
            vec![("docker-compose.yml", "services:\n  web: { image: a }\n  web: { image: b }\n")],
            "`docker-compose.yml:3:3` was passed over: `web` is here twice.",
        ),
        (vec![("compose.yaml", "name: x\n")], "compose.yaml was passed over: it has no `services`."),
        (
            vec![("caddy.json", "{\n  x"), ("Dockerfile", "")],
            "`caddy.json:2:3` was passed over: it is not JSON.",
        ),
        (
            vec![("web/blue/compose.yaml", "services: { web: {} }")],
            "The folder `web` was left out: it has no Compose file for green.",
        ),
        (
            vec![("W/blue/compose.yaml", "services: { w: {} }"), ("W/green/compose.yaml", "services: {}")],
            "The folder `W` was left out: a service cannot be called so.",
        ),
        (
            vec![("a/blue/compose.yaml", ": :"), ("a/green/compose.yaml", "services: {}")],
            "The folder `a` was left out: it has no Compose file for blue.",
        ),
        (
            vec![("green/compose.yaml", "services: { web: { image: a } }")],
            "The folder `green` was left out: there is no Compose file for blue.",
        ),
    ] {
        let (_, proposal) = proposed(&files);
        assert!(proposal.notes.iter().any(|note| note == expected), "{expected}\n{:#?}", proposal.notes);
    }
    let many: String = (0..22).map(|n| format!("  s{n:02}: {{ image: a }}\n")).collect();
    let (_parent, dir) = folder(&[("compose.yaml", &format!("services:\n{many}"))]);
    let proposal = propose(&dir).unwrap();
    assert!(
        proposal.notes.iter().any(|note| note.starts_with("`s20`, `s21` after the first 20 were left out")),
        "{:?}",
        proposal.notes
    );
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    assert!(propose(Path::new("/nonexistent/folder")).is_err());
}

#[test]
fn the_environment_is_called_as_asked() {
    let (_parent, dir) = folder(&[]);
    let name = EnvironmentName::new("staging").unwrap();
    let project = good(&lockgate_config::init::propose(&dir, &name).unwrap().text);
    assert_eq!(project.environments.last().unwrap().name, name);
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
    let parent = tempfile::tempdir().unwrap();
    for name in ["--flag", "$(id) ${X}", "{colour}", "true", "ünï", "a\nb"] {
        let dir = parent.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("compose.yaml"), PAIR).unwrap();
        good(&propose(&dir).unwrap().text);
    }
}
