//! `soak` below `before`: its keys, its defaults, and what is wrong with one.

mod common;

use common::{bad, parse_with, with};
use insta::assert_snapshot;
use lockgate_model::{Millis, Monitor, PrometheusMonitor, Secret, Soak, Within};

/// Each environment with what is said of it.
fn table(environments: &[&str]) -> String {
    let told = |environment: &&str| {
        let said = bad(&with("command: ./server", environment)).plain();
        format!("{}\n    {}", environment.replace('\n', "⏎"), said.trim_end().replace('\n', "\n    "))
    };
    environments.iter().map(told).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_soak_has_a_monitor_and_defaults() {
    let text = r#"
project: shop
services: { web: { command: ./server } }
environments:
  green: { runtime: process }
  blue:
    from: green
    runtime: process
    router: { builtin: { listen: "127.0.0.1:8081" } }
    before:
      - soak: { for: 24h, prometheus: { url: "https://${USER}@prom.example.com/", query: 'errors{job="{service}"}', max: 0.01 } }
      - http: {}
      - name: a minute
        soak: { in: green, for: 1m, coverage: 100, prometheus: { min: 1, max: 2.5, query: up, every: 2s, token: "${TOKEN}" } }
"#;
    let env = [("USER", "ann:geheim"), ("TOKEN", "t0ken"), ("PROMETHEUS_URL", "http://127.0.0.1:9090")];
    let project = parse_with(text, &env).unwrap_or_else(|error| panic!("{}", error.plain()));
    let blue = project.environments.iter().find(|one| one.name.as_str() == "blue").unwrap();
    assert_eq!(blue.before.len(), 1, "what is no soak is asked in the run");
    let minutes = |minutes: u64| Millis::from_secs(minutes * 60);
    let of = |url: &str, query: &str, good, every, token: Option<&str>| {
        Monitor::Prometheus(PrometheusMonitor {
            url: Secret::new(url),
            token: token.map(Secret::new),
            query: query.into(),
            good,
            every,
            timeout: Millis::from_secs(10),
        })
    };
    assert_eq!(
        blue.soaks,
        [
            Soak {
                name: "soak in green".into(),
                span: minutes(24 * 60),
                coverage: 90,
                monitor: of(
                    "https://ann:geheim@prom.example.com",
                    r#"errors{job="{service}"}"#,
                    Within { min: None, max: Some(0.01) },
                    minutes(1),
                    None
                ),
            },
            Soak {
                name: "a minute".into(),
                span: minutes(1),
                coverage: 100,
                monitor: of(
                    "http://127.0.0.1:9090",
                    "up",
                    Within { min: Some(1.0), max: Some(2.5) },
                    Millis::from_secs(2),
                    Some("t0ken")
                ),
            },
        ]
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let environment = |before: &str| {
        format!(
            "runtime: process\nfrom: test\nbefore:\n  - {before}\nrouter: {{ builtin: {{ listen: \"127.0.0.1:8081\" }} }}"
        )
    };
    let rows = [
        "soak: { for: 1h }",
        "soak: { for: 1h, prometheus: { url: \"http://p\", query: x } }",
        "soak: { for: 1h, prometheus: { url: \"http://p\", query: \"\", max: 1 } }",
        "soak: { for: 1h, prometheus: { query: x, max: 1 } }",
        "soak: { for: 1h, prometheus: { url: p, query: x, max: one } }",
        "soak: { for: 1h, prometheus: { url: \"http://p\", query: x, max: NaN } }",
        "soak: { for: 1h, prometheus: { url: \"http://p\", query: x, max: 1, min: 2 } }",
        "soak: { for: 30d, prometheus: { url: \"http://p\", query: x, max: 1 } }",
        "soak: { for: 24h, prometheus: { url: \"http://p\", query: x, max: 1, every: 1s } }",
        "soak: { for: 1m, prometheus: { url: \"http://p\", query: x, max: 1, every: 2m, timeout: 1h } }",
        "soak: { for: 1h, coverage: 0, prometheus: { url: \"http://p\", query: x, max: 1 } }",
        "soak: { in: prod, for: 1h, prometheus: { url: \"http://p\", query: x, max: 1 } }",
        "soak: { for: 1h, datadog: {} }",
        "soak: { for: 1h, prometheus: { url: \"http://p\", query: x, max: 1 } }\n    http: {}",
        "soak: { for: 1h, prometheus: { url: \"http://p\", query: x, max: 1 } }\nschedule: { cron: \"@daily\", deploy: latest-semver }",
    ];
    let told: Vec<String> = rows.iter().map(|row| environment(row)).collect();
    let rows: Vec<&str> = told.iter().map(String::as_str).collect();
    assert_snapshot!(table(&rows));
    let after = "runtime: process\nafter: [{ soak: { for: 1h, prometheus: { url: \"http://p\", query: x, max: 1 } } }]";
    let none = "runtime: process\nbefore: [{ soak: { for: 1h, prometheus: { url: \"http://p\", query: x, max: 1 } } }]";
    let source = none.replace("before:", "from: test\nbefore:");
    assert_snapshot!(table(&[after, none, &source]));
}
