//! A run as server-sent events: what is told of it so far, then what comes, then how it ended.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt, unfold};
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use lockgate_model::{DeployAnswer, Told};
use lockgate_orchestrator::queue::Ticket;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{RUNS_PATH, plain};
use super::origin::Origin;
use super::waiting::still_running;
use crate::shared::AnswerBody;

/// The last event of a stream.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct End {
    /// The status that a caller without a stream would have got.
    pub http: u16,
    /// In seconds: when it is worth trying again. `None`: nothing is won by that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    #[serde(flatten)]
    pub answer: DeployAnswer,
}

impl End {
    pub fn new(answer: DeployAnswer) -> Self {
        let retry_after = answer.retry_after.map(|after| after.0.div_ceil(1000).max(1));
        Self { http: answer.status.http(), retry_after, answer }
    }
}

struct Telling {
    ticket: Ticket,
    told: Pin<Box<dyn Stream<Item = (u64, Told)> + Send>>,
    part: Part,
    until: Instant,
    keep_alive: Duration,
    origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What is told of the run.
    Told,
    /// All is told; its end is waited for.
    End,
    /// The end was said.
    Done,
}

/// Events behind number `after` (`None`: all), for no longer than `limit`; a silence is broken after `keep_alive`.
/// `origin`: where its caller called.
pub fn stream(
    ticket: Ticket,
    after: Option<u64>,
    limit: Duration,
    keep_alive: Duration,
    origin: Origin,
) -> Response<AnswerBody> {
    let run = ticket.run;
    let told = Box::pin(ticket.told(after));
    let until = Instant::now() + limit;
    let telling = Telling { ticket, told, part: Part::Told, until, keep_alive, origin };
    let frames = unfold(telling, |telling| telling.next()).map(|text| Ok::<_, Infallible>(Frame::data(text)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(place) = HeaderValue::try_from(format!("{RUNS_PATH}{run}")) {
        headers.insert(LOCATION, place);
    }
    response
}

impl Telling {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let text = match self.part {
            Part::Told => tokio::select! {
                biased;
                one = self.told.next() => match one {
                    Some((number, told)) => told_event(number, &told),
                    None => {
                        self.part = Part::End;
                        // The comment costs nothing, and the end is waited for in one place.
                        String::from(":\n\n")
                    }
                },
                () = sleep_until(self.until) => self.end(None),
                () = sleep(self.keep_alive) => String::from(":\n\n"),
            },
            Part::End => {
                let answered = tokio::select! {
                    biased;
                    answer = self.ticket.answer() => Some(Some(answer)),
                    () = sleep_until(self.until) => Some(None),
                    () = sleep(self.keep_alive) => None,
                };
                match answered {
                    Some(answer) => self.end(answer),
                    None => String::from(":\n\n"),
                }
            }
            Part::Done => return None,
        };
        Some((Bytes::from(text), self))
    }

    /// `None`: it goes on, and its caller has waited as long as they may.
    fn end(&mut self, answer: Option<DeployAnswer>) -> String {
        self.part = Part::Done;
        let answer = self.origin.typed(answer.unwrap_or_else(|| still_running(self.ticket.run)));
        format!("event: end\ndata: {}\n\n", plain(&End::new(answer)))
    }
}

/// JSON has no line ends in it, so one `data:` line holds it.
fn told_event(number: u64, told: &Told) -> String {
    format!("id: {number}\nevent: told\ndata: {}\n\n", plain(told))
}
