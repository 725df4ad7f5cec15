//! `serve:`: every wrong value has a line, words for people and a hint; what only serving needs is wanted only there.

mod common;

use common::{bad, good, parse_serving, parse_with, with};
use insta::assert_snapshot;
use lockgate_model::{ListenAt, Millis, Project, Serve, TlsFiles};

const SECRET: &str = "0123456789abcdef0123";
const ENV: [(&str, &str); 3] = [("WEBHOOK_SECRET", SECRET), ("SHORT", "fifteen_bytes__"), ("NONE", "")];

fn with_serve(serve: &str) -> String {
    let serve: String = serve.lines().map(|line| format!("  {line}\n")).collect();
    format!("{}serve:\n{serve}", with("command: ./server", "runtime: process\nrouter: none"))
}

fn serving(serve: &str) -> Serve {
    let text = with_serve(serve);
    match parse_serving(&text, &ENV) {
        Ok(Project { serve: Some(serve), .. }) => serve,
        Ok(_) => panic!("nothing is served:\n{text}"),
        Err(error) => panic!("{}\n---\n{text}", error.plain()),
    }
}

/// What is wrong, as `line:column: message | hint`.
fn wrong(serve: &str) -> String {
    let text = with_serve(serve);
    match parse_serving(&text, &ENV) {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(error) => {
            let plain = error.plain().replace("\n  hint: ", " | ");
            let lines: Vec<&str> =
                plain.lines().map(|line| line.trim_start_matches("lockgate.yaml:")).collect();
            format!("{}\n    {}", serve.replace('\n', "⏎"), lines.join("\n    "))
        }
    }
}

fn table(cases: &[String]) -> String {
    cases.iter().map(|case| wrong(case)).collect::<Vec<_>>().join("\n")
}

const ENDPOINTS: &str = "endpoints: { /deploy: { environment: prod, secrets: [\"${WEBHOOK_SECRET}\"] } }";

/// With one endpoint whose keys these are; those that every endpoint needs are added.
fn endpoint(keys: &str) -> String {
    let mut all = vec![keys.to_owned()];
    for (key, whole) in
        [("environment:", "environment: prod"), ("secrets:", "secrets: [\"${WEBHOOK_SECRET}\"]")]
    {
        if !keys.contains(key) {
            all.push(whole.to_owned());
        }
    }
    format!("endpoints: {{ /deploy: {{ {} }} }}", all.join(", "))
}

#[test]
fn little_is_to_be_written() {
    let serve = serving(ENDPOINTS);
    assert_eq!(serve.listen, [ListenAt::Tcp("127.0.0.1:8443".parse().unwrap())]);
    assert!(serve.tls.is_none() && !serve.plain_http);
    let endpoint = serve.endpoints.values().next().unwrap();
    assert_eq!(endpoint.path.as_str(), "/deploy");
    assert_eq!(endpoint.services.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["web"]);
    assert_eq!(endpoint.secrets.iter().map(|secret| secret.reveal()).collect::<Vec<_>>(), [SECRET]);
    assert_eq!(endpoint.tag.as_str(), "{image_sha}");
    assert_eq!((endpoint.timeout, endpoint.repeated), (Millis::from_secs(600), Millis::from_secs(600)));
    assert!(endpoint.branches.is_empty() && endpoint.container_name.is_none());
    assert!(!format!("{serve:?}").contains(SECRET));
}

#[test]
fn relative_files_and_sockets_start_at_the_files_folder() {
    let serve = serving(&format!(
        "listen: ['[::1]:0', 'unix:run/a.sock', '0.0.0.0:443']\ntls: {{ cert: a.pem, key: /etc/key.pem }}\n{ENDPOINTS}"
    ));
    let listen: Vec<String> = serve.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["[::1]:0", "unix:/work/run/a.sock", "0.0.0.0:443"]);
    assert_eq!(serve.tls, Some(TlsFiles { cert: "/work/a.pem".into(), key: "/etc/key.pem".into() }));
    assert!(serving(&format!("listen: 0.0.0.0:80\nplain_http: true\n{ENDPOINTS}")).plain_http);
}

#[test]
fn places_that_cannot_be_listened_at() {
    let places =
        ["''", "8443", "localhost:8443", "example.com:443", "unix:", "unix:a/", "unix:/a/../b", "[]", "{}"];
    let mut cases: Vec<String> = places.map(|place| format!("listen: {place}\n{ENDPOINTS}")).into();
    cases.push(format!("listen: unix:/{}\n{ENDPOINTS}", "s".repeat(107)));
    cases.push(format!("listen: [127.0.0.1:1, '127.0.0.1:1']\n{ENDPOINTS}"));
    assert_snapshot!(table(&cases));
}

