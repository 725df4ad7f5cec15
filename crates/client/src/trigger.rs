//! From the first call to the run's end: when to come back, and how.

use std::sync::Arc;
use std::time::Duration;

use lockgate_model::{
    DeployStatus, Failure, FailureKind, Millis, RunId, TOLD_CHARS_MAX, Timestamp, Told, quoted,
};
use lockgate_signature::{
    GITHUB_HEADER, ID_HEADER, Message, SIGNATURE_HEADER, SigningSecret, TIMESTAMP_HEADER,
};
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::time::{Instant, sleep};

use crate::exchange::{Came, Listener, Lost, exchange};
use crate::sse::Frame;
use crate::{Address, Asked, Delivery, End, NoAnswer, scheme, trust};

const CONNECT_SECONDS_MAX: u64 = 10;
/// Tries behind one another in which nothing is heard.
const LOST_MAX: u32 = 8;
/// Tries in which a stream came to nothing, before the run is looked at again and again instead: something on the way may hold
/// streams back.
const LOST_STREAMS_MAX: u32 = 2;
/// Pause before the second try; twice as long before each further one.
const PAUSE_MILLIS: u64 = 250;
const PAUSE_SECONDS_MAX: u64 = 8;
/// Between two looks at a run, where no stream comes through.
const POLL_SECONDS: u64 = 2;
/// A daemon takes a call that it does not know within five minutes of its being made: a younger one can be sent again.
const FRESH_SECONDS_MAX: u64 = 240;

/// The time, which is signed.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a daemon is asked.
pub struct Options {
    /// Where.
    pub address: Address,
    /// What both ends know.
    pub secret: SigningSecret,
    /// Certificates (PEM) that are trusted beside the system's authorities: of further ones, or the daemon's very own.
    pub roots: Option<Vec<u8>>,
    /// For everything. What was begun goes on behind it.
    pub limit: Millis,
    /// How long the same is asked for again where the answer may be another one later: somebody else deploys, a gate says not
    /// yet, too many calls, the daemon stops. `None`: not at all.
    pub wait: Option<Millis>,
    /// The caller's clock.
    pub clock: Clock,
}

/// What is heard on the way.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The daemon has taken the call. `None`: it did not say what it calls the run.
    Accepted(Option<RunId>),
    /// What the run says, each thing once.
    Told(Box<Told>),
    /// For people: what goes on between the two ends.
    Note(String),
}

/// The other end of the wire.
pub struct Client {
    http: reqwest::Client,
    options: Options,
}

/// What is known of a call that is under way.
struct Following<'a> {
    delivery: Delivery,
    told: &'a mut (dyn FnMut(Heard) + Send),
    run: Option<RunId>,
    /// Where to look at the run. `None`: the call is sent (again).
    look: Option<Address>,
    /// The run cannot be looked at there.
    cannot_look: bool,
    /// The number of the last event.
    last: Option<u64>,
    /// The call may have arrived.
    sent: bool,
    /// It was told that the daemon has taken it.
    accepted: bool,
    /// Tries behind one another in which nothing was heard.
    lost: u32,
    /// Daemons behind one another that stopped, and of which nothing new was heard.
    stopped: u32,
    /// No stream is asked for any more.
    polls: bool,
    address: &'a Address,
}

impl Client {
    /// # Errors
    /// Where the roots are no certificates, or no HTTP client can be made.
    pub fn new(options: Options) -> Result<Self, Failure> {
        let given = options.roots.as_deref().map(trust::certificates).transpose()?.unwrap_or_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .tls_backend_preconfigured(trust::tls(given)?);
        let builder = if options.address.is_direct() { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|problem| {
            Failure::new(FailureKind::Other, format!("no HTTP client can be made: {problem}"))
        })?;
        Ok(Self { http, options })
    }

