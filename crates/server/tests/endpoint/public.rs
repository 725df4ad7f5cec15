//! Others' libraries and material at the endpoint: where they are not there (`scripts/setup` brings them), the test says so and
//! passes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lockgate_model::{DeployAnswer, Failure, FailureKind, Outcome};
use lockgate_orchestrator::fake::Ending;
use lockgate_signature::{Message, SigningSecret};

use crate::call::SHA;
use crate::daemon::{Daemon, NOW, SECRET, WHSEC};

const NODE_LIBRARIES: &str = "/usr/local/share/lockgate-test/node";
const PYTHON_LIBRARIES: &str = "/usr/local/share/lockgate-test/python-webhooks";
/// What a client answers where its library is not there.
const NOT_THERE: i32 = 77;
/// It takes some 20 s, on a busy machine.
const SCHEMATHESIS_SECONDS_MAX: &str = "120";
const OUR_BODY: &str = "{\"text\":\"Ä & <b>\"}";

fn support(file: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/support")).join(file)
}

/// Its standard output; `None` where it is not there.
async fn run(mut command: Command, what: &str) -> Option<String> {
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let (text, code) = match ran {
        Ok(Output { stdout, stderr, status }) => {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            (format!("{}{}", text(&stdout), text(&stderr)), status.code())
        }
        Err(error) => (error.to_string(), Some(NOT_THERE)),
    };
    if code == Some(NOT_THERE) {
        eprintln!(
            "SKIPPED: {what} is not there, so the endpoint was not tried with it: `scripts/setup` installs it: {text}"
        );
        return None;
    }
    assert_eq!(code, Some(0), "{text}");
    Some(text)
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(support(script)).env("PYTHONPATH", PYTHON_LIBRARIES).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn githubs_own_libraries_and_examples_work_with_the_endpoint() {
    let daemon = Daemon::start().await;
    let signature = SigningSecret::new(SECRET).unwrap().sign_github(OUR_BODY.as_bytes());
    let mut command = Command::new("node");
    command.arg(support("octokit_client.mjs")).arg(NODE_LIBRARIES);
    command.arg(format!("http://{}/deploy", daemon.address)).args([SECRET, OUR_BODY, &signature]);
    let Some(counts) = run(command, "npm's @octokit/webhooks-methods").await else { return };
    insta::assert_snapshot!(counts);
}

/// As the guide says it: `openssl` signs, `curl --fail-with-body` ends with 0 or 22 and shows the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_signs_with_openssl_and_calls_with_curl() {
    const SCRIPT: &str = r#"
        signature=$(printf %s "$BODY" | openssl dgst -sha256 -hmac "$SECRET" -hex | sed 's/^.* //')
        curl --fail-with-body --silent --show-error --max-time 20 "$URL" \
          -H 'Content-Type: application/json' -H "X-Hub-Signature-256: sha256=$signature" --data-binary "$BODY"
    "#;
    let daemon = Daemon::start().await;
    let url = format!("http://{}/deploy", daemon.address);
    let other = "f".repeat(40);
    let failure = Failure::new(FailureKind::Unhealthy, "v2 is ill");
    daemon.scripted.ends("sha-ffffffff", Ending::Run(Outcome::RolledBack { failure }));
    for (secret, sha, code, word) in [
        (SECRET, SHA, 0, "deployed"),
        (SECRET, other.as_str(), 22, "rolled_back"),
        (SECRET, "HEAD", 22, "bad_request"),
        (WHSEC, SHA, 22, "unauthorized"),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]).env("BODY", format!("{{\"image_sha\":\"{sha}\"}}"));
        command.env("SECRET", secret).env("URL", &url);
        let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let told: DeployAnswer =
            serde_json::from_slice(&ran.stdout).unwrap_or_else(|bad| panic!("{bad}: {ran:?}"));
        assert_eq!((ran.status.code(), told.status.as_str()), (Some(code), word), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_webhooks_are_signed_and_verified_both_ways() {
    let daemon = Daemon::start().await;
    let now: jiff::Timestamp = NOW.parse().unwrap();
    let here =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let message = Message::new("msg_ours", &here).unwrap();
    let signature = SigningSecret::new(WHSEC).unwrap().sign_standard(&message, OUR_BODY.as_bytes());
    let mut command = python("standardwebhooks_client.py");
    command.arg(format!("http://{}/all", daemon.address)).arg(WHSEC).arg(now.as_second().to_string());
    command.args(["msg_ours", &here, &signature, OUR_BODY]);
    let Some(told) = run(command, "Python's standardwebhooks").await else { return };
    assert_eq!(told, "ok\n");
}

/// Hundreds of requests of what the document allows and what it does not: no answer that is not in the document.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_undocumented() {
    let daemon = Daemon::start().await;
    if !Path::new(PYTHON_LIBRARIES).join("schemathesis").exists() {
        eprintln!(
            "SKIPPED: Python's schemathesis is not there, so the document was not tried: `scripts/setup` installs it"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let secrets = serde_json::json!({ "/deploy": SECRET, "/all": WHSEC });
    let mut command = Command::new("timeout");
    command
        .args([SCHEMATHESIS_SECONDS_MAX, "python3", "-m", "schemathesis.cli", "run"])
        .arg(format!("http://{}/openapi.json", daemon.address));
    // So many for each operation, whatever the machine does meanwhile: the seed says which.
    command.args(["--max-examples", "60", "--seed", "14", "--generation-database", "none"]);
    // What fits the schema may still be of no service, no endpoint, no time: that is what 400 and 404 are for. And whether an
    // unsigned call is refused is another test's, for here the signature is put on behind schemathesis' back.
    command.args(["--exclude-checks", "positive_data_acceptance,ignored_auth", "--no-color"]);
    command.env("PYTHONPATH", format!("{PYTHON_LIBRARIES}:{}", support("").display()));
    command.env("SCHEMATHESIS_HOOKS", "schemathesis_hooks").env("LOCKGATE_TEST_SECRETS", secrets.to_string());
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("NO_COLOR", "1").current_dir(folder.path());
    let report = run(command, "Python's schemathesis").await.unwrap();
    assert!(report.contains("Tested: 6") && report.contains("✅ Fuzzing"), "{report}");
}
