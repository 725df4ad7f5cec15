//! A bot of Slack's: one message for each run.

use async_trait::async_trait;
use lockgate_model::{FailureKind, Secret};
use lockgate_ports::{Check, Message, MessageKind, Notifier, PortError, Posted};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::text::Texts;
use super::words::{Meaning, Remedy, meaning, word};
use crate::post::{Answer, Parcel, Post, SEND_SECONDS_MAX, Verdict};

/// Of an answer, which repeats the message, so much is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Longest id of a channel and longest time stamp of a message.
const ID_CHARS_MAX: usize = 32;
/// Longest name of a workspace or user that is shown.
const NAME_CHARS_MAX: usize = 80;
/// What the token must be allowed to do.
const SCOPE: &str = "chat:write";
const WHO: &str = "Slack";

/// A bot in a workspace, and the channel that it writes to: `chat.postMessage` for a run's start, `chat.update` for its
/// end, and why it failed in the thread below. Whoever has to look at once (`critical`, `unknown`) is told in the channel,
/// too, for nobody is called to a message that was changed.
#[derive(Debug)]
pub struct SlackBot {
    token: Secret,
    channel: String,
    api: String,
    post: Post,
}

impl SlackBot {
    /// `channel` is a name (`#deploys`) or an id. `api` is the Web API's base URL with a slash at its end,
    /// `https://slack.com/api/`; the token goes there, so it is a URL that is encrypted or stays on this machine.
    #[must_use]
    pub fn new(token: Secret, channel: String, api: String) -> Self {
        Self { token, channel, api, post: Post::default() }
    }

    async fn tell(&self, message: &Message, earlier: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        let Texts { head, details } = Texts::of(message);
        let changed = match earlier.and_then(Place::read) {
            Some(place) => self.change(&place, &head).await?,
            None => None,
        };
        let is_new = changed.is_none();
        let place = match changed {
            Some(place) => Some(place),
            None => self.say(&head, None, false).await?,
        };
        if let Some(details) = details {
            let loud = !is_new && matches!(message.kind, MessageKind::Critical | MessageKind::Unknown);
            let said = self.say(&details, place.as_ref(), loud).await;
            said.map_err(|error| error.context("it was told how the run ended, but not why"))?;
        }
        Ok(place.map(|place| place.write()))
    }

    /// `None` where the message is gone or may not be changed any more.
    async fn change(&self, place: &Place, text: &str) -> Result<Option<Place>, PortError> {
        let mut body = plain(text);
        body["channel"] = place.channel.clone().into();
        body["ts"] = place.ts.clone().into();
        // Told twice it says the same.
        match self.call("chat.update", &body, true).await? {
            Reply::Done(_) => Ok(Some(place.clone())),
            Reply::Gone(_) => Ok(None),
        }
    }

    /// A new message: in the channel, or below another one and with `loud` in the channel, too. Where it is, if Slack says.
    async fn say(&self, text: &str, below: Option<&Place>, loud: bool) -> Result<Option<Place>, PortError> {
        let mut body = plain(text);
        body["channel"] = self.channel.clone().into();
        body["unfurl_links"] = false.into();
        body["unfurl_media"] = false.into();
        if let Some(place) = below {
            body["channel"] = place.channel.clone().into();
            body["thread_ts"] = place.ts.clone().into();
            body["reply_broadcast"] = loud.into();
        }
        match self.call("chat.postMessage", &body, false).await? {
            Reply::Done(answer) => Ok(Place::of(&answer)),
            Reply::Gone(error) => Err(error),
        }
    }

    async fn call(&self, method: &str, body: &Value, repeatable: bool) -> Result<Reply, PortError> {
        let url = Url::parse(&self.api).and_then(|base| base.join(method)).map_err(|_| {
            PortError::other("`api` of Slack is not a URL")
                .hint("it is https://slack.com/api/ where none is named")
        })?;
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.reveal())).map_err(|_| {
            PortError::other("the Slack token cannot be sent").hint("write the token alone: xoxb-…")
        })?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        // Slack warns of JSON that does not name it.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        let parcel = Parcel {
            who: WHO,
            url,
            headers,
            json: body.to_string().into_bytes(),
            repeatable,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        self.post.deliver(parcel, judge).await
    }
}

#[async_trait]
impl Notifier for SlackBot {
    fn name(&self) -> String {
        format!("slack {}", self.channel)
    }

    async fn send(&self, message: &Message, earlier: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        let bound = std::time::Duration::from_secs(SEND_SECONDS_MAX);
        tokio::time::timeout(bound, self.tell(message, earlier)).await.unwrap_or_else(|_| {
            Err(PortError::timed_out(format!("{WHO} does not take the message within {SEND_SECONDS_MAX} s")))
        })
    }

