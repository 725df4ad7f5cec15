//! The Model Context Protocol by `rmcp`: the only file that knows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{Gates, Moment, Refusal, Want};
use lockgate_orchestrator::Deployment;
use rmcp::ErrorData;
use rmcp::model::{
    BooleanSchema, CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ClientResult,
    DiscoverResult, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
    Implementation, InputRequest, InputRequiredResult, InputResponses, ListToolsResult,
    PaginatedRequestParams, PrimitiveSchemaDefinition, ProgressNotificationParam, ProgressToken,
    ProtocolVersion, ServerCapabilities, ServerConfig, ServerRequest, Tool, ToolAnnotations,
};
use rmcp::service::{PeerRequestOptions, RequestContext, RoleServer, ServerInitializeError};
use serde_json::{Map, Value};
use tokio::io::DuplexStream;
use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::args::{self, Changing};
use crate::change::{Change, Said};
use crate::client::{Again, Asks, Client, Progress, Reply};
use crate::confirm::{CONFIRM_MINUTES_MAX, Questions};
use crate::desk::{Desk, Opened, Options, Values};
use crate::look;
use crate::tools::{self, INSTRUCTIONS, Kind, TOOLS};
use crate::work::Work;

/// Calls that are answered at the same time; each may hold connections to hosts.
const CALLS_MAX: usize = 16;
/// The list of tools is the same until another Lockgate is started.
const LIST_FRESH_MILLIS: u64 = 5 * 60 * 1000;
/// What the question is called, and what agrees to it.
const CONFIRM: &str = "confirm";

/// Speaks with one client until it has gone.
///
/// # Errors
/// Why it is no client.
pub(crate) async fn speak(face: Face, pipe: DuplexStream) -> Result<(), String> {
    match rmcp::serve_server(face, pipe).await {
        Ok(running) => match running.waiting().await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the server has stopped: {error}")),
        },
        // It came and went.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => Ok(()),
        Err(ServerInitializeError::ExpectedInitializeRequest(_)) => {
            Err("the client began with neither a request of the protocol nor `initialize`".to_owned())
        }
        Err(error) => Err(format!("the client does not speak the protocol: {error}")),
    }
}

/// One client's server.
pub(crate) struct Face {
    desk: Arc<dyn Desk>,
    options: Options,
    questions: Questions,
    work: Arc<Work>,
    calls: Semaphore,
}

impl Face {
    pub(crate) fn new(desk: Arc<dyn Desk>, options: Options, work: Arc<Work>) -> Self {
        Self { desk, options, questions: Questions::default(), work, calls: Semaphore::new(CALLS_MAX) }
    }

    /// The project as it is configured now; reading it may wait for a disk, and for a password manager.
    async fn open(&self, values: Values) -> Result<Opened, Answer> {
        let desk = self.desk.clone();
        match tokio::task::spawn_blocking(move || desk.open(values)).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(value)) => Err(Answer { value: *value, is_error: true }),
            Err(error) => Err(Answer::refused(
                lockgate_model::Failure::new(lockgate_model::FailureKind::Other, error.to_string()).into(),
                &lockgate_model::Mask::default(),
            )),
        }
    }

    async fn call(&self, tool: &tools::Tool, called: Called, caller: &Caller) -> Said {
        let opened = match self.open(tool.kind.values()).await {
            Ok(opened) => opened,
            Err(answer) => return Said::Answer(answer),
        };
        let said = match tool.kind.changes() {
            true => self.change(tool, called, caller, &opened).await,
            false => looked(tool, called.arguments, &opened, &self.questions).await.map(Said::Answer),
        };
        said.unwrap_or_else(|refusal| Said::Answer(Answer::refused(refusal, &opened.mask)))
    }

    async fn change(
        &self,
        tool: &tools::Tool,
        called: Called,
        caller: &Caller,
        opened: &Opened,
    ) -> Result<Said, Refusal> {
        let (want, confirm) = match tool.kind {
            Kind::Rollback => {
                let asked: args::Rollback = args::read(tool.name, &tool.input, called.arguments)?;
                let want = opened.asked(asked.environment.as_deref())?.rollback(
                    &asked.service,
                    asked.release.as_deref(),
                    &asked.skip,
                )?;
                (want, asked.confirm)
            }
            kind => {
                let asked: args::Deploy = args::read(tool.name, &tool.input, called.arguments)?;
                let gates = if kind == Kind::Promote { Gates::None } else { Gates::All };
                let deployment = Deployment {
                    service: &asked.service,
                    tag: &asked.tag,
                    gates,
                    again: asked.again,
                    skip: &asked.skip,
                };
                let want = opened.asked(asked.environment.as_deref())?.deploy(&deployment)?;
                (want, asked.confirm)
            }
        };
        let change = Change {
            opened,
            want,
            confirm: confirm.as_deref(),
            again: called.again,
            by: self.desk.requester(caller.name().as_deref()),
            questions: &self.questions,
            agent_confirms: self.options.agent_confirms,
        };
        Ok(change.run(caller, &self.work).await)
    }

    fn told(&self, said: Said) -> CallToolResponse {
        match said {
            Said::Answer(Answer { mut value, is_error }) => {
                self.desk.typed(&mut value);
                for_agents(&mut value);
                let made =
                    if is_error { CallToolResult::structured_error } else { CallToolResult::structured };
                made(value).into()
            }
            Said::Question { text, state } => {
                let asked = InputRequest::Elicitation(ElicitRequest::new(form(text)));
                let requests = BTreeMap::from([(CONFIRM.to_owned(), asked)]);
                InputRequiredResult::new(Some(requests), Some(state)).into()
            }
        }
    }
}