    /// Asks for a deployment and follows it to its end, which may be its refusal. Dropped before that, what was begun goes on.
    ///
    /// # Errors
    /// [`NoAnswer`], where nobody said what it came to.
    pub async fn trigger(
        &self,
        asked: &Asked,
        told: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<End, NoAnswer> {
        let delivery = self.delivery(asked)?;
        let mut following = Following::new(delivery, &self.options.address, told);
        let limit = self.options.limit;
        match tokio::time::timeout(limit.duration(), self.follow(asked, &mut following)).await {
            Ok(end) => end,
            Err(_) => {
                let failure = Failure::new(
                    FailureKind::TimedOut,
                    format!("{} told no end within {limit}", self.options.address),
                );
                Err(following.no_answer(failure))
            }
        }
    }

    fn delivery(&self, asked: &Asked) -> Result<Delivery, NoAnswer> {
        Delivery::new(asked, (self.options.clock)())
            .map_err(|error| NoAnswer::Wrong(Failure::new(FailureKind::Refused, error)))
    }

    async fn follow(&self, asked: &Asked, following: &mut Following<'_>) -> Result<End, NoAnswer> {
        let until = self.options.wait.map(|wait| Instant::now() + wait.duration());
        loop {
            match self.step(following).await? {
                Step::Ended(end, retry_after) => {
                    let Some(pause) = is_worth_waiting(&end, retry_after, until) else { return Ok(end) };
                    following.note(format!("{}; again in {}", because(&end), Millis::from(pause)));
                    sleep(pause).await;
                    let is_kept =
                        matches!(end.answer.status, DeployStatus::Stopping | DeployStatus::Unavailable);
                    if !is_kept || !following.is_fresh((self.options.clock)()) {
                        following.anew(self.delivery(asked)?);
                    }
                }
                Step::GoesOn(pause) => sleep(pause).await,
                Step::Lost(failure) | Step::Stops(failure) => {
                    let Some(tries) = following.another_try() else {
                        return Err(following.no_answer(failure));
                    };
                    let pause = pause(tries);
                    following.note(format!("{}; again in {}", failure.message, Millis::from(pause)));
                    sleep(pause).await;
                }
            }
        }
    }

    /// One exchange: the call itself, or a look at its run.
    async fn step(&self, following: &mut Following<'_>) -> Result<Step, NoAnswer> {
        let step = self.exchange(following).await?;
        match &step {
            Step::Lost(_) => following.lost += 1,
            Step::Stops(_) => following.stopped += 1,
            Step::Ended(..) | Step::GoesOn(_) => {}
        }
        Ok(step)
    }

    async fn exchange(&self, following: &mut Following<'_>) -> Result<Step, NoAnswer> {
        let looks = following.look.clone().filter(|_| !following.cannot_look);
        let request = match &looks {
            Some(run) => self.look(run, following),
            None => self.call(following)?,
        };
        let place = self.options.address.to_string();
        match (exchange(request, &place, following).await, looks.is_some()) {
            (Ok(Came::Answer { http, answer, retry_after }), is_look) => {
                following.sent = true;
                Ok(following.answered(End { http, answer: *answer }, retry_after, is_look))
            }
            (Ok(Came::Foreign { http, location, said }), is_look) => {
                // A web server with TLS answers plain HTTP so, if it does.
                if http == 400
                    && let Some(wrong) = self.misunderstood(following).await
                {
                    return Err(wrong);
                }
                following.foreign(http, location.as_deref(), &said, is_look)
            }
            (Err(Lost { sent, is_final, is_misunderstood, failure }), _) => {
                if is_misunderstood && let Some(wrong) = self.misunderstood(following).await {
                    return Err(wrong);
                }
                following.sent |= sent;
                following.polls |= following.lost + 1 >= LOST_STREAMS_MAX && sent;
                match is_final {
                    true => Err(following.no_answer(failure)),
                    false => Ok(Step::Lost(failure)),
                }
            }
        }
    }

    /// That the other way to speak HTTP is spoken there; looked for only before anything was heard.
    async fn misunderstood(&self, following: &Following<'_>) -> Option<NoAnswer> {
        let is_first = !following.sent && following.run.is_none();
        let wrong = if is_first { scheme::wrong(&self.http, &self.options.address).await } else { None };
        wrong.map(NoAnswer::Wrong)
    }

    fn call(&self, following: &Following<'_>) -> Result<RequestBuilder, NoAnswer> {
        let Delivery { id, body, .. } = &following.delivery;
        let seconds = ((self.options.clock)().0 / 1_000).to_string();
        let message = Message::new(id, &seconds)
            .map_err(|error| NoAnswer::Wrong(Failure::new(FailureKind::Refused, error.to_string())))?;
        let secret = &self.options.secret;
        let request = self
            .http
            .post(self.options.address.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .header(GITHUB_HEADER, secret.sign_github(body))
            .header(SIGNATURE_HEADER, secret.sign_standard(&message, body))
            .header(ID_HEADER, id)
            .header(TIMESTAMP_HEADER, &seconds)
            .body(body.clone());
        Ok(match following.polls {
            true => following.accepts(request).header("prefer", "respond-async"),
            false => following.accepts(request),
        })
    }

    fn look(&self, run: &Address, following: &Following<'_>) -> RequestBuilder {
        following.accepts(self.http.get(run.url().clone()))
    }
}

enum Step {
    Ended(End, Option<Duration>),
    /// It is under way; the next look is after this pause.
    GoesOn(Duration),
    Lost(Failure),
    /// The daemon leaves the run to whoever comes next.
    Stops(Failure),
}

impl<'a> Following<'a> {
    fn new(delivery: Delivery, address: &'a Address, told: &'a mut (dyn FnMut(Heard) + Send)) -> Self {
        Self {
            delivery,
            told,
            run: None,
            look: None,
            cannot_look: false,
            last: None,
            sent: false,
            accepted: false,
            lost: 0,
            stopped: 0,
            polls: false,
            address,
        }
    }

    /// Another message for the same: what came of the one before is over.
    fn anew(&mut self, delivery: Delivery) {
        (self.delivery, self.run, self.look, self.last) = (delivery, None, None, None);
        (self.sent, self.accepted, self.lost, self.stopped) = (false, false, 0, 0);
    }

    /// A stream behind what was heard already, where streams come through.
    fn accepts(&self, request: RequestBuilder) -> RequestBuilder {
        match (self.polls, self.last) {
            (true, _) => request.header(ACCEPT, "application/json"),
            (false, None) => request.header(ACCEPT, "text/event-stream, application/json;q=0.5"),
            (false, Some(last)) => request
                .header(ACCEPT, "text/event-stream, application/json;q=0.5")
                .header("last-event-id", last.to_string()),
        }
    }

    /// How many tries behind one another came to nothing; `None`: it is given up.
    fn another_try(&self) -> Option<u32> {
        let tries = self.lost.max(self.stopped);
        (tries <= LOST_MAX).then_some(tries)
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.delivery.sent_at) < Millis::from_secs(FRESH_SECONDS_MAX)
    }

    fn note(&mut self, text: String) {
        (self.told)(Heard::Note(text));
    }

    /// What a daemon's answer means: also to a look, where it may be about the look itself.
    fn answered(&mut self, end: End, retry_after: Option<Duration>, is_look: bool) -> Step {
        let status = end.answer.status;
        match status {
            DeployStatus::Accepted | DeployStatus::StillRunning => {
                self.lost = 0;
                if self.run.is_none() || self.look.is_none() {
                    self.is_run(end.answer.run, None);
                }
                Step::GoesOn(Duration::from_secs(POLL_SECONDS))
            }
            // Whoever comes next goes on with the run, so it is looked at there, as where the connection broke.
            DeployStatus::Stopping if end.answer.run.is_some() => {
                if self.run.is_none() || self.look.is_none() {
                    self.is_run(end.answer.run, None);
                }
                self.cannot_look = false;
                Step::Stops(Failure::new(
                    FailureKind::Unreachable,
                    format!("{} stops; whoever comes next there goes on", self.address),
                ))
            }
            DeployStatus::NotFound | DeployStatus::MethodNotAllowed if is_look => {
                self.cannot_look = true;
                Step::Lost(Failure::new(
                    FailureKind::NotFound,
                    format!("{} does not know the run", self.address),
                ))
            }
            DeployStatus::TooMany
            | DeployStatus::Unavailable
            | DeployStatus::RequestTimeout
            | DeployStatus::TooLarge
            | DeployStatus::HeadersTooLarge
                if is_look =>
            {
                Step::Lost(Failure::new(FailureKind::Other, format!("{}: {}", self.address, because(&end))))
            }
            _ => Step::Ended(end, retry_after),
        }
    }

    /// What is no daemon's answer: a load balancer's page is passed over, everything else ends it.
    fn foreign(
        &mut self,
        http: u16,
        location: Option<&str>,
        said: &str,
        is_look: bool,
    ) -> Result<Step, NoAnswer> {
        let address = self.address;
        let words = if said.is_empty() { String::new() } else { format!(": \"{said}\"") };
        let said_so = format!("{address} answers {http}, and not as lockgate serve does{words}");
        let failure = Failure::new(FailureKind::Other, said_so);
        if matches!(http, 408 | 429 | 500..) {
            self.sent = true;
            return Ok(Step::Lost(failure.hint("look at the proxy or load balancer before it")));
        }
        if is_look {
            self.cannot_look = true;
            return Ok(Step::Lost(failure));
        }
        let failure = match (http, location) {
            (300..400, Some(location)) => {
                let to = quoted(location, TOLD_CHARS_MAX);
                Failure::new(FailureKind::Refused, format!("{address} redirects to \"{to}\", which is not followed"))
                    .hint("a signed call goes to the address that was typed alone: type the other one where it is yours")
            }
            _ => failure
                .hint("check the address: is it that of a lockgate serve, and one of its `serve.endpoints`?"),
        };
        Err(match self.sent {
            true => self.no_answer(failure),
            false => NoAnswer::Wrong(failure),
        })
    }

    /// The run's name, and where it is looked at.
    fn is_run(&mut self, run: Option<RunId>, look: Option<Address>) {
        self.run = run.or(self.run);
        self.look = look.or_else(|| self.run.map(|run| self.address.of_run(run)));
    }

    fn no_answer(&self, failure: Failure) -> NoAnswer {
        if !self.sent {
            return NoAnswer::Unsent(failure);
        }
        let failure = match self.run {
            Some(run) => failure.hint(format!("the run may go on: look at {}", self.address.of_run(run))),
            None => {
                failure.hint("it may have been taken all the same: see what `lockgate status` says there")
            }
        };
        NoAnswer::Unknown { failure, run: self.run }
    }
}

impl Listener for Following<'_> {
    fn begun(&mut self, location: Option<&str>) {
        self.sent = true;
        let look = location.and_then(|location| self.address.joined(location));
        let name = look.as_ref().and_then(|look| look.url().path_segments()?.next_back()?.parse().ok());
        if look.is_some() {
            self.is_run(name, look);
        }
        if !std::mem::replace(&mut self.accepted, true) {
            (self.told)(Heard::Accepted(self.run));
        }
    }

