//! Whether TLS was spoken to who speaks none, or plain HTTP to who wants TLS.

use std::time::Duration;

use lockgate_model::{Failure, FailureKind, causes};
use reqwest::Client;

use crate::Address;

const LOOK_SECONDS_MAX: u64 = 5;

/// What to say where the other way to speak HTTP is spoken at this address. Nothing that is signed is sent.
pub(crate) async fn wrong(http: &Client, address: &Address) -> Option<Failure> {
    let other = address.otherwise()?;
    let mut url = other.url().clone();
    url.set_path("/healthz");
    let limit = Duration::from_secs(LOOK_SECONDS_MAX);
    let looked = http.head(url).timeout(limit).send().await;
    let is_spoken = match &looked {
        Ok(_) => true,
        // A certificate that is not believed is one.
        Err(problem) if address.is_plain() => causes(problem)
            .into_iter()
            .filter_map(|cause| cause.downcast_ref::<rustls::Error>())
            .any(|error| !matches!(error, rustls::Error::InvalidMessage(_))),
        Err(_) => false,
    };
    is_spoken.then(|| said(address, &other))
}

fn said(address: &Address, other: &Address) -> Failure {
    if address.is_plain() {
        let message = format!("{address} is called by plain HTTP, and speaks TLS");
        return Failure::new(FailureKind::Refused, message).hint(format!("type {other}"));
    }
    let failure = Failure::new(
        FailureKind::Refused,
        format!("{address} is called by TLS, and speaks plain HTTP, without a certificate"),
    );
    match other.is_here() {
        true => failure.hint(format!("type {other}")),
        false => failure
            .hint("give that daemon a certificate: `serve: { tls: { cert: …, key: … } }`")
            .hint(format!("where the way there is safe, such as a tunnel, type {other} and --plain-http")),
    }
}
