//! What a container or a program wrote, as plain lines.

/// Header of a frame: stream (1 byte), three zeros, length (4 bytes, big endian). Source: Engine API, container attach.
const FRAME_HEADER_BYTES: usize = 8;

/// Takes stdout's and stderr's frames apart. A frame is not a line: a long line spans frames, so each stream is put
/// together by itself, and a line stands where it ended.
pub(crate) fn demultiplex(mut body: &[u8]) -> Vec<String> {
    let mut partial: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let mut lines = Vec::new();
    while body.len() >= FRAME_HEADER_BYTES {
        let (header, rest) = body.split_at(FRAME_HEADER_BYTES);
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let (data, rest) = rest.split_at(length.min(rest.len()));
        body = rest;
        let stream = &mut partial[usize::from(header[0] == 2)];
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            stream.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                lines.extend(lines_of(&std::mem::take(stream)));
            }
        }
    }
    for rest in partial {
        lines.extend(lines_of(&rest));
    }
    lines
}

pub(crate) fn lines_of(bytes: &[u8]) -> Vec<String> {
    plain(&String::from_utf8_lossy(bytes)).lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Without terminal escape sequences (ECMA-48 CSI and OSC) and control characters, which could repaint an operator's
/// screen; newlines and tabs stay.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                Some(']') => skip_osc(&mut chars),
                _ => {}
            },
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

/// Up to BEL or ESC `\`; a newline ends it too, so that an unclosed one hides one line at most.
fn skip_osc(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\u{7}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, data: &str) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        frame.extend(data.as_bytes());
        frame
    }

    #[test]
    fn frames_of_two_streams_become_whole_lines() {
        let body = [frame(1, "one\ntw"), frame(2, "error\n"), frame(1, "o\n"), frame(2, "end")].concat();
        assert_eq!(demultiplex(&body), ["one", "error", "two", "end"]);
        assert_eq!(demultiplex(&body[..body.len() - 1]), ["one", "error", "two", "en"]);
        assert!(demultiplex(b"").is_empty());
    }

    #[test]
    fn nothing_in_a_log_reaches_the_terminal_as_a_command() {
        assert_eq!(
            plain("\u{1b}[31mred\u{1b}[0m\r\n\u{1b}]0;title\u{7}x\u{8}\ty\u{1b}]8;;\nz"),
            "red\nx\ty\nz"
        );
    }
}
