//! Line 6: heads and trailers that mean to deceive the slot or the proxy.

use std::io::Read;
use std::net::Shutdown;

use anyhow::Result;

use super::Findings;
use super::load::Load;
use super::scene::Scene;
use super::slot::FakeSlot;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// How often each is sent.
const TIMES: usize = 20;

/// What only a proxy in front may say; nobody here is trusted.
const CLAIMS: [&str; 20] = [
    "Forwarded",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Forwarded-Protocol",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Port",
    "X-Forwarded-User",
    "X_Forwarded_Prefix",
    "Front-End-Https",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Original-Host",
    "True-Client-IP",
    "X-Client-IP",
    "X-Real-IP",
    "X_Real.IP",
    "CF-Connecting-IP",
    "X-Cluster-Client-IP",
    "X-Remote-User",
];

pub fn run(scene: &Scene, findings: &mut Findings) -> Result<()> {
    let load = Load::start(scene);
    let refused = refused(scene, findings);
    let seen = load.stop()?;
    refused?;
    let saw = format!("{} requests, failures: {:?}", seen.requests(), seen.failures);
    findings.tell("the others meanwhile", seen.failures.is_empty(), &saw);
    passed_on(scene, findings)
}

fn status(scene: &Scene, request: &str) -> Result<String> {
    let mut stream = scene.say(request.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut bytes = Vec::new();
    // What was sent before a reset counts: a refused body may still be on its way.
    let read = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.split(' ').nth(1) {
        Some(status) => Ok(status.to_owned()),
        None => Ok(format!("no answer ({read:?})")),
    }
}

fn refused(scene: &Scene, findings: &mut Findings) -> Result<()> {
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let body = "\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:";
    let cases = [
        ("a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), "400"),
        ("a Host with a path", "GET / HTTP/1.1\r\nHost: a/b?c\r\n\r\n".to_owned(), "400"),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), "400"),
        ("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), "400"),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("gzip, chunked", format!("{post} gzip, chunked{body}"), "501"),
        ("chunked, chunked", format!("{post} chunked, chunked{body}"), "400"),
        ("chunked in HTTP/1.0", format!("{post} chunked{body}").replace("/1.1", "/1.0"), "400"),
        ("101 header lines", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431"),
    ];
    for (name, request, right) in cases {
        let statuses: Vec<String> = (0..TIMES).map(|_| status(scene, &request)).collect::<Result<_>>()?;
        let wrong: Vec<_> = statuses.iter().filter(|status| *status != right).collect();
        findings.tell(name, wrong.is_empty(), &format!("{right} is right; others: {wrong:?}"));
    }
    Ok(())
}

/// What a slot sees of what is passed on.
fn passed_on(scene: &Scene, findings: &mut Findings) -> Result<()> {
    let slot = FakeSlot::start(OK, "")?;
    scene.proxy.switch("blue", "records", slot.port)?;
    let claims: String = CLAIMS.iter().map(|name| format!("{name}: claimed\r\n")).collect();
    let names = "X-Checksum, X-Forwarded-For, X_Real_IP, Host, Authorization";
    let trailers: String = names.split(", ").map(|name| format!("{name}: trailing\r\n")).collect();
    let cases = [
        ("claims", format!("GET / HTTP/1.1\r\nHost: a\r\n{claims}\r\n"), 0, "claimed"),
        (
            "trailers",
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: {names}\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n"
            ),
            1,
            "trailing",
        ),
        (
            "a request of HTTP/1.0 without a Host",
            "GET / HTTP/1.0\r\n\r\n".to_owned(),
            0,
            &format!(":{}", slot.port),
        ),
    ];
    for (name, request, right, what) in cases {
        let status = status(scene, &request)?;
        let seen = slot.take();
        let times = seen.matches(what).count();
        let saw = format!("{status}; {what:?} {times} times where {right} is right");
        findings.tell(name, status == "200" && times == right, &saw);
    }
    scene.switch("blue")
}
