//! What a signed call may say.

use crate::call::{Call, SHA};
use crate::daemon::{Daemon, WHSEC};

const IMAGE: &str = "registry.example.com/acme/web:sha-01234567";

/// Each is signed well, and refused with this status and these words.
async fn are_refused(daemon: &Daemon, cases: &[(&str, u16, &str)]) {
    for (body, status, words) in cases {
        let answer = Call::deploy(*body).send(daemon).await;
        assert_eq!(answer.status, *status, "{body}: {answer:?}");
        // What a parser says is quoted, ours is to be typed.
        assert!(answer.message().replace('`', "'").contains(words), "{body}: {answer:?}");
        assert!(answer.told().error.is_some_and(|error| !error.hints.is_empty()), "{body}: {answer:?}");
        let odd = |c: char| c.is_control() && c != '\n' || "<>&".contains(c);
        assert!(!answer.body.contains(odd), "{body}: {answer:?}");
    }
    assert_eq!(daemon.scripted.started(), [], "nothing was begun");
}

#[tokio::test]
async fn what_is_no_commit_is_refused() {
    let daemon = Daemon::start().await;
    let homoglyph = SHA.replacen('a', "а", 1);
    let full_width = SHA.replacen('0', "０", 1);
    let odd = [
        "",
        "--help",
        "-rf",
        "main",
        "latest",
        &SHA[..6],
        &SHA[..39],
        &format!("{SHA}8"),
        &format!("{SHA}{}", &SHA[..24]),
        &SHA.to_uppercase(),
        &homoglyph,
        &full_width,
        &"0".repeat(40),
        &format!(" {SHA}"),
        &format!("{SHA}\\n"),
        &format!("{}\\u0000", &SHA[..39]),
        "$(reboot)",
        "`reboot`",
        "; rm -rf / #",
        "| nc evil 1",
        "../../../etc/passwd",
        "%2e%2e%2f",
        "{image_sha}",
        "\\u001b[2J\\u001b]0;owned\\u0007",
        "<script>alert(1)</script>",
        "x\\r\\nSet-Cookie: a=b",
    ];
    let bodies: Vec<String> = odd.iter().map(|sha| format!("{{\"image_sha\":\"{sha}\"}}")).collect();
    let cases: Vec<(&str, u16, &str)> =
        bodies.iter().map(|body| (body.as_str(), 400, "is no commit")).collect();
    are_refused(&daemon, &cases).await;
}

