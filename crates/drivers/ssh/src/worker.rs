//! A worker: a shell on the other side that runs one script after the other in one session.

use std::io::{Error, ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, HostId};
use lockgate_ports::{Output, PortError, Tail};
use openssh::{Child, ChildStderr, ChildStdin, ChildStdout, Session};
use tokio::io::{AsyncRead, AsyncWriteExt};

use crate::script::{self, Script};
use crate::session::{Again, Broken, Call};
use crate::trouble;

/// Bytes of error output kept, from the end.
pub(crate) const ERROR_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a nonce, before they are written in hexadecimal.
const NONCE_BYTES: usize = 16;
/// Longest line of the worker's own: two line breaks, nonce, word and number.
const MARK_BYTES_MAX: usize = 64;

/// Dropping it ends its input, which ends what it runs.
pub(crate) struct Worker {
    /// Its program, as long as that was not sent.
    program: Option<String>,
    stdin: ChildStdin,
    out: Stream<ChildStdout>,
    err: Stream<ChildStderr>,
    child: Child<Arc<Session>>,
    /// Its commands run in process groups of their own.
    own: bool,
    /// When it was wished for, as long as it has not answered.
    began: Option<Instant>,
    /// From then to its first answer, until that is asked for.
    took: Option<Duration>,
}

/// Where the session was cut off.
pub(crate) enum Cut {
    /// Not even the line has been sent, or the worker has not read it.
    Before(Error),
    Midway(Error),
}

impl Worker {
    /// `began`: when it was wished for.
    pub(crate) fn new(mut child: Child<Arc<Session>>, began: Instant) -> Result<Worker, PortError> {
        let (Some(stdin), Some(out), Some(err)) =
            (child.stdin().take(), child.stdout().take(), child.stderr().take())
        else {
            return Err(PortError::other("a session without its three streams"));
        };
        let (out, err) = (Stream::new(out), Stream::new(err));
        let (program, began) = (Some(script::program()), Some(began));
        Ok(Worker { program, stdin, out, err, child, own: false, began, took: None })
    }

    /// Runs one script. What must not be done twice is sent only when the worker has said that it lives: on a connection
    /// that has silently died it is then certain that nothing was done.
    pub(crate) async fn ask(&mut self, call: &Call<'_>) -> Result<Output, Cut> {
        let nonce = nonce().map_err(Cut::Before)?;
        let [start, end] = ["start", "end"].map(|word| format!("\n{nonce} {word} "));
        let (program, size) = (self.program.take().unwrap_or_default(), call.content.len());
        let head = format!("{program}{nonce} {} {size}\n", call.script.name());
        let Worker { stdin, out, err, own, began, took, .. } = self;
        write(stdin, &[head.as_bytes()]).await.map_err(Cut::Before)?;
        let begin = async {
            // What was said before is nobody's: start-up files of a login shell talk.
            // Both to their end, for one of them may say why the session ended.
            let (one, two) =
                tokio::join!(out.up_to(&start, ERROR_BYTES_MAX), err.up_to(&start, ERROR_BYTES_MAX));
            let (_, own) = one.and_then(|seen| two.map(|_| seen)).map_err(Cut::Before)?;
            *took = began.take().map(|began| began.elapsed()).or(*took);
            Ok((own == "1", out, err))
        };
        let finish = async |out: &mut Stream<ChildStdout>, err: &mut Stream<ChildStderr>| {
            let ends =
                tokio::try_join!(out.up_to(&end, call.output_bytes_max), err.up_to(&end, ERROR_BYTES_MAX));
            ends.map_err(Cut::Midway)
        };
        let body = [call.line, call.content];
        let send = async { write(stdin, &body).await.map_err(Cut::Midway) };
        let ((stdout, code), (stderr, _)) = if call.again == Again::Unsafe {
            let (seen, out, err) = begin.await?;
            *own = seen;
            tokio::try_join!(send, finish(out, err))?.1
        } else {
            let whole = async {
                let (seen, out, err) = begin.await?;
                *own = seen;
                finish(out, err).await
            };
            tokio::try_join!(send, whole)?.1
        };
        let code = code.parse().map_err(|_| Cut::Midway(Error::other(format!("exit code {code:?}"))))?;
        Ok(Output { code, stdout, stderr })
    }

    /// From the wish for it to its first answer, once.
    pub(crate) fn first_answer_took(&mut self) -> Option<Duration> {
        self.took.take()
    }

    /// After a call that was answered: whether another one can follow. A command in the worker's own process group may
    /// have left something there, which a later one's end would kill.
    pub(crate) fn knows_its_state(&self, last: Script) -> bool {
        self.own || last != Script::Exec
    }

