//! This machine's systemd, by `systemctl` and `journalctl`.

use std::path::Path;

use lockgate_local::Local;
use lockgate_model::{Failure, FailureKind, Millis};
use lockgate_ports::{Command, Host, Output};

use crate::error::CliError;

/// sd_booted(3): there where systemd runs the machine.
const BOOTED: &str = "/run/systemd/system";
/// Longest call: a start waits until the daemon listens.
const CALL_SECONDS_MAX: u64 = 90;
/// Lines of the unit's own log that an error shows.
const LOG_LINES: &str = "12";

pub struct Systemd<'h> {
    host: &'h Local,
}

impl<'h> Systemd<'h> {
    /// `None`: something else runs this machine.
    pub fn here(host: &'h Local) -> Option<Self> {
        Path::new(BOOTED).is_dir().then_some(Self { host })
    }

    async fn call(&self, argv: &[&str]) -> Result<Output, CliError> {
        let mut command = Command::new(argv.iter().copied());
        command.timeout = Millis::from_secs(CALL_SECONDS_MAX);
        Ok(self.host.exec(&command).await?)
    }

    /// Whether a question such as `is-active` is answered with yes.
    pub async fn is(&self, question: &str, unit: &str) -> Result<bool, CliError> {
        Ok(self.call(&["systemctl", "--quiet", question, unit]).await?.ok())
    }

    /// # Errors
    /// What `systemctl` says, with the end of the unit's log.
    pub async fn run(&self, argv: &[&str], unit: &str) -> Result<(), CliError> {
        let output = self.call(argv).await?;
        if output.ok() {
            return Ok(());
        }
        let said = output.stderr_text();
        let first = said.lines().next().unwrap_or("it said nothing").trim();
        let message = format!("`{}` failed: {first}", argv.join(" "));
        let failure = Failure::new(FailureKind::Other, message)
            .hint(format!("`journalctl -u {unit}` has all that it said"));
        let log = self.call(&["journalctl", "-u", unit, "-n", LOG_LINES, "-o", "cat", "--no-pager"]).await;
        let logs = log.map(|log| log.stdout_text().lines().map(str::to_owned).collect()).unwrap_or_default();
        Err(Failure { logs, ..failure }.into())
    }
}
