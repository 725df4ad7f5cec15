//! What there is, as an OpenAPI 3.1 document: made from the types that are read and written and the statuses that are answered.

use std::collections::BTreeMap;

use lockgate_model::{DeployAnswer, DeployStatus, Endpoint};
use lockgate_signature::{GITHUB_HEADER, ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::body::{OlderForm, OwnForm};
use super::github::EVENT_HEADER;
use super::statuses::{is_of_call, is_of_look, meaning};
use super::stream::End;

/// The document for these endpoints.
pub fn document<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Value {
    let mut document = described(endpoints);
    plain_words(&mut document);
    document
}

fn described<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let called = Responses::new("Call", is_of_call, &mut schemas);
    let looked_at = Responses::new("Run", is_of_look, &mut schemas);
    let mut paths = Map::new();
    for endpoint in endpoints {
        let path = endpoint.path.as_str();
        paths.insert(path.to_owned(), json!({ "post": call(endpoint, &called, &mut schemas) }));
    }
    paths.insert("/runs/{run}".to_owned(), json!({ "get": look(&looked_at) }));
    paths.insert("/openapi.json".to_owned(), json!({ "get": own_document() }));
    paths.insert("/healthz".to_owned(), json!({ "get": alive() }));
    paths.insert("/readyz".to_owned(), json!({ "get": ready() }));
    paths.insert("/metrics".to_owned(), json!({ "get": metrics() }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lockgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Signed calls that deploy, and the runs that came of them.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "responses": called.named.into_iter().chain(looked_at.named).collect::<Map<_, _>>(),
            "securitySchemes": security_schemes(),
        },
    })
}

fn call(endpoint: &Endpoint, responses: &Responses, schemas: &mut SchemaGenerator) -> Value {
    let services: Vec<&str> = endpoint.services.iter().map(|name| name.as_str()).collect();
    let description = format!(
        "Deploys {} to {}. The call is signed over the very bytes of its body, and answered at the run's end, at once with \
         `Prefer: respond-async` or an event of GitHub's, or as a stream with `Accept: text/event-stream`.",
        services.join(", "),
        endpoint.environment
    );
    json!({
        "operationId": format!("deploy{}", endpoint.path.as_str().replace('/', "-")),
        "summary": "Deploy a commit",
        "description": description,
        "security": [
            { "github": [] },
            { "standardId": [], "standardTime": [], "standardSignature": [] },
        ],
        "parameters": [
            header("Prefer", "`respond-async`: answer 202 as soon as the call is kept.", json!({ "type": "string" })),
            header(
                EVENT_HEADER,
                "GitHub's own: which event the body is. It is answered with 202 at once, or 200 where it deploys nothing.",
                json!({ "type": "string" }),
            ),
            last_event_id(),
        ],
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": { "anyOf": [
                schemas.subschema_for::<OwnForm>(),
                schemas.subschema_for::<OlderForm>(),
                { "type": "object", "description": "An event of GitHub's, with its header: `ping`, `push`, `workflow_run`." },
            ] } } },
        },
        "responses": responses.references,
    })
}

fn look(responses: &Responses) -> Value {
    let run = json!({
        "name": "run",
        "in": "path",
        "required": true,
        "description": "A run's id, as `Location` and answers have it. Whoever knows it may look.",
        "schema": { "type": "string", "format": "uuid" },
    });
    json!({
        "operationId": "run",
        "summary": "How a run is now, or ended",
        "description": "The answer that its caller gets, or got. As a stream with `Accept: text/event-stream`.",
        "parameters": [run, last_event_id()],
        "responses": responses.references,
    })
}

fn own_document() -> Value {
    let content = json!({ "application/json": { "schema": { "type": "object" } } });
    json!({
        "operationId": "openapi",
        "summary": "This document",
        "responses": { "200": { "description": "This document", "content": content } },
    })
}

fn alive() -> Value {
    let schema = object(&json!({ "alive": { "const": true } }));
    json!({
        "operationId": "alive",
        "summary": "Whether the process lives",
        "responses": { "200": { "description": "It does", "content": { "application/json": { "schema": schema } } } },
    })
}

fn ready() -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let schema = object(&json!({ "ready": { "type": "boolean" }, "why": texts, "warnings": texts }));
    let told = |description: &str| json!({ "description": description, "content": { "application/json": { "schema": schema } } });
    json!({
        "operationId": "ready",
        "summary": "Whether calls can be kept",
        "responses": { "200": told("They can"), "503": told("They cannot: `why`") },
    })
}

