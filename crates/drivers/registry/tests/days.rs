//! Good days and bad days of a registry and of its token server.
//!
//! The doubles are made from the OCI distribution specification 1.1 ("Error Codes", "Listing Tags", "Pulling manifests") and
//! from <https://distribution.github.io/distribution/spec/auth/token/> and `…/oauth/`; `real.rs` has the real ones.

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_model::FailureKind::{
    self, NotFound, Other, Refused, TimedOut, TooLarge, Unauthorized, Unreachable,
};
use lockgate_model::{Digest, Millis, Reference};
use lockgate_ports::registry::MANIFEST_BYTES_MAX;
use lockgate_ports::{Effect, Manifest, PortError, Registry};
use lockgate_registry::RegistryClient;
use support::{
    Double, OCI_INDEX, OCI_MANIFEST, PASSWORD, Reply, Seen, USER, client, client_with, repository, tag,
};

const INDEX: &str = "{ \"schemaVersion\": 2,\n \"manifests\": [] }";
const CONFIG: &str = r#"{"os":"linux","architecture":"amd64"}"#;

fn index() -> Manifest {
    Manifest::new(OCI_INDEX, INDEX.as_bytes().to_vec()).unwrap()
}

/// A manifest as a registry gives it.
fn good() -> Reply {
    Reply::new(200).header("content-type", OCI_INDEX).body(INDEX)
}

fn tags(names: &[&str]) -> Reply {
    Reply::json(200, &serde_json::json!({ "name": "acme/web", "tags": names }))
}

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Do {
    Get,
    GetDigest,
    Resolve,
    Tags,
    Put,
    Blob,
}

async fn call(client: &RegistryClient, address: &str, what: Do) -> Result<String, PortError> {
    let place = repository(address);
    let digest = Reference::Digest(index().digest().clone());
    Ok(match what {
        Do::Get => client.manifest(&place, &tag("v2")).await?.digest().to_string(),
        Do::GetDigest => client.manifest(&place, &digest).await?.digest().to_string(),
        Do::Resolve => format!("{:?}", client.resolve(&place, &tag("v2")).await?),
        Do::Tags => client.tags(&place).await?.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Do::Put => client.put_manifest(&place, &tag("v2"), &index()).await.map(|()| String::new())?,
        Do::Blob => client.blob_exists(&place, index().digest()).await?.to_string(),
    })
}

/// A bad day of a registry.
struct Row {
    day: &'static str,
    what: Do,
    answer: fn(&Seen) -> Reply,
    kind: FailureKind,
    /// Parts of the message.
    says: &'static [&'static str],
    /// A part of the hint.
    hint: &'static str,
    /// Requests that the registry sees.
    requests: usize,
}

