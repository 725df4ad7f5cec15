//! An agent's client: speaks the protocol over the real binary's standard input and output, without a library for it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::{shape, wait_for};

/// No answer takes longer.
const ANSWER_SECONDS_MAX: u64 = 60;
const NEWEST: &str = "2026-07-28";
const META: &str = "io.modelcontextprotocol";

/// What a client is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of the newest revision; asks its user by answering with what they said.
    New,
    /// Of the newest revision; cannot ask.
    Mute,
    /// Begins with `initialize`, asks by a request of the server's.
    Old,
    /// Begins with `initialize`; cannot ask.
    OldAndMute,
}

pub struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    heard: Receiver<Value>,
    /// Requests and notifications of the server, in order.
    pub aside: VecDeque<Value>,
    kind: Kind,
    sent: u64,
    /// What each tool answers.
    schemas: BTreeMap<String, Value>,
    stderr: tempfile::NamedTempFile,
}

impl Agent {
    /// Starts the server, and has read which tools there are.
    pub fn start(mut command: Command, kind: Kind) -> Agent {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr.reopen().unwrap());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (told, heard) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let line = line.unwrap();
                let message: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
                    panic!("{error}: nothing but the protocol is printed, and this is {line:?}")
                });
                assert!(message["jsonrpc"] == "2.0", "{line}");
                if told.send(message).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        let mut agent = Agent {
            child,
            stdin,
            heard,
            aside: VecDeque::new(),
            kind,
            sent: 0,
            schemas: BTreeMap::new(),
            stderr,
        };
        agent.begin();
        agent
    }

    fn begin(&mut self) {
        if matches!(self.kind, Kind::Old | Kind::OldAndMute) {
            let params = json!({
                "protocolVersion": "2025-06-18", "capabilities": self.capabilities(), "clientInfo": { "name": "tester", "version": "1.0" },
            });
            let answer = self.request("initialize", params);
            assert_eq!(answer["result"]["protocolVersion"], "2025-06-18", "{answer:#}");
            self.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        }
        let tools = self.request("tools/list", json!({}))["result"]["tools"].clone();
        for tool in tools.as_array().unwrap() {
            self.schemas.insert(tool["name"].as_str().unwrap().to_owned(), tool["outputSchema"].clone());
        }
        assert!(!self.schemas.is_empty());
    }

    fn capabilities(&self) -> Value {
        match self.kind {
            Kind::New | Kind::Old => json!({ "elicitation": {} }),
            Kind::Mute | Kind::OldAndMute => json!({}),
        }
    }

    pub fn write(&mut self, message: &Value) {
        self.write_line(&message.to_string());
    }

    pub fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it is open");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Sends a request; returns its id.
    pub fn send(&mut self, method: &str, mut params: Value) -> u64 {
        self.sent += 1;
        if matches!(self.kind, Kind::New | Kind::Mute) {
            let meta = &mut params["_meta"];
            meta[format!("{META}/protocolVersion")] = NEWEST.into();
            meta[format!("{META}/clientInfo")] = json!({ "name": "tester", "version": "1.0" });
            meta[format!("{META}/clientCapabilities")] = self.capabilities();
        }
        self.write(&json!({ "jsonrpc": "2.0", "id": self.sent, "method": method, "params": params }));
        self.sent
    }

    /// The next message.
    #[track_caller]
    pub fn hear(&mut self) -> Value {
        let heard = self.heard.recv_timeout(Duration::from_secs(ANSWER_SECONDS_MAX));
        heard.unwrap_or_else(|error| panic!("no message: {error}\n{}", self.stderr()))
    }

    /// The answer to a request; what else is said comes aside.
    #[track_caller]
    pub fn answer_to(&mut self, id: u64) -> Value {
        loop {
            let message = self.hear();
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
            self.aside.push_back(message);
        }
    }

    #[track_caller]
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer_to(id)
    }

    /// The result of a tool call. An answer of the tool's own is of the shape that the tool declares.
    #[track_caller]
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.call_with(tool, json!({ "arguments": arguments }))
    }

    /// As [`Agent::call`], with more parameters than the arguments.
    #[track_caller]
    pub fn call_with(&mut self, tool: &str, params: Value) -> Value {
        let id = self.begin_call(tool, params);
        let answer = self.answer_to(id);
        self.checked(tool, &answer)
    }

    pub fn begin_call(&mut self, tool: &str, mut params: Value) -> u64 {
        params["name"] = tool.into();
        self.send("tools/call", params)
    }

    /// The result in an answer to a call.
    #[track_caller]
    pub fn checked(&self, tool: &str, answer: &Value) -> Value {
        let result = answer["result"].clone();
        assert!(result.is_object(), "{answer:#}");
        if matches!(self.kind, Kind::New | Kind::Mute) {
            let kind = result["resultType"].as_str().unwrap();
            assert!(["complete", "input_required"].contains(&kind), "{answer:#}");
            if kind == "input_required" {
                return result;
            }
        } else {
            assert!(result.get("resultType").is_none(), "older clients do not know it: {answer:#}");
        }
        let said = &result["structuredContent"];
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(&text, said, "the same as text");
        let wrong = shape::wrong(said, &self.schemas[tool]);
        assert_eq!(wrong, None, "{tool} answers otherwise than it says: {said:#}");
        result
    }

    /// The question that a call is answered with: its text and its state.
    #[track_caller]
    pub fn asked(result: &Value) -> (String, String) {
        assert_eq!(result["resultType"], "input_required", "{result:#}");
        let question = &result["inputRequests"]["confirm"];
        assert_eq!(question["method"], "elicitation/create", "{result:#}");
        let text = question["params"]["message"].as_str().unwrap();
        (text.to_owned(), result["requestState"].as_str().unwrap().to_owned())
    }

    /// Calls again, with what a person has said to the question.
    #[track_caller]
    pub fn call_again(&mut self, tool: &str, arguments: Value, state: &str, said: Value) -> Value {
        let responses = json!({ "confirm": said });
        self.call_with(
            tool,
            json!({ "arguments": arguments, "requestState": state, "inputResponses": responses }),
        )
    }

    /// Calls, is asked, and agrees.
    #[track_caller]
    pub fn call_and_agree(&mut self, tool: &str, arguments: Value) -> Value {
        let (_, state) = Agent::asked(&self.call(tool, arguments.clone()));
        self.call_again(tool, arguments, &state, yes())
    }

    /// Names of all tools.
    pub fn tools(&self) -> Vec<String> {
        self.schemas.keys().cloned().collect()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap()
    }

    /// Goes away: closes the pipe, and waits for the server's end. Returns its exit code.
    #[track_caller]
    pub fn leave(&mut self) -> Option<i32> {
        drop(self.stdin.take());
        self.end()
    }

    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
        let child = &mut self.child;
        wait_for("the server to end", ANSWER_SECONDS_MAX, || child.try_wait().unwrap()).code()
    }
}

/// Agrees to a question.
pub fn yes() -> Value {
    json!({ "action": "accept", "content": { "confirm": true } })
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It has ended already where the test has waited for that.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