/// The tools that change nothing.
async fn looked(
    tool: &tools::Tool,
    arguments: Map<String, Value>,
    opened: &Opened,
    questions: &Questions,
) -> Result<Answer, Refusal> {
    let (name, takes) = (tool.name, &tool.input);
    match tool.kind {
        Kind::Status => look::status(opened, &args::read(name, takes, arguments)?).await,
        Kind::History => look::history(opened, &args::read(name, takes, arguments)?).await,
        Kind::Logs => look::logs(opened, &args::read(name, takes, arguments)?).await,
        Kind::Regression => look::check(opened, &args::read(name, takes, arguments)?, Moment::Before).await,
        Kind::Smoke => look::check(opened, &args::read(name, takes, arguments)?, Moment::After).await,
        Kind::Plan | Kind::Full | Kind::Promote | Kind::Rollback => {
            let asked: args::Plan = args::read(name, takes, arguments)?;
            let want = planned_for(opened, &asked)?;
            let planned = opened.orchestrator.plan(&want).await?;
            // Where the client cannot ask, the digest of this plan may come back as what a person has agreed to.
            if let Some(digest) = &planned.digest {
                questions.put(&want, digest, &opened.project);
            }
            Ok(Answer::new(&planned, false))
        }
    }
}

fn planned_for(opened: &Opened, asked: &args::Plan) -> Result<Want, Refusal> {
    let environment = opened.asked(asked.environment.as_deref())?;
    let gates = match asked.tool {
        Changing::Rollback => {
            return environment.rollback(&asked.service, asked.release.as_deref(), &asked.skip);
        }
        Changing::Promote => Gates::None,
        Changing::Full => Gates::All,
    };
    let tag = asked.tag.as_deref().ok_or_else(|| {
        Refusal::usage("a plan of a deployment needs a `tag`", "name the image's tag, such as v1.2.3")
    })?;
    environment.deploy(&Deployment {
        service: &asked.service,
        tag,
        gates,
        again: asked.again,
        skip: &asked.skip,
    })
}

/// Hints name options of the command line where they are not in a command; a tool has arguments.
fn for_agents(value: &mut Value) {
    const SAID: [(&str, &str); 2] = [
        ("choose one with --env: ", "choose one as `environment`: "),
        (
            "--slot blue or --slot green; --slot main where the strategy is recreate",
            "`slot` is blue or green; main where the strategy is recreate",
        ),
    ];
    let Some(Value::String(hint)) = value.pointer_mut("/error/hint") else { return };
    for (typed, argument) in SAID {
        *hint = hint.replace(typed, argument);
    }
}

/// What came with a call.
struct Called {
    arguments: Map<String, Value>,
    again: Option<Again>,
}

impl Called {
    fn of(params: CallToolRequestParams) -> Self {
        let CallToolRequestParams { arguments, input_responses, request_state, .. } = params;
        let again = request_state.map(|state| Again { state, reply: reply(input_responses.as_ref()) });
        Self { arguments: arguments.unwrap_or_default(), again }
    }
}

/// `None` where the question is not among what was answered.
fn reply(responses: Option<&InputResponses>) -> Option<Reply> {
    let said = responses?.get(CONFIRM)?;
    let agrees = serde_json::from_value(said.clone()).is_ok_and(|result| agrees(&result));
    Some(if agrees { Reply::Yes } else { Reply::No })
}

fn agrees(result: &ElicitResult) -> bool {
    let said = result.content.as_ref().and_then(|content| content.get(CONFIRM));
    result.action == ElicitationAction::Accept && said == Some(&Value::Bool(true))
}

