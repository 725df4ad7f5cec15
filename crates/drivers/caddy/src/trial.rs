//! A slot asked through Caddy, by the ghost route, before any user is sent there.

use lockgate_ports::{PortError, Request, Tried, Upstream};

use crate::caddy::Caddy;
use crate::ghost::Asking;

/// Never an error where only the question could not be put: that says nothing about the slot.
///
/// # Errors
/// As reading the route.
pub(crate) async fn try_out(caddy: &Caddy, to: &Upstream, request: &Request) -> Result<Tried, PortError> {
    let live = caddy.look().await?;
    let dial = caddy.dial_for(to);
    let known = caddy.known(&live, Some((to.slot, &dial)), &live.members.at(&dial));
    let put = caddy.ghost.ensure(&caddy.admin, &live.config, live.members.first(), &known).await;
    if let Err(error) = put {
        return Ok(Tried::NotAsked(format!("Caddy did not take the route for it: {error}")));
    }
    let config = caddy.config().await?;
    let Some(asking) = caddy.ghost.asking(&config, to.slot) else {
        return Ok(Tried::NotAsked("the route for it is not there".to_owned()));
    };
    let path = match caddy.data_path(&request.target).await {
        Ok(path) => path,
        Err(error) => return Ok(Tried::NotAsked(error.to_string())),
    };
    match caddy.ask_at(&path.without_prefix(), asking.of(request.clone())).await {
        Ok(answer) if Asking::is_answered(&answer) => {
            Ok(Tried::Answered { dial, status: Some(answer.status) })
        }
        // Caddy's own word for an upstream that it cannot reach (RFC 9110, 15.6.3 and 15.6.5).
        Ok(answer) if matches!(answer.status, 502 | 504) => {
            Ok(Tried::NotReached { dial, why: format!("it answers {} in its place", answer.status) })
        }
        Ok(answer) => Ok(Tried::NotAsked(format!(
            "something before Caddy's routes answered {} in its place",
            answer.status
        ))),
        Err(error) => Ok(Tried::NotAsked(error.to_string())),
    }
}
