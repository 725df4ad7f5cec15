//! The file as it is written. The doc comments here are the descriptions in the JSON schema, so they speak to the
//! person who writes `lockgate.yaml`; the defaults they name are made in [`crate::resolve`].

use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;

use crate::at::{At, Either, Entries, ShortForm, Span, Status, WaveText, Whole, Words};
use crate::env_value::EnvValue;
use crate::raw_hook::Hook;
use crate::raw_nginx::Nginx;
use crate::raw_notify::Notify;
use crate::raw_serve::Serve;
use crate::raw_setup::Setup;
use crate::raw_ship::{Build, Test};
use crate::raw_soak::Soak;

/// A project: what is deployed and where to.
///
/// `${NAME}` and `${NAME:-default}` in any value read an environment variable, `$$` is a dollar sign. `{service}`,
/// `{environment}`, `{slot}`, `{tag}` and `{digest}` are filled in when a release is deployed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename = "lockgate.yaml",
    expecting = "a mapping with `project`, `services` and `environments`"
)]
pub struct File {
    /// The project's name: lower-case letters, digits, `-` and `_`, at most 40.
    pub project: At<String>,
    /// What is deployed, by name.
    pub services: At<Entries<At<Service>>>,
    /// Where to, by name, in the order of promotion.
    pub environments: At<Entries<At<Environment>>>,
    /// Who is told. Default: Slack, when the variable `SLACK_WEBHOOK_URL` is set, or `SLACK_BOT_TOKEN` and `SLACK_CHANNEL`.
    pub notify: Option<Vec<At<Notify>>>,
    /// Logins for image registries, by host (`ghcr.io`, `127.0.0.1:5000`). Default: what `docker login` left on this machine,
    /// and for `ghcr.io` the variable `GITHUB_TOKEN`.
    #[serde(default)]
    pub registries: Entries<At<RegistryLogin>>,
    /// How `ssh` is called, beyond your own `ssh_config`.
    pub ssh: Option<At<Ssh>>,
    /// Where runs, verdicts and deliveries are kept: a SQLite file, or a PostgreSQL database that several machines share
    /// (`postgres://USER@HOST/DATABASE`, with `?sslmode=…` and `&sslrootcert=FILE` where needed). A server on another machine
    /// must show a certificate for its name, unless `sslmode` says otherwise. Default: `.lockgate/journal.db` beside this file.
    pub state: Option<At<String>>,
    /// A folder on this machine that gets a file `SERVICE.json` for each service: `service`, `image_tag`, `status` (`success`,
    /// `failed` or `rolled_back`), `timestamp` and `notes`, written at each end of a deployment or rollback. `{service}` and
    /// `{environment}` are filled in; relative ones start at this file's folder. Default: none is written.
    pub state_dir: Option<At<String>>,
    /// What `lockgate serve` does: take signed calls, as CI makes them, and deploy.
    pub serve: Option<At<Serve>>,
}

/// A service: one image repository, or one program.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct Service {
    /// Image repository without tag (`ghcr.io/acme/web`). Default: `${REGISTRY_URL}/<service>` when that variable is set.
    pub image: Option<At<String>>,
    /// What the `process` runtime starts: a list, or text that is split at blanks and quotes. No shell is involved.
    /// `PORT` is in its environment.
    pub command: Option<At<Words>>,
    /// Working folder of the `process` runtime; relative ones start at this file's folder.
    pub cwd: Option<At<String>>,
    /// Environment variables for the service: text, or `{ file: … }` or `{ command: … }` for where a value is to be had. Values
    /// are treated as secrets.
    #[serde(default)]
    pub env: Entries<At<EnvValue>>,
    /// The port the service listens on inside its container. Leave it out for `process`: a free one is chosen.
    pub port: Option<At<Whole>>,
    /// How a new slot shows that it is ready: a path, `docker` for the container's own HEALTHCHECK, or a mapping. Default:
    /// `/health`.
    pub health: Option<At<Either<Health>>>,
    /// Paths that must answer, besides the health path; the default of HTTP gates.
    #[serde(default)]
    pub critical_paths: Vec<At<String>>,
    /// How to tell through the router which release answers.
    pub verify: Option<At<Verify>>,
    /// URLs of this service by environment, where they differ from the environment's `url`.
    #[serde(default)]
    pub urls: Entries<At<String>>,
    /// A program that runs once in a deployment, in the new release and with its environment, on one host, before any slot
    /// takes traffic: a migration. Where it fails nothing is changed.
    pub before_switch: Option<At<Hook>>,
    /// The same, when the new release has the traffic on all hosts and has passed its gates, before the old one is stopped.
    pub after_switch: Option<At<Hook>>,
    /// What is different for this service where an environment has a `schedule`.
    pub schedule: Option<At<ScheduleChange>>,
    /// Globs of files, relative to this file's folder or, with `/` in front, to the repository's: `lockgate ship` does
    /// nothing while none that matches has changed since the commit that is live. `*` does not go beyond a `/`, `**` does.
    /// Default: every change counts.
    pub watch: Option<At<Vec<At<String>>>>,
    /// What `lockgate ship` runs before it builds anything: a command for `sh`, or a mapping. Default: nothing.
    pub test: Option<At<Either<Test>>>,
    /// How `lockgate ship` builds the image: the folder to build from, or a mapping.
    pub build: Option<At<Either<Build>>>,
}

