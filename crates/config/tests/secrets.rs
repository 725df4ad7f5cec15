//! Nothing secret is in an error, whatever is wrong and wherever.

mod common;

use common::{FULL, FULL_ENV, parse_with};
use lockgate_config::{ConfigError, Kind, Problem};

const SECRETS: [&str; 3] = ["hunter2", "s3cr3t-t0ken", "hooks.slack"];

fn everything(error: &ConfigError) -> String {
    let mut drawn = String::new();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    miette::GraphicalReportHandler::new_themed(theme)
        .with_context_lines(20)
        .render_report(&mut drawn, error)
        .unwrap();
    format!("{error}\n{error:?}\n{}\n{drawn}", error.plain())
}

/// A file with literal secrets in all the places that take them, `MORE` for more keys.
const LITERAL: &str = r#"
project: shop
services:
  web:
    command: ./server
    env: { PASSWORD: hunter2, "ÜBER": 'hunter2', LONG: "a
      s3cr3t-t0ken b" }
    MORE
environments:
  prod: { runtime: process }
notify:
  - slack: { webhook: https://hooks.slack.example/T0 }
  - webhook:
      url: https://example.com
      headers:
        Authorization: Bearer s3cr3t-t0ken
        X-Block: |
          hunter2
          s3cr3t-t0ken
registries:
  registry.example.com: { user: hunter2-user, password: hunter2 }
  ghcr.io:
    user: ann
    password: s3cr3t-t0ken
"#;

#[test]
fn lines_around_a_mistake_have_secrets_blanked_out() {
    for more in [
        "port: x",
        "port: x # hunter2",
        "# TOKEN: hunter2\n    port: x",
        "prt: 80",
        "evn: { A: hunter2 }",
        "env2: hunter2",
        "health: [a]",
        "port: 80\n    port: 80",
        "critical_paths: {}",
        "image: \"",
        "PASSWORD: 80\n    TOKEN: hunter2",
        "schedule: { token: hunter2 }",
        "datadog: hunter2",
    ] {
        let error = parse_with(&LITERAL.replace("MORE", more), &[]).unwrap_err();
        let all = everything(&error);
        for secret in SECRETS {
            assert!(!all.contains(secret), "{more}: {secret} in\n{all}");
        }
        assert!(error.line().is_some_and(|line| line >= 6), "{all}");
    }
}

#[test]
fn the_source_is_shown_where_nothing_is_secret() {
    let error = parse_with(&LITERAL.replace("\"ÜBER\": 'hunter2', ", "").replace("MORE", "prt: 80"), &[])
        .unwrap_err();
    let all = everything(&error);
    assert!(
        all.contains("prt: ")
            && all.contains("did you mean `port`?")
            && all.contains("env: { ********: *******"),
        "{all}"
    );
}

#[test]
fn mistakes_in_env_and_notify_show_the_line_number_only() {
    for (from, to, line) in [
        ("PASSWORD: hunter2", "PASSWORD: [hunter2]", 6),
        ("PASSWORD: hunter2", "PASSWORD: '${hunter2'", 6),
        ("env: {", "env: { 1A: hunter2,", 6),
        ("PASSWORD: hunter2", "PASSWORD:hunter2", 6),
        ("PASSWORD: hunter2", "PASSWORD=hunter2: x", 6),
        ("https://hooks.slack.example/T0", "hooks.slack/T0", 12),
        ("Bearer s3cr3t-t0ken", "\"s3cr3t-t0ken\\n\"", 16),
        ("url: https://example.com", "url: hunter2", 14),
        ("slack: {", "slak: {", 12),
        ("webhook: https://hooks.slack.example/T0", "token: s3cr3t-t0ken", 12),
        ("webhook: https://hooks.slack.example/T0", "token: \"s3cr3t-t0ken\\n\", channel: x", 12),
        ("webhook: https://hooks.slack.example/T0", "token: hunter2, channel: \"hunter2 x\"", 12),
        ("webhook: https://hooks.slack.example/T0", "token: [hunter2], channel: x", 12),
    ] {
        let text =
            LITERAL.replace("\"ÜBER\": 'hunter2', ", "").replace("    MORE\n", "    \n").replace(from, to);
        let error = parse_with(&text, &[]).unwrap_err();
        let all = everything(&error);
        assert_eq!(error.line(), Some(line), "{all}");
        for secret in SECRETS {
            assert!(!all.contains(secret), "{to}: {secret} in\n{all}");
        }
    }
}

#[test]
fn mistakes_in_logins_for_registries_show_the_line_number_only() {
    let block = "        X-Block: |\n          hunter2\n          s3cr3t-t0ken\n";
    for (from, to, line) in [
        ("{ user: hunter2-user,", "{ user: \"hunter2\\n\",", 18),
        ("password: hunter2", "password: \"hunter2\\n\"", 18),
        ("password: hunter2", "password:hunter2", 18),
        ("password: hunter2", "pasword: hunter2", 18),
        ("password: hunter2", "password: [hunter2]", 18),
        ("    password: s3cr3t", "  password: s3cr3t", 20),
        ("registry.example.com:", "https://hunter2@registry.example.com:", 18),
    ] {
        let text = LITERAL.replace("\"ÜBER\": 'hunter2', ", "").replace("    MORE\n", "    \n");
        let text = text.replace(block, "").replace(from, to);
        assert!(text.contains(to), "{to}");
        let error = parse_with(&text, &[]).unwrap_err();
        let all = everything(&error);
        assert_eq!(error.line(), Some(line), "{to}: {all}");
        for secret in SECRETS {
            assert!(!all.contains(secret), "{to}: {secret} in\n{all}");
        }
    }
}

#[test]
fn what_a_variable_holds_is_in_no_error() {
    for (key, value) in [
        ("port", "\"${SECRET}\""),
        ("health", "\"${SECRET}\""),
        ("image", "\"${SECRET}\""),
        ("cwd", "\"../${SECRET}\""),
        ("command", "\"${SECRET} {colour}\""),
        ("critical_paths", "[\"${SECRET}\"]"),
    ] {
        let text = format!(
            "project: p\nservices: {{ web: {{ {key}: {value} }} }}\nenvironments: {{ prod: {{ runtime: compose }} }}\n"
        );
        let error = parse_with(&text, &[("SECRET", "hunter2 hunter2")]).unwrap_err();
        assert!(!everything(&error).contains("hunter2"), "{}", everything(&error));
    }
}

#[test]
fn what_a_variable_held_is_put_back_as_its_name() {
    let text = "project: p\nservices: { a: { image: a/a, port: 80 }, b: { image: a/b, port: 80 } }\nenvironments:\n  \
                prod: { runtime: compose, router: { caddy: { admin: \"http://${SECRET}:2019\", id: x } } }\n";
    let error = parse_with(text, &[("SECRET", "hunter2")]).unwrap_err();
    assert!(
        error.message().contains("http://${SECRET}:2019 x") && !everything(&error).contains("hunter2"),
        "{error}"
    );
    let text = text.replace("http://", "http://admin:${SECRET}@host");
    let error = parse_with(&text, &[("SECRET", "hunter2")]).unwrap_err();
    assert_eq!(error.message(), "`admin` has a user or password in it");
}

#[test]
fn a_project_shows_no_secret_when_it_is_printed() {
    let project = parse_with(FULL, &FULL_ENV).unwrap();
    let shown = format!(
        "{:?} {:?} {:?}",
        project.notify,
        project.registries,
        project.services.values().map(|service| &service.env).collect::<Vec<_>>()
    );
    assert!(!shown.contains("s3 cr;et") && !shown.contains("hooks.slack"), "{shown}");
}

/// A small generator of our own keeps the run the same everywhere: Knuth's constants.
fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

#[test]
fn damaged_files_never_panic_and_never_leak() {
    let pieces = [
        "{", "}", "[", "]", ":", "\n", " ", "\t", "\"", "'", "${", "$", "&a ", "*a", "- ", "#", "|", "é",
        "\u{0}", "{slot}", "<<: ",
    ];
    let sources = [FULL.to_owned(), LITERAL.replace("MORE", "port: 80")];
    let mut seed = 20_261_121;
    for round in 0..1500 {
        let mut text: Vec<char> = sources[round % 2].chars().collect();
        for _ in 0..=next(&mut seed) % 4 {
            let at = next(&mut seed) % text.len().max(1);
            match next(&mut seed) % 3 {
                0 => drop(text.drain(at.min(text.len())..(at + 1 + next(&mut seed) % 20).min(text.len()))),
                1 => text.truncate(at),
                _ => drop(text.splice(at..at, pieces[next(&mut seed) % pieces.len()].chars())),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = parse_with(
            &text,
            &[("SECRET", "v4lue"), ("SLACK_WEBHOOK_URL", "https://v4lue"), ("DEPLOY_HOST", "h")],
        ) {
            let all = everything(&error);
            assert!(!all.contains("v4lue"), "round {round}: {all}\n{text}");
            // A cut that makes the value itself a key: nobody can tell that from a misspelt key.
            let a_key =
                |problem: &Problem| problem.kind == Kind::UnknownKey && problem.message.contains("hunter2");
            if !error.problems().any(a_key) {
                assert!(!all.contains("hunter2") && !all.contains("s3cr3t"), "round {round}: {all}\n{text}");
            }
        }
    }
}
