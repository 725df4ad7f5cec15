//! What may be missing where a file is read for one of `ship`'s jobs.

mod common;

use std::path::Path;

use common::parse_with;
use lockgate_config::{ConfigError, Purpose};
use lockgate_model::Project;

const TEXT: &str = r#"
project: shop
services:
  web:
    image: ghcr.io/acme/web
    env: { KEY: "${KEY}", LEVEL: debug }
    build: { args: { BASE: "${BASE}" } }
environments:
  prod:
    hosts: ["root@${HOST}", "root@${OTHER_HOST}"]
    strategy: recreate
    runtime: compose
registries: { ghcr.io: { user: ci, password: "${PASSWORD}" } }
ssh: { key: "${SSH_KEY}" }
notify: [{ slack: { webhook: "${SLACK}" } }]
"#;
const SLACK: (&str, &str) = ("SLACK", "https://hooks.slack.example/x");

fn read(purpose: Purpose, text: &str, env: &[(&str, &str)]) -> Result<Project, ConfigError> {
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    lockgate_config::parse_for(purpose, text, "lockgate.yaml", Path::new("/work"), &env)
}

#[test]
fn a_test_needs_no_variable_that_only_hosts_registries_builds_and_services_name() {
    let project = read(Purpose::Test, TEXT, &[SLACK]).unwrap();
    let web = project.services.values().next().unwrap();
    assert_eq!(web.env.keys().collect::<Vec<_>>(), ["LEVEL"]);
    assert!(web.ship.build.args.is_empty() && project.registries.is_empty() && project.ssh.key.is_none());
    let hosts = &project.environments[0].slots().unwrap().hosts;
    assert_eq!(hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>(), ["unset.invalid"]);
    // One that is known stays, alone.
    let project = read(Purpose::Test, TEXT, &[SLACK, ("HOST", "192.0.2.7")]).unwrap();
    assert_eq!(project.environments[0].slots().unwrap().hosts[0].as_str(), "root@192.0.2.7");
}

#[test]
fn who_is_told_has_to_be_known_to_every_job() {
    for purpose in [Purpose::Test, Purpose::Build] {
        let said = read(purpose, TEXT, &[("PASSWORD", "x"), ("BASE", "x")]).unwrap_err().plain();
        assert!(said.contains("the variable SLACK is not set") && said.lines().count() <= 2, "{said}");
    }
}

#[test]
fn a_build_needs_its_login_and_arguments_too() {
    let said = read(Purpose::Build, TEXT, &[SLACK]).unwrap_err().plain();
    for name in ["PASSWORD", "BASE"] {
        assert!(said.contains(&format!("the variable {name} is not set")), "{said}");
    }
    for name in ["KEY", "HOST"] {
        assert!(!said.contains(&format!("the variable {name} is not set")), "{said}");
    }
    let project = read(Purpose::Build, TEXT, &[SLACK, ("PASSWORD", "x"), ("BASE", "x")]).unwrap();
    assert_eq!(project.registries.len(), 1);
}

#[test]
fn what_is_wrong_is_said_to_every_job_and_all_is_needed_otherwise() {
    let wrong = TEXT.replace("root@${HOST}", "-bad host");
    assert!(read(Purpose::Test, &wrong, &[SLACK]).unwrap_err().plain().contains("is not valid"));
    let said = parse_with(TEXT, &[SLACK]).unwrap_err().plain();
    for name in ["KEY", "BASE", "HOST", "OTHER_HOST", "PASSWORD", "SSH_KEY"] {
        assert!(said.contains(&format!("the variable {name} is not set")), "{said}");
    }
}
