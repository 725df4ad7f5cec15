//! `run-schedule`: does what is due, for cron.

use async_trait::async_trait;
use lockgate_model::{
    Exit, Handled, Refusal, Report, Resumed, ScheduledEnd, ScheduledWord, Timestamp, TurnTold,
};
use lockgate_orchestrator::{Face, Handle, Scheduler, Turned};
use lockgate_plan::schedule::Due;
use lockgate_render::{dark_text, failure_text, outcome_text, turn_text};

use super::Context;
use super::follow::Signals;
use super::schedule::{Scheduled, scheduled, scheduler, turn};
use crate::args::{Format, Global, RunSchedule};
use crate::error::CliError;
use crate::output::Output;
use crate::schedule_files;
use crate::sink::Screen;

/// A service that is due, and for which tick.
type DueAt<'a> = (Scheduled<'a>, Timestamp);

pub async fn run(args: &RunSchedule, global: &Global, output: &Output) -> Result<Exit, CliError> {
    if !args.log {
        return logged(args, &Context::load_whole(global, output).await?).await;
    }
    // No colours in a file. A configuration that was named is trusted, so what is wrong with it is in the log, too.
    let output = &Output::new(&Global { no_color: true, ..global.clone() });
    if let Some(named) = &global.config {
        schedule_files::redirect(named)?;
    }
    let context = Context::load_whole(global, output).await?;
    if global.config.is_none() {
        schedule_files::redirect(&context.path)?;
    }
    let ended = logged(args, &context).await;
    // It is another one than that whose messages are waited for at the end of every command.
    output.tell_the_rest().await;
    ended
}

async fn logged(args: &RunSchedule, context: &Context<'_>) -> Result<Exit, CliError> {
    let scheduled = scheduled(context, args.service.as_deref())?;
    let _alone = schedule_files::alone(&context.project.root)?;
    let scheduler = scheduler(context, context.working());
    let mut whole = Whole { context, scheduler: &scheduler, word: ScheduledWord::Nothing, handled: 0 };
    let due = whole.due(&scheduled, args.now).await;
    if due.is_empty() && whole.handled == 0 {
        whole.nothing_is_due(&scheduled, args.log);
        return Ok(Exit::from(whole.word));
    }
    if !due.is_empty() && context.output.format == Format::Text {
        let now = scheduler.here.rfc3339(scheduler.clock.now());
        context.output.text(&format!("{now} the schedule of {}: {} due", context.project.name, due.len()));
    }
    let screen = Screen::new(context.output);
    let mut shown = Shown { context, screen: &screen, signals: Signals::listen() };
    for (one, tick) in due {
        // What is left was not begun, and is made up for by the next call.
        if shown.signals.asked_to_end {
            whole.word = whole.word.or_worse(ScheduledWord::Failed);
            break;
        }
        let turned = scheduler.handle(&mut shown, &turn(one), tick).await;
        whole.told(one, &turned);
    }
    screen.finish();
    Ok(whole.tell())
}

/// Sessions on the screen, with who may stop them.
struct Shown<'a> {
    context: &'a Context<'a>,
    screen: &'a Screen,
    signals: Signals,
}

#[async_trait(?Send)]
impl Face for Shown<'_> {
    async fn report(&mut self, session: Handle<Report>) -> Result<Report, Refusal> {
        self.signals.end_of(self.context, self.screen, session).await
    }

    async fn resumed(&mut self, session: Handle<Resumed>) -> Result<Resumed, Refusal> {
        self.signals.end_of(self.context, self.screen, session).await
    }

    async fn end_asked(&mut self) {
        self.signals.end_asked().await;
    }
}

/// What all services together came to.
struct Whole<'a> {
    context: &'a Context<'a>,
    scheduler: &'a Scheduler,
    word: ScheduledWord,
    handled: usize,
}

