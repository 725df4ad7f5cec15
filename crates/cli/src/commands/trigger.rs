//! `trigger`: asks a daemon for a deployment, from CI.

mod commit;
mod files;
mod job;
mod words;

use std::sync::Arc;

use lockgate_client::{Address, Asked, Client, End, Heard, NoAnswer, Options};
use lockgate_model::{Failure, FailureKind, Refusal, TriggerLine};
use lockgate_render::answer_text;

use super::follow::Signals;
use crate::args::{Format, Trigger};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::sink::Screen;
use job::GithubJob;

pub async fn run(args: &Trigger, output: &Output) -> Result<Exit, CliError> {
    let address =
        Address::new(&args.url, args.plain_http).map_err(|bad| CliError::usage(bad.message, bad.hint))?;
    let secret = files::secret(args.secret_file.as_deref(), &|name| std::env::var(name).ok())?;
    let roots = args.cacert.as_deref().map(files::roots).transpose()?;
    let committed_at = match args.committed_at {
        Some(at) => Some(at),
        None => commit::time(&std::env::current_dir()?, &args.sha).await,
    };
    let asked =
        Asked { service: args.service.clone(), sha: args.sha.clone(), committed_at, force: args.force };
    let job = GithubJob::here(&asked, &address.to_string(), output);
    let client = Client::new(Options {
        address,
        secret,
        roots,
        limit: args.timeout,
        wait: args.wait,
        clock: Arc::new(lockgate_local::now),
    })?;
    let screen = Screen::new(output);
    job.begins();
    let end = follow(&client, &asked, &screen).await;
    screen.finish();
    let end = end.map(|end| words::own(end, args.cacert.as_deref()));
    job.ends(&end);
    told(end, &job, output)
}

/// The call's end. Whoever is asked to stop leaves it, for the daemon goes on.
async fn follow(client: &Client, asked: &Asked, screen: &Screen) -> Result<End, NoAnswer> {
    let mut signals = Signals::listen();
    let mut run = None;
    let mut hears = |heard: Heard| match heard {
        Heard::Accepted(named) => {
            run = named;
            screen.note(&match named {
                Some(run) => format!("accepted as run {run}"),
                None => "accepted".to_owned(),
            });
        }
        Heard::Told(told) => screen.tell(&told),
        Heard::Note(note) => screen.note(&note),
    };
    let ended = tokio::select! {
        biased;
        end = client.trigger(asked, &mut hears) => Some(end),
        _ = signals.next() => None,
    };
    ended.unwrap_or_else(|| {
        let failure = Failure::new(FailureKind::Cancelled, "interrupted; what was asked for goes on there");
        Err(NoAnswer::Unknown { failure, run })
    })
}

fn told(end: Result<End, NoAnswer>, job: &GithubJob<'_>, output: &Output) -> Result<Exit, CliError> {
    let End { http, answer } = match end {
        Ok(end) => end,
        Err(error) => return Err(refusal(error).into()),
    };
    let line = TriggerLine::new(http, answer);
    match output.format {
        Format::Json => output.json(&line),
        Format::Text => {
            let text = output.masked(&answer_text(&line.answer, output.paint));
            output.text(&job.inert(&text));
        }
    }
    Ok(line.exit())
}

/// With the exit code of [`NoAnswer::exit`].
fn refusal(error: NoAnswer) -> Refusal {
    match error {
        NoAnswer::Wrong(failure) => Refusal::Usage { failure },
        NoAnswer::Unsent(failure) => Refusal::Failed { failure },
        NoAnswer::Unknown { failure, .. } => Refusal::Midway { failure },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_answered_the_exit_code_is_the_client_s() {
        let failure = || Failure::new(FailureKind::TimedOut, "x");
        for error in [
            NoAnswer::Wrong(failure()),
            NoAnswer::Unsent(failure()),
            NoAnswer::Unknown { failure: failure(), run: None },
        ] {
            assert_eq!(refusal(error.clone()).exit(), error.exit(), "{error:?}");
        }
    }
}
