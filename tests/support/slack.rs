//! Stands for Slack's Web API, as far as a bot that writes messages uses it: `auth.test`, `chat.postMessage` and
//! `chat.update`.
//!
//! Made on 2026-11-26 from Slack's documentation: the pages of the three methods below
//! <https://docs.slack.dev/reference/methods/> (arguments, errors, examples of answers), rate limits
//! (<https://docs.slack.dev/apis/web-api/rate-limits>: 429, `Retry-After` in seconds, the word `ratelimited`), how
//! answers and warnings look (<https://docs.slack.dev/apis/web-api>: 200 with `ok: false`, `missing_charset`,
//! `X-OAuth-Scopes`), what is cut (<https://api.slack.com/changelog/2018-04-truncating-really-long-messages>), and what
//! is read as a mention or link (<https://docs.slack.dev/messaging/formatting-message-text>). PyPI's `slack-sdk` talks to it
//! in `tests/embedded/slack.rs`.
//!
//! Absent: blocks, attachments, files, and everything that reads.

// Two test programs share it, and each uses a part.
#![allow(dead_code)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

/// The only token that is taken.
pub const TOKEN: &str = "xoxb-2222222222-double";
/// A channel that the bot is in, by name and by id.
pub const CHANNEL: &str = "#deploys";
pub const CHANNEL_ID: &str = "C0DEPLOYS1";
/// Others, with what is answered for them.
const OTHER_CHANNELS: [(&str, &str); 2] = [("#elsewhere", "not_in_channel"), ("#old", "is_archived")];

/// Nobody who talks to the double is waited for longer.
const TALK_SECONDS_MAX: u64 = 5;
const BODY_BYTES_MAX: u64 = 1024 * 1024;
/// What `chat.update` takes.
const UPDATE_CHARS_MAX: usize = 4_000;
/// What is kept of a message that is posted.
const POST_CHARS_MAX: usize = 40_000;

/// What is answered instead of the truth.
#[derive(Debug, Clone)]
pub enum Bad {
    /// 429 with so many seconds in `Retry-After`.
    RateLimited(u64),
    /// 200 with an error word.
    Word(&'static str),
    /// A status with a body that is no JSON.
    Status(&'static str),
    /// 200 with this body.
    Body(String),
    /// Done, but the connection breaks before the answer.
    Lost,
    /// Nothing, until the double ends.
    Silent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub channel: String,
    pub ts: String,
    pub thread_ts: Option<String>,
    /// A reply that is in the channel, too.
    pub is_broadcast: bool,
    /// As it reads now.
    pub text: String,
    /// What it read before.
    pub earlier: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub arguments: BTreeMap<String, Value>,
    /// What was answered: `ok`, an error word, or what was wrong with the answer.
    pub answered: String,
}

#[derive(Default)]
struct State {
    said: Vec<Said>,
    calls: Vec<Call>,
    bad: BTreeMap<String, VecDeque<Bad>>,
    scopes: Option<String>,
    warnings: Vec<String>,
}

struct Shared {
    state: Mutex<State>,
    stop: AtomicBool,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

pub struct SlackDouble {
    pub address: String,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

impl SlackDouble {
    pub fn start() -> SlackDouble {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = State { scopes: Some("chat:write,chat:write.public".into()), ..State::default() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            stop: AtomicBool::new(false),
            changed: Condvar::new(),
        });
        let serving = shared.clone();
        let server = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), shared) = (stream, serving.clone()) else { continue };
                // A client that leaves early is no news.
                std::thread::spawn(move || drop(talk(&stream, &shared)));
            }
        });
        SlackDouble { address, shared, server: Some(server) }
    }

    /// The Web API's base URL.
    pub fn api(&self) -> String {
        format!("http://{}/api/", self.address)
    }

    /// The next call of the method is answered so; several are taken in turn.
    pub fn next_is(&self, method: &str, bad: Bad) {
        self.shared.state().bad.entry(method.to_owned()).or_default().push_back(bad);
    }

    /// What `X-OAuth-Scopes` says; `None` leaves it out.
    pub fn set_scopes(&self, scopes: Option<&str>) {
        self.shared.state().scopes = scopes.map(ToOwned::to_owned);
    }

    /// The messages, oldest first.
    pub fn said(&self) -> Vec<Said> {
        self.shared.state().said.clone()
    }

    /// Messages of the channel itself: no replies.
    pub fn top(&self) -> Vec<Said> {
        self.said().into_iter().filter(|one| one.thread_ts.is_none()).collect()
    }

    pub fn replies(&self, to: &Said) -> Vec<Said> {
        self.said().into_iter().filter(|one| one.thread_ts.as_ref() == Some(&to.ts)).collect()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    pub fn methods(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.method).collect()
    }

    /// What Slack would have warned of.
    pub fn warnings(&self) -> Vec<String> {
        self.shared.state().warnings.clone()
    }

    /// Somebody deletes the message.
    pub fn delete(&self, ts: &str) {
        self.shared.state().said.retain(|one| one.ts != ts);
    }
}

