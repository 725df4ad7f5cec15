//! Data on stdout, everything else on stderr.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use lockgate_config::ConfigError;
use lockgate_model::{Mask, Refusal};
use lockgate_orchestrator::Teller;
use lockgate_render::{Paint, clean, failure_text, harmless, harmless_json, outcome_text};
use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::{Format, Global};
use crate::error::CliError;
use crate::secrets;
use crate::typed::Typed;

/// ANSI: cursor home, clear to the end.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub struct Output {
    pub format: Format,
    pub quiet: bool,
    pub verbose: u8,
    pub paint: Paint,
    /// Of this machine's environment; a project's own secrets are masked where its runs are told.
    mask: Mask,
    pub typed: Typed,
    colour: bool,
    /// Through whom people are told.
    tellers: Mutex<Vec<Teller>>,
}

impl Output {
    pub fn new(global: &Global) -> Self {
        let colour =
            !global.no_color && std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal();
        Self {
            format: global.format,
            quiet: global.quiet,
            verbose: global.verbose,
            paint: Paint::new(colour),
            mask: Mask::of(&secrets::of_environment()),
            typed: Typed::new(global),
            colour,
            tellers: Mutex::default(),
        }
    }

    /// Warnings of drivers and notifiers go to stderr; `LOCKGATE_LOG` overrides what is shown. A daemon also says what it does, and
    /// when, unless systemd's journal notes that; as JSON where that is asked for.
    pub fn trace(&self, is_daemon: bool) {
        let default = default_filter(self.quiet, self.verbose, is_daemon);
        let filter = std::env::var("LOCKGATE_LOG").unwrap_or_else(|_| default.to_owned());
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_writer(Log { mask: self.mask.clone(), colour: self.colour })
            .with_target(false)
            .with_ansi(self.colour);
        let is_set = match (is_daemon, self.format) {
            (true, Format::Json) => {
                tracing::subscriber::set_global_default(subscriber.json().flatten_event(true).finish())
            }
            (true, Format::Text) if std::env::var_os("JOURNAL_STREAM").is_none() => {
                tracing::subscriber::set_global_default(subscriber.finish())
            }
            _ => tracing::subscriber::set_global_default(subscriber.without_time().finish()),
        };
        if is_set.is_err() {
            tracing::debug!("tracing was set up already");
        }
    }

    /// What is told through this one is waited for when the command is over.
    pub fn also_tells(&self, teller: Teller) {
        self.tellers.lock().unwrap_or_else(PoisonError::into_inner).push(teller);
    }

    /// Waits some seconds for what people are still to be told. Ctrl-C ends that.
    pub async fn tell_the_rest(&self) {
        let tellers = std::mem::take(&mut *self.tellers.lock().unwrap_or_else(PoisonError::into_inner));
        if tellers.is_empty() {
            return;
        }
        let all = futures_util::future::join_all(tellers.iter().map(Teller::finish));
        let interrupted = tokio::select! {
            biased;
            _ = all => false,
            _ = tokio::signal::ctrl_c() => true,
        };
        if interrupted {
            tellers.iter().for_each(Teller::give_up);
        }
    }

    /// What hosts, registries and programs said, without secrets.
    pub fn masked(&self, text: &str) -> String {
        self.mask.hide(text.to_owned())
    }

    /// Text for people, on stdout.
    pub fn text(&self, text: &str) {
        self.line(&mut std::io::stdout(), &self.typed.in_text(text));
    }

    /// What others wrote, on stdout, without hints of ours to complete.
    pub fn verbatim(&self, text: &str) {
        self.line(&mut std::io::stdout(), text);
    }

    /// What makes a terminal's screen empty, on stdout.
    pub fn clear(&self) {
        line(&mut std::io::stdout(), CLEAR);
    }

    /// One object on one line, on stdout; its members in the order of the alphabet.
    pub fn json(&self, value: &impl Serialize) {
        self.object(serde_json::to_value(value));
    }

    /// One object on one line, on stdout; its members as they are declared.
    pub fn declared(&self, value: &impl Serialize) {
        if self.typed.adds_nothing() {
            return self.written(serde_json::to_string(value));
        }
        self.json(value);
    }

    fn object(&self, value: serde_json::Result<serde_json::Value>) {
        self.written(value.and_then(|mut value| {
            self.typed.in_json(&mut value);
            serde_json::to_string(&value)
        }));
    }

    /// JSON that people read too, on stdout.
    pub fn document(&self, value: &impl Serialize) {
        self.written(serde_json::to_string_pretty(value));
    }

    fn written(&self, json: serde_json::Result<String>) {
        match json {
            Ok(text) => line(&mut std::io::stdout(), &harmless_json(&text)),
            Err(error) => tracing::error!(%error, "a result could not be written as JSON"),
        }
    }

