//! The port `Host` over SSH.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lockgate_model::{FailureKind, HostId, Millis, Timestamp};
use lockgate_own::{Foreign, NOT_OURS};
use lockgate_ports::{
    Check, Command, Ended, Endpoint, FILE_BYTES_MAX, Host, HostFile, HostStream, LineSink, LockHolder,
    NAMES_MAX, Output, PortError, Swapped, TEMPORARY_SECONDS_MAX, Upload, Uploaded, readable,
};
use sha2::{Digest, Sha256};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, watch};

use crate::link::{Forwarding, Link};
use crate::script::{self, Line, Script};
use crate::session::{self, Again, Broken, Call};
use crate::{attach, doctor, lines, master, read_each, trouble, upload};

/// Longest file operation.
const FILE_TIMEOUT: Millis = Millis::from_secs(30);
/// How long a host that did not answer a new connection is not asked again.
const REST: Duration = Duration::from_secs(10);
/// Longest wait, on the host, for somebody else's swap of the same file, which takes milliseconds.
const LOCK_SECONDS_MAX: u64 = 10;
/// Room for the line with the clock that comes before a file.
const CLOCK_BYTES_MAX: usize = 64;
/// Output of a command that is kept, from the end.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
const KIBIBYTES_IN_MEBIBYTE: u64 = 1024;

/// A machine reached over SSH. The connection opens when first needed; dropping this closes it.
pub struct Ssh {
    id: HostId,
    settings: lockgate_model::Ssh,
    link: Mutex<LinkState>,
    /// Told each time the host falls silent.
    silence: watch::Sender<()>,
}

#[derive(Default)]
struct LinkState {
    open: Option<Arc<Link>>,
    /// Ends with the connection.
    watcher: Option<Watcher>,
    /// It was open once.
    answered: bool,
    /// When the last opening failed, and why.
    failed: Option<(Instant, PortError)>,
}

