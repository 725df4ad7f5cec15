//! Text from elsewhere, so that it is text and nothing else in Slack.

use lockgate_model::Link;

/// Longest name: what was asked for, who asked, where.
pub(crate) const NAME_CHARS_MAX: usize = 200;
/// Longest link with its text, escaped.
const LINK_CHARS_MAX: usize = 400;

/// As code of one line, at most `chars_max` characters with its marks: in code Slack makes nothing bold, no link, no
/// e-mail address and no emoji of what it finds. Empty text is `–`, for two marks beside each other are no code.
pub(crate) fn code(text: &str, chars_max: usize) -> String {
    let mut left = chars_max.saturating_sub("`…`".chars().count());
    let mut shown = String::new();
    let mut cut = false;
    for one in text.chars().filter(|one| !is_invisible(*one)) {
        let one = match one {
            '`' => '\'',
            other if other.is_control() || other.is_whitespace() => ' ',
            other => other,
        };
        if one == ' ' && (shown.is_empty() || shown.ends_with(' ')) {
            continue;
        }
        let piece = escape(&one.to_string());
        let length = piece.chars().count();
        if length > left {
            cut = true;
            break;
        }
        left -= length;
        shown.push_str(&piece);
    }
    let shown = shown.trim_end();
    match (shown.is_empty(), cut) {
        (true, _) => "–".to_owned(),
        (false, true) => format!("`{shown}…`"),
        (false, false) => format!("`{shown}`"),
    }
}

/// A link with a text of ours. The only marks of Slack's that text from elsewhere can have a part in: a [`Link`] has none of the
/// characters that would end one.
/// Source: <https://docs.slack.dev/messaging/formatting-message-text#linking-urls>.
/// `None` for one that is too long.
pub(crate) fn link(to: &Link, text: &str) -> Option<String> {
    let link = format!("<{}|{}>", escape(to.as_str()), escape(text));
    (link.chars().count() <= LINK_CHARS_MAX).then_some(link)
}

/// `&`, `<` and `>` as Slack asks for; they would otherwise make links and mentions (`<!channel>`), also in code.
/// Source: <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What changes how the text around it is read: marks of direction, and characters without width.
fn is_invisible(one: char) -> bool {
    matches!(one, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_slack_means_nothing_in_code() {
        let cases = [
            ("v1.2.3", "`v1.2.3`"),
            ("<!channel> & <@U1|x>", "`&lt;!channel&gt; &amp; &lt;@U1|x&gt;`"),
            (
                "*a* _b_ ~c~ :x: http://x.example a@b.example",
                "`*a* _b_ ~c~ :x: http://x.example a@b.example`",
            ),
            ("a` *bold* `b", "`a' *bold* 'b`"),
            ("```x```", "`'''x'''`"),
            ("two\nlines\r\n\ttab\u{1b}[2J", "`two lines tab [2J`"),
            ("left\u{202e}thgir\u{200b}", "`leftthgir`"),
            ("  padded  ", "`padded`"),
            ("", "–"),
            ("\n\u{200b}", "–"),
        ];
        for (text, wanted) in cases {
            assert_eq!(code(text, 200), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_link_leads_where_it_says_and_its_text_is_text() {
        let to = Link::new("https://ci.example/17?a=1&b=2").unwrap();
        let wanted = "<https://ci.example/17?a=1&amp;b=2|&lt;!here&gt; &amp; more>";
        assert_eq!(link(&to, "<!here> & more").as_deref(), Some(wanted));
        let long = Link::new(format!("https://ci.example/{}", "&".repeat(100))).unwrap();
        assert_eq!(link(&long, "x"), None);
    }

    #[test]
    fn a_cut_is_made_between_characters_and_never_within_an_escape() {
        assert_eq!(code("abcdef", 6), "`abc…`");
        assert_eq!(code("ab&cd", 7), "`ab…`");
        assert_eq!(code("ab&", 10), "`ab&amp;`");
        for length in 4..40 {
            let cut = code("ä<ö>&".repeat(20).as_str(), length);
            assert!(cut.chars().count() <= length, "{length}: {cut}");
        }
    }
}