/// When the newest release of each service goes live by itself: `lockgate run-schedule`, called by cron, does it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `cron` and `deploy`")]
pub struct Schedule {
    /// Minute, hour, day of the month, month, day of the week, as cron has them: `0 5 * * *` is each day at five. Also
    /// `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`.
    pub cron: At<String>,
    /// Which release: `latest-semver` is the tag of the service's `image` with the highest version (`v1.2.3` or `1.2.3`),
    /// `promoted` what is live in the environment's `from`, once the gates of `before` are open.
    #[schemars(with = "PickName")]
    pub deploy: At<String>,
    /// What `cron` is meant in, such as `Europe/Berlin`. Default: the time zone of the machine that runs
    /// `lockgate run-schedule`, as cron itself has it.
    pub time_zone: Option<At<String>>,
    /// Whether versions such as `2.0.0-rc.1` count. Default: false.
    pub pre_releases: Option<At<bool>>,
    /// How long after its time a tick is still made up for, once, when the machine was off then; at least 1m. Default: 1h.
    pub catch_up: Option<At<Span>>,
    /// The services that it is for. Default: all.
    pub services: Option<At<Vec<At<String>>>>,
}

/// What is different for one service; what is left out is as the environment's `schedule` says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct ScheduleChange {
    /// As in an environment's `schedule`.
    pub cron: Option<At<String>>,
    /// As in an environment's `schedule`.
    pub time_zone: Option<At<String>>,
    /// As in an environment's `schedule`.
    pub pre_releases: Option<At<bool>>,
    /// As in an environment's `schedule`.
    pub catch_up: Option<At<Span>>,
}

/// Which release goes live by itself.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(
    dead_code,
    reason = "names the values in the schema; the value itself is read as text, for its place"
)]
enum PickName {
    LatestSemver,
    Promoted,
}

/// The health check: `GET path`, or a `command`, or the container's own (`docker`), until it has passed often enough, or time
/// is up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a path or a mapping")]
pub struct Health {
    /// Default: `/health`.
    pub path: Option<At<String>>,
    /// A program that runs inside the slot's container, or beside its process with the same environment: exit code 0 is a
    /// pass. A list, or text that is split at blanks and quotes; no shell is involved, and no `${NAME}` is filled in.
    pub command: Option<At<Words>>,
    /// True: what Docker says of the container's HEALTHCHECK. `health: docker` is short for it.
    pub docker: Option<At<bool>>,
    /// Longest wait. Default: `${DEPLOY_TIMEOUT:-60}` seconds; with `docker`, as long as the HEALTHCHECK itself may take.
    pub timeout: Option<At<Span>>,
    /// Passes wanted in a row. Default: 2; with `docker` 1.
    pub passes: Option<At<Whole>>,
    /// `200`, `2xx` or `200-399`. Default: `2xx`.
    pub status: Option<At<Status>>,
    /// Text the body must contain.
    pub body: Option<At<String>>,
    /// Headers to send, here and when asking through the router, before those that are sent anyhow: `Host` and
    /// `X-Forwarded-Proto` of the environment's `url`. They are kept with plans, so no `${NAME}` is filled in.
    #[serde(default)]
    pub headers: Entries<At<String>>,
}

impl ShortForm for Health {
    const EXPECTS: &'static str = "a path such as `/health`, `docker`, or a mapping with `path`, `command` or `docker`, and `timeout`, `passes`, `status`, `body`, `headers`";
}

