//! Against a double of GitHub's REST API, made from its documentation: which headers are asked for, what is answered
//! (<https://docs.github.com/en/rest/deployments/deployments#create-a-deployment>,
//! <https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status>), and its limits.

use lockgate_model::{EnvironmentName, Failure, FailureKind};
use serde_json::{Value, json};
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::fixtures::{install_tls, job_failed, message, told};

const TOKEN: &str = "ghs_hunter2hunter2";

fn github(server: &MockServer) -> GitHub {
    install_tls();
    GitHub::new(Secret::new(TOKEN), "acme/web".to_owned(), server.uri())
}

/// Deployments are made with the id 42.
async fn takes_deployments(server: &MockServer, times: u64) {
    let made = ResponseTemplate::new(201).set_body_json(json!({ "id": 42, "environment": "prod" }));
    Mock::given(method("POST"))
        .and(path("/repos/acme/web/deployments"))
        .and(header("authorization", format!("Bearer {TOKEN}").as_str()))
        .and(header("accept", "application/vnd.github+json"))
        .and(header("x-github-api-version", API_VERSION))
        .respond_with(made)
        .expect(times)
        .mount(server)
        .await;
}

async fn takes_status(server: &MockServer, state: &str) {
    Mock::given(method("POST"))
        .and(path("/repos/acme/web/deployments/42/statuses"))
        .and(header("authorization", format!("Bearer {TOKEN}").as_str()))
        .and(body_partial_json(json!({ "state": state })))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({ "id": 1, "state": state })))
        .expect(1)
        .mount(server)
        .await;
}

#[tokio::test]
async fn a_run_is_one_deployment_with_a_status_for_its_start_and_one_for_its_end() {
    let server = MockServer::start().await;
    takes_deployments(&server, 1).await;
    takes_status(&server, "in_progress").await;
    takes_status(&server, "failure").await;
    let github = github(&server);
    let posted = github.send(&message(MessageKind::Starting), None).await.unwrap().unwrap();
    assert_eq!(posted.as_str(), "42");
    let failure = Failure::new(FailureKind::Unhealthy, "green does not answer ".repeat(20));
    let ended = Message { failure: Some(failure), ..message(MessageKind::RolledBack) };
    let posted = github.send(&ended, Some(&posted)).await.unwrap().unwrap();
    assert_eq!(posted.as_str(), "42");

    let requests = server.received_requests().await.unwrap();
    let body = |at: usize| serde_json::from_slice::<Value>(&requests[at].body).unwrap();
    assert_eq!(
        body(0),
        json!({
            "ref": "v2", "environment": "prod", "description": "web v2 goes to prod", "auto_merge": false,
            "required_contexts": [],
            "payload": {
                "service": "web", "tag": "v2", "digest": format!("sha256:{}", "a".repeat(64)),
                "run": "00000000-0000-0000-0000-000000000007",
            },
        })
    );
    let description = body(2)["description"].as_str().unwrap().to_owned();
    assert!(description.starts_with("unhealthy: green does not answer"), "{description}");
    assert_eq!(description.chars().count(), DESCRIPTION_CHARS_MAX);
}

#[tokio::test]
async fn an_end_whose_start_was_not_told_makes_its_deployment_and_what_has_no_release_makes_none() {
    let server = MockServer::start().await;
    takes_deployments(&server, 1).await;
    takes_status(&server, "success").await;
    let github = github(&server);
    github.send(&message(MessageKind::Success), None).await.unwrap().unwrap();
    let unbegun = Message { release: None, run: None, ..message(MessageKind::Failed) };
    assert_eq!(github.send(&unbegun, None).await.unwrap(), None);
}