    /// Something beside the result, on stderr.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.line(&mut std::io::stderr(), &self.typed.in_text(text));
        }
    }

    /// The one place that prints errors.
    pub fn error(&self, error: &CliError) {
        let masked = masked(error, &self.mask);
        let error = masked.as_ref().unwrap_or(error);
        if self.format == Format::Json {
            self.object(error_json(error));
        }
        let text = error_text(error, self.paint);
        self.line(&mut std::io::stderr(), &self.typed.in_text(&text));
    }

    /// An error as [`Output::error`] prints it in JSON.
    pub fn error_value(&self, error: &CliError) -> serde_json::Result<serde_json::Value> {
        let masked = masked(error, &self.mask);
        error_json(masked.as_ref().unwrap_or(error))
    }

    fn line(&self, writer: &mut impl Write, text: &str) {
        line(writer, &harmless(text.trim_end(), self.colour));
    }
}

/// The log: each event is one line, whatever is in it, and tells no secret.
struct Log {
    mask: Mask,
    colour: bool,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

impl Write for &Log {
    /// The formatter writes an event whole.
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = self.mask.hide(String::from_utf8_lossy(event).trim_end_matches('\n').to_owned());
        let text = harmless(&text, self.colour).replace('\n', "\\n");
        std::io::stderr().write_all(format!("{text}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// What is shown of the log: with `-v` what caused an error, with `-vv` what the drivers do, with `-vvv` the libraries too.
fn default_filter(quiet: bool, verbose: u8, is_daemon: bool) -> &'static str {
    match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) if is_daemon => "lockgate=info,warn",
        (false, 0) => "warn",
        (false, 1) => "lockgate::causes=debug,warn",
        (false, 2) => "lockgate=debug,warn",
        (false, _) => "debug",
    }
}

/// The error as it is told, where something is in it that hosts, registries or programs said.
fn masked(error: &CliError, mask: &Mask) -> Option<CliError> {
    match error {
        CliError::Refusal(refusal) => Some((**refusal).clone().masked(mask).into()),
        // It blanks secrets out by itself.
        CliError::Config(_) => None,
    }
}

/// An error as people read it, on stderr.
fn error_text(error: &CliError, paint: Paint) -> String {
    match error {
        CliError::Refusal(refusal) => match (refusal.as_ref(), refusal.failure()) {
            (Refusal::Stuck { outcome, plan, .. }, _) => outcome_text(outcome, plan, paint),
            (_, Some(failure)) => format!("{}: {}", paint.red("error"), failure_text(failure, paint)),
            (other, None) => format!("{}: {other}", paint.red("error")),
        },
        CliError::Config(config) => config_text(config, paint),
    }
}

/// Every problem begins like any other error: with its kind.
fn config_text(error: &ConfigError, paint: Paint) -> String {
    let texts = error.problems().map(|problem| {
        let kind = problem.kind.as_str().replace('_', " ");
        format!("{}: {}: {}", paint.red("error"), paint.red(&kind), clean(&error.said(problem)))
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn error_json(error: &CliError) -> serde_json::Result<serde_json::Value> {
    match error {
        CliError::Refusal(refusal) => serde_json::to_value(refusal.line()),
        CliError::Config(config) => Ok(serde_json::json!({
            "event": "error",
            "error": {
                "kind": config.kind().as_str(),
                "message": config.message(),
                "hint": config.hint(),
                "file": config.file(),
                "line": config.line(),
                "column": config.column(),
                "problems": config.to_json()["problems"],
            },
            "exit": error.exit().code(),
        })),
    }
}

/// A reader that went away (`| head`) is no reason to fail: the exit code tells how the command ended.
fn line(writer: &mut impl Write, text: &str) {
    if let Err(error) = writeln!(writer, "{text}") {
        tracing::debug!(%error, "the output could not be written");
    }
}

#[cfg(test)]
mod errors;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use lockgate_model::Failure;
    use lockgate_ports::PortError;

    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(verbose: u8) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(default_filter(false, verbose, false)))
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let cause = std::io::Error::other("certificate has expired");
            drop(Failure::from(PortError::unreachable("cannot connect to web1").caused_by(cause)));
            drop(Failure::from(PortError::unreachable("web2 is gone")));
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_caused_an_error_is_logged_from_the_first_v_on() {
        assert_eq!(logged(0), "");
        for verbose in 1..=3 {
            let said = logged(verbose);
            let wanted = "unreachable: cannot connect to web1; because of: certificate has expired";
            assert!(said.contains(wanted) && said.lines().count() == 1, "-v times {verbose}: {said}");
        }
    }
}
