//! Who answers at a place where a daemon listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lockgate_model::{Failure, FailureKind, ListenAt, causes};
use reqwest::{Client, Response};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use crate::trust;

/// Connecting and answering.
const LOOK_SECONDS_MAX: u64 = 3;
/// A daemon's answer is some fifty.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
const INSTANCE_HEADER: &str = "x-lockgate-instance";
const INSTANCE_CHARS_MAX: usize = 64;

/// Who answers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A daemon. `instance`: which one, as it says; `None` of an older version, which does not say so.
    Daemon {
        /// See [`Found::Daemon`].
        instance: Option<String>,
    },
    /// Who shows another certificate than the one that was to be there.
    Stranger,
    /// Something else: what it does, as a part of a sentence.
    Other(String),
    /// Nobody: the connection was refused, or there is no such socket.
    Nobody,
}

#[derive(Deserialize)]
struct Health {
    alive: bool,
}

/// Asks who is at a place of this machine: `/healthz`, without anything that is signed. `certificate`: the one that is
/// to be shown there (DER); `None`: plain HTTP. Under whatever name, for it is asked by its address.
///
/// # Errors
/// It cannot be asked, because the place has no port of its own.
pub async fn who_is_at(at: &ListenAt, certificate: Option<&[u8]>) -> Result<Found, Failure> {
    let certificate = certificate.map(|der| CertificateDer::from(der.to_vec()));
    let limit = Duration::from_secs(LOOK_SECONDS_MAX);
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(limit);
    let (builder, url) = match at {
        ListenAt::Unix(path) => (builder.unix_socket(path.as_path()), "http://localhost/healthz".to_owned()),
        ListenAt::Tcp(at) if at.port() == 0 => {
            return Err(Failure::new(FailureKind::Refused, "port 0 is another one at each start"));
        }
        ListenAt::Tcp(at) => {
            let scheme = if certificate.is_some() { "https" } else { "http" };
            (builder, format!("{scheme}://{}/healthz", reached(*at)))
        }
    };
    let builder = builder.tls_backend_preconfigured(trust::tls_with(certificate)?);
    let http = builder.build().map_err(|problem| {
        Failure::new(FailureKind::Other, format!("no HTTP client can be made: {problem}"))
    })?;
    Ok(match http.get(url).send().await {
        Ok(response) => found(response).await,
        Err(problem) => refused(&problem),
    })
}

/// What listens at all addresses is reached at this machine's own.
fn reached(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

async fn found(mut response: Response) -> Found {
    let status = response.status().as_u16();
    let instance = response.headers().get(INSTANCE_HEADER).and_then(|value| value.to_str().ok());
    let instance = instance.filter(|text| text.len() <= INSTANCE_CHARS_MAX).map(str::to_owned);
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    match serde_json::from_slice::<Health>(&body) {
        Ok(Health { alive: true }) if status == 200 => Found::Daemon { instance },
        _ => Found::Other(format!("answers {status}, and not as lockgate serve does")),
    }
}

fn refused(problem: &reqwest::Error) -> Found {
    use std::io::ErrorKind as Io;
    let all = causes(problem);
    let mut kinds = all.iter().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    if kinds.any(|error| matches!(error.kind(), Io::ConnectionRefused | Io::NotFound)) {
        return Found::Nobody;
    }
    match all.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Found::Stranger,
        Some(rustls::Error::InvalidMessage(_)) => Found::Other("speaks no TLS".to_owned()),
        _ if problem.is_timeout() => Found::Other(format!("does not answer within {LOOK_SECONDS_MAX} s")),
        _ => {
            let cause = all.last().map(ToString::to_string).unwrap_or_default();
            Found::Other(format!("gives no answer: {cause}"))
        }
    }
}
