//! The OpenAPI document, whole.

use crate::call::Call;
use crate::daemon::Daemon;

#[tokio::test]
async fn the_document_says_all_that_there_is() {
    let daemon = Daemon::start().await;
    let answer = Call::new("GET", "/openapi.json").send(&daemon).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
    let head = Call::new("HEAD", "/openapi.json").send(&daemon).await;
    assert_eq!((head.status, head.header("content-length")), (200, answer.header("content-length")));
}
