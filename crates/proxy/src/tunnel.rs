//! Upgraded connections (WebSockets): bytes both ways until one side closes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::access_log::Record;
use crate::body::ResponseBody;
use crate::forward::answer_ask;
use crate::headers;
use crate::router::Claim;
use crate::shared::Shared;

/// How long both sides may take to become byte streams after the slot's 101.
const HANDSHAKE_SECONDS_MAX: u64 = 10;

/// Passes the slot's 101 on, and joins the two connections once both have switched. The slot counts the tunnel as
/// `upgraded` until it ends.
pub(crate) fn open(
    shared: &Arc<Shared>,
    claim: Claim,
    mut record: Record,
    client_side: OnUpgrade,
    mut response: Response<Incoming>,
    asked: bool,
) -> Response<ResponseBody> {
    let slot_side = hyper::upgrade::on(&mut response);
    let claim = claim.upgrade();
    let (mut head, _) = response.into_parts();
    headers::prepare_response(&mut head.headers, true);
    if asked {
        answer_ask(&mut head.headers, &claim);
    }
    record.status = head.status.as_u16();
    let abort = shared.abort.clone();
    shared.tasks.spawn(async move {
        let copied = tokio::select! {
            copied = join(client_side, slot_side) => copied,
            () = abort.cancelled() => Err("the proxy stopped".to_owned()),
        };
        match copied {
            Ok(bytes) => record.bytes = bytes,
            Err(reason) => tracing::debug!(route = claim.live.route, reason, "an upgraded connection ended"),
        }
        record.finish();
    });
    Response::from_parts(head, ResponseBody::own(Bytes::new()))
}

/// Answers with the number of bytes sent to the client.
async fn join(client_side: OnUpgrade, slot_side: OnUpgrade) -> Result<u64, String> {
    let both = async { tokio::try_join!(client_side, slot_side) };
    let limit = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
    let upgraded =
        tokio::time::timeout(limit, both).await.map_err(|_| "the upgrade took too long".to_owned())?;
    let (client, slot) = upgraded.map_err(|error| error.to_string())?;
    let copied = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(slot)).await;
    copied.map(|(_, to_client)| to_client).map_err(|error| error.to_string())
}
