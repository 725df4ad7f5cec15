//! A slot asked by the proxy's own process, before any user is sent there.

use lockgate_model::FailureKind;
use lockgate_ports::{PortError, Request, Tried, Upstream};
use lockgate_proxy::{ASK_HEADER, ErrorKind, TryRequest, TryView};

use crate::admin::{self, Admin};

/// `request` is as a user's would be.
///
/// # Errors
/// What reading the proxy's answer comes to; a proxy that does not run has nobody's traffic, so that is none.
pub(crate) async fn try_out(admin: &Admin<'_>, request: &Request, to: &Upstream) -> Result<Tried, PortError> {
    let dial = to.endpoint.to_string();
    let headers = request.headers.iter().filter(|(name, _)| name != ASK_HEADER).cloned().collect();
    let wanted = TryRequest { dial: dial.clone(), target: request.target.clone(), headers };
    let body = serde_json::to_vec(&wanted).map_err(|error| PortError::other(error.to_string()))?;
    match admin.call::<TryView>(&admin::send("POST", "/v1/try", body)).await {
        Ok(Ok(TryView { reached: true, status, .. })) => Ok(Tried::Answered { dial, status }),
        Ok(Ok(TryView { why, .. })) => Ok(Tried::NotReached { dial, why: why.unwrap_or_default() }),
        Ok(Err((_, refused))) if refused.kind == ErrorKind::NotFound => {
            Ok(Tried::NotAsked("the proxy is older than this Lockgate".to_owned()))
        }
        Ok(Err((error, _))) => Ok(Tried::NotAsked(error.to_string())),
        Err(error) if error.kind == FailureKind::Unreachable => {
            Ok(Tried::NotAsked("no proxy runs yet".to_owned()))
        }
        Err(error) => Err(error),
    }
}
