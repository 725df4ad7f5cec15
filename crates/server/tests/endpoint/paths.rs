//! Which path takes what: compared as it is written, and told to everybody alike.

use crate::call::{Call, SHA, answers, raw};
use crate::daemon::{Daemon, SECRET};

const RUN: &str = "/runs/01936b6e-3c00-7000-8000-000000000000";

fn body() -> String {
    format!("{{\"image_sha\":\"{SHA}\"}}")
}

#[tokio::test]
async fn a_path_that_is_only_like_one_is_none() {
    let daemon = Daemon::start().await;
    let paths = [
        "/",
        "//deploy",
        "/deploy/",
        "/deploy//",
        "/./deploy",
        "/x/../deploy",
        "/deploy/..",
        "/%64eploy",
        "/deploy%20",
        "/deploy%00",
        "/deploy%2f",
        "/deploy%2F..",
        "/deploy;jsessionid=1",
        "/DEPLOY",
        "/deploy.json",
        "/deploy/web",
        "/..%2fdeploy",
        "/..;/deploy",
        "/runs",
        "/runs/",
        "/runs/x",
        "/runs/../deploy",
        "/runs/01936B6E-3C00-7000-8000-000000000000",
        "/runs/01936b6e3c0070008000000000000000",
        "/runs/{01936b6e-3c00-7000-8000-000000000000}",
        "/runs/urn:uuid:01936b6e-3c00-7000-8000-000000000000",
        "/runs/01936b6e-3c00-7000-8000-000000000000/",
        "/.git/config",
        "/etc/passwd",
        "*",
    ];
    let mut first = None;
    for path in paths {
        // Signed and unsigned alike.
        for call in
            [Call::post(path, body()).signed(SECRET), Call::post(path, body()), Call::new("GET", path)]
        {
            let answer = call.send(&daemon).await;
            assert_eq!(answer.status, 404, "{path}: {answer:?}");
            let first = first.get_or_insert_with(|| answer.body.clone());
            assert_eq!(&answer.body, first, "{path}");
        }
    }
    assert_eq!(daemon.scripted.started(), []);
}

#[tokio::test]
async fn a_query_and_a_host_change_nothing() {
    let daemon = Daemon::start().await;
    for path in ["/deploy?image_sha=x", "/deploy?", "http://elsewhere.example/deploy"] {
        let unsigned = Call::post(path, "{}").send(&daemon).await;
        assert_eq!(unsigned.status, 401, "{path}");
        let signed = Call::post(path, "{}").signed(SECRET).send(&daemon).await;
        assert_eq!(signed.status, 400, "{path}: {signed:?}");
    }
}

#[tokio::test]
async fn another_method_is_told_which_ones_there_are() {
    let daemon = Daemon::start().await;
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "post", "X"] {
        let call = Call::new(method, "/deploy").header("X-HTTP-Method-Override", "POST").signed(SECRET);
        let answer = call.send(&daemon).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    for path in [RUN, "/openapi.json"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
            let answer = Call::new(method, path).send(&daemon).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    for odd in [
        "POST /deploy\r\n\r\n",
        "POST  /deploy HTTP/1.1\r\n\r\n",
        "\0\0\0\r\n\r\n",
        "POST /deploy HTTP/9.9\r\n\r\n",
    ] {
        let text = raw(&daemon, odd.as_bytes()).await;
        let statuses: Vec<u16> = answers(&text, false).iter().map(|answer| answer.status).collect();
        assert!(statuses.iter().all(|status| *status == 400), "{odd:?}: {text}");
    }
}
