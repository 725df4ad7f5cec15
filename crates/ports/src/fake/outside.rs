//! What gates look through and whom runs are told to.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lockgate_model::{Evidence, Millis};

use crate::fake::{Call, Fate, Faults, What};
use crate::{
    Answer, Check, Command, CommandRunner, Gate, GateAnswer, GateSubject, Message, Notifier, OnHeadway,
    Output, PortError, Posted, Prober, Request,
};

type Answering = dyn Fn(&Request) -> Result<Answer, PortError> + Send + Sync;
type Running = dyn Fn(&Command) -> Result<Output, PortError> + Send + Sync;

/// Answers as its function does.
pub struct FakeProber {
    answer: Box<Answering>,
    faults: Arc<dyn Faults>,
}

impl FakeProber {
    /// `answer` is asked once for each request that happens.
    pub fn new(
        faults: Arc<dyn Faults>,
        answer: impl Fn(&Request) -> Result<Answer, PortError> + Send + Sync + 'static,
    ) -> Self {
        Self { answer: Box::new(answer), faults }
    }
}

/// These change nothing on a host, so there is nothing that could happen late.
async fn fate(faults: &Arc<dyn Faults>, what: What, detail: &str) -> Result<Call, PortError> {
    let call = Call { host: None, what, detail: detail.to_owned(), late: false };
    match faults.before(&call).await {
        Fate::Happens => Ok(call),
        Fate::Fails(error) | Fate::AnswerLost(error) | Fate::Late(_, error) => Err(error),
    }
}

#[async_trait]
impl Prober for FakeProber {
    async fn send(&self, request: &Request) -> Result<Answer, PortError> {
        let call = fate(&self.faults, What::Probe, &request.target).await?;
        let answer = (self.answer)(request);
        self.faults.after(&call).await;
        answer
    }
}

/// Runs its function in place of a program.
pub struct FakeRunner {
    run: Box<Running>,
    faults: Arc<dyn Faults>,
}

impl FakeRunner {
    /// `run` is called once for each command that happens.
    pub fn new(
        faults: Arc<dyn Faults>,
        run: impl Fn(&Command) -> Result<Output, PortError> + Send + Sync + 'static,
    ) -> Self {
        Self { run: Box::new(run), faults }
    }
}

#[async_trait]
impl CommandRunner for FakeRunner {
    async fn run(&self, command: &Command) -> Result<Output, PortError> {
        let call = fate(&self.faults, What::Command, &command.argv.join(" ")).await?;
        let output = (self.run)(command);
        self.faults.after(&call).await;
        output
    }
}

type Judging = dyn Fn(&GateSubject) -> Result<GateAnswer, PortError> + Send + Sync;

/// Answers as its function does, within its limit. An error of the function is that it could not look.
pub struct FakeGate {
    answer: Box<Judging>,
    limit: Millis,
    faults: Arc<dyn Faults>,
}

impl FakeGate {
    /// `answer` is asked once for each look that happens; longer than `limit` none takes.
    pub fn new(
        faults: Arc<dyn Faults>,
        limit: Millis,
        answer: impl Fn(&GateSubject) -> Result<GateAnswer, PortError> + Send + Sync + 'static,
    ) -> Self {
        Self { answer: Box::new(answer), limit, faults }
    }

    async fn look(&self, subject: &GateSubject) -> Result<GateAnswer, PortError> {
        let call = fate(&self.faults, What::Probe, subject.service.as_str()).await?;
        let answer = (self.answer)(subject);
        self.faults.after(&call).await;
        answer
    }
}

#[async_trait]
impl Gate for FakeGate {
    async fn ask(&self, subject: &GateSubject, _: OnHeadway<'_>) -> GateAnswer {
        let looked = tokio::time::timeout(self.limit.duration(), self.look(subject)).await;
        let looked = looked.unwrap_or_else(|_| Err(PortError::timed_out("no answer")));
        looked.unwrap_or_else(|error| {
            let (check, wanted) = ("a look".to_owned(), "an answer".to_owned());
            GateAnswer::not_yet(vec![Evidence { check, wanted, seen: error.to_string(), ok: false }])
        })
    }

    fn limit(&self) -> Millis {
        self.limit
    }

    async fn check(&self, what: &str, subject: &GateSubject) -> Vec<Check> {
        vec![match self.look(subject).await {
            Ok(_) => Check::ok(what, "it answers"),
            Err(error) => Check::bad(what, error.to_string(), "see why it does not answer"),
        }]
    }
}

/// Keeps what it is told.
pub struct FakeNotifier {
    faults: Arc<dyn Faults>,
    told: Mutex<Vec<Message>>,
}

impl FakeNotifier {
    /// Nobody was told anything yet.
    #[must_use]
    pub fn new(faults: Arc<dyn Faults>) -> Self {
        Self { faults, told: Mutex::new(Vec::new()) }
    }

    /// All that arrived, in order.
    #[must_use]
    pub fn told(&self) -> Vec<Message> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Notifier for FakeNotifier {
    fn name(&self) -> String {
        "fake".to_owned()
    }

    async fn send(&self, message: &Message, earlier: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        let call = fate(&self.faults, What::Notify, "").await?;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(message.clone());
        self.faults.after(&call).await;
        Ok(Some(earlier.cloned().unwrap_or_else(|| Posted::new("fake"))))
    }

    async fn check(&self) -> Check {
        Check::ok("fake", "nobody is told")
    }
}
