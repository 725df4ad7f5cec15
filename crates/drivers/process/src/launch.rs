//! Starting: on this machine from here, elsewhere by one script.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lockgate_own::OwnError;
use lockgate_ports::{Host, PortError};
use rustix::io::Errno;
use tokio::process::Child;

use crate::pre_exec::{self, PreExec};
use crate::record::PidFile;
use crate::script;

/// What the service sees of the orchestrator's environment when both are on one machine.
pub(crate) const PASSED_ON: [&str; 11] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
];
/// A service may print secrets.
const LOG_MODE: u32 = 0o600;
/// How long a start looks for a listener, and how often.
const BOOT_MILLIS_MAX: u64 = 20;
const BOOT_LOOK_MICROS: u64 = 100;

/// The process, where it is a child of this one; the error says why it did not become the service.
pub(crate) type Started = Result<Option<Child>, String>;

/// A start that has been written down.
pub(crate) struct Launch<'a> {
    /// Start of the names of the slot's files.
    pub prefix: &'a str,
    pub token: &'a str,
    /// Where it will listen.
    pub port: u16,
    /// Working folder, absolute.
    pub folder: &'a str,
    /// The service's program and its arguments; not empty.
    pub argv: Vec<String>,
    /// May hold secrets.
    pub env: BTreeMap<&'a str, &'a str>,
}

impl Launch<'_> {
    /// Ends what earlier starts left behind, puts the last log aside, and starts.
    ///
    /// # Errors
    /// As the host.
    pub(crate) async fn run(&self, host: &dyn Host, what: &str) -> Result<Started, PortError> {
        match host.id().is_local() {
            true => Ok(self.here(host, what).await?.map(Some)),
            false => Ok(self.there(host, what).await?.map(|()| None)),
        }
    }

    async fn there(&self, host: &dyn Host, what: &str) -> Result<Result<(), String>, PortError> {
        let fixed = [self.prefix, script::LAUNCHER, self.token, self.folder];
        let mut command =
            script::command(script::LAUNCH, fixed.into_iter().chain(self.argv.iter().map(String::as_str)));
        for (name, value) in &self.env {
            command = command.env(*name, *value);
        }
        let said = script::run(host, what, &command).await?.stdout_text();
        Ok(match said.trim() {
            "started" => Ok(()),
            said => Err(said.strip_prefix("error ").unwrap_or("the launcher said nothing").to_owned()),
        })
    }

    async fn here(&self, host: &dyn Host, what: &str) -> Result<Result<Child, String>, PortError> {
        let before = PidFile::all(self.prefix)?;
        if before.iter().any(|file| file.run.is_some()) {
            let command = script::command(script::LEFTOVERS, [self.prefix]);
            script::run(host, what, &command).await?;
        }
        let started = self.spawn(what).await?;
        // Litter now, and gone by name: a look for them now could find the next start's. Nobody waits for them to go.
        drop(tokio::task::spawn_blocking(move || remove(&before)));
        Ok(started.map_err(|error| self.why_not(&error)))
    }

    /// Ends when the process has become the service. Beside, for that waits for the child and its disk.
    async fn spawn(&self, what: &str) -> Result<io::Result<Child>, PortError> {
        let mut process = tokio::process::Command::new(&self.argv[0]);
        process.args(&self.argv[1..]).current_dir(self.folder).env_clear();
        process.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        process.envs(&self.env);
        PreExec::prepare(self.prefix, self.token)?.arrange(&mut process);
        // Dropping the child leaves the process alone; tokio collects it should it end while we still run.
        let (port, log) = (self.port, format!("{}.log", self.prefix));
        let spawned = tokio::task::spawn_blocking(move || {
            let failed = |error: OwnError| PortError::from(error).context(&log);
            let out = new_log(Path::new(&log)).map_err(failed)?;
            let errors = out.try_clone().map_err(|error| failed(error.into()))?;
            process.stdin(Stdio::null()).stdout(out).stderr(errors);
            let child = process.spawn();
            if child.is_ok() {
                look_for_listener(port);
            }
            Ok(child)
        });
        match tokio::time::timeout(Duration::from_secs(script::SCRIPT_SECONDS_MAX), spawned).await {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => Err(PortError::unreachable(format!("{what}: the start was cut off: {error}"))),
            Err(_) => Err(PortError::timed_out(format!(
                "{what}: the process did not become the service within {} s",
                script::SCRIPT_SECONDS_MAX
            ))),
        }
    }

    fn why_not(&self, error: &io::Error) -> String {
        let program = &self.argv[0];
        match error.raw_os_error() {
            _ if pre_exec::was_superseded(error) => {
                "another start or stop of this slot came in between".to_owned()
            }
            _ if !Path::new(self.folder).is_dir() => "the working folder cannot be entered".to_owned(),
            Some(number) if number == Errno::NOEXEC.raw_os_error() => {
                format!("{program} is no program of this machine's kind, nor a script that begins with #!")
            }
            _ => format!("{program}: {error}"),
        }
    }
}

/// The log of the next run; what the last one printed is put aside.
fn new_log(log: &Path) -> Result<File, OwnError> {
    let before = log.with_extension("log.1");
    lockgate_own::own_file(&before)?;
    lockgate_own::own_file(log)?;
    if let Ok(seen) = log.symlink_metadata() {
        // Earlier versions let others read it.
        if seen.permissions().mode() & !LOG_MODE & 0o777 != 0 {
            std::fs::set_permissions(log, Permissions::from_mode(LOG_MODE))?;
        }
        if seen.len() > 0 {
            std::fs::rename(log, before)?;
        }
    }
    lockgate_own::open_own(log, OpenOptions::new().append(true).create(true).mode(LOG_MODE))
}

/// Waits a moment for a program that boots at once, for health checks are at least a millisecond or two apart.
fn look_for_listener(port: u16) {
    let (address, bound) =
        (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_millis(BOOT_MILLIS_MAX));
    let limit = Instant::now() + bound;
    while TcpStream::connect_timeout(&address, bound).is_err() && Instant::now() < limit {
        std::thread::sleep(Duration::from_micros(BOOT_LOOK_MICROS));
    }
}

fn remove(files: &[PidFile]) {
    for file in files {
        if let Err(error) = std::fs::remove_file(&file.path) {
            tracing::debug!(%error, path = file.path, "a pid file stays behind");
        }
    }
}