/// Waits for the end of a connection, until it is dropped.
struct Watcher(tokio::task::JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for the connection's end, and tells when that came because the host fell silent. It holds nothing that keeps the
/// connection open.
fn watch_for_silence(link: &Arc<Link>, silence: watch::Sender<()>) -> Watcher {
    let (socket, link) = (link.socket(), Arc::downgrade(link));
    Watcher(tokio::spawn(async move {
        master::gone(&socket).await;
        if link.upgrade().is_some_and(|link| link.tells_of_silence()) {
            silence.send_replace(());
        }
    }))
}

impl Ssh {
    /// `host` is what one would type after `ssh`. Does not connect yet.
    #[must_use]
    pub fn new(host: HostId, settings: &lockgate_model::Ssh) -> Ssh {
        Ssh { id: host, settings: settings.clone(), link: Mutex::default(), silence: watch::Sender::new(()) }
    }

    /// Closes the connection and waits until the master has gone.
    ///
    /// # Errors
    /// `Unreachable` when it had broken already; there is nothing left to close then.
    pub async fn close(self) -> Result<(), PortError> {
        let state = self.link.into_inner();
        drop(state.watcher);
        match state.open.map(Arc::try_unwrap) {
            Some(Ok(link)) => link.close(&self.id),
            // Nobody else can hold it: every holder borrows this host.
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// The open connection, or a new one. Callers beside each other share one opening, also one that fails: each by itself
    /// would wait for a dead host as long again. So would those that ask one after the other, which is why a host that did
    /// not answer is not asked again for a while.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, PortError> {
        let asked = Instant::now();
        let mut state = self.link.lock().await;
        if let Some(link) = state.open.as_ref() {
            return Ok(link.clone());
        }
        if let Some((at, error)) = state.failed.as_ref()
            && (*at >= asked || (error.kind == FailureKind::TimedOut && at.elapsed() < REST))
        {
            return Err(error.clone());
        }
        // Nothing was asked of a host that was not reached.
        match Link::open(&self.id, &self.settings, state.answered).await.map_err(PortError::without_effect) {
            Ok(link) => {
                let link = Arc::new(link);
                let watcher = Some(watch_for_silence(&link, self.silence.clone()));
                *state = LinkState { open: Some(link.clone()), watcher, answered: true, failed: None };
                Ok(link)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Forgets a connection that broke, unless somebody has already replaced it.
    pub(crate) async fn forget(&self, broken: &Arc<Link>) {
        let mut state = self.link.lock().await;
        if state.open.as_ref().is_some_and(|link| Arc::ptr_eq(link, broken)) {
            tracing::debug!(host = %self.id, "the ssh connection broke");
            (state.open, state.watcher) = (None, None);
            if broken.tells_of_silence() {
                self.silence.send_replace(());
            }
        }
    }

    /// Runs a script; once more on a new connection when the first one broke and that is safe. Whether it was done all the
    /// same is known here: not where it only looks, nor where it was not sent.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Output, PortError> {
        let asked = self.ask(call).await;
        asked.map_err(|error| if call.again == Again::Safe { error.without_effect() } else { error })
    }

    async fn ask(&self, call: &Call<'_>) -> Result<Output, PortError> {
        let link = self.link().await?;
        let error = match session::run(&self.id, &link, call).await {
            Ok(output) => return Ok(output),
            Err(Broken::Midway(error))
                if call.again == Again::Unsafe || error.kind == FailureKind::TimedOut =>
            {
                if error.kind != FailureKind::TimedOut {
                    self.forget(&link).await;
                }
                return Err(error);
            }
            Err(Broken::Before(error) | Broken::Midway(error)) => error,
        };
        tracing::debug!(host = %self.id, %error, "trying again on a new connection");
        self.forget(&link).await;
        let link = self.link().await?;
        match session::run(&self.id, &link, call).await {
            Ok(output) => Ok(output),
            Err(Broken::Before(error)) => Err(error.without_effect()),
            Err(Broken::Midway(error)) => Err(error),
        }
    }

    async fn look(&self, script: Script, line: &[u8]) -> Result<Output, PortError> {
        self.look_at(script, line, FILE_BYTES_MAX + CLOCK_BYTES_MAX + 1).await
    }

    /// Keeps `output_bytes_max` of what is said, from the end.
    pub(crate) async fn look_at(
        &self,
        script: Script,
        line: &[u8],
        output_bytes_max: usize,
    ) -> Result<Output, PortError> {
        let (content, again, timeout) = (&[], Again::Safe, FILE_TIMEOUT);
        self.call(&Call { script, line, content, again, timeout, output_bytes_max }).await
    }

    async fn change(&self, script: Script, line: &[u8], content: &[u8]) -> Result<Output, PortError> {
        let (again, timeout, output_bytes_max) = (Again::Unsafe, FILE_TIMEOUT, OUTPUT_BYTES_MAX);
        self.call(&Call { script, line, content, again, timeout, output_bytes_max }).await
    }

    /// A script's failure: an input that was cut off, or what a program said. A script that fails has changed nothing.
    pub(crate) fn failed(&self, what: &str, path: &str, output: &Output) -> PortError {
        let error = match output.code {
            script::CUT_OFF => PortError::unreachable(format!(
                "ssh {}: cannot {what} {path}: the input was cut off",
                self.id
            )),
            script::LOCKED => {
                let holder = lock_holder(&output.stderr_text());
                let lock = format!("{path}.lock");
                LockHolder::refusal(holder.as_ref(), &lock, LOCK_SECONDS_MAX, &self.id)
                    .context(format!("cannot {what} {path}"))
            }
            NOT_OURS => match Foreign::reported(&output.stderr_text()) {
                Some(Foreign { message, hint }) => {
                    PortError::new(FailureKind::Refused, format!("cannot {what} {path}: {message}"))
                        .hint(format!("on {}: {hint}", self.id))
                }
                None => trouble::program(what, path, output),
            },
            _ => trouble::program(what, path, output),
        };
        error.without_effect()
    }

    async fn content(&self, path: &str, whose: Whose) -> Result<HostFile, PortError> {
        let line = Line::new().path(path)?.set("max", &(FILE_BYTES_MAX + 1).to_string())?;
        let line = line.set("strict", whose.strict())?.end();
        let mut output = self.look(Script::Read, &line).await?;
        let end = output.stdout.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let content = output.stdout.split_off((end + 1).min(output.stdout.len()));
        if !output.ok() && !output.stderr_text().contains("No such file or directory") {
            return Err(self.failed("read", path, &output));
        }
        let now = clock(&output.stdout)?;
        if content.len() > FILE_BYTES_MAX {
            return Err(PortError::too_large(path, FILE_BYTES_MAX));
        }
        Ok(HostFile { content: output.ok().then_some(content), now })
    }

    async fn replace(&self, path: &str, content: &[u8], mode: u32, whose: Whose) -> Result<(), PortError> {
        readable(path, content)?;
        let line = temporary(Line::new().path(path)?)?.set("mode", &format!("{mode:o}"))?;
        let line = line.set("strict", whose.strict())?.end();
        let output = self.change(Script::Write, &line, content).await?;
        if output.ok() { Ok(()) } else { Err(self.failed("write", path, &output)) }
    }

    async fn try_connect(&self, link: &Link, endpoint: &Endpoint) -> Result<UnixStream, Broken> {
        let path = match link.forward(endpoint).await {
            Ok(path) => path,
            Err(Forwarding::Wrong(error)) => return Err(Broken::Midway(error)),
            Err(Forwarding::Broken(error)) => return Err(Broken::Before(trouble::broken(&self.id, error))),
        };
        UnixStream::connect(path).await.map_err(|error| Broken::Before(trouble::broken(&self.id, error)))
    }
}

/// Whose a file may be.
#[derive(Clone, Copy)]
enum Whose {
    Anybodys,
    Ours,
}

impl Whose {
    /// What the scripts take for it.
    fn strict(self) -> &'static str {
        match self {
            Whose::Anybodys => "",
            Whose::Ours => "1",
        }
    }
}

/// From when on a temporary file is one that was left.
fn temporary(line: Line) -> Result<Line, PortError> {
    line.set("minutes", &(TEMPORARY_SECONDS_MAX / 60).to_string())
}

#[async_trait]
impl Host for Ssh {
    fn id(&self) -> &HostId {
        &self.id
    }

    async fn exec(&self, command: &Command) -> Result<Output, PortError> {
        let line = script::command(command)?;
        let call = Call {
            script: Script::Exec,
            line: &line,
            content: &command.stdin,
            again: Again::Unsafe,
            timeout: command.timeout,
            output_bytes_max: OUTPUT_BYTES_MAX,
        };
        let program = command.argv.first().map_or("", String::as_str);
        let output = self.call(&call).await.map_err(|error| error.context(program))?;
        not_started(&self.id, command, output.code, &output.stderr_text()).map_or(Ok(output), Err)
    }

    async fn exec_lines(&self, command: &Command, sink: &mut dyn LineSink) -> Result<Ended, PortError> {
        lines::tell(self, command, sink).await
    }

    async fn attach(&self, command: &Command, is_tty: bool) -> Result<i32, PortError> {
        attach::run(self, command, is_tty).await
    }

    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        self.content(path, Whose::Anybodys).await
    }

    async fn read_each(&self, paths: &[String]) -> Vec<Result<HostFile, PortError>> {
        read_each::read(self, paths).await
    }

    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        self.content(path, Whose::Ours).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.replace(path, content, mode, Whose::Anybodys).await
    }

    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.replace(path, content, mode, Whose::Ours).await
    }

    async fn upload(&self, upload: Upload<'_>) -> Result<Uploaded, PortError> {
        upload::run(self, upload.pieces()).await
    }

    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        let line =
            Line::new().set("path", folder)?.set("prefix", prefix)?.set("max", &NAMES_MAX.to_string())?;
        let output = self.look(Script::Names, &line.end()).await?;
        if !output.ok() {
            return Err(self.failed("look into", folder, &output));
        }
        Ok(output.stdout_text().lines().map(str::to_owned).collect())
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        let output = self.change(Script::Remove, &Line::new().path(path)?.end(), &[]).await?;
        if output.ok() { Ok(()) } else { Err(self.failed("remove", path, &output)) }
    }

    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        readable(path, content)?;
        let line = Line::new()
            .path(path)?
            .set("wait", &LOCK_SECONDS_MAX.to_string())?
            .set("expected", &expected.map_or_else(|| script::NO_FILE.to_owned(), digest))?
            .set("strict", Whose::Ours.strict())?;
        let line = temporary(line)?.end();
        let output = self.change(Script::Swap, &line, content).await?;
        match output.code {
            0 => Ok(Swapped::Yes),
            script::NOT_SWAPPED => Ok(Swapped::No),
            _ => Err(self.failed("swap", path, &output)),
        }
    }

    /// A stream that was forwarded; one to where nobody listens opens as well and ends at once.
    async fn connect(&self, endpoint: &Endpoint, timeout: Millis) -> Result<Box<dyn HostStream>, PortError> {
        let connect = async {
            let link = self.link().await?;
            match self.try_connect(&link, endpoint).await {
                Ok(stream) => return Ok(stream),
                Err(Broken::Midway(error)) => return Err(error),
                Err(Broken::Before(error)) => tracing::debug!(host = %self.id, %error, "connecting again"),
            }
            self.forget(&link).await;
            let link = self.link().await?;
            self.try_connect(&link, endpoint).await.map_err(|broken| match broken {
                Broken::Before(error) | Broken::Midway(error) => error,
            })
        };
        match tokio::time::timeout(timeout.duration(), connect).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(error.context(format!("connect to {endpoint}")).without_effect()),
            Err(_) => {
                let message = format!("connect to {endpoint} on {}: not within {timeout}", self.id);
                Err(PortError::timed_out(message).without_effect())
            }
        }
    }

    async fn gone(&self) -> PortError {
        let mut silence = self.silence.subscribe();
        // The sender is ours, so what ends this is what is waited for.
        drop(silence.changed().await);
        trouble::silent(&self.id)
    }

    async fn reconnect(&self) {
        let mut state = self.link.lock().await;
        (state.open, state.watcher) = (None, None);
    }

    async fn check(&self) -> Vec<Check> {
        doctor::check(self).await
    }

    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        let output = self.look(Script::Space, &Line::new().set("path", path)?.end()).await?;
        if !output.ok() {
            return Err(self.failed("see the free space of", path, &output));
        }
        let text = output.stdout_text();
        free_kib(&text).map(|kib| kib / KIBIBYTES_IN_MEBIBYTE).ok_or_else(|| {
            PortError::other(format!("df on {} said what is not understood: {text:?}", self.id))
        })
    }
}

