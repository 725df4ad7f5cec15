//! A text that grows line by line and never beyond its bound.

/// Lines, with as many characters as there is room for.
pub(crate) struct Bounded {
    text: String,
    chars: usize,
    chars_max: usize,
    /// Kept for what comes later.
    reserved: usize,
}

impl Bounded {
    pub(crate) fn new(chars_max: usize) -> Self {
        Self { text: String::new(), chars: 0, chars_max, reserved: 0 }
    }

    /// Characters that it still takes.
    pub(crate) fn room(&self) -> usize {
        self.chars_max.saturating_sub(self.chars + self.reserved)
    }

    /// Keeps room for this text, and a line's end before it.
    pub(crate) fn reserve(&mut self, text: &str) {
        self.reserved += if text.is_empty() { 0 } else { text.chars().count() + 1 };
    }

    /// What was reserved may be used.
    pub(crate) fn release(&mut self) {
        self.reserved = 0;
    }

    /// Adds a line, or a block of several, where there is room for all of it. Whether there was.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        let end = usize::from(!self.text.is_empty());
        let chars = line.chars().count() + end;
        if chars > self.room() {
            return false;
        }
        if end == 1 {
            self.text.push('\n');
        }
        self.text.push_str(line);
        self.chars += chars;
        true
    }

    /// Adds the lines, as many from the front as there is room for, with `rest` behind them, which says how many are left
    /// out.
    pub(crate) fn list(&mut self, lines: &[String], others: u64, rest: impl Fn(u64) -> String) {
        let left_out = |shown: usize| {
            others.saturating_add(u64::try_from(lines.len().saturating_sub(shown)).unwrap_or(u64::MAX))
        };
        let longest = rest(left_out(0)).chars().count() + 1;
        let mut shown = 0;
        for line in lines {
            let is_last = shown + 1 == lines.len() && others == 0;
            self.reserved += if is_last { 0 } else { longest };
            let fits = self.line(line);
            self.reserved -= if is_last { 0 } else { longest };
            if !fits {
                break;
            }
            shown += 1;
        }
        if left_out(shown) > 0 {
            self.line(&rest(left_out(shown)));
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(chars_max: usize, others: u64) -> String {
        let mut text = Bounded::new(chars_max);
        text.line("head");
        let lines = ["one", "two", "six"].map(str::to_owned);
        text.list(&lines, others, |count| format!("+{count}"));
        let text = text.into_text();
        assert!(text.chars().count() <= chars_max, "{text:?}");
        text.replace('\n', " ")
    }

    #[test]
    fn a_list_has_what_there_is_room_for_and_says_how_many_it_has_not() {
        assert_eq!(listed(16, 0), "head one two six");
        assert_eq!(listed(15, 0), "head one two +1");
        assert_eq!(listed(16, 4), "head one two +5");
        assert_eq!(listed(20, 4), "head one two six +4");
        assert_eq!(listed(8, 0), "head +3");
        assert_eq!(listed(5, 0), "head");
    }

    #[test]
    fn what_is_reserved_is_there_for_what_comes_later() {
        let mut text = Bounded::new(10);
        text.reserve("later");
        assert!(text.line("now") && !text.line("more"));
        text.release();
        assert!(text.line("later"));
        assert_eq!(text.into_text(), "now\nlater");
    }
}
