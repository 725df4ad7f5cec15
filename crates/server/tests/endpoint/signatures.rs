//! Who may call.

use lockgate_model::{Mask, Secret};
use lockgate_server::{Bounds, Endpoints};
use lockgate_signature::SigningSecret;

use crate::call::{Answer, Call, SHA};
use crate::daemon::{Daemon, OLD_SECRET, SECRET, WHSEC, project};

fn body() -> String {
    format!("{{\"image_sha\":\"{SHA}\"}}")
}

/// All that a caller sees, without the date.
fn seen(answer: Answer) -> Answer {
    let headers = answer.headers.into_iter().filter(|(name, _)| name != "date").collect();
    Answer { headers, ..answer }
}

#[tokio::test]
async fn whoever_cannot_sign_gets_one_answer_whatever_is_wrong() {
    let daemon = Daemon::start().await;
    let good = SigningSecret::new(SECRET).unwrap().sign_github(body().as_bytes());
    let hex = &good["sha256=".len()..];
    let long = format!("sha256={}", "0".repeat(10 * 1024));
    let post = || Call::post("/deploy", body());
    let with = |value: &str| post().header("X-Hub-Signature-256", value);
    let as_all = |call: Call| call.sent(SECRET, "msg_1", 1_764_225_600);
    let calls = [
        ("no signature", post()),
        ("empty", with("")),
        ("there twice", with(&good).header("X-Hub-Signature-256", &good)),
        ("two in one", with(&format!("{good}, {good}"))),
        ("truncated", with(&good[..good.len() - 1])),
        ("one digit more", with(&format!("{good}0"))),
        ("no prefix", with(hex)),
        ("no hex", with(&format!("sha256={}", "z".repeat(64)))),
        ("upper case", with(&format!("sha256={}", hex.to_uppercase()))),
        ("10 KB", with(&long)),
        ("sha1", with(&format!("sha1={}", &hex[..40]))),
        ("sha512", with(&format!("sha512={hex}{hex}"))),
        ("the header of sha1", post().header("X-Hub-Signature", &format!("sha1={}", &hex[..40]))),
        ("another secret", post().signed("not the secret of these tests")),
        ("the empty secret", with("sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")),
        ("another endpoint's secret", post().signed(WHSEC)),
        (
            "the same JSON in other bytes",
            with(
                &SigningSecret::new(SECRET)
                    .unwrap()
                    .sign_github(format!("{{ \"image_sha\": \"{SHA}\" }}").as_bytes()),
            ),
        ),
        ("no id", as_all(post()).without("webhook-id")),
        ("no time", as_all(post()).without("webhook-timestamp")),
        ("no list", as_all(post()).without("webhook-signature")),
        ("an id that was not signed", as_all(post()).without("webhook-id").header("webhook-id", "msg_2")),
        (
            "a time that was not signed",
            as_all(post()).without("webhook-timestamp").header("webhook-timestamp", "1"),
        ),
        (
            "an overflowing time",
            as_all(post()).without("webhook-timestamp").header("webhook-timestamp", "99999999999999999999"),
        ),
        ("a good one beside a bad one", as_all(post()).header("X-Hub-Signature-256", &long)),
        ("a bad body, too", Call::post("/deploy", "{")),
        ("an unknown service, too", Call::post("/deploy", "{\"service\":\"nope\"}")),
        ("an unknown type, too", post().without("Content-Type").header("Content-Type", "text/plain")),
        ("an event, too", post().header("X-GitHub-Event", "push")),
        ("nothing at all", Call::new("POST", "/deploy")),
    ];
    let mut first: Option<Answer> = None;
    for (what, call) in calls {
        let answer = seen(call.send(&daemon).await);
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        let first = first.get_or_insert_with(|| answer.clone());
        assert_eq!(&answer, first, "{what}");
    }
    assert_eq!(daemon.scripted.started(), [], "nothing was begun");
    let told = "{\"run\":null,\"status\":\"unauthorized\",\"release\":null,\"dark_ms\":null,\"logs\":[],\
                \"error\":{\"kind\":\"unauthorized\",\
                \"message\":\"the call is not signed with a secret of this endpoint\",\
                \"hint\":\"sign the very bytes of the body, as in `X-Hub-Signature-256: sha256=…`\"}}\n";
    assert_eq!(first.unwrap().body, told);
}

#[tokio::test]
async fn every_secret_that_is_valid_now_signs() {
    let daemon = Daemon::start().await;
    // What is wrong behind a good signature is said.
    for secret in [SECRET, OLD_SECRET] {
        let answer = Call::post("/deploy", "{}").signed(secret).send(&daemon).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let answer =
        Call::post("/all", "{}").signed(WHSEC).sent(WHSEC, "msg_1", 1_764_225_600).send(&daemon).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

/// The configuration refuses such secrets with their lines; should one get past it, nothing is served all the same.
#[tokio::test]
async fn an_endpoint_without_a_secret_that_protects_it_is_not_served() {
    let daemon = Daemon::start().await;
    let secrets = |texts: &[&str]| texts.iter().map(|text| Secret::new(*text)).collect::<Vec<_>>();
    for (texts, why) in [
        (&[][..], "endpoint /all: there is no secret"),
        (&[""], "endpoint /all: a secret is empty"),
        (&[SECRET, ""], "endpoint /all: a secret is empty"),
        (&["whsec_"], "endpoint /all: a secret is empty"),
        (&["whsec_?"], "endpoint /all: a secret begins with `whsec_` and what follows is not base64"),
        (&[SECRET; 5], "endpoint /all: there are more than 4 secrets"),
    ] {
        let mut project = project("/srv".as_ref());
        for endpoint in project.serve.as_mut().unwrap().endpoints.values_mut() {
            endpoint.secrets = secrets(texts);
        }
        let made = Endpoints::new(project.into(), daemon.queue(), Mask::default(), Bounds::default());
        assert_eq!(made.err().map(|error| error.to_string()).as_deref(), Some(why));
    }
}
