//! How a caller is answered: when, and in which form.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use lockgate_model::{DeployAnswer, DeployStatus, FailureKind, RunId};
use lockgate_orchestrator::queue::Ticket;

use super::github::EVENT_HEADER;
use super::refused::{Refused, shown};

const PREFER: &str = "prefer";
const LAST_EVENT_ID: &str = "last-event-id";

/// What a caller wants to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The run's end.
    End,
    /// Nothing: its being kept is enough. `preferred` because the caller said so; GitHub waits for ten seconds only.
    Kept { preferred: bool },
    /// All that is told of the run, as server-sent events.
    Events,
}

impl Manner {
    pub fn of_call(headers: &HeaderMap) -> Self {
        let preferred = listed(headers, PREFER).any(|one| one == "respond-async");
        if preferred || headers.contains_key(EVENT_HEADER) {
            return Manner::Kept { preferred };
        }
        match takes_events(headers) {
            true => Manner::Events,
            false => Manner::End,
        }
    }
}

/// Whether server-sent events are asked for by name: whoever takes anything gets JSON.
pub fn takes_events(headers: &HeaderMap) -> bool {
    listed(headers, ACCEPT.as_str()).any(|one| one == "text/event-stream")
}

/// The number of the event that was heard last; `None` for whoever has heard none.
///
/// # Errors
/// [`Refused`] for what is no number of an event.
pub fn last_heard(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let refused = || {
        let message = format!("Last-Event-ID is {}, which no event is numbered", shown(&text));
        Refused::bad(message, "send the `id` of the last event that you have, or none")
    };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Some).ok_or_else(refused)
}

/// What a run comes to, or that it takes longer.
pub async fn wait(ticket: &Ticket, limit: Duration) -> DeployAnswer {
    tokio::time::timeout(limit, ticket.answer()).await.unwrap_or_else(|_| still_running(ticket.run))
}

/// It takes longer than its caller is kept waiting.
pub fn still_running(run: RunId) -> DeployAnswer {
    let message = "it takes longer than this endpoint keeps a caller waiting, and goes on";
    DeployAnswer::refused(DeployStatus::StillRunning, FailureKind::TimedOut, message)
        .hint(format!("ask later what it came to: `GET /runs/{run}`"))
        .of_run(run)
}

/// The parts of a header's lists, in lower case, without what follows their `;`; those with the weight zero are left out.
fn listed<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).filter_map(|part| {
        let mut parts = part.split(';').map(str::trim);
        let first = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_refused = parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        (!is_refused && !first.is_empty()).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            let name = HeaderName::try_from(*name).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn who_waits_for_what() {
        let end = Manner::End;
        let preferred = Manner::Kept { preferred: true };
        let table: &[(&[(&str, &str)], Manner)] = &[
            (&[], end),
            (&[("accept", "*/*")], end),
            (&[("accept", "application/json, text/event-stream;q=0")], end),
            (&[("accept", "application/json;q=0.5, Text/Event-Stream")], Manner::Events),
            (&[("prefer", "respond-async")], preferred),
            (&[("prefer", "wait=10"), ("prefer", "return=minimal, Respond-Async; x=1")], preferred),
            (&[("prefer", "respond-asynchronously")], end),
            (&[("prefer", "respond-async"), ("accept", "text/event-stream")], preferred),
            (&[("x-github-event", "push")], Manner::Kept { preferred: false }),
            (
                &[("x-github-event", "push"), ("accept", "text/event-stream")],
                Manner::Kept { preferred: false },
            ),
        ];
        for (list, manner) in table {
            assert_eq!(Manner::of_call(&headers(list)), *manner, "{list:?}");
        }
    }

    #[test]
    fn the_last_event_that_was_heard_is_a_number() {
        assert_eq!(last_heard(&headers(&[])), Ok(None));
        assert_eq!(last_heard(&headers(&[("last-event-id", "17")])), Ok(Some(17)));
        for odd in ["", "-1", "+1", "1.5", "x", "99999999999999999999", "\u{1}"] {
            let list = [("last-event-id", odd)];
            if HeaderValue::from_str(odd).is_ok() {
                assert!(last_heard(&headers(&list)).is_err(), "{odd:?}");
            }
        }
    }
}