    fn alive(&mut self) {
        self.lost = 0;
    }

    fn frame(&mut self, frame: Frame) {
        let number = frame.id.parse::<u64>().ok();
        if number.is_some_and(|number| self.last.is_some_and(|last| number <= last)) {
            return;
        }
        self.last = number.or(self.last);
        self.stopped = 0;
        match serde_json::from_str::<Told>(&frame.data) {
            Ok(told) if frame.name == "told" => (self.told)(Heard::Told(Box::new(told))),
            // A newer daemon may say what nobody here knows.
            _ => tracing::debug!(name = quoted(&frame.name, TOLD_CHARS_MAX), "an event is passed over"),
        }
    }
}

/// The pause before it is asked for once more; `None` where it is not.
fn is_worth_waiting(end: &End, retry_after: Option<Duration>, until: Option<Instant>) -> Option<Duration> {
    let pause = retry_after.filter(|_| end.answer.status.is_worth_another_try())?;
    let left = until?.saturating_duration_since(Instant::now());
    (pause <= left).then_some(pause.max(Duration::from_millis(PAUSE_MILLIS)))
}

fn because(end: &End) -> String {
    match &end.answer.error {
        Some(error) => quoted(&error.message, TOLD_CHARS_MAX),
        None => end.answer.status.as_str().replace('_', " "),
    }
}

