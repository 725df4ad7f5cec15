//! One request and what is heard in its answer.

use std::time::Duration;

use lockgate_model::{ANSWER_BYTES_MAX, DeployAnswer, Failure, FailureKind, TOLD_CHARS_MAX, causes, quoted};
use reqwest::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;
use tokio::time::timeout;

use crate::sse::{Frame, Frames};
use crate::trust::Distrust;

/// Until the head of an answer is there.
const HEAD_SECONDS_MAX: u64 = 60;
/// Between two pieces of a stream: a daemon says every 10 s that it lives.
const SILENT_SECONDS_MAX: u64 = 35;
/// All of a body that is no stream.
const BODY_SECONDS_MAX: u64 = 30;
/// Of a body that no daemon wrote so much is looked at.
const FOREIGN_BYTES_MAX: usize = 2_000;

/// What came.
pub(crate) enum Came {
    /// A daemon's answer: the body, or the last event of a stream.
    Answer { http: u16, answer: Box<DeployAnswer>, retry_after: Option<Duration> },
    /// Something else answered, or it said what no daemon says.
    Foreign { http: u16, location: Option<String>, said: String },
}

/// The exchange came to no answer.
pub(crate) struct Lost {
    /// It may have arrived.
    pub sent: bool,
    /// Another try comes to the same.
    pub is_final: bool,
    /// It may be that TLS was spoken to who speaks none, or the other way round.
    pub is_misunderstood: bool,
    pub failure: Failure,
}

/// Who hears what comes before the answer.
pub(crate) trait Listener {
    /// A daemon has taken the call. `location`: where to look at its run.
    fn begun(&mut self, location: Option<&str>);
    /// The other side lives.
    fn alive(&mut self);
    /// An event that is not the last.
    fn frame(&mut self, frame: Frame);
}

/// The last event of a stream.
#[derive(Deserialize)]
struct EndFrame {
    http: u16,
    /// In seconds.
    #[serde(default)]
    retry_after: Option<u64>,
    #[serde(flatten)]
    answer: DeployAnswer,
}

/// Sends the request, which goes to `place`, and hears its answer.
pub(crate) async fn exchange(
    request: RequestBuilder,
    place: &str,
    listener: &mut (dyn Listener + Send),
) -> Result<Came, Lost> {
    let response = match timeout(Duration::from_secs(HEAD_SECONDS_MAX), request.send()).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => return Err(unsent(place, problem)),
        Err(_) => return Err(silent(place, "does not answer", HEAD_SECONDS_MAX)),
    };
    match header(&response, &CONTENT_TYPE).as_deref().map(media_type) {
        Some("text/event-stream") if response.status().is_success() => {
            listener.begun(header(&response, &LOCATION).as_deref());
            stream(response, place, listener).await
        }
        Some("application/json") => {
            if response.status() == 202 {
                listener.begun(header(&response, &LOCATION).as_deref());
            }
            whole(response, place).await
        }
        _ => Ok(foreign(response).await),
    }
}

async fn stream(
    mut response: Response,
    place: &str,
    listener: &mut (dyn Listener + Send),
) -> Result<Came, Lost> {
    let mut frames = Frames::default();
    loop {
        let piece = match timeout(Duration::from_secs(SILENT_SECONDS_MAX), response.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Err(broken(place, "ended before the run's end was told")),
            Ok(Err(problem)) => return Err(broken(place, &format!("broke: {}", root_cause(&problem)))),
            Err(_) => return Err(silent(place, "says nothing more", SILENT_SECONDS_MAX)),
        };
        listener.alive();
        let whole = frames.take(&piece).map_err(|_| Lost {
            is_final: true,
            ..broken(place, "has an event that is larger than anything that a daemon says")
        })?;
        for frame in whole {
            if frame.name != "end" {
                listener.frame(frame);
                continue;
            }
            return match serde_json::from_str::<EndFrame>(&frame.data) {
                Ok(EndFrame { http, retry_after, answer }) => {
                    let retry_after = retry_after.map(Duration::from_secs).or_else(|| default_wait(&answer));
                    Ok(Came::Answer { http, answer: Box::new(answer), retry_after })
                }
                Err(error) => Err(broken(place, &format!("ends with what no daemon says: {error}"))),
            };
        }
    }
}

async fn whole(response: Response, place: &str) -> Result<Came, Lost> {
    let http = response.status().as_u16();
    let asked = header(&response, &RETRY_AFTER).and_then(|text| seconds(&text));
    let location = header(&response, &LOCATION);
    let reading = read(response, ANSWER_BYTES_MAX);
    let body = match timeout(Duration::from_secs(BODY_SECONDS_MAX), reading).await {
        Ok(Ok(body)) => body,
        Ok(Err(problem)) => return Err(broken(place, &format!("broke: {}", root_cause(&problem)))),
        Err(_) => return Err(silent(place, "does not end its answer", BODY_SECONDS_MAX)),
    };
    Ok(match serde_json::from_slice::<DeployAnswer>(&body) {
        Ok(answer) => {
            let retry_after = asked.or_else(|| default_wait(&answer));
            Came::Answer { http, answer: Box::new(answer), retry_after }
        }
        Err(_) => Came::Foreign { http, location, said: said(&body) },
    })
}

