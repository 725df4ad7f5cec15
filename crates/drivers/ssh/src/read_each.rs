//! Several files in one request.
//!
//! Whatever is not plainly a small file, or plainly missing, is read by itself: the one that reads a single file knows what to
//! say.

use lockgate_model::Timestamp;
use lockgate_ports::{Host, HostFile, PortError};

use crate::host::{Ssh, clock};
use crate::script::{Line, Script};
use crate::worker::nonce;

/// A larger file is read by itself, so that many of them are not in memory together with their copies.
const SMALL_BYTES_MAX: usize = 256 * 1024;
/// Files of one request.
const FILES_MAX: usize = 32;
/// Room for the line behind a file, and the one with the clock.
const MARK_BYTES_MAX: usize = 64;

/// Of the output of one request.
const OUTPUT_BYTES_MAX: usize = FILES_MAX * (SMALL_BYTES_MAX + 1 + MARK_BYTES_MAX) + MARK_BYTES_MAX;

/// In the order of `paths`.
pub(crate) async fn read(ssh: &Ssh, paths: &[String]) -> Vec<Result<HostFile, PortError>> {
    let mut files = Vec::with_capacity(paths.len());
    for some in paths.chunks(FILES_MAX) {
        // One that fails as a whole is told by each of the files.
        let seen = together(ssh, some).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the files are read one by one");
            vec![None; some.len()]
        });
        for (path, seen) in some.iter().zip(seen) {
            files.push(match seen {
                Some(file) => Ok(file),
                None => ssh.read(path).await,
            });
        }
    }
    files
}

/// `None` for a file that is to be read by itself.
async fn together(ssh: &Ssh, paths: &[String]) -> Result<Vec<Option<HostFile>>, PortError> {
    if paths.len() < 2 || paths.iter().any(|path| path.is_empty() || path.contains('\n')) {
        return Ok(vec![None; paths.len()]);
    }
    let mark = nonce().map_err(PortError::from)?;
    let line = Line::new().set("paths", &paths.join("\n"))?.set("between", &mark)?;
    let line = line.set("max", &(SMALL_BYTES_MAX + 1).to_string())?.end();
    let output = ssh.look_at(Script::ReadEach, &line, OUTPUT_BYTES_MAX).await?;
    if !output.ok() {
        return Ok(vec![None; paths.len()]);
    }
    let now = clock(&output.stdout)?;
    let behind_the_clock = output.stdout.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    Ok(taken_apart(&output.stdout[behind_the_clock..], &mark, paths.len(), now))
}

/// Of a text that was cut off, what is missing is `None`.
fn taken_apart(text: &[u8], mark: &str, count: usize, now: Timestamp) -> Vec<Option<HostFile>> {
    let mark = format!("\n{mark} ");
    let (mut rest, mut files) = (text, Vec::with_capacity(count));
    while files.len() < count {
        let Some(at) = rest.windows(mark.len()).position(|window| window == mark.as_bytes()) else { break };
        let (content, behind) = rest.split_at(at);
        let behind = &behind[mark.len()..];
        let Some(end) = behind.iter().position(|byte| *byte == b'\n') else { break };
        files.push(match &behind[..end] {
            b"there" if content.len() <= SMALL_BYTES_MAX => {
                Some(HostFile { content: Some(content.to_vec()), now })
            }
            b"missing" => Some(HostFile { content: None, now }),
            _ => None,
        });
        rest = &behind[end + 1..];
    }
    files.resize_with(count, || None);
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(text: &str, count: usize) -> Vec<Option<Option<String>>> {
        let files = taken_apart(text.as_bytes(), "m4rk", count, Timestamp(1));
        let text = |file: HostFile| file.content.map(|content| String::from_utf8(content).unwrap());
        files.into_iter().map(|file| file.map(text)).collect()
    }

    #[test]
    fn files_are_told_apart_by_the_mark_whatever_is_in_them() {
        let there = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(
            contents("a\nb\n\nm4rk there\n\nm4rk there\n\nm4rk missing\n\nm4rk ask\n", 4),
            [there("a\nb\n"), there(""), Some(None), None]
        );
        assert_eq!(contents("half\nm4rk ask\nm4rk there\n\nm4rk there\n", 2), [None, there("m4rk there\n")]);
        assert_eq!(contents("cut o", 2), [None, None]);
        assert_eq!(contents("a\nm4rk there", 1), [None]);
        let large = "x".repeat(SMALL_BYTES_MAX + 1);
        assert_eq!(contents(&format!("{large}\nm4rk there\n"), 1), [None]);
    }
}