fn pause(lost: u32) -> Duration {
    let doubled = Duration::from_millis(PAUSE_MILLIS).saturating_mul(1 << (lost - 1).min(16));
    doubled.min(Duration::from_secs(PAUSE_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use lockgate_model::{CommitSha, DeployAnswer};

    use super::*;

    /// Its streams live, so that alone says nothing.
    #[test]
    fn a_daemon_that_says_again_and_again_that_it_stops_is_given_up() {
        let asked = Asked {
            service: None,
            sha: CommitSha::new("a".repeat(40)).unwrap(),
            committed_at: None,
            force: false,
        };
        let address = Address::new("https://shop.example/deploy", false).unwrap();
        let mut told = |_| {};
        let mut following = Following::new(Delivery::new(&asked, Timestamp(0)).unwrap(), &address, &mut told);
        let stops = |following: &mut Following<'_>| {
            following.begun(None);
            following.alive();
            let run = RunId(uuid::Uuid::from_u128(7));
            let end = End { http: 503, answer: DeployAnswer::stopping().of_run(run) };
            assert!(matches!(following.answered(end, None, true), Step::Stops(_)));
            following.stopped += 1;
            following.another_try()
        };
        let tries: Vec<Option<u32>> = (0..5).map(|_| stops(&mut following)).collect();
        assert_eq!(tries, [1, 2, 3, 4, 5].map(Some));
        // Something new was told: the run goes on.
        following.frame(Frame { id: "0".into(), name: "told".into(), data: "{}".into() });
        let tries: Vec<Option<u32>> = (0..9).map(|_| stops(&mut following)).collect();
        assert_eq!(tries[7..], [Some(8), None]);
    }
}