    async fn check(&self) -> Check {
        // Somebody waits for the answer, so one that hangs is not asked again.
        match self.call("auth.test", &json!({}), false).await {
            Ok(Reply::Done(answer)) => self.known(&answer),
            Ok(Reply::Gone(error)) | Err(error) => {
                let seen = error.message.clone();
                let mend =
                    error.hints().joined().unwrap_or_else(|| "see https://slack-status.com".to_owned());
                match error.kind {
                    FailureKind::Unreachable | FailureKind::TimedOut => Check::warn(self.name(), seen, mend),
                    _ => Check::bad(self.name(), seen, mend),
                }
            }
        }
    }
}

impl SlackBot {
    /// What is known of a token that Slack takes. Whether the bot is in the channel is not: that needs a scope of its own.
    fn known(&self, answer: &Value) -> Check {
        let name = |key: &str| {
            let text = answer[key].as_str().unwrap_or("?");
            text.chars().take(NAME_CHARS_MAX).collect::<String>()
        };
        let seen = format!("the token is {:?}'s in the workspace {:?}", name("user"), name("team"));
        let scopes = answer[SCOPES_KEY].as_str();
        if scopes.is_some_and(|scopes| !scopes.split(',').any(|scope| scope.trim() == SCOPE)) {
            return Check::bad(
                self.name(),
                format!("{seen}, but it has not the scope {SCOPE}"),
                meaning("missing_scope").hint,
            );
        }
        let channel = &self.channel;
        Check::ok(
            self.name(),
            format!("{seen}; whether it may write to {channel} shows with the first message"),
        )
    }
}

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The channel's id, which `chat.update` wants.
    channel: String,
    ts: String,
}

impl Place {
    fn of(answer: &Value) -> Option<Place> {
        Place::new(answer["channel"].as_str()?, answer["ts"].as_str()?)
    }

    /// Slack's ids are capital letters and digits, its time stamps two numbers with a point between them.
    fn new(channel: &str, ts: &str) -> Option<Place> {
        let fits = |text: &str, allowed: fn(&u8) -> bool| {
            (1..=ID_CHARS_MAX).contains(&text.len()) && text.as_bytes().iter().all(allowed)
        };
        let is_place = fits(channel, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            && fits(ts, |byte| byte.is_ascii_digit() || *byte == b'.');
        is_place.then(|| Place { channel: channel.to_owned(), ts: ts.to_owned() })
    }

    fn write(&self) -> Posted {
        Posted::new(format!("{} {}", self.channel, self.ts))
    }

    fn read(posted: &Posted) -> Option<Place> {
        let (channel, ts) = posted.as_str().split_once(' ')?;
        Place::new(channel, ts)
    }
}

/// What Slack did.
#[derive(Debug, PartialEq)]
enum Reply {
    /// With its answer, and under [`SCOPES_KEY`] what the token may do, where it says so.
    Done(Value),
    /// The message is gone, or may not be changed any more.
    Gone(PortError),
}

/// No key of Slack's has a colon.
const SCOPES_KEY: &str = "header:x-oauth-scopes";

/// Formatted as written, with no names and links found in it; what is changed would be read otherwise than what is posted.
fn plain(text: &str) -> Value {
    json!({ "text": text, "parse": "none", "link_names": false })
}

/// Slack says 200 also to what it refuses; the answer's `ok` and `error` decide. With 429 `Retry-After` says when to try
/// again.
fn judge(answer: &Answer) -> Verdict<Reply> {
    let status = answer.status;
    let parsed: Option<Value> = serde_json::from_str(&answer.body).ok();
    let error = parsed.as_ref().and_then(|body| body["error"].as_str()).unwrap_or_default().to_owned();
    let said = word(&error);
    let told = match said {
        Some(word) => format!("{WHO} answers {word}"),
        None => format!("{WHO} answers {status}"),
    };
    if status == 429 {
        return Verdict::too_many(&told, answer.retry_after);
    }
    if (500..=599).contains(&status) {
        let error = PortError::unreachable(told);
        return Verdict::Unsure(error.hint("Slack has trouble: see https://slack-status.com"));
    }
    match parsed {
        Some(mut body) if status == 200 && body["ok"] == true => {
            if let Some(scopes) = &answer.scopes {
                body[SCOPES_KEY] = scopes.clone().into();
            }
            Verdict::Delivered(Reply::Done(body))
        }
        Some(body) if body["ok"] == false => refused(said, told, answer),
        _ => Verdict::Refused(
            PortError::other(format!("answered {status}, but not as Slack does"))
                .hint("check `api` (SLACK_API_URL): is that Slack's Web API?"),
        ),
    }
}

fn refused(said: Option<&str>, told: String, answer: &Answer) -> Verdict<Reply> {
    let Meaning { kind, hint, remedy } = meaning(said.unwrap_or_default());
    let error = PortError::new(kind, told.clone()).hint(hint);
    match remedy {
        Remedy::Wait => Verdict::too_many(&told, answer.retry_after),
        Remedy::Unsure => Verdict::Unsure(error),
        Remedy::Gone => Verdict::Delivered(Reply::Gone(error)),
        Remedy::Mend => Verdict::Refused(error),
    }
}

#[cfg(test)]
mod tests;
