//! Keys that are not ours: what the writer probably meant.

/// Keys that the design promises and this version does not have, and what they come with.
const LATER: &[(&[&str], &str)] = &[
    (&["server", "roles"], "it comes with a later version"),
    (
        &["approval", "approve", "datadog", "scan", "trivy", "signature", "window", "freeze"],
        "it comes with the promotion gates",
    ),
    (&["gitops", "canary"], "the strategies of this version are `blue-green` and `recreate`"),
    (&["github", "argocd", "forge", "repo"], "it comes with promotion through registries and repositories"),
    (&["tls", "acme"], "terminate TLS in front of Lockgate, or use the `caddy` router"),
];

/// Names from elsewhere, and what to write here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("store", "write `state: …`"),
    (
        "secrets",
        "they belong to an endpoint: `serve: { endpoints: { /deploy: { environment: prod, secrets: [\"${WEBHOOK_SECRET}\"] } } }`",
    ),
    ("secret", "write `secrets: [\"${WEBHOOK_SECRET}\"]`"),
    ("queue", "it has no keys: of each service one deployment runs and the newest waits"),
    ("trigger", "write `serve: …` where calls are taken; `lockgate trigger URL` makes one and needs no key"),
    ("test_url", "write `urls: { test: … }`"),
    ("prod_url", "write `urls: { prod: … }`"),
    ("health_endpoint", "write `health: …`"),
    ("healthcheck", "write `health: …`"),
    ("health_check", "write `health: …`"),
    ("ports", "write `port: …`, the one inside the container"),
    ("environment", "write `env: { NAME: value }`"),
    ("env_file", "write `env: { NAME: \"${NAME}\" }`"),
    ("tag", "the tag is what you deploy: `lockgate deploy <service> <tag>`"),
    ("build", "it belongs to a service, beside its `image: …`"),
    ("ship", "a service has `watch`, `test` and `build`; `lockgate ship` needs no key of its own"),
    ("monitored", "write `watch: [\"src/**\"]`"),
    ("registry", "the registry is the first part of `image: …`; its login goes into `registries: …`"),
    ("smoke", "write `after: [ { http: {} } ]`"),
    ("regression", "write `before: [ { http: { in: … } } ]`"),
];

/// What a key that is designed but not built comes with.
pub fn later(key: &str) -> Option<&'static str> {
    LATER.iter().find(|(keys, _)| keys.contains(&key)).map(|(_, hint)| *hint)
}

/// A hint for a key that is not known.
pub fn unknown(key: &str, known: &[&str]) -> String {
    if let Some((_, hint)) = ELSEWHERE.iter().find(|(word, _)| *word == key) {
        return (*hint).to_owned();
    }
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// The known word that `word` is probably a misspelling of.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong; of very short words one.
    let far = (word.chars().count() / 3).max(1);
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
