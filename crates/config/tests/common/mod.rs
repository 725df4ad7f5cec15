//! Parsing with a made-up environment.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_config::{ConfigError, Purpose};
use lockgate_model::Project;

pub fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<Project, ConfigError> {
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    lockgate_config::parse(text, "lockgate.yaml", Path::new("/work"), &env)
}

/// As [`parse_with`], to be served.
pub fn parse_serving(text: &str, env: &[(&str, &str)]) -> Result<Project, ConfigError> {
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    lockgate_config::parse_for(Purpose::Serve, text, "lockgate.yaml", Path::new("/work"), &env)
}

pub fn good(text: &str) -> Project {
    parse_with(text, &[]).unwrap_or_else(|error| panic!("{}\n---\n{text}", error.plain()))
}

pub fn bad(text: &str) -> ConfigError {
    match parse_with(text, &[]) {
        Err(error) => error,
        Ok(_) => panic!("this was accepted:\n{text}"),
    }
}

/// A folder named `shop` with these files.
pub fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
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

/// A small project with more keys for its service and its environment.
pub fn with(service: &str, environment: &str) -> String {
    let body = |text: &str, indent: &str| {
        text.lines()
            .filter(|line| !line.is_empty())
            .map(|line| format!("{indent}{line}\n"))
            .collect::<String>()
    };
    format!(
        "project: shop\nservices:\n  web:\n{}environments:\n  test:\n    url: https://test.example.com\n  prod:\n{}",
        body(service, "    "),
        body(environment, "    ")
    )
}

/// All that the format has.
pub const FULL: &str = r#"
project: lockn
services:
  lockn-logger:
    image: ghcr.io/lockn-ai/lockn-logger
    command: ./server --flag {tag} "${SECRET}"
    cwd: releases/{tag}
    env: { KEY: "${SECRET}", LEVEL: debug }
    port: 5000
    health: { path: /ready, timeout: 90s, passes: 3, status: 200-399, body: ok, headers: { X-Probe: "1", Host: a.lockn.ai } }
    critical_paths: [/, /metrics]
    verify: { path: /version, body: "{tag}", header: { X-Release: "{tag}" } }
    urls: { test: https://logger.test.lockn.ai, prod: https://logger.lockn.ai }
    before_switch: { run: "./migrate --to {tag}", timeout: 30m, repeat: true }
    after_switch: { run: [./warm, "{tag}"], on_failure: warn }
    schedule: { cron: "30 4 * * mon-fri", time_zone: UTC, pre_releases: true, catch_up: 2h }
    watch: ["src/**", Dockerfile, "/.github/**"]
    test: { run: "pytest -q", allow_failure: true, timeout: 10m }
    build: { with: buildx, platforms: [linux/amd64, linux/arm64], tags: ["{sha}", latest], context: ., file: Dockerfile.prod, args: { BASE: "${SECRET}" } }
environments:
  test: { url: https://test.lockn.ai }
  prod:
    url: https://lockn.ai
    from: test
    hosts: ["${DEPLOY_HOST}", local]
    strategy: blue-green
    runtime: { compose: { dir: "/srv/apps/{service}/{slot}", service: web, project: "{service}-{slot}" } }
    router: { caddy: { admin: "http://127.0.0.1:2020", id: "{service}_route", dial: "{service}-{slot}:5000", ask: "http://127.0.0.1/{service}", snippet: "/etc/caddy/{service}.caddy" } }
    before: [ { http: { in: test } } ]
    after:
      - http: { latency_p95: 500ms, paths: [/, /metrics], status: 200, body: ok, samples: 20, interval: 50ms, timeout: 2s, url: https://lockn.ai }
        name: smoke
      - command: { run: "pytest -q 'tests/smoke all'", timeout: 5m, pass: [0], not_yet: [75, 5] }
    schedule: { cron: "0 5 * * *", deploy: latest-semver, time_zone: Europe/Berlin, pre_releases: false, catch_up: 30m, services: [lockn-logger] }
    waves: [1, 25%]
    drain: 1m
    keep_warm: 10m
    stop_grace: 20s
    keep_releases: 3
    disk_free: 1GiB
  edge:
    hosts: [edge@edge1]
    runtime: { compose: { file: /srv/edge/compose.yaml, service: "{service}-{slot}", project: edge } }
    router: { builtin: { listen: "0.0.0.0:80", hosts: [a.lockn.ai, "{service}.lockn.ai"], path: /api, dir: /var/lib/lockgate } }
notify:
  - slack: { webhook: "${SLACK_WEBHOOK_URL}", channel: "${SLACK_CHANNEL:-}" }
  - webhook: { url: "https://hooks.example.com/x", headers: { Authorization: "Bearer ${SECRET}" } }
registries: { ghcr.io: { user: ann, password: "${SECRET}" } }
ssh: { options: "-i 'my key'", port: 2222, accept_new_host_keys: true }
state_dir: "./state/{environment}"
serve:
  listen: [0.0.0.0:8443, "unix:/run/lockgate/serve.sock"]
  tls: { cert: fullchain.pem, key: /etc/lockgate/key.pem }
  plain_http: false
  endpoints:
    /deploy:
      environment: prod
      services: [lockn-logger]
      secrets: ["${SECRET}", "0123456789abcdef", "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="]
      tag: "sha-{image_sha:.8}"
      timeout: 5m
      repeated: 1h
      branches: [main]
      container_name: "{service}"
      healthcheck_url: "http://127.0.0.1:5000/{environment}"
"#;

pub const FULL_ENV: [(&str, &str); 3] = [
    ("SECRET", "s3 cr;et"),
    ("DEPLOY_HOST", "ops@app1"),
    ("SLACK_WEBHOOK_URL", "https://hooks.slack.example/T0/B0/x"),
];
