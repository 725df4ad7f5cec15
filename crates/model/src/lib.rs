#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod audit;
mod audit_chain;
mod behind;
mod calendar;
mod causes;
mod changes;
mod closely;
mod dark;
mod delivery;
mod deploy_answer;
mod deploy_call;
mod deploy_status;
mod escape;
mod event;
mod exit;
mod failure;
mod gate;
mod gate_answer;
mod health;
mod hints;
mod hook;
mod host_log;
mod ids;
mod lease;
mod link;
mod live_text;
mod mask;
mod notify;
mod observation;
mod observed;
mod own_environment;
mod past_run;
mod plan;
mod presence;
mod probe;
mod project;
mod promotable;
mod prospect;
mod provenance;
mod query;
mod refusal;
mod registry;
mod release;
mod releases;
mod report;
mod requester;
mod resumed;
mod schedule;
mod serve;
mod setup;
mod ship;
mod shipped;
mod soak;
mod split;
mod state;
mod state_file;
mod status_line;
mod status_word;
mod tag_pieces;
mod template;
mod token;
mod told;
mod trigger_line;
mod variable;
mod verdict;
mod want;
mod webhook;

pub use audit::{AuditEntry, AuditRecord};
pub use audit_chain::{AuditBreak, AuditChain, AuditFault, AuditHead, AuditLink, AuditVerified};
pub use behind::{Behind, LeftOut};
pub use calendar::{Cron, InvalidCron, Zone};
pub use causes::causes;
pub use changes::{COMMITS_TOLD_MAX, Changes, Commit, Commits};
pub use closely::{HostClosely, Probed, ServiceClosely, SlotClosely};
pub use dark::{dark_times, goes_dark};
pub use delivery::{
    BuiltinRouter, CaddyRouter, CaddySwitch, ComposeLayout, ComposeRuntime, Delivery, Environment,
    HoldBounds, NginxRouter, NginxSwitch, ProcessRuntime, Router, Runtime, STOP_GRACE_DEFAULT, SlotDelivery,
    Strategy, Wave,
};
pub use deploy_answer::{DeployAnswer, DeployError, DeployRelease};
pub use deploy_call::{CommitSha, DeployCall};
pub use deploy_status::DeployStatus;
pub use escape::{is_mark, push_escaped};
pub use event::{BRIEF_FAILURES_MAX, Event, EventKind, Headway, Outcome, StepProgress, Stuck, WhoIsLive};
pub use exit::Exit;
pub use failure::{
    Evidence, Failure, FailureKind, GateVerdict, Judgement, LOG_LINE_CHARS_MAX, TOLD_CHARS_MAX, quoted,
    shortened,
};
pub use gate::{CommandGate, Gate, GateKind, GateTarget, HttpGate, Sampling};
pub use gate_answer::{CheckWant, GateAnswer};
pub use health::{CommandHealth, DockerHealth, Health, HttpHealth};
pub use hints::{HINTS_MAX, Hints};
pub use hook::{HOOK_SECONDS_MAX, HOOK_TIMEOUT_DEFAULT, Hook, HookMoment, Hooks, InvalidHookMoment};
pub use host_log::{HostLog, LogLine, LogsWant};
pub use ids::{
    Checksum, Digest, EnvironmentName, HostId, InvalidName, Millis, ProjectName, RunId, ServiceName, Slot,
    StepId, Tag, Timestamp,
};
pub use lease::{
    BELIEVED_TTL_SECONDS_MAX, Begun, Holder, Identity, LeaseRecord, OWNER_CHARS_MAX, Place, PlanPlace,
    Progress, RECORD_BYTES_MAX, RunEnd, RunFileName, TOKEN_MAX, Unfinished,
};
pub use link::{LINK_BYTES_MAX, Link};
pub use live_text::{deploy_again, live_text, not_running};
pub use mask::Mask;
pub use notify::{Email, MessageKind, Notify, NotifyAbout, NotifyTo, SmtpSecurity};
pub use observation::{Observation, Tally};
pub use observed::{
    HostObserved, Observed, OwnEnd, Recorded, Rejected, ReplicaObserved, RouterObserved, ServiceStatus,
    SlotObserved, SlotState, Unhealthy, live_without_router,
};
pub use own_environment::{OwnEnvironment, minute_utc};
pub use past_run::{HistoryFilter, PastRun};
pub use plan::{
    Action, ActionProperties, Gates, Intent, Interruption, Lane, Moment, Phase, Plan, Seen, Step,
};
pub use presence::{Presence, SeenLive};
pub use probe::Probe;
pub use project::{Project, Secret, Service, Ssh, StatusRange, ValueSource, Verify};
pub use promotable::{Freeze, Holds, Obstacle, Passed, Promotable};
pub use prospect::{Prospect, ProspectLine, TagLine};
pub use provenance::{Artifact, PROVENANCE_CHARS_MAX, Provenance};
pub use query::without_query;
pub use refusal::{Refusal, RefusalLine};
pub use registry::{Platform, Reference, RegistryHost, RegistryLogin, Repository};
pub use release::Release;
pub use releases::{Because, REJECTED_MAX, RELEASES_MAX, Rejection, Releases, Tried, WasLive, condemns};
pub use report::{Planned, Report, ReportLine};
pub use requester::{By, REQUESTER_CHARS_MAX, Requester};
pub use resumed::{Abandoned, AbandonedLine, Ended, Leftover, Resumed, ResumedLine, SeenAfter};
pub use schedule::{
    FailedBefore, Handled, Pick, Remembered, Schedule, ScheduleLine, ScheduleTold, ScheduledEnd,
    ScheduledWord, TurnTold,
};
pub use serve::{
    Endpoint, EndpointPath, InvalidTagTemplate, ListenAt, SIGNING_SECRET_BYTES_MIN, Serve, TagTemplate,
    TlsFiles,
};
pub use setup::{
    HostFolder, HostProgram, HostSetUp, HostSetup, HostSetupLine, HostUpload, PATIENCE_DEFAULT, SetupHeadway,
    SetupItem, SetupKind, SetupLine, SetupState,
};
pub use ship::{Build, BuildTool, ImageTag, InvalidImageTag, Ship, TagVars, Test};
pub use shipped::{Job, ShipEvent, ShipLine};
pub use soak::{BadLook, Monitor, PrometheusMonitor, Soak, Watched, Within};
pub use split::{InSlot, InvalidSplit, Split};
pub use state::{InvalidState, PostgresUrl, StateLocation};
pub use state_file::{NOTES_CHARS_MAX, StateFile, StateWord};
pub use status_line::StatusLine;
pub use status_word::StatusWord;
pub use template::{Template, TemplateError, Vars};
pub use told::Told;
pub use trigger_line::TriggerLine;
pub use variable::{is_secret_name, secret_variables};
pub use verdict::{VERDICT_EVIDENCE_MAX, Verdict, VerdictStamp, VerdictSubject};
pub use want::{Aim, Resume, Want};
pub use webhook::{
    ANSWER_BYTES_MAX, DeliveryAnswer, DeliveryId, Earlier, Incoming, Received, Repeat, WebhookDelivery,
};