/// What the new release answers and the old one does not: `body` or `header`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct Verify {
    /// Default: `/`.
    pub path: Option<At<String>>,
    /// Text the body must contain, with `{tag}`, `{digest}` or `{slot}`.
    pub body: Option<At<String>>,
    /// One header and its value, with `{tag}`, `{digest}` or `{slot}`.
    pub header: Option<At<Entries<At<String>>>>,
}

/// An environment. One with only a `url` is checked and never deployed to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct Environment {
    /// Where users reach it; gates look here.
    pub url: Option<At<String>>,
    /// The environment that promotions come from.
    pub from: Option<At<String>>,
    /// SSH destinations (`user@name`, an alias, `ssh://user@name:port`), `local` for this machine. Default:
    /// `${DEPLOY_HOST}` when that variable is set, else `local`.
    pub hosts: Option<At<Vec<At<String>>>>,
    /// How a release goes live: beside the old one (`blue-green`), or in its place (`recreate`), where the old one stops
    /// before the new one starts. Default: `blue-green`.
    #[schemars(with = "Option<StrategyName>")]
    pub strategy: Option<At<String>>,
    /// What its hosts need before their first deployment: `lockgate setup` makes it.
    pub setup: Option<At<Setup>>,
    /// What runs a slot: `compose` or `process`.
    pub runtime: Option<At<Either<Runtime>>>,
    /// What sends traffic to a slot: `builtin`, `caddy`, `nginx`, or `none` for workers and services that are reached without one.
    /// Default: `builtin` on 127.0.0.1:8080; `none` with `strategy: recreate`.
    pub router: Option<At<Either<Router>>>,
    /// Gates before anything is touched.
    #[serde(default)]
    pub before: Vec<At<Gate>>,
    /// Gates on live traffic, after the switch and before the old slot is stopped.
    #[serde(default)]
    pub after: Vec<At<Gate>>,
    /// When new releases go live by themselves. Default: never.
    pub schedule: Option<At<Schedule>>,
    /// Hosts at a time: numbers, percentages, `rest`. A final `rest` is implied. Default: `[1, 25%, rest]`.
    pub waves: Option<At<Vec<At<WaveText>>>>,
    /// Longest wait for requests in flight on the old slot. Default: 30s.
    pub drain: Option<At<Span>>,
    /// How long the old slot keeps running after a success: at least this long; the next `lockgate resume` or deployment
    /// stops it then. Default: 0s, it is stopped at once.
    pub keep_warm: Option<At<Span>>,
    /// From SIGTERM to SIGKILL. Default: the Compose file's `stop_grace_period`, else 10s.
    pub stop_grace: Option<At<Span>>,
    /// Releases whose images stay on a host, at least 2. Default: 5.
    pub keep_releases: Option<At<Whole>>,
    /// Free space wanted on a host before an image is pulled, such as `1GiB`. Default: 500MiB.
    pub disk_free: Option<At<String>>,
}

/// How a release goes live.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(
    dead_code,
    reason = "names the values in the schema; the value itself is read as text, for its place"
)]
enum StrategyName {
    BlueGreen,
    Recreate,
}

/// One of `compose` and `process`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Runtime {
    pub compose: Option<At<Compose>>,
    pub process: Option<At<Process>>,
}

impl ShortForm for Runtime {
    const EXPECTS: &'static str = "`process`, `compose`, or a mapping with one of them";
    fn short() -> Schema {
        json_schema!({ "enum": ["process", "compose"] })
    }
}

/// Docker Compose: a folder for each slot (`dir`), or one file with both slots' services (`file`). With `recreate` there is
/// one slot, and either is the service's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct Compose {
    /// Folder on the host with the slot's `docker-compose.yml`; must name `{slot}` for `blue-green`. Default:
    /// `${DEPLOY_COMPOSE_DIR:-/srv/apps}/{service}/{slot}`; without `/{slot}` with `recreate`.
    pub dir: Option<At<String>>,
    /// One Compose file on the host that has the slots' services.
    pub file: Option<At<String>>,
    /// The service within the Compose file. Default: `{service}` with `dir` and with `recreate`, `{service}-{slot}` with
    /// `file`.
    pub service: Option<At<String>>,
    /// The Compose project. Default: `{service}-{slot}` with `dir`, Compose's own with `file` and with `recreate`.
    pub project: Option<At<String>>,
    /// Where Docker's engine is on the environment's hosts: `unix:///run/user/1000/docker.sock`, or `tcp://HOST:PORT` (with
    /// `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` as for `docker`). Default: where `docker` on the host finds it, by
    /// `DOCKER_HOST`, `DOCKER_CONTEXT` or its current context.
    pub docker_host: Option<At<String>>,
    /// Files of yours that `lockgate setup` puts into that folder on the host: the Compose file first, under its own name; others
    /// keep their place below its folder. Text or a list; relative ones start at this file's folder. Default: what is on the host
    /// stays.
    pub upload: Option<At<Words>>,
}

