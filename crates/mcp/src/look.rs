//! The tools that change nothing.

use lockgate_model::{
    Exit, GateAnswer, HostLog, LogLine, Mask, Moment, PastRun, Refusal, ServiceStatus, StatusLine, shortened,
};
use lockgate_orchestrator::Past;
use lockgate_render::rfc3339;

use crate::answer::{Answer, Checked, Logs, Runs, Statuses};
use crate::args;
use crate::desk::Opened;

/// All lines of one answer; of more, the last ones of each host.
const LOG_BYTES_MAX: usize = 128 * 1024;
/// A longer line is cut.
const LINE_CHARS_MAX: usize = 2_000;

pub(crate) async fn status(opened: &Opened, asked: &args::Status) -> Result<Answer, Refusal> {
    let (service, environment) =
        opened.asked(asked.environment.as_deref())?.status(asked.service.as_deref())?;
    let seen = opened.orchestrator.status(service.as_ref(), Some(&environment)).await?;
    let services = seen.iter().map(|status| StatusLine::of(status, rfc3339)).collect();
    Ok(Answer::new(&Statuses { services, exit: ServiceStatus::exit(&seen).code() }, false))
}

pub(crate) async fn check(opened: &Opened, asked: &args::Check, moment: Moment) -> Result<Answer, Refusal> {
    let want = opened.asked(asked.environment.as_deref())?.check(&asked.service, moment)?;
    let gates = opened.orchestrator.check(&want).await?;
    let exit = GateAnswer::exit(&gates).code();
    Ok(Answer::new(&Checked { gates, exit }, false))
}

pub(crate) async fn history(opened: &Opened, asked: &args::History) -> Result<Answer, Refusal> {
    args::at_most("limit", asked.limit, args::RUNS_MAX)?;
    let past = Past {
        service: asked.service.as_deref(),
        digest: asked.digest.as_deref(),
        before: asked.before.as_deref(),
        limit: asked.limit,
    };
    let filter = opened.asked(asked.environment.as_deref())?.history(&past)?;
    let runs: Vec<PastRun> = opened.orchestrator.history(&filter).await?;
    let next = runs.last().map(|run| run.run).filter(|_| runs.len() == asked.limit as usize);
    Ok(Answer::new(&Runs { runs, next }, false))
}

pub(crate) async fn logs(opened: &Opened, asked: &args::Logs) -> Result<Answer, Refusal> {
    args::at_most("lines", asked.lines, args::LINES_MAX)?;
    let want = opened.asked(asked.environment.as_deref())?.logs(
        &asked.service,
        asked.slot.as_deref(),
        asked.lines,
    )?;
    let logs = opened.orchestrator.logs(&want).await?;
    // An app prints its own secrets, and what is answered here leaves this machine.
    let variables =
        opened.project.services.get(&want.service).into_iter().flat_map(|service| service.env.values());
    let mask = Mask::of(variables);
    let hide = |text: String| opened.mask.hide(mask.hide(text));
    let of_each = LOG_BYTES_MAX / logs.len().max(1);
    let mut answer = Logs { lines: Vec::new(), notes: Vec::new(), failures: Vec::new(), exit: 0 };
    for log in logs {
        let host = log.host.clone();
        answer.notes.extend(log.because.as_ref().map(|because| format!("{host}: {because}")));
        answer.notes.extend(nothing_said(&log));
        let (lines, left_out) = last(log.lines(), of_each, &hide);
        if left_out > 0 {
            answer
                .notes
                .push(format!("{host}: {left_out} older lines are left out, for they are too long together"));
        }
        answer.lines.extend(lines);
        if let Some(failure) = log.failure {
            answer.failures.push(mask.failure(opened.mask.failure(failure)));
            answer.exit = Exit::Failed.code();
        }
    }
    let is_error = answer.exit != 0;
    Ok(Answer::new(&answer, is_error))
}

fn nothing_said(log: &HostLog) -> Option<String> {
    let host = &log.host;
    match (log.slot, &log.failure) {
        (_, Some(_)) => None,
        (None, None) => Some(format!("{host}: no slot is live; name one as `slot`")),
        (Some(slot), None) if log.lines.is_empty() => {
            Some(format!("{host}: {slot} is not there, or has said nothing"))
        }
        (Some(_), None) => None,
    }
}

/// The last lines that have room, and how many have not.
fn last(lines: Vec<LogLine>, bytes_max: usize, hide: &impl Fn(String) -> String) -> (Vec<LogLine>, usize) {
    let all = lines.len();
    let mut bytes = 0;
    let mut kept: Vec<LogLine> = Vec::new();
    for line in lines.into_iter().rev() {
        // Masked before it is cut, so that no half of a secret is left.
        let text = shortened(hide(line.line), LINE_CHARS_MAX);
        bytes += text.len();
        if bytes > bytes_max {
            break;
        }
        kept.push(LogLine { line: text, ..line });
    }
    kept.reverse();
    let left_out = all - kept.len();
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use lockgate_model::{HostId, Slot};

    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine { host: HostId::local(), slot: Slot::Blue, line: text.to_owned() }
    }

    #[test]
    fn of_a_long_log_the_last_lines_are_kept_and_the_others_counted() {
        let as_it_is = |text: String| text;
        let lines = vec![line("first"), line("second"), line("third")];
        assert_eq!(last(lines.clone(), 100, &as_it_is), (lines.clone(), 0));
        assert_eq!(last(lines.clone(), 11, &as_it_is), (lines[1..].to_vec(), 1));
        assert_eq!(last(lines, 2, &as_it_is), (Vec::new(), 3));
    }

    #[test]
    fn a_secret_that_stands_across_the_cut_is_hidden() {
        let hide = |text: String| text.replace("hunter2", "***");
        let text = format!("{}hunter2", "x".repeat(LINE_CHARS_MAX - 3));
        let (kept, _) = last(vec![line(&text)], LOG_BYTES_MAX, &hide);
        assert_eq!(kept[0].line, format!("{}***", "x".repeat(LINE_CHARS_MAX - 3)));
    }
}
