//! Workflows that ship by themselves, whole, and the secrets that they read.

mod common;

use std::path::Path;

use common::FULL;
use lockgate_config::init::{Branch, NotShipped, ShipWorkflow, shipped};
use lockgate_model::ServiceName;

/// As the guide has it, and with all of system C's names.
const SYSTEM_C: &str = r##"
project: monarch
services:
  monarch:
    image: "${DOCKER_REGISTRY}/acme/monarch"
    port: 8000
    watch: ["**/*.py", Dockerfile, docker-compose.yml, "/.github/workflows/**", requirements.txt, "web/*.{ts,css}"]
    test: { run: "TOKEN=x pytest --token $TOKEN --db $TEST_DB ${HOME} ${SEED:-1}", timeout: 20m }
    build: { tags: ["{sha}", latest] }
    env:
      VALKEY_HOST: "${VALKEY_HOST}"
      VALKEY_PORT: "${VALKEY_PORT:-6379}"
      SPACES_TOKEN: "${DIGITALOCEAN_ACCESS_TOKEN}"
      COMMIT: "${GITHUB_SHA:-}"
    before_switch: "python manage.py migrate $NOT_OURS"
environments:
  prod:
    hosts: ["root@${DROPLET_HOST}"]
    strategy: recreate
    setup: { wait_for: /opt/setup_complete, patience: 15m }
    runtime: { compose: { dir: /opt/monarch, upload: docker-compose.yml } }
registries:
  registry.example.com: { user: "${DOCKER_USERNAME}", password: "${DOCKER_PASSWORD}" }
  ghcr.io: { user: ci, password: "${GH_PAT:-}" }
ssh: { key: "${SSH_PRIVATE_KEY:-}", known_hosts: "${KNOWN_HOSTS:-}" }
notify:
  - slack: { token: "${SLACK_BOT_TOKEN:-}", channel: "#deploys" }
  - slack: { webhook: "${SLACK_WEBHOOK_URL:-}" }
"##;

fn workflow(text: &str) -> ShipWorkflow {
    let one = shipped(text, "lockgate.yaml").unwrap().one(None, None).unwrap();
    ShipWorkflow::new(one, Branch::new("main").unwrap(), Path::new("/nonexistent"))
}

