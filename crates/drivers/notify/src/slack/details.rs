//! Why something failed, and what to type, as Slack shows it.

use std::fmt::Write;

use lockgate_model::{Evidence, Failure};
use lockgate_ports::Message;

use super::bounded::Bounded;
use super::markup::{NAME_CHARS_MAX, code, escape};

/// Longest message or hint of a failure.
const SENTENCE_CHARS_MAX: usize = 600;
/// Longest of the three parts of a check.
const EVIDENCE_CHARS_MAX: usize = 80;
/// Checks shown of a gate that failed.
const EVIDENCE_LINES_MAX: usize = 5;
/// Last lines shown of a job that failed.
const JOB_LINES_MAX: usize = 10;
/// Longest of them.
const JOB_LINE_CHARS_MAX: usize = 160;
/// Commands shown; more than that is looked up with `lockgate status`.
const COMMANDS_MAX: usize = 40;
/// Longest command that is shown.
const COMMAND_CHARS_MAX: usize = 400;
/// Room for the line that says that commands are left out, and for the end of their block.
const COMMANDS_END_CHARS: usize = 60;
const FENCE: &str = "```";

/// The failure first, then the commands, as far as there is room.
pub(crate) fn push(text: &mut Bounded, message: &Message) {
    if let Some(failure) = &message.failure {
        push_failure(text, message, failure);
    }
    push_commands(text, &message.commands);
}

fn push_failure(text: &mut Bounded, message: &Message, failure: &Failure) {
    text.line(&first_line(message, failure));
    let failed: Vec<&Evidence> = failure.evidence.iter().filter(|one| !one.ok).collect();
    for one in failed.iter().take(EVIDENCE_LINES_MAX) {
        let [check, wanted, seen] =
            [&one.check, &one.wanted, &one.seen].map(|part| code(part, EVIDENCE_CHARS_MAX));
        text.line(&format!("• {check}: wanted {wanted}, saw {seen}"));
    }
    if failed.len() > EVIDENCE_LINES_MAX {
        text.line(&format!("• and {} more", failed.len() - EVIDENCE_LINES_MAX));
    }
    for hint in failure.hints.iter() {
        text.line(&format!("_Hint:_ {}", code(hint, SENTENCE_CHARS_MAX)));
    }
    // Of an application nothing is shown of what it said: it may say anything of anybody.
    if message.job.is_some() {
        push_last_lines(text, &failure.logs);
    }
}

fn first_line(message: &Message, failure: &Failure) -> String {
    let mut line = format!("*{}*", failure.kind.as_str());
    if let Some(job) = message.job {
        let _ = write!(line, " in the job *{}*", job.as_str());
    }
    if let Some(host) = &failure.host {
        let _ = write!(line, " on {}", code(host.as_str(), NAME_CHARS_MAX));
    }
    if let Some(slot) = failure.slot {
        let _ = write!(line, " in {slot}");
    }
    let _ = write!(line, ": {}", code(&failure.message, SENTENCE_CHARS_MAX));
    line
}

/// The last ones of them, as many as there is room for.
fn push_last_lines(text: &mut Bounded, lines: &[String]) {
    let mut room = text.room().saturating_sub(2 * (FENCE.len() + 1) + 1);
    let mut shown = Vec::new();
    for line in lines.iter().rev().take(JOB_LINES_MAX) {
        let line = block_line(line, JOB_LINE_CHARS_MAX);
        let chars = line.chars().count() + 1;
        if chars > room {
            break;
        }
        room -= chars;
        shown.push(line);
    }
    if !shown.is_empty() {
        shown.reverse();
        text.line(&format!("{FENCE}\n{}\n{FENCE}", shown.join("\n")));
    }
}

/// As a line of a block of code, cut to so many characters before it is escaped: three backticks would end the block.
fn block_line(line: &str, chars_max: usize) -> String {
    let line = line.replace(FENCE, "").replace(char::is_control, " ");
    let cut: String = line.chars().take(chars_max).collect();
    let cut = if cut.len() < line.len() { format!("{cut}…") } else { cut };
    escape(cut.trim_end())
}

/// As many of them as there is room for.
fn push_commands(text: &mut Bounded, commands: &[String]) {
    if commands.is_empty() {
        return;
    }
    let mut block = format!("Type, in this order:\n{FENCE}\n");
    let room = text.room().saturating_sub(block.chars().count() + 1 + COMMANDS_END_CHARS);
    let (mut used, mut shown) = (0, 0);
    for command in commands.iter().take(COMMANDS_MAX) {
        // No command that Lockgate prints has backticks. One that is cut would be another.
        let line = block_line(command, usize::MAX);
        let length = line.chars().count() + 1;
        if length > COMMAND_CHARS_MAX || used + length > room {
            break;
        }
        used += length;
        let _ = writeln!(block, "{line}");
        shown += 1;
    }
    if commands.len() > shown {
        let _ = writeln!(block, "# and {} more: see `lockgate status`", commands.len() - shown);
    }
    block.push_str(FENCE);
    text.line(&block);
}
