//! Starting: on this machine without a script around the launcher, elsewhere by one script.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::Duration;

use lockgate_ports::{Host, PortError};
use tokio::io::AsyncReadExt;

use crate::record::PidFile;
use crate::script;

/// What the service sees of the orchestrator's environment when both are on one machine.
const PASSED_ON: [&str; 11] = [
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
/// The first word of what the launcher says, and room for what a shell may add.
const SAID_BYTES_MAX: u64 = 4096;
/// Others may read what a service prints, as before.
const LOG_MODE: u32 = 0o644;

/// A start that has been written down.
pub(crate) struct Launch<'a> {
    /// Start of the names of the slot's files.
    pub prefix: &'a str,
    pub token: &'a str,
    /// Working folder, absolute.
    pub folder: &'a str,
    /// The service's program and its arguments.
    pub argv: Vec<String>,
    /// May hold secrets.
    pub env: BTreeMap<&'a str, &'a str>,
}

impl Launch<'_> {
    /// Ends what earlier starts left behind, puts the last log aside, and starts. What the launcher said: `started`
    /// right before it becomes the service, or `error` and why.
    ///
    /// # Errors
    /// As the host.
    pub(crate) async fn run(&self, host: &dyn Host, what: &str) -> Result<String, PortError> {
        if host.id().is_local() { self.here(host, what).await } else { self.there(host, what).await }
    }

    async fn there(&self, host: &dyn Host, what: &str) -> Result<String, PortError> {
        let fixed = [self.prefix, script::LAUNCHER, self.token, self.folder];
        let mut command =
            script::command(script::LAUNCH, fixed.into_iter().chain(self.argv.iter().map(String::as_str)));
        for (name, value) in &self.env {
            command = command.env(*name, *value);
        }
        Ok(script::run(host, what, &command).await?.stdout_text())
    }

    async fn here(&self, host: &dyn Host, what: &str) -> Result<String, PortError> {
        let before = PidFile::all(self.prefix)?;
        if before.iter().any(PidFile::may_have_left_something) {
            let command = script::command(script::LEFTOVERS, [self.prefix]);
            script::run(host, what, &command).await?;
        }
        let log = format!("{}.log", self.prefix);
        let failed = |error: std::io::Error| PortError::from(error).context(&log);
        if std::fs::metadata(&log).is_ok_and(|meta| meta.len() > 0) {
            std::fs::rename(&log, format!("{log}.1")).map_err(failed)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(LOG_MODE).open(&log).map_err(failed)?;
        let said = self.spawn(file, what).await?;
        // Litter now, and gone by name: a look for them now could find the next start's.
        for file in before {
            if let Err(error) = std::fs::remove_file(&file.path) {
                tracing::debug!(%error, path = file.path, "a pid file stays behind");
            }
        }
        Ok(said)
    }

    /// The launcher is a child in a session of its own. It has said all it will when its end of the pipe closes, which
    /// is right before it becomes the service.
    async fn spawn(&self, log: std::fs::File, what: &str) -> Result<String, PortError> {
        // What it says goes where its output is now; what it prints later goes where its errors are now.
        let launcher = format!("exec 3>&1 1>&2\n{}", script::LAUNCHER);
        let mut process = tokio::process::Command::new("setsid");
        process.args(["sh", "-c", &launcher, "sh", self.prefix, self.token, self.folder]).args(&self.argv);
        process.env_clear();
        process.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        process.envs(&self.env);
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let failed = |error: std::io::Error| PortError::from(error).context(what);
        let mut child = process.spawn().map_err(failed)?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = stdout.take(SAID_BYTES_MAX);
            let bound = Duration::from_secs(script::SCRIPT_SECONDS_MAX);
            match tokio::time::timeout(bound, stdout.read_to_string(&mut said)).await {
                Ok(read) => drop(read.map_err(failed)?),
                Err(_) => {
                    return Err(PortError::timed_out(format!(
                        "{what}: the launcher said nothing within {} s",
                        script::SCRIPT_SECONDS_MAX
                    )));
                }
            }
        }
        // Dropping the child leaves the process alone; tokio collects it should it end while we still run.
        Ok(said)
    }
}
