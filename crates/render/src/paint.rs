//! Colours, where wanted, and text that cannot steer a terminal.

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
            // Marks that turn the direction of what follows can make a line read as another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
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
    fn log_lines_cannot_steer_the_terminal() {
        assert_eq!(clean("\x1b[2J\x1b[31mred\x1b[0m\r\x07 \x1b]0;title\x07x\ty"), "red x    y");
        assert_eq!(clean("\x1b]8;;http://x\x1b\\link\x1b"), "link");
        assert_eq!(clean("a\nb\u{202e}c\u{9b}31m"), "a\nbc31m");
        assert_eq!(clean("\x1b[31"), "");
    }
}
