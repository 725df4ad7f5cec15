//! A program on this machine, whose exit code is the answer.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{CommandGate, Evidence, Millis, Vars};
use lockgate_ports::{Check, Command, CommandRunner, Gate, GateAnswer, GateSubject, OnHeadway, Output};

/// Output lines of a failed program that are told.
const LOG_LINES: usize = 20;
/// For looking whether a program is there.
const LOOK_SECONDS_MAX: u64 = 10;
/// From a program's end by force to its answer: the runner asks it to end, and kills it after some seconds.
const KILL_SECONDS_MAX: u64 = 5;

/// A command gate.
pub struct Program {
    gate: CommandGate,
    runner: Arc<dyn CommandRunner>,
}

impl Program {
    #[must_use]
    pub fn new(gate: CommandGate, runner: Arc<dyn CommandRunner>) -> Self {
        Self { gate, runner }
    }

    /// # Errors
    /// A placeholder that has no value: `{tag}` where nothing is live.
    fn command(&self, subject: &GateSubject) -> Result<Command, lockgate_model::TemplateError> {
        let release = subject.release.as_ref();
        let vars = Vars {
            service: Some(&subject.service),
            environment: Some(&subject.environment),
            slot: None,
            port: None,
            tag: release.map(|release| &release.tag),
            digest: release.map(|release| &release.digest),
        };
        let argv: Vec<String> =
            self.gate.argv.iter().map(|part| part.fill(&vars)).collect::<Result<_, _>>()?;
        let mut command = Command::new(argv)
            .env("LOCKGATE_SERVICE", subject.service.as_str())
            .env("LOCKGATE_ENVIRONMENT", subject.environment.as_str())
            .timeout(self.gate.timeout);
        if let Some(release) = release {
            command = command
                .env("LOCKGATE_TAG", release.tag.as_str())
                .env("LOCKGATE_DIGEST", release.digest.as_str());
        }
        Ok(command)
    }

    fn evidence(&self, check: String, seen: String, ok: bool) -> Evidence {
        let wanted = self.gate.pass.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        Evidence { check, wanted, seen, ok }
    }

    /// The program's name as it is configured.
    fn name(&self) -> &str {
        self.gate.argv.first().map_or("", |program| program.as_str())
    }
}

#[async_trait]
impl Gate for Program {
    async fn ask(&self, subject: &GateSubject, _: OnHeadway<'_>) -> GateAnswer {
        let command = match self.command(subject) {
            Ok(command) => command,
            Err(error) => {
                let check = format!("run {}", self.name());
                return GateAnswer::judge(vec![self.evidence(check, error.to_string(), false)]);
            }
        };
        let program = command.argv.first().cloned().unwrap_or_default();
        let seen =
            |code: i32, ok| vec![self.evidence(format!("exit code of {program}"), code.to_string(), ok)];
        match self.runner.run(&command).await {
            Ok(output) if self.gate.pass.contains(&output.code) => GateAnswer::judge(seen(output.code, true)),
            Ok(output) => {
                let evidence = seen(output.code, false);
                let answer = match self.gate.not_yet.contains(&output.code) {
                    true => GateAnswer::not_yet(evidence),
                    false => GateAnswer::judge(evidence),
                };
                answer.logs(tail(&output))
            }
            // It could not look.
            Err(error) => {
                let check = format!("run {program}");
                GateAnswer::judge(vec![self.evidence(check, error.message, false)]).logs(error.logs)
            }
        }
    }

    fn limit(&self) -> Millis {
        Millis(self.gate.timeout.0.saturating_add(Millis::from_secs(KILL_SECONDS_MAX).0))
    }

    /// Whether the program is there. One whose name is filled in by a deployment cannot be looked for before.
    async fn check(&self, what: &str, _: &GateSubject) -> Vec<Check> {
        let program = self.name();
        if program.is_empty() || program.contains('{') {
            return Vec::new();
        }
        let look = Command::new(["sh", "-c", "command -v -- \"$1\"", "sh", program])
            .timeout(Millis::from_secs(LOOK_SECONDS_MAX));
        vec![match self.runner.run(&look).await {
            Ok(output) if output.ok() => Check::ok(what, format!("{program} is there")),
            Ok(_) => Check::bad(
                what,
                format!("there is no program {program}"),
                "install it on this machine, or correct `command` of the gate",
            ),
            Err(error) => Check::bad(what, error.to_string(), "see that programs can be run on this machine"),
        }]
    }
}

/// What a runner keeps of each stream, from the end, in bytes.
const KEPT_BYTES: usize = 1024 * 1024;

/// Without the word that the beginning was cut off from: half a secret is not known as one.
fn whole(kept: &[u8]) -> Cow<'_, str> {
    let is_cut = kept.len() >= KEPT_BYTES;
    let rest = kept.iter().position(u8::is_ascii_whitespace).map_or(&kept[kept.len()..], |end| &kept[end..]);
    String::from_utf8_lossy(if is_cut { rest } else { kept })
}

fn tail(output: &Output) -> Vec<String> {
    let (out, err) = (whole(&output.stdout), whole(&output.stderr));
    let lines: Vec<&str> = out.lines().chain(err.lines()).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_wrote_last_is_told_but_no_half_word() {
        let said = |stdout: &[u8], stderr: &[u8]| {
            tail(&Output { code: 1, stdout: stdout.to_vec(), stderr: stderr.to_vec() })
        };
        assert_eq!(said(b"a\n\nb", b"c\n"), ["a", "", "b", "c"]);
        let mut full = b"ter2 and more\nlast\n".to_vec();
        full.splice(0..0, std::iter::repeat_n(b'x', KEPT_BYTES - full.len()));
        assert_eq!(said(&full, b""), [" and more", "last"]);
        assert_eq!(said(&[b'x'; KEPT_BYTES], b"c"), ["c"]);
    }
}
