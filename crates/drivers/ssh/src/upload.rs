//! A stream that becomes a file, in a session of its own: the script is `sh/upload.sh`.
//!
//! What was not sent to its last byte changes nothing: the script sees that its input was cut off, and removes what it
//! has. So whatever fails before then has no effect, and only what fails later leaves it unknown.

use std::io::{Error, ErrorKind};
use std::pin::pin;

use lockgate_model::{Digest, HostId, Millis};
use lockgate_ports::{Host, Output, PIECE_BYTES, Pieces, PortError, TEMPORARY_SECONDS_MAX, Uploaded};
use openssh::ChildStdin;
use tokio::io::AsyncWriteExt;

use crate::host::Ssh;
use crate::link::Link;
use crate::own_session::{self, OwnSession};
use crate::script::Line;
use crate::session::Broken;
use crate::trouble;
use crate::worker::nonce;

/// What is run, one after the other.
const SCRIPTS: [&str; 3] = [lockgate_own::SHELL, include_str!("sh/shared.sh"), include_str!("sh/upload.sh")];
/// Bytes behind the content: nonce, SHA-256 and size, with blanks around.
const TAIL_BYTES: usize = 128;
/// Exit code of the script when something else arrived than was sent: nothing was done.
const CHANGED: i32 = 98;
/// How the line begins that says what arrived.
const ARRIVED: &str = "lockgate-arrived ";
/// What is kept of each output, from the end.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// How long a script that takes no more of its input may say why.
const LAST_WORDS: Millis = Millis::from_secs(10);

pub(crate) async fn run(host: &Ssh, mut pieces: Pieces<'_>) -> Result<Uploaded, PortError> {
    let link = host.link().await?;
    let error = match attempt(host, &link, &mut pieces).await {
        Ok(uploaded) => return uploaded,
        Err(Broken::Midway(error)) => {
            host.forget(&link).await;
            return Err(error);
        }
        Err(Broken::Before(error)) => error,
    };
    // Nothing of the content has been read yet.
    tracing::debug!(host = %host.id(), %error, "trying again on a new connection");
    host.forget(&link).await;
    let link = host.link().await?;
    match attempt(host, &link, &mut pieces).await {
        Ok(uploaded) => uploaded,
        Err(Broken::Midway(error)) => Err(error),
        Err(Broken::Before(error)) => Err(error.without_effect()),
    }
}

/// One session. The inner error is of the content or of the host's disk: the connection is as it was.
async fn attempt(
    host: &Ssh,
    link: &Link,
    pieces: &mut Pieces<'_>,
) -> Result<Result<Uploaded, PortError>, Broken> {
    let line = line(pieces).map_err(Broken::Before)?;
    let nonce = nonce().map_err(|error| Broken::Before(error.into()))?;
    let mut own_session = own_session::open(host.id(), link, 0, &SCRIPTS, &nonce).await?;
    let path = pieces.path().to_owned();
    // Whether the last byte may have arrived.
    let mut is_whole = false;
    let exchanged = exchange(&mut own_session, &line, pieces, &nonce, &mut is_whole).await;
    let known = |error: PortError| {
        if is_whole { error.with_unknown_effect() } else { error.without_effect() }
    };
    let lost = |error: PortError| Broken::Midway(known(error.context(format!("cannot write {path}"))));
    match exchanged {
        Ok(Exchanged { given, stdout, stderr }) => {
            let code = own_session.code(host.id()).await.map_err(lost)?;
            Ok(judge(host, &path, given, &Output { code, stdout, stderr }))
        }
        Err(Unsent::Content(error)) => Ok(Err(error.without_effect())),
        Err(Unsent::Slow(bound)) => Ok(Err(known(too_slow(host.id(), &path, bound)))),
        Err(Unsent::Lost(error)) => Err(lost(trouble::broken(host.id(), error))),
    }
}

/// The line that the script reads first.
fn line(pieces: &Pieces<'_>) -> Result<Vec<u8>, PortError> {
    let line = Line::new().path(pieces.path())?.set("mode", &format!("{:o}", pieces.mode()))?;
    let line = line.set("minutes", &(TEMPORARY_SECONDS_MAX / 60).to_string())?;
    Ok(line.set("tail", &TAIL_BYTES.to_string())?.end())
}

