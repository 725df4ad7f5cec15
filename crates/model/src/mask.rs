//! Hiding secrets in what apps and programs wrote.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::variable::password;
use crate::{Evidence, Failure, Secret, token};

/// A shorter value says too little to be a secret, and would make holes in words.
const BYTES_MIN: usize = 4;
/// A whole number with fewer digits is a port, a count or a time.
const DIGITS_MIN: usize = 8;
/// Values of everyday switches, in lower case.
const EVERYDAY: &[&str] = &[
    "true",
    "false",
    "none",
    "null",
    "auto",
    "enabled",
    "disabled",
    "always",
    "never",
    "default",
    "trace",
    "debug",
    "info",
    "warn",
    "warning",
    "error",
    "json",
    "text",
    "production",
    "staging",
    "development",
    "test",
    "local",
    "localhost",
    "127.0.0.1",
    "0.0.0.0",
];
const MASKED: &str = "***";
/// What is before it in a secret of a webhook, whose value is also known without.
const WEBHOOK_SECRET: &str = "whsec_";
/// A part of a secret with fewer bytes stays, where a text may have been cut in the midst of it.
const PART_BYTES_MIN: usize = 8;
/// A text with fewer bytes was not cut by anybody.
const CUT_BYTES_MIN: usize = 1_000;

/// Puts `***` in place of secrets, wherever they stand in a text.
///
/// Hidden is every value of at least four bytes, but for whole numbers of fewer than eight digits and the values of
/// everyday switches (`true`, `debug`, `production` …). A value of several lines is hidden line by line, as a log has
/// it, and of a URL also the password alone. Whatever the values, tokens are hidden that are known by their form: those
/// of GitHub, GitLab, Slack, Docker and webhooks, JSON web tokens, `Authorization` headers, passwords and keys in URLs.
/// What an app makes of a secret (parts of it, or its base64) is not known here.
///
/// Where secrets overlap, all of them are hidden, by one mark. The time is that of reading the text, however many secrets
/// there are and whatever the text says.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    values: Arc<[Secret]>,
    known: Arc<OnceLock<Known>>,
}

/// All values at once, made when first needed. `None`: they are too many to be looked for.
struct Known(Option<AhoCorasick>);

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known(…)")
    }
}

impl Mask {
    /// Hides these values; short and common ones are left out, for hiding them would hide half of every text.
    #[must_use]
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let lines = secrets.into_iter().flat_map(|secret| secret.reveal().lines()).map(str::trim);
        let parts = lines.flat_map(|line| {
            [Some(line), password(line), line.strip_prefix(WEBHOOK_SECRET)].into_iter().flatten()
        });
        let values = parts.filter(|part| worth_hiding(part)).map(Secret::new).collect();
        Self { values, known: Arc::default() }
    }

    /// The text with each secret, and each token known by its form, replaced by a mark.
    #[must_use]
    pub fn hide(&self, text: String) -> String {
        let mut spans = token::find(&text);
        spans.extend(self.find(&text));
        spans.extend(self.cut_off(&text));
        marked(text, spans)
    }

    /// Each line as [`Mask::hide`] does, and a secret's parts where an app or a program broke it between two lines.
    #[must_use]
    pub fn hide_all(&self, lines: Vec<String>) -> Vec<String> {
        let all = lines.concat();
        let starts: Vec<usize> =
            lines.iter().scan(0, |next, line| Some(std::mem::replace(next, *next + line.len()))).collect();
        let mut spans: Vec<Vec<Range<usize>>> =
            lines.iter().map(|line| [token::find(line), self.cut_off(line)].concat()).collect();
        for span in self.find(&all) {
            // Of empty lines, which start where the next one does, the last begins the span.
            let first = starts.partition_point(|start| *start <= span.start).saturating_sub(1);
            let is_broken = span.end > starts[first] + lines[first].len();
            if is_broken && span.len() < PART_BYTES_MIN {
                continue;
            }
            for (at, start) in
                starts.iter().enumerate().skip(first).take_while(|(_, start)| **start < span.end)
            {
                let here = span.start.max(*start)..span.end.min(start + lines[at].len());
                if !here.is_empty() {
                    spans[at].push(here.start - start..here.end - start);
                }
            }
        }
        lines.into_iter().zip(spans).map(|(line, spans)| marked(line, spans)).collect()
    }

    /// Where values stand, also those that overlap.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        if self.values.is_empty() {
            return Vec::new();
        }
        // The kind whose size grows with the values alone; a faster one would be made anew for every look at a service.
        let made = || {
            let mut builder = AhoCorasick::builder();
            builder.kind(Some(AhoCorasickKind::ContiguousNFA));
            Known(builder.build(self.values.iter().map(Secret::reveal)).ok())
        };
        match &self.known.get_or_init(made).0 {
            Some(known) => known.find_overlapping_iter(text).map(|found| found.range()).collect(),
            None => std::iter::once(0..text.len()).collect(),
        }
    }

    /// The parts of values at both ends of a text so long that somebody may have cut it there.
    fn cut_off(&self, text: &str) -> Vec<Range<usize>> {
        if text.len() < CUT_BYTES_MIN {
            return Vec::new();
        }
        let kept = text.strip_suffix('…').unwrap_or(text);
        let parts = |value: &Secret| {
            let value = value.reveal();
            let lengths = || (PART_BYTES_MIN..value.len()).rev();
            let is_end =
                |length: &usize| text.as_bytes().starts_with(&value.as_bytes()[value.len() - length..]);
            let is_beginning = |length: &usize| kept.as_bytes().ends_with(&value.as_bytes()[..*length]);
            let front = lengths().find(is_end).map(|length| 0..length);
            let back = lengths().find(is_beginning).map(|length| kept.len() - length..kept.len());
            [front, back]
        };
        self.values.iter().flat_map(parts).flatten().collect()
    }

    /// Every text of a failure.
    #[must_use]
    pub fn failure(&self, failure: Failure) -> Failure {
        Failure {
            kind: failure.kind,
            message: self.hide(failure.message),
            hints: failure.hints.map(|hint| self.hide(hint)),
            host: failure.host,
            slot: failure.slot,
            logs: self.hide_all(failure.logs),
            evidence: self.evidence(failure.evidence),
        }
    }

    /// Every text of it.
    #[must_use]
    pub fn evidence(&self, evidence: Vec<Evidence>) -> Vec<Evidence> {
        let one = |one: Evidence| Evidence {
            check: self.hide(one.check),
            wanted: self.hide(one.wanted),
            seen: self.hide(one.seen),
            ok: one.ok,
        };
        evidence.into_iter().map(one).collect()
    }
}