#[test]
fn plain_http_that_others_can_reach_is_refused_unless_it_is_wanted() {
    assert_snapshot!(table(&[
        format!("listen: 0.0.0.0:8443\n{ENDPOINTS}"),
        format!("listen: ['127.0.0.1:1', '[::]:80']\nplain_http: false\n{ENDPOINTS}"),
        format!("tls: {{ cert: a, key: b }}\nplain_http: true\n{ENDPOINTS}"),
        format!("tls: {{ key: b }}\n{ENDPOINTS}"),
        format!("tls: {{ cert: a }}\n{ENDPOINTS}"),
        format!("tls: {{ cert: '', key: certs/ }}\n{ENDPOINTS}"),
        format!("tls: {{ cert: \"-----BEGIN CERTIFICATE-----\", key: b }}\n{ENDPOINTS}"),
    ]));
}

#[test]
fn paths_that_no_endpoint_may_have() {
    let paths = [
        "deploy",
        "/",
        "//deploy",
        "/a/../b",
        "/a/",
        "/a%2Fb",
        "/a?b=c",
        "/healthz",
        "/runs/x",
        "/openapi.json",
    ];
    let cases = paths.map(|path| {
        format!("endpoints: {{ '{path}': {{ environment: prod, secrets: [\"${{WEBHOOK_SECRET}}\"] }} }}")
    });
    let mut cases = Vec::from(cases);
    cases.push("endpoints:\n  /a: { environment: prod, secrets: ['0123456789abcdef'] }\n  /a: { environment: prod, secrets: ['1123456789abcdef'] }".into());
    cases.push("endpoints: {}".into());
    cases.push("listen: 127.0.0.1:1".into());
    assert_snapshot!(table(&cases));
}

#[test]
fn secrets_that_prove_nothing() {
    let lists = [
        "[]",
        "['']",
        "[\"${NONE}\"]",
        "[\"${SHORT}\"]",
        "[fifteen_bytes__]",
        "[\"${MISSING}\"]",
        "[\"0123456789abcdef\\n\"]",
        "[' 0123456789abcdef']",
        "[whsec_MDEyMzQ1Njc4OWFiY2Rl]",
        "['whsec_not base64 at all']",
        "[0123456789abcdef, '0123456789abcdef']",
        "[a123456789abcdef, b123456789abcdef, c123456789abcdef, d123456789abcdef, e123456789abcdef]",
        "0123456789abcdef",
    ];
    let mut cases: Vec<String> = lists.map(|list| endpoint(&format!("secrets: {list}"))).into();
    cases.push(
        "endpoints:\n  /a: { environment: prod, secrets: [\"${WEBHOOK_SECRET}\"] }\n  /b: { environment: prod, secrets: [\"${WEBHOOK_SECRET}\"] }"
            .into(),
    );
    let told = table(&cases);
    assert_snapshot!(told);
    // Beside the cases' own text, no value is in what was said.
    let said: Vec<&str> = told.lines().filter(|line| line.starts_with("    ")).collect();
    for value in [SECRET, "fifteen_bytes", "0123456789abcdef", "not base64 at", "MDEyM"] {
        assert!(!said.iter().any(|line| line.contains(value)), "{value}: {said:#?}");
    }
}

#[test]
fn a_file_is_good_without_the_secrets_where_nothing_is_served() {
    let text = with_serve(&endpoint("secrets: [\"${WEBHOOK_SECRET}\", \"${OLD:-}\", \"${SHORT:-fifteen}\"]"));
    let project = parse_with(&text, &[]).unwrap();
    let serve = project.serve.unwrap();
    assert!(serve.endpoints.values().next().unwrap().secrets.is_empty());
    assert!(
        parse_serving(&text, &[]).unwrap_err().plain().contains("the variable WEBHOOK_SECRET is not set")
    );
    // Other variables of `serve` are wanted by nobody else, either.
    let text = with_serve(&format!("listen: \"${{LISTEN}}\"\n{ENDPOINTS}"));
    assert!(good(&text).serve.is_none());
    assert!(parse_serving(&text, &ENV).is_err());
    // What is wrong on every machine is said on every machine.
    assert!(bad(&with_serve(&endpoint("environment: prdo"))).plain().contains("did you mean `prod`?"));
    assert!(bad(&with_serve(&endpoint("secrets: []"))).plain().contains("an endpoint has 0 secrets"));
}

#[test]
fn values_of_an_endpoint() {
    let long = format!("branches: [{}]", "b".repeat(245));
    let keys = [
        "environment: prdo",
        "environment: test",
        "services: []",
        "services: [wbe, web, web, zzz]",
        "services: [../web]",
        "tag: latest",
        "tag: '{tag}'",
        "tag: 'sha-{image_sha:.4}'",
        "tag: 'a/{image_sha}'",
        "timeout: 0",
        "timeout: 2h",
        "repeated: 25h",
        "branches: []",
        "branches: [refs/heads/main]",
        "branches: ['release/*', '-x', 'a b', a..b]",
        &long,
        "container_name: '{slot}'",
        "healthcheck_url: ''",
        "secret: x",
        "tags: [x]",
    ];
    assert_snapshot!(table(&keys.map(endpoint)));
}
