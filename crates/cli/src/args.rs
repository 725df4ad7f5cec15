//! The command line.

mod exec;
mod init;
mod promote;
mod ship;
mod trigger;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub use exec::Exec;
pub use init::{By, GithubActions, Init, InitOther};
pub use promote::Promote;
pub use ship::{Ship, ShipJob};
pub use trigger::Trigger;

/// Deploys containers and processes without dropping a request, and rolls back by itself.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, about, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 succeeded or nothing to do · 1 failed, nothing was changed · 2 usage or \
configuration error · 3 rolled back, the previous release is live · 4 stuck, look now · 5 a gate said not yet · \
6 someone else holds the lease · 7 the outcome is unknown, `lockgate status` says what is live · of `exec` the program's own, 125 for its own errors";

#[derive(Debug, Clone, ClapArgs)]
pub struct Global {
    /// The configuration; default: lockgate.yaml here or in a folder above
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The environment; default: the only one that has hosts (`init` writes one of that name, else prod)
    #[arg(long, global = true, value_name = "NAME", env = "LOCKGATE_ENV")]
    pub env: Option<String>,
    /// `json` prints one JSON object per line on stdout
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Only errors and results
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More detail; twice for what the drivers do
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No colours (also NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look around in this folder and write a lockgate.yaml; or a workflow for CI
    Init(Init),
    /// Check all that a deployment will need on every host
    Doctor {
        /// Default: all services
        service: Option<String>,
    },
    /// Print what a deployment would do
    Plan(Deploy),
    /// Deploy a release
    Deploy(Deploy),
    /// Test, build, push and deploy what is checked out here, where something has changed
    Ship(Ship),
    /// Take what is live in one environment to the next, once its gates are open
    Promote(Promote),
    /// What is live in every environment, side by side, and what holds the next promotion
    Tags {
        /// Default: all services
        service: Option<String>,
    },
    /// Bring back the previous release, or one from history
    Rollback {
        /// One of `services` in lockgate.yaml
        service: String,
        /// A tag or digest that the hosts still know; default: the one before
        release: Option<String>,
        #[command(flatten)]
        skip: Skip,
    },
    /// Run gates alone
    Check {
        /// One of `services` in lockgate.yaml
        service: String,
        /// Which of its gates
        #[arg(value_enum)]
        gates: GateSet,
    },
    /// What is live, where; with -v both slots beside what files and router say
    Status {
        /// Default: all services, which `all` also says
        service: Option<String>,
        /// Look again every second until Ctrl-C
        #[arg(short, long)]
        watch: bool,
    },
    /// Past runs, newest first; with --env only those of that environment
    ///
    /// What was refused before it began (no such image, a plan that cannot be made, somebody else at work) changed nothing and is
    /// no run: who asked was told, and so is everybody in `notify`; of signed calls `lockgate audit` has it.
    History(History),
    /// Signed calls to `lockgate serve`: who asked for what, from where, and what came of it, newest first. What was done by hand
    /// or by a schedule is in `history`
    Audit(Audit),
    /// A slot's last log lines
    Logs {
        /// One of `services` in lockgate.yaml
        service: String,
        /// Default: the live slot
        #[arg(long)]
        slot: Option<String>,
        /// Lines per host
        #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        lines: u32,
    },
    /// Run a program where a service's app runs
    Exec(Exec),
    /// Finish or undo a deployment that was cut off
    Resume {
        /// Default: all services
        service: Option<String>,
        #[command(flatten)]
        skip: Skip,
    },
    /// When releases go live by themselves: the last time and the next of each service
    Schedule {
        /// Default: all services that have a schedule
        service: Option<String>,
        /// Print the line for cron that calls `lockgate run-schedule`
        #[arg(long)]
        crontab: bool,
    },
    /// Deploy what the schedule says is due; for cron
    RunSchedule(RunSchedule),
    /// Ask a `lockgate serve` for a deployment and follow it to its end; for CI
    Trigger(Trigger),
    /// An agent's tools by the Model Context Protocol, on stdin and stdout
    Mcp(Mcp),
    /// Take signed calls, as CI makes them, and deploy: `serve` in lockgate.yaml
    Serve(Serve),
    /// Make hosts ready for their first deployment; with --daemon `lockgate serve` a service of this machine
    Setup(Setup),
    /// Show the main job on this machine, without Docker
    Demo,
    /// Print a completion script
    Completions { shell: clap_complete::Shell },
    /// Print the JSON schema of lockgate.yaml, for editors
    Schema,
    /// The built-in proxy; started by deployments that use it
    #[command(hide = true)]
    Proxy(Proxy),
    /// The app that `demo` deploys
    #[command(hide = true)]
    DemoApp { release: String },
}

#[derive(Debug, ClapArgs)]
pub struct RunSchedule {
    /// Default: all services that have a schedule
    pub service: Option<String>,
    /// Now, whether it is time or not
    #[arg(long)]
    pub now: bool,
    /// Write all output to .lockgate/schedule.log beside lockgate.yaml; beyond 1 MiB it is begun anew, and the one before
    /// stays as schedule.log.1
    #[arg(long)]
    pub log: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Mcp {
    /// Where a client cannot ask you, let the agent itself agree to what changes production: by the digest of a plan that it
    /// was shown
    #[arg(long)]
    pub agent_confirms: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// Say all that would be wrong: configuration, certificate, addresses, store, hosts; serve nothing
    #[arg(long)]
    pub check: bool,
    /// Replace the one that serves here by a new process of this program, without a refused connection; as SIGHUP does
    #[arg(long, conflicts_with = "check")]
    pub upgrade: bool,
    /// What this process was given by the one before it, or by systemd.
    #[arg(skip)]
    pub given: Option<crate::given::Given>,
}

#[derive(Debug, ClapArgs)]
pub struct Setup {
    /// Default: all of the environment's hosts
    #[arg(conflicts_with = "daemon")]
    pub hosts: Vec<String>,
    /// The unit that runs `lockgate serve` and brings what is live back after a reboot, with a socket of its own so that a
    /// restart refuses no call. Variables that lockgate.yaml names are kept in /etc/lockgate, readable by root alone
    #[arg(long)]
    pub daemon: bool,
    /// Show what would be made; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write units anew that are there with another content
    #[arg(long, requires = "daemon")]
    pub replace: bool,
    /// Write `.env` anew where somebody else wrote it; what is in it is lost
    #[arg(long, conflicts_with = "daemon")]
    pub overwrite_env: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Deploy {
    /// One of `services` in lockgate.yaml
    pub service: String,
    /// The image's tag, such as v2; without images: what {tag} in the command becomes
    pub tag: String,
    /// Without gates: health check, switch and the question through the router only
    #[arg(long)]
    pub only_swap: bool,
    /// Although this release is live: its environment or its Compose file has changed
    #[arg(long)]
    pub again: bool,
    #[command(flatten)]
    pub skip: Skip,
}

#[derive(Debug, ClapArgs)]
pub struct History {
    /// Default: all services
    pub service: Option<String>,
    /// Only runs of these bytes: `sha256:…`, as --format json shows it
    #[arg(long)]
    pub digest: Option<String>,
    /// Only runs that are older than this one: the last of a page gives the next page
    #[arg(long, value_name = "RUN")]
    pub before: Option<String>,
    /// How many
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

impl Serve {
    /// Whether it is the daemon itself, not a look at it or a word to it.
    pub fn serves(&self) -> bool {
        !self.check && !self.upgrade
    }
}

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Audit {
    #[command(subcommand)]
    pub what: Option<AuditCommand>,
    /// Only entries with a lower number: the last of a page gives the next page
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<u64>,
    /// How many
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no entry was changed, taken out or put in
    Verify {
        /// What an earlier check printed last: with it, entries that were cut off at the end are found too
        #[arg(long, value_name = "NUMBER:HASH")]
        kept: Option<String>,
    },
}

/// Hosts that are left out by name.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Skip {
    /// Leave this host out; may be given more than once. It is behind until a deployment reaches it
    #[arg(long = "skip", value_name = "HOST")]
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GateSet {
    /// The gates of `before`
    Regression,
    /// The gates of `after`
    Smoke,
}

#[derive(Debug, ClapArgs)]
pub struct Proxy {
    /// State folder
    #[arg(long)]
    pub dir: PathBuf,
    /// Address to listen on; may be given more than once
    #[arg(long)]
    pub listen: Vec<std::net::SocketAddr>,
    /// Hand the sockets of the proxy that runs in DIR over to this executable
    #[arg(long)]
    pub upgrade: bool,
    /// Start the proxy again whenever it dies, until it is asked to stop
    #[arg(long, conflicts_with = "upgrade")]
    pub supervise: bool,
}
