//! Events out of a stream (`text/event-stream`, as the HTML standard has it), within bounds.

/// Longest event, in bytes of its data: a plan for two hundred hosts has a tenth of it.
pub(crate) const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest line beyond its data: names and ids.
const NAME_BYTES_MAX: usize = 1_024;

/// An event, or the sign that the other side lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// `id`; empty where it has none.
    pub id: String,
    /// `event`; empty where it has none.
    pub name: String,
    /// `data`, its lines joined.
    pub data: String,
}

/// An event is larger than anything that a daemon says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Takes pieces as they come.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    line: Vec<u8>,
    /// The last piece ended in a carriage return, whose line feed may follow.
    is_after_return: bool,
    is_begun: bool,
    frame: Frame,
    has_data: bool,
}

impl Frames {
    /// The events that are whole with this piece.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<Vec<Frame>, TooLarge> {
        let mut whole = Vec::new();
        for &byte in piece {
            match byte {
                b'\n' if self.is_after_return => self.is_after_return = false,
                b'\n' | b'\r' => {
                    self.is_after_return = byte == b'\r';
                    whole.extend(self.end_of_line()?);
                }
                _ => {
                    self.is_after_return = false;
                    if self.line.len() == EVENT_BYTES_MAX + NAME_BYTES_MAX {
                        return Err(TooLarge);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(whole)
    }

    fn end_of_line(&mut self) -> Result<Option<Frame>, TooLarge> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let line = match std::mem::replace(&mut self.is_begun, true) {
            true => &*text,
            false => text.strip_prefix('\u{feff}').unwrap_or(&text),
        };
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            return Ok(std::mem::take(&mut self.has_data).then_some(frame));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.frame.data.len() + value.len() >= EVENT_BYTES_MAX {
                    return Err(TooLarge);
                }
                if self.has_data {
                    self.frame.data.push('\n');
                }
                self.has_data = true;
                self.frame.data.push_str(value);
            }
            "id" if value.len() <= NAME_BYTES_MAX => self.frame.id = value.to_owned(),
            "event" if value.len() <= NAME_BYTES_MAX => self.frame.name = value.to_owned(),
            // Comments, which keep the connection alive, `retry`, and what nobody knows.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: &str, name: &str, data: &str) -> Frame {
        Frame { id: id.to_owned(), name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_the_same_whatever_the_line_ends_and_wherever_they_are_cut() {
        let text = "\u{feff}: alive\n\nid: 1\nevent: told\ndata: {\"a\":1}\n\nretry: 5\ndata:one\ndata: two\n\nevent: only a name\n\n\
                    id: 2\ndata\n\nid: 3\ndata: not ended";
        let wanted = [frame("1", "told", "{\"a\":1}"), frame("", "", "one\ntwo"), frame("2", "", "")];
        for line_end in ["\n", "\r\n", "\r"] {
            let bytes = text.replace('\n', line_end).into_bytes();
            for size in 1..bytes.len() {
                let mut frames = Frames::default();
                let seen: Vec<Frame> =
                    bytes.chunks(size).flat_map(|piece| frames.take(piece).unwrap()).collect();
                assert_eq!(seen, wanted, "{line_end:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_has_no_end_is_not_gathered() {
        let mut frames = Frames::default();
        let piece = vec![b'x'; 1024 * 1024];
        let taken: Vec<_> = (0..6).map(|_| frames.take(&piece)).take_while(Result::is_ok).collect();
        assert!(taken.len() < 6);
        let mut frames = Frames::default();
        let line = format!("data: {}\n", "x".repeat(1024 * 1024));
        let taken: Vec<_> = (0..6).map(|_| frames.take(line.as_bytes())).take_while(Result::is_ok).collect();
        assert!(taken.len() < 6, "an event of many lines has the same bound");
    }

    #[test]
    fn what_is_no_text_and_no_field_is_passed_over() {
        let mut frames = Frames::default();
        let seen = frames.take(b"\xff\xfe: x\n<html>\ndata: \xff\n\n").unwrap();
        assert_eq!(seen, [frame("", "", "\u{fffd}")]);
    }
}