/// That a program could not be started, by the last error line of its script.
pub(crate) fn not_started(host: &HostId, command: &Command, code: i32, said: &str) -> Option<PortError> {
    let program = command.argv.first().map_or("", String::as_str);
    match said.trim_end().rsplit_once(script::NOT_STARTED)?.1 {
        "program" if code == 127 => Some(
            PortError::not_found(format!("cannot run {program} on {host}: it is not there"))
                .hint("is it installed there, and on the PATH that a login without a terminal has?"),
        ),
        "cwd" if code != 0 => Some(PortError::not_found(format!(
            "cannot run {program} on {host} in {}: no such folder",
            command.cwd.as_deref().unwrap_or(".")
        ))),
        _ => None,
    }
}

/// The clock from a script's first line, in milliseconds.
pub(crate) fn clock(output: &[u8]) -> Result<Timestamp, PortError> {
    let line = output.split(|byte| *byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(line).ok().and_then(|text| text.trim().parse().ok()).map(Timestamp).ok_or_else(|| {
        PortError::other("the host's date did not say the time").hint("see date +%s on the host")
    })
}

/// What a script said of who holds a lock.
fn lock_holder(said: &str) -> Option<LockHolder> {
    let told = said.lines().find_map(|line| line.strip_prefix(script::LOCKED_BY))?;
    let mut words = told.splitn(3, ' ');
    let pid = words.next()?.parse().ok()?;
    let is_stopped = matches!(words.next(), Some("T" | "t"));
    let name = words.next().filter(|name| !name.is_empty()).map(str::to_owned);
    Some(LockHolder { pid, name, is_stopped })
}

fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fourth column of `df -P`, counted from the percentage after it: a device may have blanks in its name.
fn free_kib(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.lines().nth(1)?.split_ascii_whitespace().collect();
    let percentage = words.iter().position(|word| {
        word.strip_suffix('%')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|one| one.is_ascii_digit()))
    })?;
    words.get(percentage.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_found_beside_odd_names() {
        let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        assert_eq!(free_kib(&format!("{head}/dev/sda1 100 40 60 40% /\n")), Some(60));
        assert_eq!(free_kib(&format!("{head}//nas/my share 100 40 60 40% /mnt/a b\n")), Some(60));
        assert_eq!(free_kib(head), None);
    }

    #[test]
    fn who_holds_a_lock_is_found_in_what_a_script_says() {
        let holder = |name: Option<&str>, is_stopped| {
            Some(LockHolder { pid: 42, name: name.map(str::to_owned), is_stopped })
        };
        assert_eq!(
            lock_holder("sh: odd\nlockgate-locked-by 42 T lockgate\n"),
            holder(Some("lockgate"), true)
        );
        assert_eq!(lock_holder("lockgate-locked-by 42  \n"), holder(None, false));
        assert_eq!(lock_holder("lockgate-locked-by x S y\n"), None);
        assert_eq!(lock_holder(""), None);
    }

    #[test]
    fn the_clock_is_the_first_line() {
        assert_eq!(clock(b"1700000000123\nrest").unwrap(), Timestamp(1_700_000_000_123));
        assert!(clock(b"").is_err());
    }
}