const fn row(day: &'static str, what: Do, answer: fn(&Seen) -> Reply) -> Row {
    Row { day, what, answer, kind: Other, says: &[], hint: "", requests: 1 }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // 401 and 403
    Row { kind: Unauthorized, says: &["lets nobody read", "without a login"], hint: "`docker login 127.0.0.1:",
        ..row("401 without a challenge", Do::Get, |_| Reply::code(401, "UNAUTHORIZED", "authentication required")) },
    Row { kind: Unauthorized, says: &["wants a login, and there is none"], hint: "registries: { \"127.0.0.1:",
        ..row("401 that wants a password", Do::Get, |_| Reply::new(401).header("www-authenticate", "Basic realm=\"x\"")) },
    Row { kind: Unauthorized, says: &["lets nobody push to", "DENIED, requested access"], hint: "docker login",
        ..row("403 for a push", Do::Put, |_| Reply::code(403, "DENIED", "requested access to the resource is denied")) },
    Row { kind: Unauthorized, says: &["lets nobody read"], hint: "docker login",
        ..row("401 to a HEAD", Do::Blob, |_| Reply::new(401)) },
    Row { kind: Unauthorized, says: &["lets nobody read"], hint: "docker login",
        ..row("a challenge that cannot be read", Do::Get, |_| Reply::new(401).header("www-authenticate", "Bearer realm=\"")) },
    // 404
    Row { kind: NotFound, says: &["has no 127.0.0.1", "/acme/web:v2", "MANIFEST_UNKNOWN"], hint: "push it first",
        ..row("no such tag", Do::Get, |_| Reply::code(404, "MANIFEST_UNKNOWN", "manifest unknown")) },
    Row { kind: NotFound, says: &["(\"MANIFEST_UNKNOWN\")"], hint: "push it first",
        ..row("no such tag, in the same words twice", Do::Get, |_| Reply::code(404, "MANIFEST_UNKNOWN", "Manifest unknown.")) },
    Row { says: &["answers 418"], hint: "`curl -sSi http://127.0.0.1:",
        ..row("a status that says nothing", Do::Get, |_| Reply::new(418)) },
    Row { kind: NotFound, says: &["has no repository acme/web"], hint: "`image:` in lockgate.yaml",
        ..row("no such repository", Do::Tags, |_| Reply::code(404, "NAME_UNKNOWN", "repository name not known to registry")) },
    Row { kind: NotFound, says: &["has no repository acme/web"], hint: "a private one may be shown only after `docker login",
        ..row("no such repository, asked for a tag", Do::Get, |_| Reply::code(404, "NAME_UNKNOWN", "")) },
    Row { kind: NotFound, says: &["has not all that the manifest", "MANIFEST_BLOB_UNKNOWN"], hint: "push the image to",
        ..row("blobs that are elsewhere", Do::Put, |_| Reply::code(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown")) },
    Row { says: &["page for people"], hint: "check the registry's name",
        ..row("404 of a web server", Do::Get, |_| Reply::new(404).header("content-type", "text/html").body("<h1>404</h1>")) },
    // 429
    Row { says: &["too many requests", "TOOMANYREQUESTS, You have reached your pull rate limit", "again in 1h6m40s"],
        hint: "whoever is logged in may ask more often: `docker login",
        ..row("a limit for hours", Do::Get, |_| {
            Reply::code(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.").header("retry-after", "4000")
        }) },
    Row { says: &["too many requests"], requests: 3, hint: "docker login",
        ..row("a limit for now, again and again", Do::Get, |_| Reply::new(429).header("retry-after", "0")) },
    Row { says: &["too many requests", "again in 7m"], hint: "docker login",
        ..row("a limit until a date", Do::Tags, |_| Reply::new(429)
            .header("date", "Thu, 26 Nov 2026 17:00:00 GMT").header("retry-after", "Thu, 26 Nov 2026 17:07:00 GMT")) },
    Row { says: &["too many requests"], requests: 3, hint: "docker login",
        ..row("a limit for a put, which was not done", Do::Put, |_| Reply::new(429).header("retry-after", "0")) },
    // 5xx
    Row { kind: Unreachable, says: &["fails with 500", "UNKNOWN, unknown error"], hint: "try again later",
        ..row("500", Do::Get, |_| Reply::code(500, "UNKNOWN", "unknown error")) },
    Row { kind: Unreachable, says: &["fails with 503"], requests: 3, hint: "try again later",
        ..row("503, again and again", Do::Tags, |_| Reply::new(503).body("<html>down</html>")) },
    Row { kind: Unreachable, says: &["fails with 503", "asked again in 10m"], hint: "try again later",
        ..row("503 for long", Do::Get, |_| Reply::new(503).header("retry-after", "600")) },
    Row { kind: Unreachable, says: &["fails with 502"], hint: "try again later",
        ..row("502 for a put, which may have been done", Do::Put, |_| Reply::new(502)) },
    // What is no registry's answer
    Row { says: &["page for people"], hint: "a login page",
        ..row("a login page in place of a manifest", Do::Get, |_| Reply::new(200).header("content-type", "text/html").body("<html>")) },
    Row { says: &["page for people"], hint: "a login page",
        ..row("a login page in place of tags", Do::Tags, |_| Reply::new(200).header("content-type", "text/html").body("\n<html>")) },
    Row { says: &["not as it should be at line 1"], hint: "a proxy before it",
        ..row("half of the JSON", Do::Tags, |_| Reply::new(200).body("{\"tags\":[\"v1\",")) },
    Row { says: &["not as it should be"], hint: "a proxy before it", ..row("nothing", Do::Tags, |_| Reply::new(200)) },
    Row { kind: Unreachable, says: &["broke off"], requests: 3,
        ..row("a connection that breaks in the middle of a page", Do::Tags, |_| tags(&["v1", "v2"]).cut(9)) },
    Row { kind: Unreachable, says: &["broke off"], requests: 3,
        ..row("a connection that breaks in the middle of a manifest", Do::Get, |_| good().cut(9)) },
    Row { says: &["answers 405", "UNSUPPORTED"], hint: "curl -sSi http://127.0.0.1:",
        ..row("no pushes at all", Do::Put, |_| Reply::code(405, "UNSUPPORTED", "The operation is unsupported.")) },
    Row { says: &["answers 400", "(\"MANIFEST_INVALID\")"], hint: "curl",
        ..row("a manifest that it does not like", Do::Put, |_| Reply::code(400, "MANIFEST_INVALID", "manifest invalid")) },
    Row { says: &["answers 202"], hint: "curl", ..row("a put that is only accepted", Do::Put, |_| Reply::new(202)) },
    Row { says: &["no media type of a manifest"], hint: "push it again",
        ..row("a manifest of Docker's first schema", Do::Get, |_| Reply::new(200)
            .header("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws").body("{}")) },
    // Bytes
    Row { kind: Refused, says: &["should be sha256:0000"], hint: "were not used",
        ..row("a digest that is another", Do::Get, |_| good().header("docker-content-digest", format!("sha256:{:064}", 0))) },
    Row { kind: Refused, says: &["the bytes of"], hint: "were not used",
        ..row("other bytes than were asked for", Do::GetDigest, |_| good().body("{\"manifests\":[] }")) },
    Row { kind: Refused, says: &["came as application/vnd.oci.image.index", "says of itself"], hint: "build and push",
        ..row("two kinds at once", Do::Get, |_| good().body(format!("{{\"mediaType\":\"{OCI_MANIFEST}\"}}"))) },
    Row { kind: Refused, says: &["the bytes of"], hint: "were not used",
        ..row("a put that was taken for another", Do::Put, |_| Reply::new(201).header("docker-content-digest", "sha256:00")) },
    Row { kind: Refused, says: &["the bytes of"], hint: "were not used", requests: 2,
        ..row("a put that does not say what it took, and took another", Do::Put, |seen| match seen.method.as_str() {
            "PUT" => Reply::new(201),
            _ => good().body("{}"),
        }) },
    Row { kind: TooLarge, says: &["larger than 4 MiB"],
        ..row("a manifest without an end", Do::Get, |_| good().body(vec![b' '; MANIFEST_BYTES_MAX + 1])) },
    // Pages
    Row { kind: Refused, says: &["leads back to a page that was read already"], hint: "link each page", requests: 2,
        ..row("pages in a circle", Do::Tags, |seen| match seen.query("last") {
            None => tags(&["v1"]).header("link", "</v2/acme/web/tags/list?last=v1>; rel=\"next\""),
            Some(_) => tags(&["v2"]).header("link", "</v2/acme/web/tags/list?last=v1>; rel=\"next\""),
        }) },
    Row { kind: Refused, says: &["leads back to a page that was read already"], requests: 1,
        ..row("a page that links to itself", Do::Tags, |seen| tags(&["v1"]).header("link", format!("<{}>; rel=\"next\"", seen.target))) },
    Row { kind: Refused, says: &["goes on at \"http://evil.test/v2/x\"", "not at this registry"], hint: "at its own address",
        ..row("a next page elsewhere", Do::Tags, |_| tags(&["v1"]).header("link", "<http://evil.test/v2/x>; rel=\"next\"")) },
    Row { kind: Refused, says: &["\"$(reboot)\", which is no tag"], hint: "remove it",
        ..row("a tag that is none", Do::Tags, |_| tags(&["v1", "$(reboot)"])) },
    Row { kind: NotFound, says: &["has no repository"], requests: 2,
        ..row("a second page that is gone", Do::Tags, |seen| match seen.query("last") {
            None => tags(&["v1"]).header("link", "<?last=v1>; rel=next"),
            Some(_) => Reply::code(404, "NAME_UNKNOWN", "gone"),
        }) },
    // Redirects
    Row { kind: Refused, says: &["redirects to http://blobs.test, which is not asked"], hint: "https://",
        ..row("a redirect that gives TLS up", Do::Get, |_| Reply::new(307).header("location", "http://blobs.test/x?sig=hunter2")) },
    Row { kind: Refused, says: &["redirects to https://blobs.test"], hint: "https://",
        ..row("a redirect with a password", Do::Get, |_| Reply::new(307).header("location", "https://a:b@blobs.test/x")) },
    Row { kind: Refused, says: &["redirects more than 5 times"], requests: 6, hint: "configuration",
        ..row("a redirect to itself", Do::Get, |seen| Reply::new(302).header("location", seen.target.clone())) },
    Row { kind: Refused, says: &["answers 307 and leads elsewhere"], hint: "curl",
        ..row("a redirect of a put", Do::Put, |_| Reply::new(307).header("location", "/elsewhere")) },
];

#[tokio::test]
async fn every_bad_day_of_a_registry_has_its_kind_its_words_and_a_hint() {
    for Row { day, what, answer, kind, says, hint, requests } in ROWS {
        let registry = Double::start(answer);
        let error = call(&client(&registry.address, None), &registry.address, *what).await.expect_err(day);
        assert_eq!(error.kind, *kind, "{day}: {error:?}");
        for part in *says {
            assert!(error.message.contains(part), "{day}: {part:?} is missing in {error:?}");
        }
        let given = error.hints().to_string();
        assert!(given.contains(hint) && !given.is_empty(), "{day}: {hint:?} is missing in {given:?}");
        assert_eq!(registry.seen().len(), *requests, "{day}: {:?}", registry.seen());
    }
}

/// What an answer says of whether it was done, and of when to ask again.
#[tokio::test]
async fn it_is_said_whether_it_was_done_and_when_to_ask_again() {
    type Answer = fn(&Seen) -> Reply;
    let minutes = Some(Millis::from_secs(600));
    let rows: [(&str, Do, Answer, Effect, Option<Millis>); 11] = [
        ("a limit", Do::Put, |_| Reply::new(429).header("retry-after", "600"), Effect::None, minutes),
        (
            "a limit for a read",
            Do::Tags,
            |_| Reply::new(429).header("retry-after", "600"),
            Effect::None,
            minutes,
        ),
        ("it fails", Do::Put, |_| Reply::new(503).header("retry-after", "600"), Effect::Unknown, minutes),
        ("a read fails", Do::Get, |_| Reply::new(503).header("retry-after", "600"), Effect::None, minutes),
        ("it fails and says no time", Do::Put, |_| Reply::new(502), Effect::Unknown, None),
        ("it is wrong", Do::Put, |_| Reply::code(400, "MANIFEST_INVALID", "x"), Effect::None, None),
        ("not for us", Do::Put, |_| Reply::code(403, "DENIED", "x"), Effect::None, None),
        ("perhaps later", Do::Put, |_| Reply::new(202), Effect::Unknown, None),
        (
            "it took something else",
            Do::Put,
            |_| Reply::new(201).header("docker-content-digest", format!("sha256:{}", "1".repeat(64))),
            Effect::Unknown,
            None,
        ),
        (
            "it breaks off",
            Do::Put,
            |_| Reply::new(201).header("content-length", "9").cut(3),
            Effect::Unknown,
            None,
        ),
        ("a read breaks off", Do::Get, |_| good().cut(3), Effect::None, None),
    ];
    for (day, what, answer, effect, wait) in rows {
        let registry = Double::start(answer);
        let error = call(&client(&registry.address, None), &registry.address, what).await.expect_err(day);
        assert_eq!((error.effect(), error.retry_after()), (effect, wait), "{day}: {error:?}");
    }
    // Nobody listens, and nobody who gives tokens: nothing was put.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = call(&client(&nowhere, None), &nowhere, Do::Put).await.unwrap_err();
    assert_eq!((error.kind, error.effect()), (Unreachable, Effect::None), "{error}");
    let server = Double::start(|_| Reply::new(503).header("retry-after", "600"));
    let registry = guarded(server.url("/token"), |_, _| false);
    let error = call(&client(&registry.address, None), &registry.address, Do::Put).await.unwrap_err();
    assert_eq!((error.effect(), error.retry_after()), (Effect::None, minutes), "{error}");
    let cause = std::error::Error::source(&error);
    assert!(cause.is_none(), "an answer has no cause");
}

#[tokio::test]
async fn what_passes_by_itself_is_asked_again() {
    for day in ["429", "503", "cut"] {
        let count = AtomicU32::new(0);
        let registry = Double::start(move |_| match (day, count.fetch_add(1, Ordering::SeqCst)) {
            (_, 2) => good(),
            ("429", _) => Reply::new(429).header("retry-after", "1"),
            ("503", _) => Reply::new(503),
            _ => good().cut(3),
        });
        let start = std::time::Instant::now();
        let got = call(&client(&registry.address, None), &registry.address, Do::Get).await;
        assert_eq!(got.unwrap(), index().digest().to_string(), "{day}");
        assert!(
            day != "429" || start.elapsed() >= Duration::from_secs(2),
            "what Retry-After asks for is waited"
        );
    }
}

#[tokio::test]
async fn nothing_at_the_address_is_unreachable() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = call(&client(&address, None), &address, Do::Get).await.unwrap_err();
    assert_eq!(error.kind, Unreachable, "{error}");
    assert!(std::error::Error::source(&error).is_some(), "the cause is kept");
    assert!(
        error.message.contains("cannot connect to https://127.0.0.1") && !error.hints().is_empty(),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_given_up() {
    let registry = Double::start(|_| Reply { silent: true, ..Reply::new(200) });
    let (client, address) = (client(&registry.address, None), registry.address.clone());
    let waiting = tokio::spawn(async move { call(&client, &address, Do::Get).await });
    let asked = async {
        while registry.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it is asked");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind, TimedOut, "{error}");
    assert!(error.message.contains("no whole answer within 30 s"), "{error}");
    assert_eq!(registry.seen().len(), 1, "what hangs is not asked again");
}

/// A registry that wants a token of `server`, and takes `token` for its reads and pushes.
fn guarded(realm: String, is_good: impl Fn(&Seen, &str) -> bool + Send + Sync + 'static) -> Double {
    Double::start(move |seen| {
        let token = seen.authorization().and_then(|value| value.strip_prefix("Bearer "));
        if token.is_some_and(|token| is_good(seen, token)) {
            return match seen.method.as_str() {
                "PUT" => Reply::new(201).header("docker-content-digest", index().digest().to_string()),
                _ if seen.target.contains("/tags/") => tags(&["v1"]),
                _ => good(),
            };
        }
        let actions = if seen.method == "PUT" { "pull,push" } else { "pull" };
        let error = if token.is_some() { ",error=\"insufficient_scope\"" } else { "" };
        let challenge = format!(
            "Bearer realm=\"{realm}\",service=\"test\",scope=\"repository:acme/web:{actions}\"{error}"
        );
        Reply::code(401, "UNAUTHORIZED", "authentication required").header("www-authenticate", challenge)
    })
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
}

#[tokio::test]
async fn a_token_is_asked_for_once_for_what_is_wanted_and_used_while_it_holds() {
    for (field, holds, wanted) in [("token", 300, 1), ("access_token", 300, 1), ("token", 1, 2)] {
        let server = Double::start(move |_| {
            Reply::json(200, &serde_json::json!({ field: "t1", "expires_in": holds }))
        });
        let registry = guarded(server.url("/token?tenant=a"), |_, token| token == "t1");
        let client = client(&registry.address, Some((USER, PASSWORD)));
        for what in [Do::Tags, Do::Get] {
            call(&client, &registry.address, what).await.unwrap();
        }
        let asked = server.seen();
        assert_eq!(asked.len(), wanted, "{field} for {holds} s");
        assert_eq!(asked[0].method, "GET");
        assert_eq!(asked[0].authorization(), Some(basic().as_str()), "the token server is told the login");
        let query = ["tenant", "service", "scope"].map(|name| asked[0].query(name).unwrap());
        assert_eq!(query, ["a", "test", "repository:acme/web:pull"]);
        let told: Vec<_> =
            registry.seen().iter().filter_map(|seen| seen.authorization().map(str::to_owned)).collect();
        assert!(
            told.iter().all(|value| value == "Bearer t1"),
            "the registry is told the token alone: {told:?}"
        );
        call(&client, &registry.address, Do::Put).await.unwrap();
        let last = server.seen().pop().unwrap().query("scope").unwrap();
        assert_eq!(last, "repository:acme/web:pull,push", "a push wants another token");
    }
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_replaced_once() {
    let (count, latest) = (AtomicU32::new(0), std::sync::Arc::new(AtomicU32::new(1)));
    let server = Double::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        Reply::json(200, &serde_json::json!({ "token": format!("t{number}"), "expires_in": 300 }))
    });
    let valid = latest.clone();
    let registry =
        guarded(server.url("/token"), move |_, token| token == format!("t{}", valid.load(Ordering::SeqCst)));
    let client = client(&registry.address, None);
    call(&client, &registry.address, Do::Get).await.unwrap();
    latest.store(2, Ordering::SeqCst);
    call(&client, &registry.address, Do::Get).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    latest.store(9, Ordering::SeqCst);
    let error = call(&client, &registry.address, Do::Get).await.unwrap_err();
    assert_eq!(
        (error.kind, server.seen().len()),
        (Unauthorized, 3),
        "{error}: asked once more, then no more"
    );
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_never_shown_to_the_registry() {
    let server = Double::start(|_| Reply::json(200, &serde_json::json!({ "access_token": "t1" })));
    let registry = guarded(server.url("/token"), |_, token| token == "t1");
    let folder = tempfile::tempdir().unwrap();
    let config = serde_json::json!({ "auths": { &registry.address: { "identitytoken": "hunter2+/" } } });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let client = client_with(&registry.address, None, folder.path().to_str().unwrap());
    call(&client, &registry.address, Do::Get).await.unwrap();
    let asked = server.seen().pop().unwrap();
    let form = String::from_utf8(asked.body.clone()).unwrap();
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str(), asked.authorization()),
        ("POST", "/token", None)
    );
    for part in [
        "grant_type=refresh_token",
        "service=test",
        "scope=repository%3Aacme%2Fweb%3Apull",
        "refresh_token=hunter2%2B%2F",
    ] {
        assert!(form.contains(part), "{part} in {form}");
    }
    assert!(!format!("{:?}", registry.seen()).contains("hunter2"));
}

/// A bad day of a token server, for a client with the login of [`USER`].
struct TokenRow {
    day: &'static str,
    answer: fn(&Seen) -> Reply,
    kind: FailureKind,
    says: &'static [&'static str],
    hint: &'static str,
    /// Requests that the token server sees.
    requests: usize,
}

const fn token_row(day: &'static str, answer: fn(&Seen) -> Reply) -> TokenRow {
    TokenRow { day, answer, kind: Other, says: &[], hint: "", requests: 1 }
}

#[rustfmt::skip]
const TOKEN_ROWS: &[TokenRow] = &[
    TokenRow { kind: Unauthorized, says: &["refuses the login of ann (registries: in lockgate.yaml)", "bad password"], hint: "below `registries`",
        ..token_row("401", |_| Reply::code(401, "UNAUTHORIZED", "bad password")) },
    TokenRow { kind: Unauthorized, says: &["gives ann (registries: in lockgate.yaml) no access to 127.0.0.1:", "/acme/web (\"DENIED, *** is denied\")"], hint: "check the name",
        ..token_row("403 that repeats the password", |_| Reply::code(403, "DENIED", &format!("{PASSWORD} is denied"))) },
    TokenRow { says: &["too many requests", "again in 15m"], hint: "ask less often",
        ..token_row("429 for long", |_| Reply::new(429).header("retry-after", "900")) },
    TokenRow { kind: Unreachable, says: &["the token server http://127.0.0.1:", "fails with 503"], hint: "try again later", requests: 3,
        ..token_row("503", |_| Reply::new(503)) },
    TokenRow { says: &["page for people"], hint: "a login page",
        ..token_row("a login page", |_| Reply::new(200).header("content-type", "text/html; charset=utf-8").body("<html>")) },
    TokenRow { says: &["not as it should be"],
        ..token_row("half an answer", |_| Reply::new(200).body("{\"token\":\"hunt")) },
    TokenRow { kind: Unreachable, says: &["broke off"], requests: 3,
        ..token_row("a connection that breaks", |_| Reply::json(200, &serde_json::json!({ "token": "t1" })).cut(5)) },
    TokenRow { says: &["gave no token"], hint: "curl",
        ..token_row("no token", |_| Reply::json(200, &serde_json::json!({ "expires_in": 60 }))) },
    TokenRow { says: &["gave no token"], ..token_row("an empty token", |_| Reply::json(200, &serde_json::json!({ "token": "" }))) },
    TokenRow { says: &["odd characters"],
        ..token_row("a token with a second header in it", |_| Reply::json(200, &serde_json::json!({ "token": "t1\r\nx-evil: 1" }))) },
    TokenRow { kind: TooLarge, says: &["larger than 65536 bytes"],
        ..token_row("a token without an end", |_| Reply::json(200, &serde_json::json!({ "token": "t".repeat(70_000) }))) },
    TokenRow { kind: Refused, says: &["answers 302 and leads elsewhere"],
        ..token_row("a redirect", |_| Reply::new(302).header("location", "https://evil.test/token")) },
    TokenRow { kind: Unauthorized, says: &["ann (registries: in lockgate.yaml) may not read"], hint: "let this account read",
        ..token_row("a token for less", |_| Reply::json(200, &serde_json::json!({ "token": "less" }))) },
];

#[tokio::test]
async fn every_bad_day_of_a_token_server_has_its_kind_its_words_and_a_hint() {
    for TokenRow { day, answer, kind, says, hint, requests } in TOKEN_ROWS {
        let server = Double::start(answer);
        let registry = guarded(server.url("/token"), |_, token| token == "t1");
        let client = client(&registry.address, Some((USER, PASSWORD)));
        let error = call(&client, &registry.address, Do::Get).await.expect_err(day);
        assert_eq!(error.kind, *kind, "{day}: {error:?}");
        for part in *says {
            assert!(error.message.contains(part), "{day}: {part:?} is missing in {error:?}");
        }
        let given = error.hints().to_string();
        assert!(given.contains(hint) && !given.is_empty(), "{day}: {error:?}");
        assert_eq!(server.seen().len(), *requests, "{day}");
        let all = format!("{error:?}");
        assert!(!all.contains(PASSWORD) && !all.contains(&basic()["Basic ".len()..]), "{day}: {all}");
        assert!(
            registry
                .seen()
                .iter()
                .all(|seen| !seen.authorization().is_some_and(|value| value.starts_with("Basic")))
        );
    }
}

#[tokio::test]
async fn without_a_login_a_token_server_is_told_none_and_a_refusal_says_so() {
    let server = Double::start(|_| Reply::new(401));
    let registry = guarded(server.url("/token"), |_, _| false);
    let error = call(&client(&registry.address, None), &registry.address, Do::Get).await.unwrap_err();
    assert!(
        error.kind == Unauthorized && error.message.contains("wants a login, and there is none"),
        "{error}"
    );
    assert_eq!(server.seen()[0].authorization(), None);
}

#[tokio::test]
async fn a_login_is_not_sent_where_it_could_be_read_on_its_way() {
    for realm in
        ["http://auth.test/token", "http://127.0.0.1.evil.test/token", "ftp://127.0.0.1/token", "token"]
    {
        let registry = guarded(realm.to_owned(), |_, _| true);
        let client = client(&registry.address, Some((USER, PASSWORD)));
        let error = call(&client, &registry.address, Do::Get).await.unwrap_err();
        assert_eq!(error.kind, Refused, "{realm}: {error}");
        assert!(
            error.message.contains(realm) && error.hints().to_string().contains("nothing was sent there")
        );
    }
}

/// A blob is often kept elsewhere: its store sees neither the token nor the password, and what it says of logins counts
/// for nothing.
#[tokio::test]
async fn a_redirected_blob_is_fetched_without_the_login() {
    let digest = Digest::of(CONFIG.as_bytes());
    let manifest = |digest: &Digest| {
        let text = format!(
            r#"{{"schemaVersion":2,"layers":[],"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":1}}}}"#
        );
        Reply::new(200).header("content-type", OCI_MANIFEST).body(text)
    };
    for (day, answer) in [
        ("good", Reply::new(200).body(CONFIG)),
        ("changed", Reply::new(200).body(CONFIG.replace("amd64", "arm64"))),
        ("wants a login", Reply::new(401).header("www-authenticate", "Basic realm=\"give\"")),
    ] {
        let store = Double::start(move |_| answer.clone());
        let (location, digest) = (store.url("/x?sig=abc"), digest.clone());
        let registry = Double::start(move |seen| match seen.authorization() {
            Some(value) if value == basic() && seen.target.contains("/blobs/") => {
                Reply::new(307).header("location", location.clone())
            }
            Some(value) if value == basic() => manifest(&digest),
            _ => Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
        });
        let client = client(&registry.address, Some((USER, PASSWORD)));
        let ended = call(&client, &registry.address, Do::Resolve).await;
        match (day, ended) {
            ("good", Ok(resolved)) => assert!(resolved.contains("amd64"), "{resolved}"),
            ("changed", Err(error)) => assert_eq!(error.kind, Refused, "{error}"),
            ("wants a login", Err(error)) => assert_eq!(error.kind, Unauthorized, "{error}"),
            (day, ended) => panic!("{day}: {ended:?}"),
        }
        let asked = store.seen();
        assert_eq!(asked.len(), 1, "{day}");
        assert_eq!((asked[0].target.as_str(), asked[0].authorization()), ("/x?sig=abc", None), "{day}");
    }
}

#[tokio::test]
async fn all_kinds_of_manifests_are_asked_for_in_their_own_bytes_and_put_as_they_are() {
    let registry = Double::start(|seen| match seen.method.as_str() {
        "PUT" => Reply::new(201).header("docker-content-digest", index().digest().to_string()),
        _ => good(),
    });
    let client = client(&registry.address, None);
    call(&client, &registry.address, Do::Get).await.unwrap();
    call(&client, &registry.address, Do::Put).await.unwrap();
    let [get, put] = registry.seen().try_into().unwrap();
    let accepted: Vec<&str> =
        get.headers.iter().filter(|(name, _)| name == "accept").map(|(_, value)| value.as_str()).collect();
    assert_eq!(accepted, lockgate_ports::registry::MEDIA_TYPES);
    assert_eq!((put.header("content-type"), put.body.as_slice()), (Some(OCI_INDEX), INDEX.as_bytes()));
    assert_eq!(put.target, "/v2/acme/web/manifests/v2");
}