fn metrics() -> Value {
    let content = json!({ "application/openmetrics-text": { "schema": { "type": "string" } } });
    let failed = json!({ "application/json": { "schema": { "type": "object" } } });
    json!({
        "operationId": "metrics",
        "summary": "What was counted, for Prometheus",
        "responses": {
            "200": { "description": "OpenMetrics", "content": content },
            "500": { "description": "They cannot be written: see the log", "content": failed },
        },
    })
}

/// Of these members, all of which are there.
fn object(members: &Value) -> Value {
    let names: Vec<&String> = members.as_object().into_iter().flat_map(Map::keys).collect();
    json!({ "type": "object", "properties": members, "required": names })
}

/// The responses of one kind of request, each under a name of its own.
struct Responses {
    /// By status code, each a reference to the name.
    references: Map<String, Value>,
    named: Map<String, Value>,
}

impl Responses {
    /// Those of the statuses that are `of` it, grouped by status code, each with the words that it can come with.
    fn new(kind: &str, of: fn(DeployStatus) -> bool, schemas: &mut SchemaGenerator) -> Self {
        let mut codes: BTreeMap<u16, Vec<DeployStatus>> = BTreeMap::new();
        for status in DeployStatus::ALL.into_iter().filter(|status| of(*status)) {
            codes.entry(status.http()).or_default().push(status);
        }
        let (mut references, mut named) = (Map::new(), Map::new());
        for (code, statuses) in codes {
            let name = format!("{kind}{code}");
            references.insert(code.to_string(), json!({ "$ref": format!("#/components/responses/{name}") }));
            named.insert(name, response(code, &statuses, schemas));
        }
        Self { references, named }
    }
}

fn response(code: u16, statuses: &[DeployStatus], schemas: &mut SchemaGenerator) -> Value {
    let words: Vec<String> =
        statuses.iter().map(|status| format!("`{}`: {}", status.as_str(), meaning(*status))).collect();
    let mut response = json!({ "description": words.join(" · ") });
    // What is wrong before there is a whole head is said by the status alone.
    if statuses != [DeployStatus::HeadersTooLarge] {
        response["content"] =
            json!({ "application/json": { "schema": schemas.subschema_for::<DeployAnswer>() } });
    }
    if code == 200 {
        response["content"]["text/event-stream"] = events(schemas);
    }
    let headers = headers(statuses);
    if !headers.is_empty() {
        response["headers"] = headers.into();
    }
    response
}

fn headers(statuses: &[DeployStatus]) -> Map<String, Value> {
    let mut headers = Map::new();
    if statuses.iter().any(|status| status.is_worth_another_try()) {
        let schema = json!({ "type": "integer", "minimum": 1 });
        let description = "Seconds after which it is worth trying again.";
        headers.insert("Retry-After".to_owned(), json!({ "description": description, "schema": schema }));
    }
    if statuses.iter().any(|status| super::answer::goes_on(*status)) {
        let description = "Where the run is looked at: `/runs/<run>`.";
        let schema = json!({ "type": "string" });
        headers.insert("Location".to_owned(), json!({ "description": description, "schema": schema }));
    }
    headers
}

/// A stream is text to OpenAPI 3.1: what stands in its last event is named beside it.
fn events(schemas: &mut SchemaGenerator) -> Value {
    let end = schemas.subschema_for::<End>();
    let description = "`id: N`, `event: told`, and in `data:` what is told of the run, as `{\"told\": …, \"what\": …}`; last \
                       `event: end`, and in `data:` the run's end. A comment where nothing is told for ten seconds.";
    json!({ "schema": { "type": "string", "description": description }, "x-end": end })
}

fn header(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema })
}

fn last_event_id() -> Value {
    let description = "The `id` of the last event that was heard: a stream goes on behind it.";
    header("Last-Event-ID", description, json!({ "type": "integer", "minimum": 0 }))
}

fn security_schemes() -> Value {
    let scheme = |name: &str, description: &str| json!({ "type": "apiKey", "in": "header", "name": name, "description": description });
    json!({
        "github": scheme(GITHUB_HEADER, "`sha256=` and the HMAC-SHA256 of the body's bytes in lower-case hex."),
        "standardId": scheme(ID_HEADER, "Standard Webhooks: which message it is."),
        "standardTime": scheme(TIMESTAMP_HEADER, "Standard Webhooks: when it was sent, in seconds since 1970."),
        "standardSignature": scheme(SIGNATURE_HEADER, "Standard Webhooks: `v1,` and the base64 of the HMAC-SHA256 of `id.time.body`."),
    })
}

/// Descriptions come from the code, where words are links.
fn plain_words(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text =
                    text.replace("[`crate::", "`").replace("[`", "`").replace("`]", "`").replace('\n', " ");
            }
            members.values_mut().for_each(plain_words);
        }
        Value::Array(items) => items.iter_mut().for_each(plain_words),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