struct Exchanged {
    /// What was sent; `None` when the script did not take all.
    given: Option<Uploaded>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Why there is no answer.
enum Unsent {
    Content(PortError),
    /// The host took nothing, or said nothing, for this long.
    Slow(Millis),
    Lost(Error),
}

/// Sends, and reads beside it, so that a script that ends early is noticed.
async fn exchange(
    own_session: &mut OwnSession<'_>,
    line: &[u8],
    pieces: &mut Pieces<'_>,
    nonce: &str,
    is_whole: &mut bool,
) -> Result<Exchanged, Unsent> {
    let OwnSession { stdin, out, err, .. } = own_session;
    let mut read = pin!(own_session::read(out, err, OUTPUT_BYTES_MAX));
    let given = tokio::select! {
        given = send(stdin, line, pieces, nonce, is_whole) => given?,
        said = &mut read => {
            let (stdout, stderr) = said.map_err(Unsent::Lost)?;
            return Ok(Exchanged { given: None, stdout, stderr });
        }
    };
    let bound = if given.is_some() { pieces.settled_within() } else { LAST_WORDS };
    let said = tokio::time::timeout(bound.duration(), read).await.map_err(|_| Unsent::Slow(bound))?;
    let (stdout, stderr) = said.map_err(Unsent::Lost)?;
    Ok(Exchanged { given, stdout, stderr })
}

/// `None` when the script takes no more.
async fn send(
    stdin: &mut Option<ChildStdin>,
    line: &[u8],
    pieces: &mut Pieces<'_>,
    nonce: &str,
    is_whole: &mut bool,
) -> Result<Option<Uploaded>, Unsent> {
    let stall = pieces.stall();
    let Some(to) = stdin else { return Ok(None) };
    if !put(to, line, stall).await? {
        return Ok(None);
    }
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    loop {
        pieces.next(&mut piece).await.map_err(Unsent::Content)?;
        if piece.is_empty() {
            break;
        }
        if !put(to, &piece, stall).await? {
            return Ok(None);
        }
    }
    let given = pieces.given().map_err(Unsent::Content)?;
    *is_whole = true;
    if !put(to, tail(nonce, &given).as_bytes(), stall).await? {
        return Ok(None);
    }
    // Its end is what the script waits for.
    *stdin = None;
    Ok(Some(given))
}

fn tail(nonce: &str, given: &Uploaded) -> String {
    let (_, hex) = given.digest.as_str().split_once(':').unwrap_or_default();
    let words = format!("\n{nonce} {hex} {}", given.size);
    format!("{words:width$}\n", width = TAIL_BYTES - 1)
}

/// False when nobody takes it any more.
async fn put(to: &mut ChildStdin, bytes: &[u8], stall: Millis) -> Result<bool, Unsent> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match tokio::time::timeout(stall.duration(), to.write(rest)).await {
            Ok(Ok(0)) => return Ok(false),
            Ok(Ok(written)) => rest = &rest[written..],
            Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Ok(Err(error)) => return Err(Unsent::Lost(error)),
            Err(_) => return Err(Unsent::Slow(stall)),
        }
    }
    Ok(true)
}

/// A script that fails has changed nothing.
fn judge(host: &Ssh, path: &str, given: Option<Uploaded>, output: &Output) -> Result<Uploaded, PortError> {
    match (output.code, given) {
        (0, Some(given)) => Ok(given),
        (0, None) => {
            let message = format!("ssh {}: {path} was written before all had been sent", host.id());
            Err(PortError::other(message).with_unknown_effect())
        }
        (CHANGED, Some(given)) => match arrived(&output.stderr_text()) {
            Some(seen) => seen.require(path, &given).map(|()| seen),
            None => Err(host.failed("write", path, output)),
        },
        _ => Err(host.failed("write", path, output)),
    }
}

/// What a script said of what has arrived.
fn arrived(said: &str) -> Option<Uploaded> {
    let (size, hex) = said.lines().find_map(|line| line.strip_prefix(ARRIVED))?.split_once(' ')?;
    Some(Uploaded { size: size.parse().ok()?, digest: Digest::new(format!("sha256:{hex}")).ok()? })
}

fn too_slow(host: &HostId, path: &str, bound: Millis) -> PortError {
    PortError::timed_out(format!("ssh {host}: writing {path} did not go on for {bound}"))
        .hint(format!("see what keeps the host or the way to it busy, on {host}: `iostat -x 1 5`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_has_always_the_same_length_and_three_words() {
        let digest = Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap();
        for size in [0, u64::MAX] {
            let nonce = "0".repeat(32);
            let tail = tail(&nonce, &Uploaded { size, digest: digest.clone() });
            assert_eq!((tail.len(), tail.lines().count()), (TAIL_BYTES, 2), "{tail:?}");
            let words: Vec<&str> = tail.split_whitespace().collect();
            assert_eq!(words, [nonce.as_str(), &"a".repeat(64), &size.to_string()]);
        }
    }

    #[test]
    fn what_arrived_is_read_from_what_the_script_says() {
        let hex = "b".repeat(64);
        let seen = arrived(&format!("sh: odd\nlockgate-arrived 7 {hex}\n")).unwrap();
        assert_eq!((seen.size, seen.digest.as_str()), (7, format!("sha256:{hex}").as_str()));
        assert_eq!(arrived("lockgate-arrived x y\n"), None);
    }
}
