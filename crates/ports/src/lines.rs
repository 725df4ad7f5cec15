//! What a program says, line by line while it says it.

use std::collections::VecDeque;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line, in bytes as the program wrote them. What is more of it is read and left out.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// Lines that are kept until the program's end, the last ones of both outputs together.
pub const LINES_KEPT_MAX: usize = 200;
/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a program, without its end (`\n` or `\r\n`). The last one need not have had an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which of the two outputs it came from.
    pub pipe: Pipe,
    /// What is no UTF-8 is `U+FFFD` in it. It may hold secrets, and what steers a terminal: whoever shows it hides both.
    pub text: String,
    /// It was longer than [`LINE_BYTES_MAX`], and this is its beginning.
    pub is_cut: bool,
}

/// Who is told a program's lines.
#[async_trait]
pub trait LineSink: Send {
    /// Takes a line. The lines of one output come in order; those of two come as they were read. While this waits nothing
    /// is read, so a program that says much waits too: nothing gathers in memory.
    async fn line(&mut self, line: Line);
}

/// A function that does not wait.
#[async_trait]
impl<F: FnMut(Line) + Send> LineSink for F {
    async fn line(&mut self, line: Line) {
        self(line);
    }
}

/// How a program ended whose lines were told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; 128 + signal when it was killed by one.
    pub code: i32,
    /// How many lines it said.
    pub lines: u64,
    /// The last of them, at most [`LINES_KEPT_MAX`], oldest first.
    pub last: Vec<Line>,
}

impl Ended {
    /// It ended with code 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == 0
    }
}

/// Makes lines of two outputs, for a driver: [`Lines::more`] reads, [`Lines::tell`] tells what has come.
pub struct Lines<'a, O, E> {
    sink: &'a mut dyn LineSink,
    out: Source<O>,
    err: Source<E>,
    count: u64,
    kept: VecDeque<Line>,
}

impl<'a, O: AsyncRead + Unpin, E: AsyncRead + Unpin> Lines<'a, O, E> {
    /// An output that is not there is `None`.
    pub fn new(stdout: Option<O>, stderr: Option<E>, sink: &'a mut dyn LineSink) -> Self {
        let (out, err) = (Source::new(Pipe::Stdout, stdout), Source::new(Pipe::Stderr, stderr));
        Self { sink, out, err, count: 0, kept: VecDeque::new() }
    }

    /// Waits for more of either output, and says how many bytes came; 0 when both have ended. Dropped before its end it
    /// has read nothing. What came must be [told](Lines::tell) before more is read.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn more(&mut self) -> std::io::Result<usize> {
        loop {
            let read = tokio::select! {
                read = self.out.read(), if self.out.from.is_some() => read?,
                read = self.err.read(), if self.err.from.is_some() => read?,
                else => return Ok(0),
            };
            if read > 0 {
                return Ok(read);
            }
        }
    }

    /// Tells the lines that are whole.
    pub async fn tell(&mut self) {
        for line in self.out.whole().into_iter().chain(self.err.whole()) {
            self.say(line).await;
        }
    }

    /// Tells what has no end of line, and says how all ended. What was read later than the last [`Lines::tell`] is told too.
    pub async fn end(mut self, code: i32) -> Ended {
        self.tell().await;
        for line in [self.out.rest(), self.err.rest()].into_iter().flatten() {
            self.say(line).await;
        }
        Ended { code, lines: self.count, last: self.kept.into() }
    }

    async fn say(&mut self, line: Line) {
        self.count += 1;
        if self.kept.len() == LINES_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(line.clone());
        self.sink.line(line).await;
    }
}

/// One output, cut into lines.
struct Source<R> {
    pipe: Pipe,
    /// `None` after its end.
    from: Option<R>,
    chunk: Vec<u8>,
    /// The line that has no end yet, as far as it is kept.
    begun: Vec<u8>,
    is_cut: bool,
}

impl<R: AsyncRead + Unpin> Source<R> {
    fn new(pipe: Pipe, from: Option<R>) -> Self {
        Self { pipe, from, chunk: Vec::new(), begun: Vec::new(), is_cut: false }
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        let Some(from) = &mut self.from else { return Ok(0) };
        self.chunk.reserve(CHUNK_BYTES);
        let read = from.take(CHUNK_BYTES as u64).read_buf(&mut self.chunk).await?;
        if read == 0 {
            self.from = None;
        }
        Ok(read)
    }

    fn whole(&mut self) -> Vec<Line> {
        let chunk = std::mem::take(&mut self.chunk);
        let mut lines = Vec::new();
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            // One byte more than a line may have: it may be the `\r` of its end.
            let room = LINE_BYTES_MAX + 1 - self.begun.len();
            self.is_cut |= text.len() > room;
            self.begun.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                lines.push(self.line());
            }
        }
        lines
    }

    fn rest(&mut self) -> Option<Line> {
        (!self.begun.is_empty()).then(|| self.line())
    }

    fn line(&mut self) -> Line {
        let begun = std::mem::take(&mut self.begun);
        let mut text = begun.as_slice();
        if !self.is_cut {
            text = text.strip_suffix(b"\r").unwrap_or(text);
        }
        let is_cut = std::mem::take(&mut self.is_cut) || text.len() > LINE_BYTES_MAX;
        let text = String::from_utf8_lossy(&text[..text.len().min(LINE_BYTES_MAX)]).into_owned();
        Line { pipe: self.pipe, text, is_cut }
    }
}

