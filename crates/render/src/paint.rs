//! Colours, where wanted, and text that cannot steer a terminal.

use std::fmt::Write;

/// Colours by ANSI codes when enabled, else plain text. Whether to enable is the caller's choice (`--no-color`,
/// `NO_COLOR`, no terminal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paint {
    enabled: bool,
}

impl Paint {
    #[must_use]
    pub fn new(enabled: bool) -> Self {
        Self { enabled }
    }

    #[must_use]
    pub fn plain() -> Self {
        Self { enabled: false }
    }

    #[must_use]
    pub fn is_enabled(self) -> bool {
        self.enabled
    }

    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.enabled && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The codes that [`Paint`] and the log's formatter write.
const COLOURS: &[&str] = &["0", "1", "2", "3", "31", "32", "33", "34", "35", "36"];

/// A text from elsewhere that is to be one line of ours, or a part of one: whatever could steer a terminal, end the line
/// or turn its direction is written out (`\\x1b`, `\\n`, `\\u{202e}`).
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|character| push_escaped(&mut shown, character));
    shown
}

/// A whole output of ours as the last thing before it is written: line feeds and tabs stay, and where `colours` are wanted
/// [`Paint`]'s; all else that could steer a terminal is written out as [`escaped`] does. What comes from elsewhere is
/// escaped or cleaned before, where it is known to be one line or several; this is for where that was forgotten.
#[must_use]
pub fn harmless(text: &str, colours: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let colour = if colours { colour_length(rest) } else { 0 };
        let length = if colour > 0 { colour } else { character.len_utf8() };
        match character {
            _ if colour > 0 => shown.push_str(&rest[..length]),
            '\n' | '\t' => shown.push(character),
            _ => push_escaped(&mut shown, character),
        }
        rest = &rest[length..];
    }
    shown
}

/// Bytes of the colour that `text` begins with; zero when it begins with none.
fn colour_length(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else { return 0 };
    let found = rest.split_once('m').filter(|(code, _)| COLOURS.contains(code));
    found.map_or(0, |(code, _)| "\x1b[".len() + code.len() + "m".len())
}

fn push_escaped(shown: &mut String, character: char) {
    match character {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        other if other.is_control() => {
            let _ = write!(shown, "\\x{:02x}", u32::from(other));
        }
        other if is_mark(other) => {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(other));
        }
        other => shown.push(other),
    }
}

/// Marks that end a line or turn the direction of what follows, so that a line reads as another one.
fn is_mark(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON that reads back the same, without characters that could steer a terminal or end a line where it is read line by
/// line: serde leaves DEL, the C1 controls and the marks above as they are.
#[must_use]
pub fn harmless_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        // Within JSON these stand only in strings; outside of those there is no control but blanks.
        match character {
            other if is_mark(other) || ('\u{7f}'..='\u{9f}').contains(&other) => {
                let _ = write!(shown, "\\u{:04x}", u32::from(other));
            }
            other => shown.push(other),
        }
    }
    shown
}

/// `text` without escape sequences and control characters other than line feed; tabs become spaces.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\x1b' => skip_sequence(&mut rest),
            '\t' => cleaned.push_str("    "),
            '\n' => cleaned.push('\n'),
            other if other.is_control() => {}
            other if is_mark(other) => {}
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// Skips what follows ESC: `[ … letter` (CSI), `] … BEL or ESC \` (OSC), or one character.
fn skip_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.next() {
        Some('[') => {
            while rest.next_if(|c| !('\u{40}'..='\u{7e}').contains(c) && *c != '\n').is_some() {}
            rest.next_if(|c| *c != '\n');
        }
        Some(']') => {
            while rest.next_if(|c| !matches!(c, '\x07' | '\x1b' | '\n')).is_some() {}
            if rest.next_if_eq(&'\x1b').is_some() {
                rest.next_if_eq(&'\\');
            } else {
                rest.next_if_eq(&'\x07');
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_written_only_when_enabled() {
        assert_eq!(Paint::new(true).red("no"), "\x1b[31mno\x1b[0m");
        assert_eq!(Paint::plain().red("no"), "no");
    }

    #[test]
    fn a_field_stays_on_its_line_and_shows_what_it_hides() {
        let text = "lee\x1b[2J\r\n\tx\u{9b}31m\u{202e}\u{2028}\x07\x7f";
        assert_eq!(escaped(text), r"lee\x1b[2J\r\n\tx\x9b31m\u{202e}\u{2028}\x07\x7f");
        assert_eq!(escaped("größe ✓ C:\\x"), "größe ✓ C:\\x");
    }

    #[test]
    fn an_output_keeps_its_lines_and_our_colours_only() {
        let text = format!("{}\n\ta\x1b[8mb\x1b[2Jc\x1b]0;t\x07", Paint::new(true).red("no"));
        assert_eq!(harmless(&text, true), "\x1b[31mno\x1b[0m\n\ta\\x1b[8mb\\x1b[2Jc\\x1b]0;t\\x07");
        assert!(!harmless(&text, false).contains('\x1b'));
        assert_eq!(harmless("\x1b[31", true), "\\x1b[31");
    }

    #[test]
    fn json_reads_back_the_same_and_has_nothing_that_steers() {
        let text = "a\u{9b}31m\u{7f}\u{2028}\u{202e}\u{85}ä✓\n";
        let json = serde_json::to_string(&serde_json::json!({ "text": text })).unwrap();
        let shown = harmless_json(&json);
        assert!(!shown.chars().any(|character| character.is_control() || is_mark(character)), "{shown:?}");
        let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(read["text"], text);
    }

    #[test]
    fn log_lines_cannot_steer_the_terminal() {
        assert_eq!(clean("\x1b[2J\x1b[31mred\x1b[0m\r\x07 \x1b]0;title\x07x\ty"), "red x    y");
        assert_eq!(clean("\x1b]8;;http://x\x1b\\link\x1b"), "link");
        assert_eq!(clean("a\nb\u{202e}c\u{9b}31m"), "a\nbc31m");
        assert_eq!(clean("\x1b[31"), "");
    }
}