/// A program of this machine or host, started directly.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct Process {
    /// Where pid files and logs live on the host, in a folder for each environment and service. Default: `.lockgate`
    /// beside this file.
    pub dir: Option<At<String>>,
}

/// One of `builtin`, `caddy` and `nginx`; `none` is written as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Router {
    pub builtin: Option<At<Builtin>>,
    pub caddy: Option<At<Caddy>>,
    pub nginx: Option<At<Nginx>>,
}

impl ShortForm for Router {
    const EXPECTS: &'static str =
        "`builtin`, `caddy`, `nginx`, `none`, or a mapping with one of the first three";
    fn short() -> Schema {
        json_schema!({ "enum": ["builtin", "caddy", "nginx", "none"] })
    }
}

/// Lockgate's own reverse proxy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct Builtin {
    /// Address and port it listens on. Default: `127.0.0.1:8080`.
    pub listen: Option<At<String>>,
    /// The host name that leads to the service, as in `{service}.example.com`. Default: any.
    pub host: Option<At<String>>,
    /// Several host names.
    pub hosts: Option<At<Vec<At<String>>>>,
    /// The path prefix that leads to the service.
    pub path: Option<At<String>>,
    /// How long a slot may take to begin its response; then the client is told 504. Default: `60s`.
    pub response_timeout: Option<At<Span>>,
    /// How long the body of a request or a response may stand still before it is given up: a client that sends or takes
    /// less than a kibibyte in that time, a slot that sends nothing. Streams such as `text/event-stream` may pause for as
    /// long as they like. Default: `60s`.
    pub stall_timeout: Option<At<Span>>,
    /// Addresses or networks of the proxies in front, such as `10.0.0.0/8`: their `X-Forwarded-For`, `-Proto` and
    /// `-Host` are passed on, everybody else's are replaced. Default: none.
    pub trusted_proxies: Option<At<Vec<At<String>>>>,
    /// Where its socket and state live on the host. Default: `.lockgate/proxy` beside this file.
    pub dir: Option<At<String>>,
}

/// A Caddy that runs already, switched by a file that it reads or through its admin API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct Caddy {
    /// Its admin API as seen from the host. Default: `${DEPLOY_CADDY_API:-http://127.0.0.1:2019}`.
    pub admin: Option<At<String>>,
    /// `@id` of the object that has `upstreams`. Empty (`""`): found by what it dials, as a Caddyfile has no ids.
    /// Default: `{service}_upstream`.
    pub id: Option<At<String>>,
    /// What Caddy dials for a slot; must name `{slot}`. Default: `{service}-{slot}:{port}`.
    pub dial: Option<At<String>>,
    /// URL on the host for asking through the router. Default: found in Caddy's configuration.
    pub ask: Option<At<String>>,
    /// A Caddyfile snippet on the host to keep in step, so that a restart comes back to the live slot.
    pub snippet: Option<At<String>>,
    /// What a switch changes: `file`, the service's `active_color`, which Caddy 2.8 or later reads at each request (`doctor` shows
    /// what its configuration has to say), so that no connection is ever lost; or `admin`, its configuration. Default: `file`
    /// where Caddy's configuration goes by it.
    #[schemars(with = "Option<SwitchName>")]
    pub switch: Option<At<String>>,
    /// With the file: its path as Caddy sees it, where a container has the folder elsewhere. Default: as on the host.
    pub active_color: Option<At<String>>,
    /// With the file: the Caddyfile or JSON on the host that Caddy was started with, for where its admin API cannot be asked.
    /// Default: `/etc/caddy/Caddyfile`.
    pub config: Option<At<String>>,
}

/// What a switch of Caddy changes.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(
    dead_code,
    reason = "names the values in the schema; the value itself is read as text, for its place"
)]
enum SwitchName {
    File,
    Admin,
}

