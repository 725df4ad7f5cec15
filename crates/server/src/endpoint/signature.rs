//! Whether a request is signed with a secret of its endpoint.

use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use lockgate_model::Endpoint;
use lockgate_signature::{
    BadSecret, GITHUB_HEADER, Header, Headers, ID_HEADER, SIGNATURE_HEADER, Signed, SigningSecrets,
    TIMESTAMP_HEADER, Unsigned,
};

/// The secrets of an endpoint, ready for use.
///
/// # Errors
/// [`BadSecret`] where one protects nothing, or there is none.
pub fn secrets(endpoint: &Endpoint) -> Result<SigningSecrets, BadSecret> {
    SigningSecrets::new(endpoint.secrets.iter().map(|secret| secret.reveal()))
}

/// GitHub's older header, which it sends beside the other one.
const SHA1_HEADER: &str = "x-hub-signature";
/// Bodies beyond this are summed up off the threads that serve: eight sums over the largest take tens of milliseconds.
const SUMMED_HERE_BYTES_MAX: usize = 64 * 1024;

/// What the signature says, of the very bytes of the body. It takes the same time whatever is wrong.
///
/// # Errors
/// [`Unsigned`] says what is wrong, to the log and the audit and not to the caller.
pub async fn verify(
    secrets: &Arc<SigningSecrets>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Signed, Unsigned> {
    if body.len() <= SUMMED_HERE_BYTES_MAX {
        return sums(secrets, headers, body);
    }
    let (secrets, headers, body) = (Arc::clone(secrets), headers.clone(), body.clone());
    let summed = tokio::task::spawn_blocking(move || sums(&secrets, &headers, &body)).await;
    // The sums end only with the program: nothing is signed then.
    summed.unwrap_or(Err(Unsigned::Missing))
}

fn sums(secrets: &SigningSecrets, headers: &HeaderMap, body: &[u8]) -> Result<Signed, Unsigned> {
    let header = |name| Header::of(headers.get_all(name).iter().map(HeaderValue::as_bytes));
    let given = Headers {
        github: header(GITHUB_HEADER),
        id: header(ID_HEADER),
        timestamp: header(TIMESTAMP_HEADER),
        signature: header(SIGNATURE_HEADER),
    };
    secrets.verify(&given, body).map_err(|why| match why {
        Unsigned::Missing if headers.contains_key(SHA1_HEADER) => Unsigned::Sha1,
        why => why,
    })
}