#[tokio::test]
async fn refusals_are_told_apart_and_say_what_to_do() {
    let cases = [
        (401, FailureKind::Unauthorized, "expired"),
        (403, FailureKind::Unauthorized, "deployments: write"),
        (404, FailureKind::NotFound, "acme/web"),
        (409, FailureKind::Conflict, "in the deployment's way"),
        (422, FailureKind::Refused, "neither the commit nor a tag"),
        (301, FailureKind::Other, "another name"),
        (202, FailureKind::Other, "none was made"),
        (500, FailureKind::Unreachable, "githubstatus"),
    ];
    for (status, kind, hint) in cases {
        let server = MockServer::start().await;
        let echo = ResponseTemplate::new(status).set_body_json(json!({ "message": format!("no {TOKEN}") }));
        Mock::given(method("POST")).respond_with(echo).expect(1).mount(&server).await;
        let error = github(&server).send(&message(MessageKind::Starting), None).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(hint), "{status}: {shown}");
        assert!(!shown.contains(TOKEN), "{shown}");
    }
}

#[tokio::test]
async fn a_limit_is_told_from_a_missing_permission_and_waited_for_where_it_is_short() {
    let server = MockServer::start().await;
    let limit = ResponseTemplate::new(403).insert_header("retry-after", "0");
    Mock::given(path("/repos/acme/web/deployments"))
        .respond_with(limit)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    takes_deployments(&server, 1).await;
    takes_status(&server, "in_progress").await;
    github(&server).send(&message(MessageKind::Starting), None).await.unwrap();

    let reset = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3_000;
    let primary = ResponseTemplate::new(403)
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", reset.to_string().as_str());
    let secondary = ResponseTemplate::new(403)
        .set_body_json(json!({ "message": "You have exceeded a secondary rate limit." }));
    for long in [primary, secondary] {
        let server = MockServer::start().await;
        Mock::given(method("POST")).respond_with(long).expect(1).mount(&server).await;
        let error = github(&server).send(&message(MessageKind::Starting), None).await.unwrap_err();
        assert!(error.message.contains("too many messages"), "{error}");
    }
}

#[tokio::test]
async fn a_deployment_without_an_id_that_is_a_number_is_an_error() {
    for body in [json!({}), json!({ "id": "../../user" }), json!([])] {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(201).set_body_json(body))
            .expect(1)
            .mount(&server)
            .await;
        let error = github(&server).send(&message(MessageKind::Starting), None).await.unwrap_err();
        assert!(error.message.contains("did not say which one"), "{error}");
    }
}

async fn takes_all(server: &MockServer) {
    let made = ResponseTemplate::new(201).set_body_json(json!({ "id": 42 }));
    Mock::given(method("POST")).respond_with(made).mount(server).await;
}

/// All that was posted, path and body.
async fn posted(server: &MockServer) -> String {
    let requests = server.received_requests().await.unwrap();
    let shown = requests.iter().map(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        format!("POST {}\n{}", request.url.path(), serde_json::to_string_pretty(&body).unwrap())
    });
    shown.collect::<Vec<_>>().join("\n\n")
}

#[tokio::test]
async fn all_that_is_known_of_a_run_is_in_its_deployment_and_a_job_that_failed_is_one_too() {
    let server = MockServer::start().await;
    takes_all(&server).await;
    let github = github(&server);
    let place = github.send(&told(MessageKind::Starting), None).await.unwrap();
    github.send(&told(MessageKind::Success), place.as_ref()).await.unwrap();
    github.send(&job_failed(), None).await.unwrap();
    insta::assert_snapshot!(posted(&server).await);
}

/// A `success` makes all earlier deployments of the repository and environment inactive.
#[tokio::test]
async fn of_several_services_each_has_an_environment_of_its_own() {
    let server = MockServer::start().await;
    takes_all(&server).await;
    let github = github(&server).naming_services(true);
    for environment in ["prod", "production"] {
        let environment = EnvironmentName::new(environment).unwrap();
        github.send(&Message { environment, ..message(MessageKind::Starting) }, None).await.unwrap();
    }
    let requests = server.received_requests().await.unwrap();
    let body = |at: usize| serde_json::from_slice::<Value>(&requests[at].body).unwrap();
    for (at, name, is_production) in [(0, "prod/web", false), (2, "production/web", true)] {
        let body = body(at);
        let said = (&body["environment"], &body["task"], &body["production_environment"]);
        assert_eq!(said, (&name.into(), &"deploy:web".into(), &is_production.into()));
    }
}