fn form(text: String) -> ElicitRequestParams {
    let agree = BooleanSchema::new()
        .title("Do exactly this")
        .description("Yes runs this plan and no other; no changes nothing");
    let schema = ElicitationSchema::new(BTreeMap::from([(
        CONFIRM.to_owned(),
        PrimitiveSchemaDefinition::Boolean(agree),
    )]));
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: text,
        requested_schema: schema.with_required(vec![CONFIRM.to_owned()]),
    }
}

/// The client, for one call.
struct Caller(RequestContext<RoleServer>);

impl Caller {
    fn token(&self) -> Option<ProgressToken> {
        self.0.meta.get_progress_token()
    }
}

#[async_trait]
impl Client for Caller {
    fn name(&self) -> Option<String> {
        let Implementation { name, version, .. } = self.0.client_info()?;
        Some(format!("{name} {version}").trim().to_owned()).filter(|name| !name.is_empty())
    }

    fn asks(&self) -> Asks {
        let declared = self.0.client_capabilities().and_then(|capabilities| capabilities.elicitation);
        // An empty capability is that of forms, as it was before there were others.
        let has_forms = declared.is_some_and(|asks| asks.form.is_some() || asks.url.is_none());
        let is_new = self.0.protocol_version().is_some_and(|version| !version.has_initialize());
        match (has_forms, is_new) {
            (false, _) => Asks::Never,
            (true, true) => Asks::InAnswer,
            (true, false) => Asks::InBetween,
        }
    }

    async fn ask(&self, question: &str) -> Result<Reply, String> {
        let request = ServerRequest::ElicitRequest(ElicitRequest::new(form(question.to_owned())));
        let options = PeerRequestOptions::with_timeout(Duration::from_secs(CONFIRM_MINUTES_MAX * 60));
        let sent = self.0.peer.send_request_with_option(request, options).await;
        let answered = match sent {
            Ok(asked) => asked.await_response().await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(ClientResult::ElicitResult(result)) if agrees(&result) => Ok(Reply::Yes),
            Ok(ClientResult::ElicitResult(_)) => Ok(Reply::No),
            Ok(_) => Err("the client answered with something else".to_owned()),
            Err(error) => Err(lockgate_model::quoted(&error.to_string(), 200)),
        }
    }

    async fn progress(&self, progress: Progress) {
        let Some(token) = self.token() else { return };
        #[expect(clippy::cast_precision_loss, reason = "a run has some thousand steps at most")]
        let number = |count: u64| count as f64;
        let mut told =
            ProgressNotificationParam::new(token, number(progress.done)).with_message(progress.text);
        told.total = progress.of.map(number);
        if let Err(error) = self.0.peer.notify_progress(told).await {
            tracing::debug!(%error, "the client is not told how far it is");
        }
    }

    async fn cancelled(&self) {
        self.0.ct.cancelled().await;
    }
}

impl rmcp::ServerHandler for Face {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(
                Implementation::new("lockgate", env!("CARGO_PKG_VERSION")).with_title("Lockgate"),
            )
            .with_instructions(INSTRUCTIONS)
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = ProtocolVersion::KNOWN_VERSIONS.to_vec();
        Ok(DiscoverResult::from_server_info(versions, self.get_info())
            .with_ttl_ms(LIST_FRESH_MILLIS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let list = ListToolsResult::with_all_items(TOOLS.iter().map(shown).collect());
        let is_new = context.protocol_version().is_some_and(|version| !version.has_initialize());
        Ok(match is_new {
            true => list.with_ttl_ms(LIST_FRESH_MILLIS).with_cache_scope(CacheScope::Private),
            false => list,
        })
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::named(name).map(shown)
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::named(&params.name) else {
            let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
            let named = lockgate_model::quoted(&params.name, 100);
            let message = format!("there is no tool {named}; there are: {}", names.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        };
        let Ok(_place) = self.calls.try_acquire() else {
            let message = format!("{CALLS_MAX} calls are being answered; wait for one of them");
            return Err(ErrorData::internal_error(message, None));
        };
        // Who only looks is not waited for when the client has gone.
        let _busy = tool.kind.changes().then(|| self.work.begin());
        let caller = Caller(context);
        let said = self.call(tool, Called::of(params), &caller).await;
        Ok(self.told(said))
    }
}

fn shown(tool: &tools::Tool) -> Tool {
    let changes = tool.kind.changes();
    let mut nature = ToolAnnotations::new().read_only(!changes).open_world(tool.kind.is_open());
    if changes {
        nature = nature.destructive(true).idempotent(false);
    }
    Tool::new(tool.name, tool.description, tool.input.clone())
        .with_title(tool.title)
        .with_raw_output_schema(Arc::new(tool.output.clone()))
        .with_annotations(nature)
}