/// What it says is for people alone, so it need not come to its end.
async fn foreign(response: Response) -> Came {
    let (http, location) = (response.status().as_u16(), header(&response, &LOCATION));
    let reading = read(response, FOREIGN_BYTES_MAX);
    let body = timeout(Duration::from_secs(BODY_SECONDS_MAX), reading).await.map(Result::unwrap_or_default);
    Came::Foreign { http, location, said: said(&body.unwrap_or_default()) }
}

/// The first `bytes_max` bytes.
async fn read(mut response: Response, bytes_max: usize) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < bytes_max
        && let Some(piece) = response.chunk().await?
    {
        body.extend_from_slice(&piece[..piece.len().min(bytes_max - body.len())]);
    }
    Ok(body)
}

/// The words of a page: without its tags, on one line.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let (mut words, mut is_tag) = (String::new(), false);
    for character in text.chars() {
        match character {
            '<' => is_tag = true,
            '>' => {
                is_tag = false;
                words.push(' ');
            }
            other if !is_tag => words.push(other),
            _ => {}
        }
    }
    let words: Vec<&str> = words.split_whitespace().collect();
    quoted(&words.join(" "), TOLD_CHARS_MAX)
}

fn header(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// A date is not read: a daemon writes seconds.
fn seconds(retry_after: &str) -> Option<Duration> {
    let text = retry_after.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

/// What the status asks for where no header did.
fn default_wait(answer: &DeployAnswer) -> Option<Duration> {
    DeployAnswer::new(answer.status).retry_after.map(|wait| wait.duration())
}

fn broken(place: &str, what: &str) -> Lost {
    let failure = Failure::new(FailureKind::Unreachable, format!("the answer of {place} {what}"));
    Lost { sent: true, is_final: false, is_misunderstood: false, failure }
}

fn silent(place: &str, what: &str, seconds: u64) -> Lost {
    let failure = Failure::new(FailureKind::TimedOut, format!("{place} {what} within {seconds} s"));
    Lost { sent: true, is_final: false, is_misunderstood: false, failure }
}

fn unsent(place: &str, problem: reqwest::Error) -> Lost {
    let problem = problem.without_url();
    let cause = root_cause(&problem);
    if !problem.is_connect() {
        // Who expects TLS answers plain HTTP with an alert, which is no HTTP, or with nothing.
        return Lost { is_misunderstood: true, ..broken(place, &format!("did not come: {cause}")) };
    }
    let failure =
        |cause: &str| Failure::new(FailureKind::Unreachable, format!("cannot connect to {place}: {cause}"));
    let unsent = |is_final, failure| Lost { sent: false, is_final, is_misunderstood: false, failure };
    let tls = causes(&problem).into_iter().find_map(|cause| cause.downcast_ref::<rustls::Error>());
    if let Some(distrust) = tls.and_then(Distrust::behind) {
        let failure = failure(&distrust.to_string());
        return unsent(true, distrust.hints.iter().fold(failure, |failure, hint| failure.hint(hint)));
    }
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => {
            let hint = "it speaks no TLS: see which port its `serve.listen` with `tls` has";
            Lost { is_misunderstood: true, ..unsent(true, failure(&cause).hint(hint)) }
        }
        _ => {
            let hint = "check its name, that lockgate serve runs, and the way to it";
            Lost { is_misunderstood: is_cut(&problem), ..unsent(false, failure(&cause).hint(hint)) }
        }
    }
}

/// The other side ended the connection, as one may that is greeted with TLS and speaks none.
fn is_cut(problem: &reqwest::Error) -> bool {
    use std::io::ErrorKind as Io;
    let kinds = causes(problem).into_iter().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    kinds.map(std::io::Error::kind).any(|kind| matches!(kind, Io::UnexpectedEof | Io::ConnectionReset))
}

/// The innermost error, which is the one that says something.
fn root_cause(problem: &reqwest::Error) -> String {
    causes(problem).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_page_the_words_are_told() {
        let page =
            b"<html>\r\n<head><title>502 Bad Gateway</title></head>\n<body><hr><center>nginx\x1b[2J</center>";
        assert_eq!(said(page), "502 Bad Gateway nginx\\x1b[2J");
        assert!(said("x".repeat(5_000).as_bytes()).chars().count() <= TOLD_CHARS_MAX + 1);
    }

    #[test]
    fn what_a_daemon_asks_to_wait_is_seconds() {
        assert_eq!(seconds(" 15 "), Some(Duration::from_secs(15)));
        assert_eq!(seconds("99999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for none in ["", "-1", "soon", "Thu, 26 Nov 2026 17:00:07 GMT"] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }
}