impl Whole<'_> {
    /// The services whose time it is; what was missed is told.
    async fn due<'s>(&mut self, all: &[Scheduled<'s>], now_asked: bool) -> Vec<DueAt<'s>> {
        let now = self.scheduler.clock.now();
        let mut due = Vec::new();
        for one in all {
            let turn = turn(*one);
            if now_asked {
                due.push((*one, now));
                continue;
            }
            let told = match self.scheduler.due(&turn, now).await {
                Ok(Due::Now { tick }) => {
                    due.push((*one, tick));
                    continue;
                }
                Ok(Due::Later { .. }) => continue,
                Ok(Due::Missed { tick }) => self.scheduler.miss(&turn, tick, now).await,
                Err(failure) => Err(failure),
            };
            let handled = told.unwrap_or_else(|failure| {
                let end = ScheduledEnd::Failed { tag: None, how: ScheduledWord::Failed, failure };
                Handled { tick: now, at: now, end }
            });
            self.told(*one, &Turned { handled, report: None, forgotten: None });
        }
        due
    }

    /// Tells what a service's tick came to.
    fn told(&mut self, (environment, service, schedule): Scheduled<'_>, turned: &Turned) {
        let Turned { handled, report, forgotten } = turned;
        self.handled += 1;
        self.word = self.word.or_worse(handled.end.word());
        if forgotten.is_some() {
            self.word = self.word.or_worse(ScheduledWord::Failed);
        }
        let (output, zone) = (self.context.output, schedule.zone(&self.scheduler.here));
        let forgotten = forgotten.as_ref();
        if output.format == Format::Json {
            let told = TurnTold::new(&environment.name, &service.name, zone, handled, forgotten);
            let mut told = serde_json::json!(told);
            told["exit"] = Exit::from(handled.end.word()).code().into();
            if let Some(report) = report.as_ref().filter(|report| !report.dark.is_empty()) {
                told["dark_ms"] = serde_json::json!(report.dark);
            }
            output.json(&told);
            return;
        }
        output.text(&output.masked(&turn_text(
            &environment.name,
            &service.name,
            zone,
            handled,
            output.paint,
        )));
        if let (Some(report), ScheduledEnd::Ran { .. }) = (report, &handled.end) {
            output.text(&outcome_text(&report.outcome, &report.plan, output.paint));
            if !report.dark.is_empty() {
                output.text(&dark_text(&report.dark));
            }
        }
        if let Some(failure) = forgotten {
            let text = failure_text(failure, output.paint);
            output.text(&format!("what this came to is not remembered, and may be done again: {text}"));
        }
    }

    /// In a log nothing is said, for cron may call every few minutes.
    fn nothing_is_due(&self, all: &[Scheduled<'_>], in_log: bool) {
        let now = self.scheduler.clock.now();
        let here = &self.scheduler.here;
        let ticks = all.iter().filter_map(|one| Some((one.2.next_after(here, now)?, one)));
        let next = ticks.min_by_key(|(tick, _)| *tick);
        let output = self.context.output;
        match (output.format, next) {
            (Format::Json, _) => drop(self.tell()),
            (Format::Text, _) if in_log => {}
            (Format::Text, Some((tick, (environment, service, schedule)))) => output.text(&format!(
                "nothing is due; the next is {} in {} at {}",
                service.name,
                environment.name,
                schedule.zone(here).rfc3339(tick)
            )),
            (Format::Text, None) => output.text("nothing is due, and nothing will be"),
        }
    }

    /// The end of the whole, as the last thing said.
    fn tell(&self) -> Exit {
        let exit = Exit::from(self.word);
        let output = self.context.output;
        let at = self.scheduler.here.rfc3339(self.scheduler.clock.now());
        match output.format {
            Format::Json => output.json(&serde_json::json!({
                "event": "result", "at": at, "handled": self.handled, "word": self.word, "exit": exit.code(),
            })),
            Format::Text => {
                let word = match self.word {
                    ScheduledWord::Nothing => "nothing to do".to_owned(),
                    word => word.as_str().replace('_', " "),
                };
                output.text(&format!("{at} the schedule of {}: {word}", self.context.project.name));
            }
        }
        exit
    }
}