impl Drop for SlackDouble {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        // Wakes the listener up.
        drop(TcpStream::connect(&self.address));
        if self.server.take().is_some_and(|server| server.join().is_err()) {
            eprintln!("the Slack double panicked");
        }
    }
}

impl Said {
    /// What Slack would make of it beyond text: mentions and links (`<…>`), and addresses outside code that it finds itself.
    pub fn finds(&self) -> Vec<String> {
        found(&self.text)
    }
}

/// Everything between `<` and `>`, also in code, and URLs and e-mail addresses outside code.
pub fn found(text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .split('<')
        .skip(1)
        .filter_map(|rest| rest.split_once('>').map(|(inside, _)| format!("<{inside}>")))
        .collect();
    let blocks_out: String = text.split("```").step_by(2).collect::<Vec<_>>().join(" ");
    let code_out = blocks_out.lines().flat_map(|line| line.split('`').step_by(2));
    let words = code_out.flat_map(str::split_whitespace);
    let is_link = |word: &&str| {
        word.contains("://") || word.split_once('@').is_some_and(|(_, host)| host.contains('.'))
    };
    found.extend(words.filter(is_link).map(ToOwned::to_owned));
    found
}

struct Request {
    method: String,
    content_type: String,
    token: Option<String>,
    arguments: BTreeMap<String, Value>,
}

fn talk(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(TALK_SECONDS_MAX)))?;
    let request = read(stream)?;
    let bad = shared.state().bad.get_mut(&request.method).and_then(VecDeque::pop_front);
    let (head, answered, body) = answer(&request, bad.as_ref(), shared);
    let call = Call { method: request.method, arguments: request.arguments, answered: answered.clone() };
    let mut state = shared.state();
    state.calls.push(call);
    shared.changed.notify_all();
    match bad {
        Some(Bad::Lost) => return Ok(()),
        Some(Bad::Silent) => {
            let going_on = |_: &mut State| !shared.stop.load(Ordering::Relaxed);
            drop(shared.changed.wait_while(state, going_on).unwrap());
            return Ok(());
        }
        _ => drop(state),
    }
    let scopes = shared.state().scopes.clone().map(|scopes| format!("x-oauth-scopes: {scopes}\r\n"));
    let scopes = scopes.unwrap_or_default();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {head}\r\n{scopes}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let mut stream = stream;
    stream.write_all(head.as_bytes())
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let path = first.split(' ').nth(1).unwrap_or_default();
    let method = path.strip_prefix("/api/").unwrap_or(path).split('?').next().unwrap_or_default().to_owned();
    let (mut length, mut content_type, mut token) = (0, String::new(), None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "content-type" => content_type = value.trim().to_ascii_lowercase(),
            "authorization" => token = value.trim().strip_prefix("Bearer ").map(ToOwned::to_owned),
            _ => {}
        }
    }
    let mut body = String::new();
    reader.take(u64::min(length, BODY_BYTES_MAX)).read_to_string(&mut body)?;
    let arguments: BTreeMap<String, Value> = match content_type.starts_with("application/json") {
        true => serde_json::from_str(&body).unwrap_or_default(),
        false => form(&body),
    };
    // In JSON it is taken from the header alone.
    let in_form = arguments.get("token").and_then(Value::as_str).filter(|_| !content_type.contains("json"));
    let token = token.or_else(|| in_form.map(ToOwned::to_owned));
    Ok(Request { method, content_type, token, arguments })
}

/// `application/x-www-form-urlencoded`.
fn form(body: &str) -> BTreeMap<String, Value> {
    let decoded = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let hex: Vec<u8> = rest.by_ref().take(2).collect();
                    u8::from_str_radix(&String::from_utf8_lossy(&hex), 16).unwrap_or(b'?')
                }
                other => other,
            });
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), Value::String(decoded(value)))).collect()
}

