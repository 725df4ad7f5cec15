//! Programs on this machine.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_ports::{Command, CommandRunner, Ended, LineSink, Lines, Output, PortError, Tail};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;

use crate::ending::{Ending, KILL_GRACE_SECONDS, Under};
use crate::host::aside;

/// It is looked so often whether anything of a command is left.
const LEFT_LOOK_MILLIS: u64 = 10;
/// How long a program's outputs are read after its end: something it left behind may hold them open for ever.
const OUTPUT_LINGER_MILLIS_MAX: u64 = 500;
/// Bytes of a command's output that are kept, from the end.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// What is read of a program's outputs after its end, at most: what it wrote itself is in the pipes, which have less room.
const LEFT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Runs a command to its end, as [`lockgate_ports::Host::exec`] says.
pub(crate) async fn run(command: &Command, ending: &Ending) -> Result<Output, PortError> {
    let mut running = start(command, ending).await?;
    match tokio::time::timeout(command.timeout.duration(), running.finish(&command.stdin)).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(PortError::from(error).with_unknown_effect().context(name(command))),
        Err(_) => Err(too_long(command)),
    }
}

/// Runs a command to its end and tells its lines, as [`lockgate_ports::Host::exec_lines`] says.
pub(crate) async fn tell(
    command: &Command,
    ending: &Ending,
    sink: &mut dyn LineSink,
) -> Result<Ended, PortError> {
    let mut running = start(command, ending).await?;
    match tokio::time::timeout(command.timeout.duration(), running.tell(&command.stdin, sink)).await {
        Ok(Ok(ended)) => Ok(ended),
        Ok(Err(error)) => Err(PortError::from(error).with_unknown_effect().context(name(command))),
        Err(_) => Err(too_long(command)),
    }
}

/// Aside, for it waits until the child has become the program, which comes from a disk. Where nobody waits for it any more
/// by then, it is not started; what was started just then is killed.
async fn start(command: &Command, ending: &Ending) -> Result<Running, PortError> {
    let (here, wanted, ending) = (Arc::new(()), command.clone(), ending.clone());
    let caller = Arc::downgrade(&here);
    let started = aside(move || match caller.strong_count() {
        0 => Err(PortError::other("nobody waits for it any more").without_effect()),
        _ => Running::spawn(&wanted, ending),
    });
    let running = started.await;
    drop(here);
    running
}

fn too_long(command: &Command) -> PortError {
    PortError::timed_out(format!("{} did not end within {}", name(command), command.timeout))
}

/// The program alone: arguments may be long, and are the caller's to show.
fn name(command: &Command) -> &str {
    command.argv.first().map_or("(empty command)", String::as_str)
}

/// A program and its process group. Dropped before its end, the whole group is killed.
struct Running {
    /// `None` once it has ended.
    child: Option<Child>,
    group: Pid,
    /// Counts what was dropped and has not ended.
    ending: Ending,
    /// Its outputs once more: where nobody reads them any more, what says something while it tidies up would die of that.
    outputs: Vec<OwnedFd>,
}

impl Running {
    fn spawn(command: &Command, ending: Ending) -> Result<Running, PortError> {
        let [program, arguments @ ..] = command.argv.as_slice() else {
            return Err(PortError::other("an empty command cannot be run").without_effect());
        };
        let mut process = tokio::process::Command::new(program);
        process.args(arguments).envs(&command.env).process_group(0);
        process.stdin(if command.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        process.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(cwd) = &command.cwd {
            process.current_dir(cwd);
        }
        let child = process.spawn().map_err(|error| {
            let place = command.cwd.as_ref().map(|cwd| format!(" in {cwd}")).unwrap_or_default();
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let failed =
                PortError::from(error).context(format!("cannot run {program}{place}")).without_effect();
            if missing { failed.hint(format!("is {program} installed and on PATH?")) } else { failed }
        })?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| PortError::other(format!("{program} has no process id")))?;
        let outputs = [child.stdout.as_ref().map(AsFd::as_fd), child.stderr.as_ref().map(AsFd::as_fd)];
        let outputs = outputs.into_iter().flatten().map(|output| output.try_clone_to_owned());
        let outputs = outputs.collect::<std::io::Result<_>>()?;
        Ok(Running { child: Some(child), group, ending, outputs })
    }

    async fn finish(&mut self, stdin: &[u8]) -> std::io::Result<Output> {
        let (mut out, mut err) = (Tail::new(OUTPUT_BYTES_MAX), Tail::new(OUTPUT_BYTES_MAX));
        let status = match &mut self.child {
            Some(child) => wait(child, stdin, &mut out, &mut err).await?,
            None => return Err(std::io::Error::other("the program has already ended")),
        };
        self.child = None;
        Ok(Output { code: code(status), stdout: out.take(), stderr: err.take() })
    }

    async fn tell(&mut self, stdin: &[u8], sink: &mut dyn LineSink) -> std::io::Result<Ended> {
        let ended = match &mut self.child {
            Some(child) => listen(child, stdin, sink).await?,
            None => return Err(std::io::Error::other("the program has already ended")),
        };
        self.child = None;
        Ok(ended)
    }
}

