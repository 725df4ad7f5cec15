//! A command whose lines are told as they come.

use async_trait::async_trait;
use lockgate_ports::{Command, Ended, Host, Line, LineSink, Lines, Pipe, PortError};
use openssh::ChildStdin;
use tokio::io::AsyncWriteExt;

use crate::host::{Ssh, not_started};
use crate::own_session::{self, OwnSession};
use crate::script;
use crate::session::Broken;
use crate::trouble;
use crate::worker::nonce;

const LINES: &str = include_str!("sh/lines.sh");

/// Runs it within its bound, which counts from here. Dropped or too late, its session's input ends, which ends the command.
pub(crate) async fn tell(host: &Ssh, command: &Command, sink: &mut dyn LineSink) -> Result<Ended, PortError> {
    let line = script::command(command).map_err(PortError::without_effect)?;
    match tokio::time::timeout(command.timeout.duration(), run(host, command, &line, sink)).await {
        Ok(result) => result,
        Err(_) => {
            Err(PortError::timed_out(format!("ssh {}: not done within {}", host.id(), command.timeout)))
        }
    }
}

async fn run(
    host: &Ssh,
    command: &Command,
    line: &[u8],
    sink: &mut dyn LineSink,
) -> Result<Ended, PortError> {
    let link = host.link().await?;
    let error = match attempt(host, &link, command, line, sink).await {
        Err(Broken::Before(error)) => error,
        Err(Broken::Midway(error)) => {
            host.forget(&link).await;
            return Err(error);
        }
        Ok(ended) => return ended,
    };
    tracing::debug!(host = %host.id(), %error, "trying again on a new connection");
    host.forget(&link).await;
    let link = host.link().await?;
    match attempt(host, &link, command, line, sink).await {
        Err(Broken::Before(error)) => Err(error.without_effect()),
        Err(Broken::Midway(error)) => Err(error),
        Ok(ended) => ended,
    }
}

/// One session.
async fn attempt(
    host: &Ssh,
    link: &crate::link::Link,
    command: &Command,
    line: &[u8],
    sink: &mut dyn LineSink,
) -> Result<Result<Ended, PortError>, Broken> {
    let nonce = nonce().map_err(|error| Broken::Before(error.into()))?;
    let mut own_session = own_session::open(host.id(), link, command.stdin.len(), &[LINES], &nonce).await?;
    let midway = |error: std::io::Error| Broken::Midway(trouble::broken(host.id(), error));
    let mut sink = Unstarted { sink, held: None };
    let ended = {
        let OwnSession { stdin, out, err, .. } = &mut own_session;
        let mut lines = Lines::new(Some(out), Some(err), &mut sink);
        listen(stdin, &[line, &command.stdin], &mut lines).await.map_err(midway)?;
        lines.end(0).await
    };
    let code = own_session.code(host.id()).await.map_err(Broken::Midway)?;
    let held = sink.held.take();
    if let Some(error) = held.as_ref().and_then(|line| not_started(host.id(), command, code, &line.text)) {
        return Ok(Err(error));
    }
    if let Some(line) = held {
        sink.sink.line(line).await;
    }
    Ok(Ok(Ended { code, ..ended }))
}

/// Sends the parts, and tells what comes beside that. The input stays open.
async fn listen<O, E>(
    stdin: &mut Option<ChildStdin>,
    parts: &[&[u8]],
    lines: &mut Lines<'_, O, E>,
) -> std::io::Result<()>
where
    O: tokio::io::AsyncRead + Unpin,
    E: tokio::io::AsyncRead + Unpin,
{
    let mut send = std::pin::pin!(send(stdin, parts));
    let mut is_sent = false;
    loop {
        tokio::select! {
            more = lines.more() => if more? == 0 { return Ok(()) },
            sent = &mut send, if !is_sent => {
                sent?;
                is_sent = true;
            }
        }
        lines.tell().await;
    }
}

/// A program need not read its input: a broken pipe is no error.
async fn send(stdin: &mut Option<ChildStdin>, parts: &[&[u8]]) -> std::io::Result<()> {
    let Some(stdin) = stdin else { return Ok(()) };
    for part in parts {
        match stdin.write_all(part).await {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// Holds back the line that says that the program could not be started, until it is known that it is none of the program's.
struct Unstarted<'a> {
    sink: &'a mut dyn LineSink,
    held: Option<Line>,
}

#[async_trait]
impl LineSink for Unstarted<'_> {
    async fn line(&mut self, line: Line) {
        if line.pipe == Pipe::Stdout {
            return self.sink.line(line).await;
        }
        if let Some(held) = self.held.take() {
            self.sink.line(held).await;
        }
        match line.text.starts_with(script::NOT_STARTED) {
            true => self.held = Some(line),
            false => self.sink.line(line).await,
        }
    }
}
