//! Caddy's configuration: as it runs, else as its file is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, Millis};
use lockgate_ports::{Command, PortError};
use serde_json::Value;

use crate::caddy::Caddy;

/// Where Debian's package, and Caddy's own unit, have it.
pub(crate) const CADDYFILE: &str = "/etc/caddy/Caddyfile";
/// Longest wait for `caddy adapt`.
const ADAPT_SECONDS_MAX: u64 = 10;
/// How long an adapted file is believed before it is adapted again, for that starts a program.
const ADAPTED_SECONDS_MAX: u64 = 10;

/// Where a configuration was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Caddy itself said so: it is what runs.
    Admin,
    /// The file with this path, which Caddy may have been started with.
    File(String),
}

#[derive(Clone)]
pub(crate) struct Configuration {
    pub value: Value,
    pub source: Source,
}

/// Reads it; remembers for a moment what a file was adapted to.
pub(crate) struct Reader {
    /// Path on the host of the Caddyfile or the JSON.
    file: Option<String>,
    adapted: std::sync::Mutex<Option<(Instant, Configuration)>>,
    /// Caddy has said it itself. When it is silent after that it is away, and a file is only a guess at what it comes back with.
    has_said: AtomicBool,
}

impl Reader {
    pub(crate) fn new(file: Option<String>) -> Self {
        Self { file, adapted: std::sync::Mutex::default(), has_said: AtomicBool::new(false) }
    }

    fn adapted(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Configuration)>> {
        self.adapted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where nobody said which file it is, one that does not know the service is not Caddy's, and not to be believed.
    pub(crate) fn is_wrong_guess(&self, read: &Configuration) -> bool {
        let guessed = self.file.is_none() && matches!(read.source, Source::File(_));
        if guessed {
            *self.adapted() = None;
        }
        guessed
    }

    /// # Errors
    /// `Unreachable` when neither the admin API answers nor the file can be read; its hint says which file was looked for.
    pub(crate) async fn read(&self, caddy: &Caddy) -> Result<Configuration, PortError> {
        let known = self.adapted().clone();
        if let Some((at, known)) = known
            && at.elapsed() < Duration::from_secs(ADAPTED_SECONDS_MAX)
        {
            return Ok(known);
        }
        let silent = match caddy.config().await {
            // It is just starting.
            Ok(Value::Null) => PortError::unreachable("Caddy has no configuration yet"),
            Ok(value) => {
                self.has_said.store(true, Ordering::Relaxed);
                return Ok(Configuration { value, source: Source::Admin });
            }
            Err(error) if error.kind == FailureKind::Unauthorized || error.is_silence() => error,
            Err(error) => return Err(error),
        };
        if silent.is_silence() && self.has_said.load(Ordering::Relaxed) {
            return Err(silent);
        }
        let path = self.file.as_deref().unwrap_or(CADDYFILE);
        let value = self.adapt(caddy, path).await.map_err(|error| {
            let message = format!("{}; and {path} was not understood: {}", silent.message, error.message);
            PortError::new(silent.kind, message).caused_by(silent).hint(
                "set `router.caddy.config` to the Caddyfile (or JSON) that Caddy was started with, or let its admin API be asked",
            )
        })?;
        let read = Configuration { value, source: Source::File(path.to_owned()) };
        *self.adapted() = Some((Instant::now(), read.clone()));
        Ok(read)
    }

    /// By the host's own `caddy`, for a Caddyfile imports others and reads the environment; JSON is read as it stands.
    async fn adapt(&self, caddy: &Caddy, path: &str) -> Result<Value, PortError> {
        let host = caddy.options.host.as_ref();
        let text = if path.ends_with(".json") {
            let content = host.read(path).await?.content;
            content.ok_or_else(|| PortError::not_found(format!("{path} is not there")))?
        } else {
            let command = Command::new(["caddy", "adapt", "--config", path]);
            let output = host.exec(&command.timeout(Millis::from_secs(ADAPT_SECONDS_MAX))).await?;
            if !output.ok() {
                let said = String::from_utf8_lossy(&output.stderr);
                let last = said.trim().lines().next_back().unwrap_or_default();
                let said = lockgate_model::quoted(last, lockgate_model::TOLD_CHARS_MAX);
                return Err(PortError::other(format!("`caddy adapt` ended with {}: {said}", output.code)));
            }
            output.stdout
        };
        serde_json::from_slice(&text)
            .map_err(|error| PortError::other(format!("what {path} comes to is not JSON: {error}")))
    }
}