/// The status line behind the version with further header lines, what is to be noted, and the body.
fn answer(request: &Request, bad: Option<&Bad>, shared: &Shared) -> (String, String, String) {
    let refused = |word: &str| json!({ "ok": false, "error": word }).to_string();
    let ok = |head: &str| head.to_owned();
    match bad {
        Some(Bad::RateLimited(seconds)) => {
            let head = format!("429 Too Many Requests\r\nretry-after: {seconds}");
            return (head, "ratelimited".into(), refused("ratelimited"));
        }
        Some(Bad::Word(word)) => return (ok("200 OK"), (*word).into(), refused(word)),
        Some(Bad::Status(head)) => return (ok(head), (*head).into(), "<html>trouble</html>".into()),
        Some(Bad::Body(body)) => return (ok("200 OK"), "odd".into(), body.clone()),
        Some(Bad::Silent) => return (ok("200 OK"), "nothing".into(), String::new()),
        Some(Bad::Lost) | None => {}
    }
    match perform(request, &mut shared.state()) {
        Ok(mut body) => {
            body["ok"] = true.into();
            if request.content_type.contains("json") && !request.content_type.contains("charset") {
                body["warning"] = "missing_charset".into();
                shared.state().warnings.push("missing_charset".into());
            }
            (ok("200 OK"), "ok".into(), body.to_string())
        }
        Err(word) => (ok("200 OK"), word.into(), refused(word)),
    }
}

fn perform(request: &Request, state: &mut State) -> Result<Value, &'static str> {
    match request.token.as_deref() {
        None | Some("") => return Err("not_authed"),
        Some(TOKEN) => {}
        Some(_) => return Err("invalid_auth"),
    }
    match request.method.as_str() {
        "auth.test" => Ok(json!({
            "url": "https://acme.slack.com/", "team": "Acme", "user": "lockgate",
            "team_id": "T0ACME", "user_id": "U0LOCKGATE", "bot_id": "B0LOCKGATE",
        })),
        "chat.postMessage" => post(request, state),
        "chat.update" => update(request, state),
        _ => Err("unknown_method"),
    }
}

impl Request {
    fn text(&self, name: &str) -> &str {
        self.arguments.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// As JSON, or as a form has it.
    fn is_set(&self, name: &str) -> bool {
        self.arguments.get(name).is_some_and(|value| *value == true || *value == "true" || *value == "1")
    }
}

fn post(request: &Request, state: &mut State) -> Result<Value, &'static str> {
    let named = request.text("channel");
    let bare = named.trim_start_matches('#');
    if let Some((_, word)) = OTHER_CHANNELS.iter().find(|(name, _)| name.trim_start_matches('#') == bare) {
        return Err(word);
    }
    if named != CHANNEL_ID && bare != CHANNEL.trim_start_matches('#') {
        return Err("channel_not_found");
    }
    let text = request.text("text");
    if text.is_empty() {
        return Err("no_text");
    }
    if text.chars().count() > POST_CHARS_MAX {
        state.warnings.push("message_truncated".into());
    }
    let text: String = text.chars().take(POST_CHARS_MAX).collect();
    let ts = format!("{}.{:06}", 1_790_000_000 + state.said.len(), state.calls.len());
    let thread_ts = Some(request.text("thread_ts")).filter(|ts| !ts.is_empty()).map(ToOwned::to_owned);
    let said = Said {
        channel: CHANNEL_ID.into(),
        ts: ts.clone(),
        thread_ts,
        is_broadcast: request.is_set("reply_broadcast"),
        text: text.clone(),
        earlier: Vec::new(),
    };
    state.said.push(said);
    let message = json!({ "type": "message", "subtype": "bot_message", "text": text, "bot_id": "B0LOCKGATE", "ts": ts });
    Ok(json!({ "channel": CHANNEL_ID, "ts": ts, "message": message }))
}

fn update(request: &Request, state: &mut State) -> Result<Value, &'static str> {
    // Unlike for a new message, a name is not enough.
    if request.text("channel") != CHANNEL_ID {
        return Err("channel_not_found");
    }
    let text = request.text("text");
    if text.is_empty() {
        return Err("no_text");
    }
    if text.chars().count() > UPDATE_CHARS_MAX {
        return Err("msg_too_long");
    }
    let ts = request.text("ts");
    let said = state.said.iter_mut().find(|one| one.ts == ts).ok_or("message_not_found")?;
    let before = std::mem::replace(&mut said.text, text.to_owned());
    said.earlier.push(before);
    let message = json!({ "text": text, "user": "U0LOCKGATE" });
    Ok(json!({ "channel": CHANNEL_ID, "ts": ts, "text": text, "message": message }))
}