    /// What its end means.
    pub(crate) async fn lost(self, host: &HostId, cut: Cut) -> Broken {
        let said = [&self.err.rest, &self.out.rest].map(|rest| String::from_utf8_lossy(rest).into_owned());
        let said = said.iter().map(|said| trouble::last_line(said)).find(|line| !line.is_empty());
        let detail = said.map(|line| format!(": {line}")).unwrap_or_default();
        match cut {
            Cut::Before(error) if error.kind() == ErrorKind::UnexpectedEof => match self.child.wait().await {
                Ok(_) | Err(openssh::Error::Remote(_)) => Broken::Before(
                    PortError::new(
                        FailureKind::Unauthorized,
                        format!("ssh {host}: no shell runs there for us{detail}"),
                    )
                    .hint("allow commands for this user: a shell as login shell and no ForceCommand"),
                ),
                Err(error) => Broken::Before(trouble::broken(host, error)),
            },
            Cut::Before(error) => Broken::Before(trouble::broken(host, error)),
            Cut::Midway(error) => {
                let mut error = trouble::broken(host, error);
                error.message.push_str(&format!("{detail}; what was under way may have been done"));
                Broken::Midway(error)
            }
        }
    }
}

/// One of a session's two outputs.
pub(crate) struct Stream<R> {
    pub(crate) from: R,
    /// What came behind the last line of the worker's own, or before the end.
    pub(crate) rest: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Stream<R> {
    pub(crate) fn new(from: R) -> Stream<R> {
        Stream { from, rest: Vec::new() }
    }

    /// Reads up to a line of the worker's own. Gives at most the last `bytes_max` bytes before it, and its last word.
    pub(crate) async fn up_to(&mut self, mark: &str, bytes_max: usize) -> Result<(Vec<u8>, String), Error> {
        let mut tail = Tail::after(std::mem::take(&mut self.rest), bytes_max + MARK_BYTES_MAX);
        let mut new = tail.kept().len();
        loop {
            if let Some((at, end)) = find(tail.kept(), new, mark.as_bytes()) {
                let mut held = tail.held();
                self.rest = held.split_off(end);
                let word = String::from_utf8_lossy(&held[at + mark.len()..]).trim_end().to_owned();
                held.truncate(at);
                return Ok((Tail::after(held, bytes_max).take(), word));
            }
            new = tail.more(&mut self.from).await?;
            if new == 0 {
                self.rest = tail.take();
                return Err(Error::new(ErrorKind::UnexpectedEof, "the session ended"));
            }
        }
    }
}

/// Where the mark begins and its line ends, if that is in the last `new` bytes or overlaps them.
fn find(kept: &[u8], new: usize, mark: &[u8]) -> Option<(usize, usize)> {
    let from = kept.len().saturating_sub(new + MARK_BYTES_MAX);
    let breaks = (from..kept.len()).filter(|at| kept[*at] == b'\n');
    let at = breaks.into_iter().find(|at| kept[*at..].starts_with(mark))?;
    let behind = at + mark.len();
    let length = kept[behind..].iter().position(|byte| *byte == b'\n')?;
    Some((at, behind + length + 1))
}

/// Whether all of it was read is for the answer to say: a broken pipe is no error.
async fn write(to: &mut ChildStdin, parts: &[&[u8]]) -> Result<(), Error> {
    for part in parts {
        match to.write_all(part).await {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

pub(crate) fn nonce() -> Result<String, Error> {
    let mut bytes = [0; NONCE_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its parts one at a time.
    struct Parts(Vec<Vec<u8>>);

    impl AsyncRead for Parts {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            into: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            if !self.0.is_empty() {
                into.put_slice(&self.0.remove(0));
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_mark_is_found_wherever_it_is_cut() {
        let whole = b"noise\nn start 1\nout\0\nput\nn end 7\nrest";
        for cut in 1..whole.len() {
            let (one, two) = whole.split_at(cut);
            let mut stream = Stream::new(Parts(vec![one.to_vec(), two.to_vec()]));
            assert_eq!(stream.up_to("\nn start ", 100).await.unwrap(), (b"noise".to_vec(), "1".into()));
            assert_eq!(stream.up_to("\nn end ", 100).await.unwrap(), (b"out\0\nput".to_vec(), "7".into()));
            assert_eq!(stream.up_to("\nn ", 100).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(stream.rest, b"rest");
        }
    }

    #[tokio::test]
    async fn long_output_is_cut_exactly_and_its_mark_is_found() {
        for length in 900..1100 {
            let mut parts = vec![vec![b'a'; length], vec![b'b'; 1], vec![b'b'; 30]];
            parts.push(b"\nn end 0".to_vec());
            parts.push(b"\n".to_vec());
            let (kept, _) = Stream::new(Parts(parts)).up_to("\nn end ", 500).await.unwrap();
            assert_eq!(kept.len(), 500);
            assert!(kept.ends_with(&[b'b'; 31]) && kept[468] == b'a');
        }
    }
}
