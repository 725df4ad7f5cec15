//! Every mistake has a line, words for people and a hint. Columns count characters.

mod common;

use common::{bad, parse_with, with};
use insta::assert_snapshot;
use lockgate_config::{Kind, load};

/// Mistakes in the service (`web`, lines 4…) or in the environment (`prod`).
fn service(keys: &str) -> String {
    bad(&with(keys, "runtime: process")).plain()
}

fn prod(keys: &str) -> String {
    bad(&with("image: acme/web\nport: 5000\ncommand: ./server", keys)).plain()
}

/// As [`service`], for tables: `line:column: message | hint`.
fn line(error: &str) -> String {
    let lines: Vec<String> = error
        .replace("\n  hint: ", " | ")
        .lines()
        .map(|line| line.trim_start_matches("lockgate.yaml:").to_owned())
        .collect();
    lines.join("\n")
}

fn table(cases: &[&str], check: impl Fn(&str) -> String) -> String {
    cases
        .iter()
        .map(|case| {
            format!("{}\n    {}", case.replace('\n', "⏎"), line(&check(case)).replace('\n', "\n    "))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn structure() {
    let whole = |text: &str| bad(text).plain();
    assert_snapshot!(table(
        &[
            "",
            "# a comment\n\n  # and another",
            "shop",
            "[]",
            "project: shop",
            "project: shop\nproject: shop",
            "project: shop\nservice: {}",
            "project: shop\nservices: {}\nenvironments: {}",
            "project: shop\nservices: [web]",
            "project: [shop]",
            "project: !Name shop",
            "project: *x",
            "project: \"shop",
            "project: shop\nservices:\n\tweb: {}",
            "project: shop\nservices: { web: { image: ${IMAGE} } }",
            "---\nproject: shop\nservices: {}\nenvironments: {}\n---\na: b",
            "project: shop\nservices: {}\nenvironments: {}\nssh: { accept_new_host_keys: yes }",
            "project: Shop\nservices: { ../web: {}, --flag: {}, \"a;b\": {} }\nenvironments: { \"a\\nb\": {} }",
        ],
        whole
    ));
}

#[test]
fn keys_of_a_service() {
    assert_snapshot!(table(
        &[
            "imge: x",
            "test_url: https://a",
            "prod_url: https://a",
            "health_endpoint: /health",
            "ports: [80]",
            "build: .",
            "environment: { A: b }",
            "zzz: 1",
            "image: a\nimage: b",
            "datadog: {}",
        ],
        service
    ));
}

#[test]
fn values_of_a_service() {
    assert_snapshot!(table(
        &[
            "port: x",
            "port: 0",
            "port: 70000",
            "port: [80]",
            "health: [a]",
            "health: health",
            "health: { path: 'a b' }",
            "health: { timeout: soon }",
            "health: { timeout: 0 }",
            "health: { passes: 0 }",
            "health: { status: 2x }",
            "health: { body: {tag} }",
            "health: { docker: true, path: /x }",
            "health: { command: ./x, status: 200 }",
            "health: { command: './x ${KEY}' }",
            "health: { command: [] }",
            "health: { docker: true, headers: { Host: a.test } }",
            "health: { headers: { 'A B': x, Host: '', Connection: close, X-Lockgate-Ask: x } }",
            "health: { headers: { Authorization: Basic x, X-Key: '${KEY}', X-Name: bücher } }",
            "health: { headers: { Host: a.test, host: b.test } }",
            "health: { headers: [Host] }",
            "critical_paths: [metrics, '/a b', \"/a\\nb\"]",
            "image: acme/web:v1",
            "image: acme/web@sha256:00",
            "image: -rf",
            "image: 'a b'",
            "command: ''",
            "command: 'a \"b'",
            "command: []",
            "command: x {colour}",
            "cwd: ../x",
            "cwd: -x",
            "env: { 1A: x, A-B: y }",
            "env: { A: }",
            "env: [A]",
            "verify: { body: ok }",
            "verify: { path: /v }",
            "verify: { header: { A: '{tag}', B: '{tag}' } }",
            "verify: { header: { 'A B': '{tag}' } }",
            "urls: { pord: https://a.example.com }",
            "urls: { prod: a.example.com }",
        ],
        |keys| service(
            &format!("{keys}\ncommand: ./server").replace(
                "command: ./server",
                if keys.contains("command") { "" } else { "command: ./server" }
            )
        )
    ));
}

#[test]
fn values_of_an_environment() {
    assert_snapshot!(table(
        &[
            "runtime: docker",
            "runtime: { docker: {} }",
            "runtime: {}",
            "runtime: { process: {}, compose: {} }",
            "runtime: [process]",
            "router: builtin",
            "hosts: [a]",
            "runtime: compose\nhosts: []",
            "runtime: compose\nhosts: [a, b, a]",
            "runtime: compose\nhosts: [-oProxyCommand=x, 'a b', \"a\\nb\", 'a;b']",
            "runtime: compose\nrouter: { nginx: {}, caddy: {} }",
            "runtime: compose\nrouter: nginks",
            "runtime: compose\nrouter: cady",
            "runtime: compose\nstrategy: canary",
            "runtime: compose\nstrategy: big-bang",
            "runtime: compose\nschedule: {}",
            "runtime: compose\ndrain: 5d",
            "runtime: compose\ndrain: -1s",
            "runtime: compose\nkeep_releases: 1",
            "runtime: compose\ndisk_free: 500",
            "runtime: compose\nwaves: [0, 0%, 101%, some]",
            "runtime: compose\nwaves: [rest, 1]",
            "url: shop.example.com",
            "url: 'https://a b'",
            "from: tset",
            "from: prod",
        ],
        prod
    ));
}

#[test]
fn slots_that_would_collide() {
    assert_snapshot!(table(
        &[
            "runtime: { compose: { dir: /srv/web } }",
            "runtime: { compose: { dir: '/srv/{tag}/{slot}' } }",
            "runtime: { compose: { dir: '/srv/{slot}/../x' } }",
            "runtime: { compose: { dir: '/srv/{slot}', project: shop } }",
            "runtime: { compose: { file: a.yaml, service: web } }",
            "runtime: { compose: { file: 'a-{slot}.yaml' } }",
            "runtime: { compose: { file: a.yaml, project: '{slot}' } }",
            "runtime: { compose: { file: a, dir: '{slot}' } }",
            "runtime: compose\nrouter: { nginx: { dial: 'web' } }",
            "runtime: compose\nrouter: { nginx: { dial: '{slot}:http' } }",
            "runtime: compose\nrouter: { nginx: { dial: 'unix:/run/{slot}' } }",
            "runtime: compose\nrouter: { nginx: { switch: admin } }",
            "runtime: compose\nrouter: { nginx: { marker: web/green_is_live } }",
            "runtime: compose\nrouter: { nginx: { config: nginx.conf } }",
            "runtime: compose\nrouter: { nginx: { container: '--rm' } }",
            "runtime: compose\nrouter: { nginx: { ask: example.com } }",
            "runtime: compose\nrouter: { nginx: { upstream: web } }",
            "runtime: compose\nrouter: { caddy: { dial: 'web:5000' } }",
            "runtime: compose\nrouter: { caddy: { dial: '{service}-{slot}' } }",
            "runtime: compose\nrouter: { caddy: { dial: '{service}-{colour}:80' } }",
            "runtime: compose\nrouter: { caddy: { id: '{slot}' } }",
            "runtime: compose\nrouter: { caddy: { id: 'a/../b' } }",
            "runtime: compose\nrouter: { caddy: { admin: unix } }",
            "runtime: compose\nrouter: { caddy: { switch: reload } }",
            "runtime: compose\nrouter: { caddy: { switch: file, snippet: /etc/caddy/web.caddy } }",
            "runtime: process",
            "runtime: compose\nrouter: { builtin: { listen: 8080 } }",
            "runtime: compose\nrouter: { builtin: { listen: 'localhost:8080' } }",
            "runtime: compose\nrouter: { builtin: { listen: 'app.example:80' } }",
            "runtime: compose\nrouter: { builtin: { listen: '127.0.0.1:0' } }",
            "runtime: compose\nrouter: { builtin: { host: 'https://a' } }",
            "runtime: compose\nrouter: { builtin: { host: a, hosts: [b] } }",
            "runtime: compose\nrouter: { builtin: { path: api } }",
            "runtime: compose\nrouter: { builtin: { response_timeout: 0 } }",
            "runtime: compose\nrouter: { builtin: { stall_timeout: 0 } }",
            "runtime: compose\nrouter: { builtin: { trusted_proxies: [10.0.0.0/33, lb.example, 10.0.0.1] } }",
        ],
        prod
    ));
}

#[test]
fn gates() {
    assert_snapshot!(table(
        &[
            "after: [ {} ]",
            "after: [ { http: {}, command: x } ]",
            "after: [ { https: {} } ]",
            "after: [ { soak: {} } ]",
            "after: [ { http: { in: tset } } ]",
            "after: [ { http: { in: test, url: https://a } } ]",
            "after: [ { http: { url: a } } ]",
            "after: [ { http: { samples: 0 } } ]",
            "after: [ { http: { for: 500ms } } ]",
            "after: [ { http: { for: 2h, every: 3h } } ]",
            "after: [ { http: { for: soon } } ]",
            "after: [ { http: { for: 1m, every: 50ms } } ]",
            "after: [ { http: { for: 10s, every: 11s } } ]",
            "after: [ { http: { for: 1h, every: 100ms } } ]",
            "after: [ { http: { for: 1m, failures: 31 } } ]",
            "after: [ { http: { for: 1m, failures: -1 } } ]",
            "after: [ { http: { for: 1m, samples: 5, interval: 1s } } ]",
            "after: [ { http: { every: 2s, failures: 1 } } ]",
            "after: [ { http: { paths: [a] } } ]",
            "after: [ { http: { latency_p95: fast } } ]",
            "after: [ { http: { body: 'v {tag}' } } ]",
            "after: [ { command: { timeout: 1s } } ]",
            "after: [ { command: './x --token ${TOKEN}' } ]",
            "after: [ { command: { run: [./x, '${TOKEN:-none}'] } } ]",
            "after: [ { command: { run: x, pass: [256] } } ]",
            "after: [ { command: { run: x, pass: [0, 75], not_yet: [75] } } ]",
            "after: [ { name: a, http: {} }, { name: a, http: {} } ]",
            "after: { http: {} }",
        ],
        prod
    ));
}

#[test]
fn parts_that_do_not_fit_together() {
    let whole = |text: &str| bad(text).plain();
    let two = |rest: &str| {
        format!(
            "project: p\nservices:\n  a: {{ image: i/a, port: 80 }}\n  b: {{ image: i/b, port: 80 }}\nenvironments:\n{rest}"
        )
    };
    let one =
        |service: &str, rest: &str| format!("project: p\nservices:\n  a: {service}\nenvironments:\n{rest}");
    let cases = [
        two("  prod: { runtime: compose }"),
        two("  prod: { runtime: compose, router: { caddy: { id: main } } }"),
        two("  prod: { runtime: compose, router: { caddy: { dial: 'app-{slot}:80', id: '' } } }"),
        two("  prod: { runtime: compose, router: { caddy: { active_color: /switch/active_color } } }"),
        two("  prod: { runtime: { compose: { dir: '/srv/{slot}' } }, router: caddy }"),
        two("  prod: { runtime: { compose: { file: /x, service: 'web-{slot}' } }, router: caddy }"),
        one(
            "{ image: i/a, port: 80 }",
            "  x: { runtime: { compose: { dir: '/srv/x/{slot}' } } }\n  y: { runtime: compose }",
        ),
        one("{ image: i/a }", "  prod: { runtime: compose, router: caddy }"),
        one("{ command: x }", "  prod: { runtime: compose }"),
        one("{ image: i/a }", "  prod: { runtime: process }"),
        one("{ command: x, port: 80 }", "  prod: { runtime: process, router: caddy }"),
        one("{ command: x, port: 80 }", "  prod: { runtime: process, router: nginx }"),
        one("{ image: i/a }", "  prod: { runtime: compose, router: { nginx: { container: edge } } }"),
        one("{ image: i/a, port: 80 }", "  prod: { strategy: recreate, runtime: compose, router: nginx }"),
        two("  prod: { runtime: compose, router: { nginx: { dial: 'app_{slot}' } } }"),
        two("  prod: { runtime: compose, router: { nginx: { marker: /markers/live } } }"),
        one("{ command: x }", "  a: { from: b, url: https://a }\n  b: { from: c }\n  c: { from: a }"),
        one("{ image: i/a, port: 80 }", "  prod: { strategy: recreate, runtime: compose, router: caddy }"),
        two("  prod: { strategy: recreate, runtime: { compose: { dir: /srv/x } } }"),
        two("  prod: { strategy: recreate, runtime: { compose: { file: /srv/x.yml, service: app } } }"),
        one("{ command: x }", "  prod: { runtime: process, router: none, after: [ { http: {} } ] }"),
        one(
            "{ command: x }",
            "  prod: { strategy: recreate, runtime: process, before: [ { http: { in: prod } } ] }",
        ),
        one("{ command: x, health: docker }", "  prod: { runtime: process }"),
        one("{ command: x }", "  test: {}\n  prod: { runtime: process, before: [ { http: { in: test } } ] }"),
    ];
    let cases: Vec<&str> = cases.iter().map(String::as_str).collect();
    assert_snapshot!(table(&cases, whole));
}

#[test]
fn schedules() {
    let at = |schedule: &str| prod(&format!("runtime: compose\nschedule: {schedule}"));
    assert_snapshot!(table(
        &[
            "{}",
            "\"0 5 * * *\"",
            "{ cron: \"0 5 * * *\" }",
            "{ cron: \"0 5 * *\", deploy: latest-semver }",
            "{ cron: \"0 25 * * *\", deploy: latest-semver }",
            "{ cron: \"0 0 31 2 *\", deploy: latest-semver }",
            "{ cron: daily, deploy: latest-semver }",
            "{ cron: \"0 5 * * *\", deploy: latest }",
            "{ cron: \"0 5 * * *\", deploy: latest-semver, time_zone: Berlin }",
            "{ cron: \"0 5 * * *\", deploy: latest-semver, time_zone: \"../../etc/passwd\" }",
            "{ cron: \"0 5 * * *\", deploy: latest-semver, timezone: UTC }",
            "{ cron: \"0 5 * * *\", deploy: latest-semver, pre_releases: yes }",
            "{ cron: \"0 5 * * *\", deploy: latest-semver, catch_up: 59s }",
            "{ cron: \"0 5 * * *\", deploy: latest-semver, services: [] }",
            "{ cron: \"0 5 * * *\", deploy: latest-semver, services: [web, wbe, web] }",
            "{ cron: x, deploy: x, time_zone: x, catch_up: x, services: [x] }",
        ],
        at
    ));
    let web = "image: a/b\nport: 80";
    let daily = "schedule: { cron: \"@daily\", deploy: latest-semver }";
    let whole = [
        with(&format!("{web}\nschedule: {{ cron: \"0 6 * * *\" }}"), "runtime: compose"),
        with(&format!("{web}\nschedule: {{ deploy: x }}"), &format!("runtime: compose\n{daily}")),
        with("command: ./x", &format!("runtime: process\n{daily}")),
        with(web, daily),
        with("image: Acme/web\nport: 80", &format!("runtime: compose\n{daily}")),
    ];
    let said: Vec<String> = whole.iter().map(|text| line(&bad(text).plain())).collect();
    assert_snapshot!(said.join("\n"));
}

#[test]
fn variables() {
    let with_env = |keys: &str| {
        let env = [("HOST", "-oProxyCommand=touch /tmp/x"), ("COLOUR", "{colour}"), ("LINES", "/a\n/b")];
        parse_with(&with(keys, "runtime: process"), &env).unwrap_err().plain()
    };
    assert_snapshot!(table(
        &[
            "command: ${NONE}",
            "command: ${",
            "command: ./x ${a b}",
            "command: ${COLOUR}",
            "image: ${HOST}",
            "critical_paths: ['${LINES}']",
            "env: { A: '${NONE}' }",
            "command: ./x ${COLOUR",
            "port: '${HOST}'",
        ],
        with_env
    ));
    for (name, value) in [
        ("DEPLOY_HOST", "-oX=y"),
        ("DEPLOY_SSH_PORT", "ssh"),
        ("DEPLOY_SSH_OPTS", "'-i"),
        ("DEPLOY_TIMEOUT", "soon"),
    ] {
        let error = parse_with(&with("command: x", "runtime: process"), &[(name, value)]).unwrap_err();
        assert!(error.message().contains(name) && error.hint().is_some(), "{error}");
        assert!(error.line().is_none() && !error.plain().contains(value), "{error}");
    }
}

#[test]
fn logins_for_registries() {
    let whole =
        |keys: &str| bad(&format!("{}registries: {keys}\n", with("command: x", "runtime: process"))).plain();
    assert_snapshot!(table(
        &[
            "[]",
            "ghcr.io",
            "{ ghcr.io: ann }",
            "{ ghcr.io: {} }",
            "{ ghcr.io: { user: ann } }",
            "{ ghcr.io: { password: x } }",
            "{ ghcr.io: { user: ann, password: x, email: a@b } }",
            "{ ghcr.io: { usr: ann, password: x } }",
            "{ ghcr.io: { user: \"\", password: x } }",
            "{ ghcr.io: { user: \"a:b\", password: x } }",
            "{ ghcr.io: { user: ann, password: \"x\\n\" } }",
            "{ ghcr.io: { user: \"a\\nb\", password: x } }",
            "{ ghcr.io: { user: ann, password: \"${TOKEN}\" } }",
            "{ ghcr.io: { user: ann, password: \"x${TOKEN}\" } }",
            "{ https://ghcr.io: { user: ann, password: x } }",
            "{ ghcr.io/acme: { user: ann, password: x } }",
            "{ acme: { user: ann, password: x } }",
            "{ \"ghcr.io:0\": { user: ann, password: x } }",
            "{ docker.io: { user: ann, password: x }, index.docker.io: { user: ann, password: y } }",
            "{ GHCR.io: { user: ann, password: x }, ghcr.io: { user: ann, password: y } }",
        ],
        whole
    ));
}

#[test]
fn mail_github_and_what_is_told_are_checked() {
    let whole = |notify: &str| {
        bad(&(with("command: ./server", "runtime: process") + "notify: [" + notify + "]\n")).plain()
    };
    assert_snapshot!(table(
        &[
            "{ email: { smtp: \"https://mail.example.com\", from: a@b, to: [c@d] } }",
            "{ email: { smtp: \"smtps://m\", from: a, to: [] } }",
            "{ email: { smtp: \"smtps://m\", user: lee, from: a@b, to: [\"c d@e\"] } }",
            "{ github: { token: x } }",
            "{ github: { token: x, repository: web } }",
            "{ github: { token: x, repository: acme/web, api: \"http://github.example.com\" } }",
            "{ webhook: { url: \"https://h/x\", secret: short } }",
            "{ webhook: { url: \"https://h/x\" }, on: [rolled-back], environments: [prdo] }",
            "{ webhook: { url: \"https://h/x\" }, on: [] }",
        ],
        whole
    ));
}

#[test]
fn whom_to_tell() {
    let whole = |slack: &str| {
        bad(&(with("command: ./server", "runtime: process") + "notify: [" + slack + "]\n")).plain()
    };
    assert_snapshot!(table(
        &[
            "{ slack: {} }",
            "{ slack: https://hooks.slack.example/T0 }",
            "{ slack: { token: x } }",
            "{ slack: { token: \"${TOKEN}\", channel: x } }",
            "{ slack: { token: \"x\\n\", channel: x } }",
            "{ slack: { token: x, channel: \"\" } }",
            "{ slack: { token: x, channel: \"#a, #b\" } }",
            "{ slack: { token: x, webhook: \"https://hooks.slack.example/T0\" } }",
            "{ slack: { token: x, channel: y, api: \"http://slack.example/api/\" } }",
            "{ slack: { token: x, channel: y, api: \"https://ann:x@slack.example/\" } }",
            "{ slack: { token: x, channel: y, api: slack.com } }",
            "{ slack: { token: x, channel: y, api: \"https://slack.com/api?x\" } }",
            "{ slack: { webhook: \"https://hooks.slack.example/T0\", api: \"https://slack.com/api/\" } }",
            "{ slack: { tokn: x } }",
            "{ slack: { token: x, channel: y }, webhook: { url: \"https://x\" } }",
        ],
        whole
    ));
}

#[test]
fn variables_for_slack_that_are_wrong() {
    let text = with("command: ./server", "runtime: process");
    let mut said = Vec::new();
    for (name, value) in [
        ("SLACK_CHANNEL", "two words"),
        ("SLACK_BOT_TOKEN", "xoxb-1 hunter2"),
        ("SLACK_API_URL", "http://slack.example/hunter2"),
    ] {
        let right = [("SLACK_BOT_TOKEN", "xoxb-1"), ("SLACK_CHANNEL", "#deploys")];
        let env: Vec<(&str, &str)> = std::iter::once((name, value)).chain(right).collect();
        said.push(line(&parse_with(&text, &env).unwrap_err().plain()));
    }
    assert_snapshot!(said.join("\n"));
}

#[test]
fn every_unknown_key_is_told_at_once() {
    let text = "project: shop\nport: 1\nservices:\n  web: { prt: 80, env: { ANY: x }, health: { passess: 1, verify: [] } }\nenvironments:\n  prod: { runtime: process, hosts: 5, after: [ { http: { smaples: 1 } }, { htpp: {} } ] }\nnotify: [ { slak: {} } ]\n";
    assert_snapshot!(bad(text).plain());
}

#[test]
fn several_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let error = bad(&with("port: x\nhealth: { passes: 0 }", "runtime: process\ndrain: soon\nwaves: [0]"));
    let lines: Vec<usize> = error.problems().map(|problem| problem.place.unwrap().line).collect();
    assert_eq!(lines, [4, 5, 11, 12]);
    let paths: Vec<&str> = error.problems().filter_map(|problem| problem.path.as_deref()).collect();
    assert_eq!(
        paths,
        [
            "services.web.port",
            "services.web.health.passes",
            "environments.prod.drain",
            "environments.prod.waves.0"
        ]
    );
    assert_eq!((error.kind(), error.file(), error.column()), (Kind::InvalidValue, "lockgate.yaml", Some(11)));
    assert_eq!(error.to_string(), "lockgate.yaml:4:11: `port` `x` is not valid");
    let json = error.to_json();
    assert_eq!(json["problems"].as_array().unwrap().len(), 4);
    assert_eq!(json["problems"][0]["kind"], "invalid_value");
    assert_eq!(json["problems"][3]["path"], "environments.prod.waves.0");
    let mut drawn = String::new();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    miette::GraphicalReportHandler::new_themed(theme).render_report(&mut drawn, &error).unwrap();
    assert_snapshot!(drawn);
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load(&folder.path().join("lockgate.yaml"), &|_| None).unwrap_err();
    assert_eq!((missing.kind(), missing.message()), (Kind::Unreadable, "there is no such file"));
    assert!(missing.hint().unwrap().contains("lockgate init"));
    assert_eq!(load(folder.path(), &|_| None).unwrap_err().message(), "is not a file");
    let path = folder.path().join("binary.yaml");
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(load(&path, &|_| None).unwrap_err().message(), "is not UTF-8");
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    assert_eq!(load(&path, &|_| None).unwrap_err().message(), "is larger than 1 MiB");
}

#[test]
fn an_engine_that_cannot_be_spoken_to() {
    let table = table(&["ssh://ann@web1", "run/docker.sock", "npipe:////./pipe/x", "tcp://"], |case| {
        prod(&format!("runtime: {{ compose: {{ docker_host: \"{case}\" }} }}"))
    });
    assert_snapshot!(table, @r#"
    ssh://ann@web1
        11:40: `docker_host` is an engine as seen from its host, not over SSH | name the machine in `hosts: ["ssh://ann@web1"]` instead
    run/docker.sock
        11:40: `docker_host` `run/docker.sock` is not valid | write unix:///path/to/docker.sock or tcp://HOST:PORT
    npipe:////./pipe/x
        11:40: `docker_host` `npipe:////./pipe/x` is not valid | write unix:///path/to/docker.sock or tcp://HOST:PORT
    tcp://
        11:40: `docker_host` `tcp://` is not valid | write unix:///path/to/docker.sock or tcp://HOST:PORT
    "#);
}

#[test]
fn what_is_shipped() {
    let service = |keys: &str| service(&format!("image: a/b\n{keys}"));
    assert_snapshot!(table(
        &[
            "watch: []",
            "watch: [\"a[\"]",
            "watch: [../x, \"!x\"]",
            "test: \"\"",
            "test: { run: pytest, timeout: 10d }",
            "test: { allow_failure: true }",
            "build: { with: make }",
            "build: { tags: [latest, \"{sha}\"] }",
            "build: { tags: [\"{sha:.4}\"] }",
            "build: { tags: [\"{tag}\"] }",
            "build: { platforms: [linux/amd64, linux/arm64] }",
            "build: { platforms: [amd64] }",
            "build: { context: -x }",
            "build: { args: { PATH: x, DOCKER_HOST: y, \"1\": z } }",
            "build: -x",
            "builds: .",
        ],
        service,
    ));
    assert_snapshot!(bad(&with("build: .\ncommand: ./server", "runtime: process")).plain());
}
