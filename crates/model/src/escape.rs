//! What could steer a terminal in text from elsewhere, written out.

use std::fmt::Write;

/// Appends `character`, written out where it could steer a terminal, end a line or turn its direction: `\\x1b`, `\\n`,
/// `\\u{202e}`.
pub fn push_escaped(shown: &mut String, character: char) {
    // Writing into a `String` cannot fail.
    let _ = match character {
        '\n' => shown.write_str("\\n"),
        '\r' => shown.write_str("\\r"),
        '\t' => shown.write_str("\\t"),
        other if other.is_control() => write!(shown, "\\x{:02x}", u32::from(other)),
        other if is_mark(other) => write!(shown, "\\u{{{:x}}}", u32::from(other)),
        other => shown.write_char(other),
    };
}

/// Marks that end a line or turn the direction of what follows, so that a line reads as another one.
#[must_use]
pub fn is_mark(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