/// What the one step of a job that runs `ship` is given.
fn given(text: &str, job: &str) -> Vec<String> {
    let job = text.split(&format!("\n  {job}:\n")).nth(1).unwrap();
    let step = job.split("\n  deploy:\n").next().unwrap().split("\n  build:\n").next().unwrap();
    let step = step.split("- name: ").last().unwrap();
    let names = step.lines().filter_map(|line| line.trim().split_once(": ${{ "));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn system_c_is_tested_built_and_deployed_each_with_its_own_secrets() {
    let workflow = workflow(SYSTEM_C);
    let text = workflow.text();
    insta::assert_snapshot!("system_c", text);
    let told = ["SLACK_BOT_TOKEN", "SLACK_WEBHOOK_URL"];
    assert_eq!(given(&text, "test"), ["DOCKER_REGISTRY", "SEED", told[0], told[1], "TEST_DB"]);
    assert_eq!(
        given(&text, "build"),
        ["DOCKER_PASSWORD", "DOCKER_REGISTRY", "DOCKER_USERNAME", "GH_PAT", told[0], told[1]]
    );
    let secrets = workflow.secrets();
    let lines: Vec<String> = secrets
        .iter()
        .map(|one| {
            format!(
                "{} | {} | {}",
                one.command,
                if one.is_optional { "optional" } else { "needed" },
                one.what
            )
        })
        .collect();
    insta::assert_snapshot!("system_c_secrets", lines.join("\n"));
    for name in ["GITHUB_SHA", "HOME", "TOKEN", "NOT_OURS"] {
        assert!(!secrets.iter().any(|one| one.name == name), "{name}");
    }
}

#[test]
fn one_of_several_services_is_named_and_lies_in_a_folder() {
    let text = r#"
project: shop
services:
  web: { image: ghcr.io/acme/web, build: { with: buildx, platforms: [linux/amd64, linux/arm64] } }
  api: { image: ghcr.io/acme/api, test: ./test, watch: ["${APP}/**"], build: { with: depot } }
environments:
  stage: { hosts: [root@stage], strategy: recreate, runtime: compose }
  prod: { hosts: [root@a, root@b], strategy: recreate, runtime: compose }
notify: [{ github: { token: "${GITHUB_TOKEN:-}" } }]
"#;
    let shipped = shipped(text, "lockgate.yaml").unwrap();
    let names = |name: &str| ServiceName::new(name).unwrap();
    let refused = |service: Option<&str>, environment| {
        shipped.one(service.map(names).as_ref(), environment).unwrap_err()
    };
    assert_eq!(refused(None, None), NotShipped::SeveralServices("web, api".into()));
    assert_eq!(refused(Some("web"), None), NotShipped::SeveralEnvironments("stage, prod".into()));
    assert_eq!(refused(Some("db"), None), NotShipped::UnknownService("db".into()));
    assert_eq!(refused(Some("web"), Some("x")), NotShipped::UnknownEnvironment("x".into()));
    let of = |name: &str| {
        let one = shipped.one(Some(&names(name)), Some("prod")).unwrap();
        let mut workflow = ShipWorkflow::new(one, Branch::new("main").unwrap(), Path::new("/nonexistent"));
        workflow.folder = "apps/shop".to_owned();
        workflow.config = Some("prod.yaml".to_owned());
        workflow.has_submodules = true;
        workflow
    };
    assert_eq!(of("web").path(), ".github/workflows/ship-web.yml");
    insta::assert_snapshot!("buildx_in_a_folder", of("web").text());
    insta::assert_snapshot!("depot_without_paths", of("api").text());
}

#[test]
fn ci_ships_what_is_built_and_has_hosts_and_no_daemon() {
    let service = "  web: { image: a/web, build: . }\n";
    let hosts = "  prod: { hosts: [root@a], strategy: recreate, runtime: compose }\n";
    let of = |services: &str, environments: &str, more: &str| {
        let text = format!("project: p\nservices:\n{services}environments:\n{environments}{more}");
        shipped(&text, "lockgate.yaml").unwrap()
    };
    assert!(of(service, hosts, "").is_by_ci());
    let daemon = "serve: { endpoints: { /deploy: { environment: prod, secrets: [\"${S}\"] } } }\n";
    assert!(!of(service, hosts, daemon).is_by_ci());
    for (services, environments, why) in [
        ("  web: { image: a/web }\n", hosts, NotShipped::NoService),
        ("  web: { command: ./x, test: y }\n", hosts, NotShipped::NoService),
        (service, "  prod: { runtime: compose }\n", NotShipped::NoEnvironment),
        (service, "  prod: { hosts: [local], runtime: compose }\n", NotShipped::NoEnvironment),
        (service, "  prod: { url: https://a.example }\n", NotShipped::NoEnvironment),
    ] {
        let shipped = of(services, environments, "");
        assert!(!shipped.is_by_ci());
        assert_eq!(shipped.one(None, None).unwrap_err(), why, "{services}{environments}");
    }
}

#[test]
fn names_and_texts_of_the_configuration_add_nothing_to_a_workflow() {
    assert!(shipped("project: [", "lockgate.yaml").is_err());
    assert!(shipped("project: p\nservice: x\n", "lockgate.yaml").is_err());
    let full = shipped(FULL, "lockgate.yaml").unwrap();
    assert!(!full.is_by_ci());
    let evil = "project: p\nservices:\n  web:\n    image: a/web\n    build: .\n    watch: [\"a\\\"]\\n  x: y\", \"${{ github.token }}\", \"b\"]\n    env: { X: \"${A B}\", \"Y\\n# z\": \"${Y_1}\" }\nenvironments:\n  prod: { hosts: [root@a], strategy: recreate, runtime: compose }\n";
    let text = workflow(evil).text();
    assert!(!text.contains("paths:") && !text.contains("github.token"), "{text}");
    assert!(text.contains("\n# - secret Y_1: Y# z of web\n"), "{text}");
    let quoted = evil.replace(", \"${{ github.token }}\"", "");
    let text = workflow(&quoted).text();
    assert!(
        text.contains("      - \"a\\\"]\\\\n  x: y\"\n")
            || text.contains("      - \"a\\\"\\\\]\\n  x: y\"\n"),
        "{text}"
    );
}