#[tokio::test]
async fn what_is_no_call_is_refused() {
    let daemon = Daemon::start().await;
    let deep = format!("{{\"image_sha\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_unknown = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!("{{\"image_sha\":\"{}\"}}", "a".repeat(100_000));
    let with = |more: &str| format!("{{\"image_sha\":\"{SHA}\",{more}}}");
    let twice = with(&format!("\"image_sha\":\"{SHA}\""));
    let bom = format!("\u{feff}{{\"image_sha\":\"{SHA}\"}}");
    let behind = format!("{{\"image_sha\":\"{SHA}\"}} {{}}");
    let escaped_twice = with(&format!("\"\\u0069mage_sha\":\"{SHA}\""));
    let many = |count: usize| with(&(0..count).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(","));
    are_refused(
        &daemon,
        &[
            ("", 400, "is not what it must be"),
            ("null", 400, "is not what it must be"),
            ("[]", 400, "is not what it must be"),
            ("\"x\"", 400, "is not what it must be"),
            ("{}", 400, "missing field 'image_sha'"),
            ("{", 400, "is not what it must be"),
            ("image_sha=x", 400, "is not what it must be"),
            (&format!("{{'image_sha':'{SHA}'}}"), 400, "is not what it must be"),
            (&format!("{{\"image_sha\":\"{SHA}\",}}"), 400, "is not what it must be"),
            (&format!("{{\"image_sha\":\"{SHA}\"/* x */}}"), 400, "is not what it must be"),
            (&behind, 400, "trailing characters"),
            (&bom, 400, "byte order mark"),
            (&twice, 400, "duplicate field 'image_sha'"),
            (&escaped_twice, 400, "duplicate field 'image_sha'"),
            (&deep, 400, "is not what it must be"),
            (&deep_unknown, 400, "is not what it must be"),
            (&long, 400, "is no commit"),
            (&many(10_000), 400, "unknown field 'k0'"),
            (&with("\"Service\":\"web\""), 400, "unknown field 'Service'"),
            (&with("\"sha\":\"x\""), 400, "unknown field 'sha'"),
            (&with("\"\\u001b[2J\":1"), 400, "unknown field '\\x1b[2J'"),
            (&with("\"__proto__\":{}"), 400, "unknown field '__proto__'"),
            ("[]", 400, "it must be: invalid type: sequence, expected a map"),
            ("{\"image_sha\":5}", 400, "'image_sha': invalid type: integer '5', expected a string"),
            (
                "{\"image_sha\":\"x\",\"force\":[]}",
                400,
                "'force': invalid type: sequence, expected a boolean",
            ),
            ("{\"service_name\":{},\"image\":\"x\"}", 400, "'service_name': invalid type: map"),
            (
                &with(&format!("\"service\":{}", "9".repeat(40))),
                400,
                "'service': invalid type: floating point",
            ),
            ("{\"image_sha\":null}", 400, "invalid type: null"),
            ("{\"image_sha\":1111111111111111111111111111111111111111}", 400, "is not what it must be"),
            ("{\"image_sha\":1e999999}", 400, "is not what it must be"),
            ("{\"image_sha\":[\"a\"]}", 400, "invalid type"),
            ("{\"image_sha\":{\"$ne\":1}}", 400, "invalid type"),
            ("{\"image_sha\":true}", 400, "invalid type"),
            (&with("\"service\":null"), 400, "invalid type: null"),
            (&with("\"force\":\"true\""), 400, "invalid type"),
            (&with("\"force\":1"), 400, "invalid type"),
            (&with("\"force\":null"), 400, "invalid type"),
            (&with("\"force\":true"), 400, "'force' without a time"),
            (&with("\"sent_at\":1764225600"), 400, "invalid type"),
            (&with("\"sent_at\":\"now\""), 400, "'sent_at' 'now' is no time"),
            (&with("\"sent_at\":\"2026-11-27\""), 400, "is no time"),
            (&with("\"sent_at\":\"99999-01-01T00:00:00Z\""), 400, "is no time"),
            (&with("\"committed_at\":\"2026-13-01T00:00:00Z\""), 400, "'committed_at'"),
            (&with("\"committed_at\":\"\""), 400, "'committed_at'"),
            ("{\"image_sha\":\"\\ud800\"}", 400, "is not what it must be"),
        ],
    )
    .await;
    for invalid in
        [b"{\"image_sha\":\"\xff\xfe\"}".as_slice(), b"\xff\xfe{\0}\0", b"\0", b"{\"x\":\"\xc0\xaf\"}"]
    {
        let answer = Call::deploy(invalid).send(&daemon).await;
        assert_eq!(answer.status, 400, "{invalid:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_service_that_the_endpoint_does_not_deploy_is_not_found() {
    let daemon = Daemon::start().await;
    let of = |name: &str| format!("{{\"service\":\"{name}\",\"image_sha\":\"{SHA}\"}}");
    // `api` is the project's, and not this endpoint's.
    let names = [
        "api",
        "",
        "WEB",
        "web ",
        "wеb",
        "../web",
        "..%2fweb",
        "%77eb",
        "/etc/passwd",
        "web/../api",
        "web\\u0000",
        "--help",
        "*",
        "$(reboot)",
        "<b>web</b>",
        "\\u001b[31mweb",
    ];
    let bodies: Vec<String> = names.iter().map(|name| of(name)).collect();
    let cases: Vec<(&str, u16, &str)> =
        bodies.iter().map(|body| (body.as_str(), 404, "/deploy deploys no service")).collect();
    are_refused(&daemon, &cases).await;
    // Of two services one has to be named.
    let answer = Call::post("/all", format!("{{\"image_sha\":\"{SHA}\"}}")).signed(WHSEC).send(&daemon).await;
    assert_eq!(
        (answer.status, answer.message().as_str()),
        (400, "the endpoint has several services, and the call names none")
    );
}

#[tokio::test]
async fn what_an_older_client_gives_must_be_what_the_configuration_says() {
    let daemon = Daemon::start().await;
    let with = |name: &str, image: &str, sha: &str, more: &str| {
        format!("{{\"service_name\":\"{name}\",\"image\":\"{image}\",\"commit_sha\":\"{sha}\"{more}}}")
    };
    let other = "f".repeat(40);
    are_refused(
        &daemon,
        &[
            (&with("web", "evil.example.com/web:sha-01234567", SHA, ""), 400, "by the configuration this commit's is"),
            (&with("web", "registry.example.com/acme/web:latest", SHA, ""), 400, "by the configuration"),
            (&with("web", "registry.example.com/acme/web", SHA, ""), 400, "by the configuration"),
            (&with("web", IMAGE, &other, ""), 400, "by the configuration"),
            (&with("web", &format!("{IMAGE}@sha256:{}", "0".repeat(64)), SHA, ""), 400, "by the configuration"),
            (&with("api", IMAGE, SHA, ""), 404, "deploys no service"),
            (&with("web", IMAGE, "HEAD", ""), 400, "'commit_sha' 'HEAD' is no commit"),
            (&with("web", IMAGE, SHA, ",\"container_name\":\"shop-db\""), 400, "'container_name' is 'shop-db'"),
            (&with("web", IMAGE, SHA, ",\"container_name\":\"--privileged\""), 400, "'container_name'"),
            (&with("web", IMAGE, SHA, ",\"container_name\":null"), 400, "invalid type: null"),
            (
                &with("web", IMAGE, SHA, ",\"healthcheck_url\":\"http://169.254.169.254/latest/meta-data\""),
                400,
                "'healthcheck_url' is 'http://169.254.169.254/latest/meta-data', and the configuration says something else",
            ),
            (&with("web", IMAGE, SHA, ",\"healthcheck_url\":\"file:///etc/passwd\""), 400, "'healthcheck_url'"),
            (&with("web", IMAGE, SHA, &format!(",\"image_sha\":\"{SHA}\"")), 400, "unknown field 'image_sha'"),
            (&with("web", IMAGE, SHA, ",\"force\":true"), 400, "unknown field 'force'"),
            (&with("web", IMAGE, SHA, ",\"image\":\"x\""), 400, "duplicate field 'image'"),
            (&format!("{{\"commit_sha\":\"{SHA}\"}}"), 400, "missing field 'service_name'"),
        ],
    )
    .await;
}

#[tokio::test]
async fn only_plain_json_is_read() {
    let daemon = Daemon::start().await;
    let body = format!("{{\"image_sha\":\"{SHA}\"}}");
    let typed = |kind: &str| Call::deploy(body.clone()).without("Content-Type").header("Content-Type", kind);
    let zipped = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".as_slice();
    let calls = [
        ("no type", Call::deploy(body.clone()).without("Content-Type")),
        ("form", typed("application/x-www-form-urlencoded")),
        ("multipart", typed("multipart/form-data; boundary=x")),
        ("text", typed("text/plain")),
        ("any", typed("*/*")),
        ("json as a suffix", typed("application/x+json")),
        ("json lines", typed("application/jsonl")),
        ("another charset", typed("application/json; charset=utf-16")),
        ("two", typed("application/json").header("Content-Type", "text/plain")),
        ("two in one", typed("application/json, text/plain")),
        ("gzip", Call::deploy(zipped).header("Content-Encoding", "gzip")),
        ("brotli", typed("application/json").header("Content-Encoding", "br")),
        ("two encodings", typed("application/json").header("Content-Encoding", "identity, gzip")),
    ];
    for (what, call) in calls {
        let answer = call.send(&daemon).await;
        assert_eq!(answer.status, 415, "{what}: {answer:?}");
    }
    assert_eq!(daemon.scripted.started(), []);
}