/// One of `http`, `command` and, below `before`, `soak`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `http`, `command` or `soak`")]
#[schemars(extend("oneOf" = [{ "required": ["http"] }, { "required": ["command"] }, { "required": ["soak"] }]))]
pub struct Gate {
    /// What it is called in output. Default: made from what it does.
    pub name: Option<At<String>>,
    pub http: Option<At<Http>>,
    pub command: Option<At<Either<Command>>>,
    /// Below `before`: what is promoted must have been live and healthy in `from` for a time.
    pub soak: Option<At<Soak>>,
}

/// Asks paths and looks at statuses, bodies and latency. Without `in` and `url` it looks at this environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping; `{}` takes every default")]
pub struct Http {
    /// The environment to look at.
    #[serde(rename = "in")]
    pub environment: Option<At<String>>,
    /// A base URL to look at. It is shown in output and kept with plans.
    pub url: Option<At<String>>,
    /// Default: the service's health path and critical paths. They are kept with plans; output has no queries.
    #[serde(default)]
    pub paths: Vec<At<String>>,
    /// `200`, `2xx` or `200-399`. Default: `2xx`.
    pub status: Option<At<Status>>,
    /// Text the body must contain.
    pub body: Option<At<String>>,
    /// The 95th percentile of a path's samples must not be slower.
    pub latency_p95: Option<At<Span>>,
    /// Requests for each path, 1 to 1000. Default: 5.
    pub samples: Option<At<Whole>>,
    /// Pause between two. Default: 200ms.
    pub interval: Option<At<Span>>,
    /// Instead of `samples`: how long the paths are asked again and again, 1s to 1h. It ends early when it can no longer
    /// pass.
    #[serde(rename = "for")]
    pub span: Option<At<Span>>,
    /// With `for`: how often each path is asked, 100ms or more. Default: 2s.
    pub every: Option<At<Span>>,
    /// With `for`: how many requests for one path may fail. Default: 0.
    pub failures: Option<At<Whole>>,
    /// Longest wait for one. Default: 5s.
    pub timeout: Option<At<Span>>,
}

/// A program on this machine; its exit code is the answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a command line or a mapping")]
pub struct Command {
    /// A list, or text that is split at blanks and quotes. No shell is involved, and no `${NAME}` is filled in: the
    /// command finds it in its environment.
    pub run: At<Words>,
    /// Longest run. Default: 10m.
    pub timeout: Option<At<Span>>,
    /// Exit codes that pass. Default: `[0]`.
    pub pass: Option<At<Vec<At<Whole>>>>,
    /// Exit codes that say *not yet*. Default: `[75]`.
    pub not_yet: Option<At<Vec<At<Whole>>>>,
}

impl ShortForm for Command {
    const EXPECTS: &'static str = "a command line, or a mapping with `run`, `timeout`, `pass`, `not_yet`";
}

/// The login for one registry.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `user` and `password`")]
pub struct RegistryLogin {
    /// The account's name; for `ghcr.io` any.
    pub user: At<String>,
    /// Its password or access token, best as `${REGISTRY_PASSWORD:-}`. Empty: there is no login here.
    pub password: At<String>,
}

/// How `ssh` is called.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct Ssh {
    /// More options, such as `-i key`: a list, or text that is split at blanks and quotes. Default: `${DEPLOY_SSH_OPTS}`.
    pub options: Option<At<Words>>,
    /// Default: `${DEPLOY_SSH_PORT}`, else ssh's own.
    pub port: Option<At<Whole>>,
    /// Accept a host key that is not in `known_hosts` yet. A changed one is always refused. Default: false.
    pub accept_new_host_keys: Option<At<bool>>,
    /// The private key that hosts are shown, whole and without a passphrase, best as `${SSH_PRIVATE_KEY:-}`: for CI, which has no
    /// `~/.ssh`. It is never written to a disk. Empty or left out: the agent's keys and those that your ssh finds.
    pub key: Option<At<String>>,
    /// The only host keys that are believed, as `ssh-keyscan HOST` prints them, best as `${KNOWN_HOSTS:-}`. Empty or left out:
    /// your own `known_hosts`.
    pub known_hosts: Option<At<String>>,
    /// Who logs in on hosts that are written without `user@`, best as `${DEPLOY_USER:-}`. Empty or left out: ssh's own choice.
    pub user: Option<At<String>>,
}