/// The lines of outputs that are there as a whole, for fakes.
///
/// # Errors
/// Never: what is read is in memory.
pub(crate) async fn replay(
    stdout: &[u8],
    stderr: &[u8],
    code: i32,
    sink: &mut dyn LineSink,
) -> std::io::Result<Ended> {
    let mut lines = Lines::new(Some(stdout), Some(stderr), sink);
    while lines.more().await? > 0 {
        lines.tell().await;
    }
    Ok(lines.end(code).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its parts one at a time.
    struct Parts(VecDeque<Vec<u8>>);

    impl AsyncRead for Parts {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            into: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            if let Some(part) = self.0.pop_front() {
                into.put_slice(&part);
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    async fn told(parts: Vec<Vec<u8>>) -> (Vec<(String, bool)>, Ended) {
        let mut said = Vec::new();
        let mut sink = |line: Line| said.push((line.text, line.is_cut));
        let mut lines = Lines::new(Some(Parts(parts.into())), None::<&[u8]>, &mut sink);
        while lines.more().await.unwrap() > 0 {
            lines.tell().await;
        }
        let ended = lines.end(3).await;
        (said, ended)
    }

    #[tokio::test]
    async fn lines_are_the_same_wherever_they_are_cut_on_the_way() {
        let whole = "one\n\ntwo\r\nn\u{e4}h\rx\nlast".as_bytes();
        let wanted = ["one", "", "two", "n\u{e4}h\rx", "last"].map(|text| (text.to_owned(), false));
        for cut in 0..whole.len() {
            let (left, right) = whole.split_at(cut);
            let parts = [left, right].into_iter().filter(|part| !part.is_empty()).map(<[u8]>::to_vec);
            let (said, ended) = told(parts.collect()).await;
            assert_eq!(said, wanted, "cut at {cut}");
            assert_eq!((ended.code, ended.lines, ended.last.len()), (3, 5, 5));
        }
        assert_eq!(told(vec![b"a\xffb\n".to_vec()]).await.0, [("a\u{fffd}b".to_owned(), false)]);
        assert_eq!(told(Vec::new()).await.0, []);
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_says_so_and_the_next_one_is_whole() {
        for (length, end, is_cut) in [
            (LINE_BYTES_MAX, "\n", false),
            (LINE_BYTES_MAX, "\r\n", false),
            (LINE_BYTES_MAX, "", false),
            (LINE_BYTES_MAX + 1, "\n", true),
            (LINE_BYTES_MAX + 1, "", true),
            (LINE_BYTES_MAX + 2, "\r\n", true),
            (40 * LINE_BYTES_MAX, "\n", true),
        ] {
            let text = format!("{}{end}", "x".repeat(length));
            let mut parts: Vec<Vec<u8>> = text.as_bytes().chunks(5000).map(<[u8]>::to_vec).collect();
            if !end.is_empty() {
                parts.push(b"next\n".to_vec());
            }
            let (said, _) = told(parts).await;
            assert_eq!(said[0], ("x".repeat(length.min(LINE_BYTES_MAX)), is_cut), "{length} {end:?}");
            assert_eq!(said.get(1), (!end.is_empty()).then(|| ("next".to_owned(), false)).as_ref());
        }
    }

    #[tokio::test]
    async fn all_lines_are_told_and_the_last_are_kept() {
        let many: String = (0..10 * LINES_KEPT_MAX).map(|number| format!("{number}\n")).collect();
        let (said, ended) = told(many.as_bytes().chunks(777).map(<[u8]>::to_vec).collect()).await;
        assert_eq!((said.len(), ended.lines), (10 * LINES_KEPT_MAX, 10 * LINES_KEPT_MAX as u64));
        assert_eq!(ended.last.len(), LINES_KEPT_MAX);
        assert_eq!(ended.last.last().unwrap().text, (10 * LINES_KEPT_MAX - 1).to_string());
        assert_eq!(ended.last[0].text, (9 * LINES_KEPT_MAX).to_string());
    }

    struct Slow(tokio::sync::mpsc::Sender<Line>);

    #[async_trait]
    impl LineSink for Slow {
        async fn line(&mut self, line: Line) {
            self.0.send(line).await.unwrap();
        }
    }

    /// While nobody takes a line nothing more is read, so the program's pipe fills up.
    #[tokio::test]
    async fn a_slow_reader_makes_the_program_wait() {
        let (mut program, ours) = tokio::io::duplex(1024);
        let (sender, mut taken) = tokio::sync::mpsc::channel(1);
        // Its end, and with it the channel's, comes with the last line.
        let telling = async move {
            let mut sink = Slow(sender);
            let mut lines = Lines::new(Some(ours), None::<&[u8]>, &mut sink);
            while lines.more().await.unwrap() > 0 {
                lines.tell().await;
            }
            lines.end(0).await
        };
        let writing = async {
            let mut written = 0;
            loop {
                tokio::select! {
                    biased;
                    done = tokio::io::AsyncWriteExt::write_all(&mut program, &[b'\n'; 512]) => done.unwrap(),
                    () = tokio::task::yield_now() => break,
                }
                written += 512;
                assert!(written < 100_000, "nobody makes it wait");
                tokio::task::yield_now().await;
            }
            drop(program);
            let mut count = 0;
            while taken.recv().await.is_some() {
                count += 1;
            }
            (written, count)
        };
        let (ended, (written, count)) = tokio::join!(telling, writing);
        assert_eq!(ended.lines, count);
        assert!(count >= written && written <= 4096, "{written} written, {count} told");
    }
}