/// A mark in place of each span; one in place of those that overlap.
fn marked(text: String, mut spans: Vec<Range<usize>>) -> String {
    if spans.is_empty() {
        return text;
    }
    spans.sort_by_key(|span| span.start);
    let (mut shown, mut hidden_up_to) = (String::with_capacity(text.len()), 0);
    for span in spans {
        if span.start >= hidden_up_to {
            shown.push_str(&text[hidden_up_to..span.start]);
            shown.push_str(MASKED);
        }
        hidden_up_to = hidden_up_to.max(span.end);
    }
    shown.push_str(&text[hidden_up_to..]);
    shown
}

fn worth_hiding(value: &str) -> bool {
    let number = value.len() < DIGITS_MIN && value.bytes().all(|byte| byte.is_ascii_digit());
    value.len() >= BYTES_MIN && !number && !EVERYDAY.contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let secrets: Vec<Secret> = values.iter().copied().map(Secret::new).collect();
        Mask::of(&secrets)
    }

    fn hidden(values: &[&str], text: &str) -> String {
        mask(values).hide(text.to_owned())
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands_the_longest_first() {
        assert_eq!(hidden(&["hunter2"], "TOKEN=hunter2 and \"hunter2\""), "TOKEN=*** and \"***\"");
        assert_eq!(hidden(&["hunter2", "hunter2-and-more"], "a hunter2-and-more b hunter2"), "a *** b ***");
        assert_eq!(hidden(&["pässwörd"], "xpässwördx"), "x***x");
        assert_eq!(hidden(&["one\n  two and three  \n"], "two and three"), "***");
        assert_eq!(hidden(&[], "as it is"), "as it is");
    }

    #[test]
    fn of_secrets_that_overlap_nothing_stays() {
        assert_eq!(hidden(&["abcdefgh", "efghijkl"], "<abcdefghijkl>"), "<***>");
        assert_eq!(hidden(&["abab"], "<ababab>"), "<***>");
        assert_eq!(hidden(&["hunter2"], "hunter2hunter2"), "******");
        let token = "ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8";
        assert_eq!(hidden(&["Q7r8 and more"], &format!("<{token} and more>")), "<***>");
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(hidden(&[secret], &format!("{secret} or {}", &secret[6..])), "*** or ***");
    }

    #[test]
    fn a_mask_without_secrets_knows_tokens_by_their_form() {
        let text = "x-access-token:ghp_A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8@github.com";
        for mask in [Mask::default(), Mask::of([])] {
            assert_eq!(mask.hide(text.to_owned()), "x-access-token:***@github.com");
            assert_eq!(mask.hide_all(vec![text.to_owned()]), ["x-access-token:***@github.com"]);
        }
    }

    #[test]
    fn a_secret_that_is_broken_between_lines_is_hidden_in_each_of_them() {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let mask = mask(&["correct-horse-battery", "shop"]);
        let shown = mask.hide_all(lines(&["is correct-ho", "", "rse", "-battery, not", "in sh", "op"]));
        assert_eq!(
            shown,
            ["is ***", "", "***", "***, not", "in sh", "op"],
            "short ones are words everywhere"
        );
    }

    #[test]
    fn of_a_long_text_that_was_cut_in_a_secret_the_part_is_hidden() {
        let filler = "x".repeat(1_000);
        for (text, shown) in [
            (format!("battery {filler} correct-horse-b"), format!("battery {filler} ***")),
            (format!("-battery {filler} correct-horse…"), format!("*** {filler} ***…")),
            (format!("{filler} correct"), format!("{filler} correct")),
            ("-battery is short correct-horse".to_owned(), "-battery is short correct-horse".to_owned()),
        ] {
            assert_eq!(hidden(&["correct-horse-battery"], &text), shown);
        }
    }

    /// Numbers that look like chance and are the same each time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % bound as u64).unwrap()
        }

        fn text(&mut self, alphabet: &[char], lengths: Range<usize>) -> String {
            let length = lengths.start + self.below(lengths.len());
            (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
        }
    }

    /// Few letters, so that values overlap, repeat and contain one another.
    #[test]
    fn no_known_secret_survives_wherever_the_text_is_cut_into_pieces() {
        const ALPHABET: [char; 4] = ['a', 'b', 'é', '🦀'];
        for seed in 1..2_000 {
            let mut dice = Dice(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
            let secrets: Vec<String> = (0..=dice.below(4)).map(|_| dice.text(&ALPHABET, 8..14)).collect();
            let mask = mask(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
            let mut text = dice.text(&ALPHABET, 0..40);
            for _ in 0..dice.below(4) {
                text += &secrets[dice.below(secrets.len())];
                text += &dice.text(&ALPHABET, 0..6);
            }
            let mut pieces = vec![String::new()];
            for character in text.chars() {
                if dice.below(5) == 0 {
                    pieces.push(String::new());
                }
                pieces.last_mut().unwrap().push(character);
            }
            let whole = mask.hide(text.clone());
            let shown = mask.hide_all(pieces.clone());
            assert_eq!(shown.len(), pieces.len(), "seed {seed}");
            for secret in &secrets {
                assert!(!whole.contains(secret), "seed {seed}: {secret} in {whole}, of {text}");
                assert!(
                    !shown.concat().contains(secret),
                    "seed {seed}: {secret} in {shown:?}, of {pieces:?}"
                );
            }
            assert_eq!(mask.hide(whole.clone()), whole, "seed {seed}: hidden twice is hidden once");
            let kept: String = shown.concat().replace('*', "");
            assert_eq!(kept, whole.replace('*', ""), "seed {seed}: what is no secret stays, piece by piece");
        }
    }

    /// With time that grows with the square of the text these would take minutes.
    #[test]
    fn hostile_text_takes_no_longer_than_its_length() {
        const SECONDS_MAX: u64 = 20;
        let mask = mask(&["a".repeat(64).as_str(), "hunter2hunter2"]);
        let began = std::time::Instant::now();
        for piece in [
            "a",
            "gha_",
            "eyJaaaaaaaa",
            "a://b:c@",
            "a://b:",
            "?token",
            "&key=",
            "bearer ",
            "authorization: ",
        ] {
            let shown = mask.hide(piece.repeat(128 * 1024 / piece.len()));
            assert!(shown.len() <= 2 * 128 * 1024, "{piece}: {}", shown.len());
        }
        assert!(began.elapsed().as_secs() < SECONDS_MAX, "{:?}", began.elapsed());
    }

    #[test]
    fn what_is_no_secret_makes_no_holes() {
        let everyday = ["", "a", "abc", "8080", "1234567", "True", "debug", "production"];
        let text = "abc in Production: True debug on 8080, 1234567 a";
        assert_eq!(hidden(&everyday, text), text);
        assert_eq!(hidden(&["12345678", "abcd"], "12345678 abcd"), "*** ***");
    }

    #[test]
    fn of_a_url_the_password_alone_is_hidden_too() {
        let url = "postgres://shop:hunter2@db.example/shop";
        assert_eq!(hidden(&[url], &format!("{url}; password hunter2 refused")), "***; password *** refused");
    }

    #[test]
    fn every_text_of_a_failure_is_masked() {
        let seen =
            Evidence { check: "hunter2".into(), wanted: "hunter2".into(), seen: "hunter2".into(), ok: false };
        let failure = Failure::new(crate::FailureKind::Other, "a hunter2")
            .hint("b hunter2")
            .hint("d hunter2")
            .logs(vec!["c hunter2".into()])
            .evidence(vec![seen]);
        let masked = mask(&["hunter2"]).failure(failure);
        assert!(!format!("{masked:?}").contains("hunter2"), "{masked:?}");
        assert_eq!(
            (masked.message.as_str(), masked.logs.as_slice()),
            ("a ***", ["c ***".to_owned()].as_slice())
        );
    }

    #[test]
    fn a_mask_does_not_show_what_it_hides() {
        assert!(!format!("{:?}", mask(&["hunter2"])).contains("hunter2"));
    }
}