/// As [`wait`], and what the program says is told line by line. Nothing is lost by a slow listener: only the time counts in
/// which nothing could be read.
async fn listen(child: &mut Child, input: &[u8], sink: &mut dyn LineSink) -> std::io::Result<Ended> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut lines = Lines::new(stdout, stderr, sink);
    let mut write = pin!(async { if let Some(to) = stdin { feed(to, input).await } else { Ok(()) } });
    let (mut is_fed, mut left) = (false, LEFT_BYTES_MAX);
    let mut status: Option<ExitStatus> = None;
    while left > 0 {
        tokio::select! {
            more = lines.more() => match more? {
                0 => break,
                more if status.is_some() => left = left.saturating_sub(more),
                _ => {}
            },
            written = &mut write, if !is_fed => {
                written?;
                is_fed = true;
            }
            ended = child.wait(), if status.is_none() => status = Some(ended?),
            // Whoever still holds the outputs is not the program.
            () = tokio::time::sleep(Duration::from_millis(OUTPUT_LINGER_MILLIS_MAX)), if status.is_some() => break,
        }
        lines.tell().await;
    }
    let status = match status {
        Some(status) => status,
        None => child.wait().await?,
    };
    Ok(lines.end(code(status)).await)
}

/// Feeds the program and reads it at once, so that neither side can block the other.
async fn wait(
    child: &mut Child,
    input: &[u8],
    out: &mut Tail,
    err: &mut Tail,
) -> std::io::Result<ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let talk = async {
        let read_out = async { if let Some(from) = stdout { out.fill(from).await } else { Ok(()) } };
        let read_err = async { if let Some(from) = stderr { err.fill(from).await } else { Ok(()) } };
        let write = async { if let Some(to) = stdin { feed(to, input).await } else { Ok(()) } };
        tokio::try_join!(read_out, read_err, write).map(|_| ())
    };
    tokio::pin!(talk);
    tokio::select! {
        result = &mut talk => {
            result?;
            child.wait().await
        }
        status = child.wait() => {
            let status = status?;
            // Whoever still holds the outputs is not the program: what it wrote is in the pipes already.
            let linger = Duration::from_millis(OUTPUT_LINGER_MILLIS_MAX);
            if let Ok(result) = tokio::time::timeout(linger, &mut talk).await {
                result?;
            }
            Ok(status)
        }
    }
}

/// Writes all and closes. A program need not read its input: a broken pipe is no error.
async fn feed(mut to: impl AsyncWrite + Unpin, input: &[u8]) -> std::io::Result<()> {
    match to.write_all(input).await {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let group = Doomed { group: self.group, _under: self.ending.begin() };
        let outputs = std::mem::take(&mut self.outputs);
        signal(self.group, Signal::TERM);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let group = group;
                let gone = async {
                    let ended = child.wait().await;
                    while test_kill_process_group(group.group).is_ok() {
                        tokio::time::sleep(Duration::from_millis(LEFT_LOOK_MILLIS)).await;
                    }
                    ended
                };
                let gone = async {
                    tokio::select! {
                        ended = gone => ended,
                        never = read_away(outputs) => match never {},
                    }
                };
                let ended = tokio::time::timeout(Duration::from_secs(KILL_GRACE_SECONDS), gone).await;
                tracing::debug!(
                    group = group.group.as_raw_nonzero().get(),
                    in_time = ended.is_ok(),
                    "killing a command"
                );
            });
        }
    }
}

/// Reads what nobody wants to know any more.
async fn read_away(outputs: Vec<OwnedFd>) -> std::convert::Infallible {
    let each = outputs.into_iter().filter_map(|output| Receiver::from_owned_fd(output).ok());
    let all = each.map(|mut output| async move {
        // An output that cannot be read is as good as one that has ended.
        drop(tokio::io::copy(&mut output, &mut tokio::io::sink()).await);
    });
    let reading: Vec<_> = all.map(tokio::spawn).collect();
    let _all = Reading(reading);
    std::future::pending().await
}

/// Ended when this is dropped.
struct Reading(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// A process group that is killed for good when this goes, also when the runtime ends first.
struct Doomed {
    group: Pid,
    /// Until it was killed.
    _under: Under,
}

impl Drop for Doomed {
    fn drop(&mut self) {
        signal(self.group, Signal::KILL);
    }
}

/// No such group means that it has ended already, which is what is wanted.
fn signal(group: Pid, signal: Signal) {
    match kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => {
            tracing::warn!(%error, group = group.as_raw_nonzero().get(), "a command could not be killed")
        }
    }
}

/// Programs on this machine for gates, run in one folder.
#[derive(Debug, Clone)]
pub struct LocalRunner {
    /// The project's folder: where a command without `cwd` runs and where a relative one starts.
    pub cwd: PathBuf,
}

#[async_trait]
impl CommandRunner for LocalRunner {
    async fn run(&self, command: &Command) -> Result<Output, PortError> {
        let cwd = match &command.cwd {
            Some(cwd) => self.cwd.join(cwd),
            None => self.cwd.clone(),
        };
        let cwd = cwd.to_str().ok_or_else(|| PortError::other(format!("{} is not UTF-8", cwd.display())))?;
        run(&command.clone().cwd(cwd), &Ending::default()).await
    }
}
